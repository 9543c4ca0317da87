"""AdamW, weight decay on matrices only, and its state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from talweg.errors import InputError
from talweg.train.config import OptimizerConfig

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of one parameter, as torch calls it


def build(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Vectors (gains of norms, biases) are not decayed: pulling a gain to zero has no meaning as a prior."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.peak_lr or 0.0,  # open where only a pace is measured
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=fused,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments by "parameter/moment"."""
    named = model.named_parameters()
    return {
        f"{name}/{moment}": optimizer.state[p][moment]
        for name, p in named
        if p in optimizer.state
        for moment in MOMENTS
    }


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put saved moments back. Raises InputError when they are of another model."""
    for name, parameter in model.named_parameters():
        if f"{name}/step" not in tensors:
            continue  # never updated when it was saved
        moments = {moment: tensors[f"{name}/{moment}"] for moment in MOMENTS}
        if moments["exp_avg"].shape != parameter.shape:
            raise InputError(f"the checkpoint's optimizer has {name} in another shape than the model")
        step_device = parameter.device if optimizer.defaults["fused"] else torch.device("cpu")
        optimizer.state[parameter] = {
            moment: tensor.to(step_device if moment == "step" else parameter.device).clone()
            for moment, tensor in moments.items()
        }
