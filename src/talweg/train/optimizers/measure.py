"""How far a step moves the weights, as a share of them, by group."""

import math

import torch
from torch import Tensor

from talweg.train.parallel import over_parts, own_part

SAMPLE = 2**16  # weights of a tensor that are looked at, in whole rows at equal distances


def measured_step(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Take the step; by group and of "all", sqrt(sum of update^2 / sum of weight^2), the weights as they were before.

    Of tensors with more than SAMPLE weights a sample of rows is measured and stands for the whole. A group whose
    weights are all zero has an infinite ratio, or NaN where they did not move either.
    """
    groups = optimizer.param_groups
    before = [[_sample(p).clone() for p in group["params"]] for group in groups]
    optimizer.step()
    squares = [_squares(group["params"], kept) for group, kept in zip(groups, before, strict=True)]
    whole = over_parts(torch.stack(squares), groups[0]["params"][0])
    moved, weight = whole.cpu().T.tolist()  # once, so that a GPU is waited for once
    names = [*(str(group["name"]) for group in groups), "all"]
    return dict(zip(names, map(_ratio, [*moved, sum(moved)], [*weight, sum(weight)]), strict=True))


def _ratio(moved: float, weight: float) -> float:
    return math.sqrt(moved / weight) if weight else math.inf if moved else math.nan


def _sample(parameter: Tensor) -> Tensor:
    """Rows at equal distances, as a view."""
    own = own_part(parameter.detach())
    return own[:: math.ceil(parameter.numel() / SAMPLE)] if own.ndim else own


def _squares(parameters: list[Tensor], before: list[Tensor]) -> Tensor:
    """(2,): the sum of the squares of what each weight moved, and of what it was, samples scaled to the whole."""
    sizes = [own_part(p).numel() for p in parameters]
    scale = torch.tensor([size / max(kept.numel(), 1) for size, kept in zip(sizes, before, strict=True)])
    moved = torch._foreach_sub([_sample(p) for p in parameters], before)
    norms = torch.stack([torch.stack(torch._foreach_norm(list(part))) for part in (moved, before)]).float()
    return (norms.square() * scale.to(norms.device)).sum(1)
