"""An optimizer's state as tensors with names, "parameter/moment", and back; bit for bit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from talweg.errors import InputError

MOMENTS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "muon": ("momentum",)}  # of one parameter, by its method


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers, by "parameter/moment"."""
    methods = _methods(optimizer)
    return {
        f"{name}/{moment}": optimizer.state[p][moment]
        for name, p in model.named_parameters()
        if p in optimizer.state
        for moment in MOMENTS[methods[p]]
    }


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put saved moments back. Raises InputError when they are of another model or another optimizer."""
    methods = _methods(optimizer)
    saved: dict[str, set[str]] = {}
    for key in tensors:
        name, slash, moment = key.rpartition("/")
        if slash:
            saved.setdefault(name, set()).add(moment)
    for name, parameter in model.named_parameters():
        if name not in saved:
            continue  # never updated when it was saved
        method = methods[parameter]
        if not saved[name] >= set(MOMENTS[method]):
            raise InputError(
                f"the checkpoint's optimizer is {_found(saved)}, this run's is {_named(methods)}; "
                f"give optimizer.name = {_found(saved)}, or another run.name"
            )
        moments = {moment: tensors[f"{name}/{moment}"] for moment in MOMENTS[method]}
        if any(tensor.shape != parameter.shape for moment, tensor in moments.items() if moment != "step"):
            raise InputError(f"the checkpoint's optimizer has {name} in another shape than the model")
        fused = next(group.get("fused") for group in optimizer.param_groups if group["method"] == method)
        step_device = parameter.device if fused else torch.device("cpu")
        optimizer.state[parameter] = {
            moment: tensor.to(step_device if moment == "step" else parameter.device).clone()
            for moment, tensor in moments.items()
        }


def evaluation_weights(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor] | None:
    return None


def _methods(optimizer: torch.optim.Optimizer) -> dict[Tensor, str]:
    """By parameter."""
    return {p: group["method"] for group in optimizer.param_groups for p in group["params"]}


def _found(saved: Mapping[str, set[str]]) -> str:
    """Which optimizer left such moments."""
    moments = set().union(*saved.values())
    return "muon" if "momentum" in moments else "schedule_free" if "z" in moments else "adamw"


def _named(methods: Mapping[Tensor, str]) -> str:
    return "muon" if "muon" in methods.values() else next(iter(methods.values()))
