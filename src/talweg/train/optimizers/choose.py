"""The optimizer that the configuration names, over the groups of a model."""

from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from talweg.train.config import Config, OptimizerConfig
from talweg.train.optimizers.groups import Group, split
from talweg.train.optimizers.muon import Muon
from talweg.train.optimizers.schedule_free import ScheduleFree

MOMENTUM = 0.95  # of Muon where it is still open, as while a pace is measured (Jordan et al. 2024)

NAMES: tuple[str, ...] = get_args(get_type_hints(OptimizerConfig)["name"])


def build(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Its groups have a name and the factor of their learning rate, `lr_factor`."""
    chosen = config.optimizer
    device = next(model.parameters()).device.type
    groups = split(model, chosen)
    if chosen.name == "schedule_free":
        return ScheduleFree(
            [_as_torch(group) | {"method": "schedule_free"} for group in groups],
            lr=chosen.peak_lr or 0.0,
            betas=(chosen.beta1, chosen.beta2),
            epsilon=chosen.epsilon,
        )
    if chosen.name != "muon":
        return _adamw(groups, config, device)
    matrices = [group for group in groups if group.name == "matrices"]
    rest = [group for group in groups if group.name != "matrices"]
    return Muon(
        [_as_torch(group) for group in matrices],
        _adamw(rest, config, device),
        lr=chosen.peak_lr or 0.0,  # open where only a pace is measured
        momentum=MOMENTUM if chosen.muon_momentum is None else chosen.muon_momentum,
        dtype=torch.bfloat16 if config.hardware.precision == "bf16" else torch.float32,
        rows=_rows(matrices, config),
    )


def _adamw(groups: list[Group], config: Config, device: str) -> torch.optim.AdamW:
    chosen = config.optimizer
    return torch.optim.AdamW(
        [_as_torch(group) | {"method": "adamw"} for group in groups],
        lr=chosen.peak_lr or 0.0,  # open where only a pace is measured
        betas=(chosen.beta1, chosen.beta2),
        eps=chosen.epsilon,
        fused=device in ("cpu", "cuda"),
    )


def _as_torch(group: Group) -> dict[str, Any]:
    return {
        "params": list(group.parameters.values()),
        "name": group.name,
        "lr_factor": group.lr_factor,
        "weight_decay": group.weight_decay,
    }


def _rows(groups: list[Group], config: Config) -> dict[Tensor, int]:
    """How many rows make a matrix, where a parameter holds several: queries, keys, values of every head; the two that
    a gated feed-forward multiplies."""
    model, rows = config.model, dict[Tensor, int]()
    for name, parameter in (item for group in groups for item in group.parameters.items()):
        if name.endswith("qkv.weight"):
            rows[parameter] = model.width // model.heads
        elif name.endswith("feed_forward.into.weight") and str(model.activation) == "swiglu":
            rows[parameter] = parameter.shape[0] // 2
    return rows
