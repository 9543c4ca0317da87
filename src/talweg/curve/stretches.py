"""Stretches of a curve that are not finite, or hold one number again and again."""

import math

import numpy as np
from numpy.typing import NDArray

from talweg.curve.normal import quantile_of_tail
from talweg.curve.points import Array

FEWEST = 5  # identical values in a row that are looked at
NEIGHBOURS = 50  # pairs either side from which the chance of two identical neighbours is counted
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

    Printed digits make neighbours equal by chance, with a probability p that is counted around the stretch. A stretch
    of L values anywhere among T then has the chance T p^(L-1).
    """
    equal = y[1:] == y[:-1]
    longest = sorted((r for r in runs(equal) if r[1] - r[0] + 1 >= FEWEST), key=lambda r: r[0] - r[1])[:MOST]
    found = []
    for a, b in longest:
        around = np.concatenate([equal[max(0, a - NEIGHBOURS) : a], equal[b : b + NEIGHBOURS]])
        chance = (int(around.sum()) + 1) / (around.size + 2)
        if around.size < FEWEST:  # nearly the whole curve
            chance = 0.0
        tail = math.log(y.size) + (b - a) * math.log(chance) if chance > 0 else -math.inf
        found.append((a, b, math.inf if tail < -700 else quantile_of_tail(min(math.exp(min(tail, 0.0)), 0.5))))
    return found
