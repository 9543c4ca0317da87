"""Stretches of a curve that are not finite, or hold one number again and again."""

import math

import numpy as np
from numpy.typing import NDArray

from talweg.curve.normal import quantile_of_tail
from talweg.curve.points import Array

FEWEST = 5  # identical values in a row that are looked at
NEIGHBOURS = 50  # pairs either side from which the chance of two identical neighbours is counted
SURE = 2.0  # standard errors by which that chance may be larger than counted
ROUNDED = 4.5  # printed digits that the values around span: fewer tell nothing of equal ones
MOST = 1000  # stretches that are judged, the longest first


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last index of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def not_finite(step: Array, value: Array) -> list[tuple[float, float]]:
    """First and last step of each stretch of NaN or inf."""
    known = np.isfinite(step)
    steps = step[known]
    return [(float(steps[a]), float(steps[b - 1])) for a, b in runs(~np.isfinite(value[known]))]


def constant(y: Array) -> list[tuple[int, int, float]]:
    """First and last index of stretches of one number, with their significance in normal sd.

    Printed digits make neighbours equal by chance, with a probability p that is counted around the stretch (and
    taken SURE errors larger). A stretch
    of L values anywhere among T then has the chance T p^(L-1).
    """
    change = np.abs(np.diff(y))
    equal = change == 0
    digit = float(change[~equal].min()) if not equal.all() else 0.0
    longest = sorted((r for r in runs(equal) if r[1] - r[0] + 1 >= FEWEST), key=lambda r: r[0] - r[1])[:MOST]
    found = []
    for a, b in longest:
        before, after = slice(max(0, a - NEIGHBOURS), a), slice(b + 1, b + 1 + NEIGHBOURS)
        chance = _chance(np.concatenate([equal[before], equal[b : b + NEIGHBOURS]]))
        values = np.concatenate([y[before], y[after]])
        if values.size and 0 < float(values.max() - values.min()) < ROUNDED * digit:
            chance = max(chance, 0.99)  # the digits hide the noise: which values are alike depends on the level
        tail = math.log(y.size) + (b - a) * math.log(chance) if chance > 0 else -math.inf
        found.append((a, b, math.inf if tail < -700 else quantile_of_tail(min(math.exp(min(tail, 0.0)), 0.5))))
    return found


def _chance(equal: NDArray[np.bool_]) -> float:
    """That two neighbours are equal, from the pairs around a stretch; 0 when it is nearly the whole curve."""
    if equal.size < FEWEST:
        return 0.0
    chance = (int(equal.sum()) + 1) / (equal.size + 2)
    return min(1.0, chance + SURE * math.sqrt(chance * (1 - chance) / (equal.size + 2)))
