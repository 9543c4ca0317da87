"""How far a step moves the weights, as a share of them, by group."""

import math

import torch
from torch import Tensor

SAMPLE = 2**16  # weights of a tensor that are looked at, in whole rows at equal distances


def measured_step(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Take the step; by group, sqrt(sum of update^2 / sum of weight^2), the weights as they were before.

    Of tensors with more than SAMPLE weights a sample of rows is measured and stands for the whole. A group whose
    weights are all zero has an infinite ratio, or NaN where they did not move either.
    """
    before = {group["name"]: [(p, _sample(p).clone()) for p in group["params"]] for group in optimizer.param_groups}
    optimizer.step()
    return {name: _ratio(pairs) for name, pairs in before.items()}


def _sample(parameter: Tensor) -> Tensor:
    """Rows at equal distances, as a view."""
    return parameter.detach()[:: math.ceil(parameter.numel() / SAMPLE)] if parameter.ndim else parameter.detach()


def _ratio(pairs: list[tuple[Tensor, Tensor]]) -> float:
    moved = weight = 0.0
    for parameter, before in pairs:
        now, share = _sample(parameter), before.numel() / max(parameter.numel(), 1)
        moved += float(torch.linalg.vector_norm(now - before)) ** 2 / share
        weight += float(torch.linalg.vector_norm(before)) ** 2 / share
    return math.sqrt(moved / weight) if weight else math.nan if not moved else math.inf
