"""The learning rate of each group: the schedule's, times the group's factor."""

import torch


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Before a step: `rate` is the schedule's."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def learning_rates(optimizer: torch.optim.Optimizer, rate: float) -> dict[str, float]:
    """By group, at this rate of the schedule."""
    return {group["name"]: rate * group["lr_factor"] for group in optimizer.param_groups}
