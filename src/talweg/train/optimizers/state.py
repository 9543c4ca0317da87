"""An optimizer's state as tensors with names, "parameter/moment", and back; bit for bit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from talweg.errors import InputError
from talweg.train.optimizers.schedule_free import ScheduleFree

# what is kept of one parameter, by its method; y, of schedule-free, is the parameter itself while training
MOMENTS = {
    "adamw": ("step", "exp_avg", "exp_avg_sq"),
    "muon": ("momentum",),
    "schedule_free": ("y", "z", "exp_avg_sq"),
}
COUNTS = "schedule_free/counts"


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers, by "parameter/moment"."""
    methods, tensors = _methods(optimizer), dict[str, Tensor]()
    for name, p in model.named_parameters():
        if p in optimizer.state:
            kept = {"y": p.detach(), **optimizer.state[p]}
            tensors |= {f"{name}/{moment}": kept[moment] for moment in MOMENTS[methods[p]]}
    if isinstance(optimizer, ScheduleFree):
        tensors[COUNTS] = optimizer.counts
    return tensors


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put saved moments back, and where training has weights of its own, these. The saved model comes first.

    Raises InputError when they are of another model or another optimizer.
    """
    methods = _methods(optimizer)
    saved: dict[str, set[str]] = {}
    for key in tensors:
        name, slash, moment = key.rpartition("/")
        if slash:
            saved.setdefault(name, set()).add(moment)
    for name, parameter in model.named_parameters():
        if name not in saved:  # never updated when it was saved
            optimizer.state.pop(parameter, None)
            continue
        method = methods[parameter]
        if saved[name] != set(MOMENTS[method]):
            raise InputError(
                f"the checkpoint's optimizer is {_found(saved)}, this run's is {_named(methods)}; "
                f"give optimizer.name = {_found(saved)}, or another run.name"
            )
        moments = {moment: tensors[f"{name}/{moment}"] for moment in MOMENTS[method]}
        if any(tensor.shape != parameter.shape for moment, tensor in moments.items() if moment != "step"):
            raise InputError(f"the checkpoint's optimizer has {name} in another shape than the model")
        fused = next(group.get("fused") for group in optimizer.param_groups if group["method"] == method)
        step_device = parameter.device if fused else torch.device("cpu")
        kept = {
            moment: tensor.to(step_device if moment == "step" else parameter.device).clone()
            for moment, tensor in moments.items()
        }
        if "y" in kept:
            with torch.no_grad():
                parameter.copy_(kept.pop("y"))
        optimizer.state[parameter] = kept
    if isinstance(optimizer, ScheduleFree):
        optimizer.counts = tensors[COUNTS].clone() if COUNTS in tensors else torch.zeros_like(optimizer.counts)


def evaluation_weights(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor] | None:
    """The weights that are evaluated and saved, in new memory; None: the model's own."""
    if not isinstance(optimizer, ScheduleFree):
        return None
    return {name: optimizer.average(p) for name, p in model.named_parameters()}


def _methods(optimizer: torch.optim.Optimizer) -> dict[Tensor, str]:
    """By parameter."""
    return {p: group["method"] for group in optimizer.param_groups for p in group["params"]}


def _found(saved: Mapping[str, set[str]]) -> str:
    """Which optimizer left such moments."""
    moments = set().union(*saved.values())
    return "muon" if "momentum" in moments else "schedule_free" if "z" in moments else "adamw"


def _named(methods: Mapping[Tensor, str]) -> str:
    return "muon" if "muon" in methods.values() else next(iter(methods.values()))
