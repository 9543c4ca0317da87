"""A long curve in as many points as a plot can show, without losing a spike."""

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve.points import Array, finite


def decimate(step: ArrayLike, value: ArrayLike, num: int) -> tuple[Array, Array, Array, Array]:
    """(step, low, high, mean), each (at most num,): the curve in groups of neighbours, for an axis of either kind.

    Half of the groups are of equal width in step, half of equal width in log(step), the edges of both cutting the
    curve: it looks the same on either axis. low and high are the extremes of a group, so every spike stays as high
    as it was; step is the mean step of the group. NaN and inf are left out; `num` points or fewer come back as they
    are.
    """
    assert num >= 2, f"{num} points draw no curve"
    x, y = finite(step, value)
    if x.size <= num:
        return x, y, y.copy(), y.copy()
    first = np.flatnonzero(np.diff(np.searchsorted(_edges(x, num), x, side="right"), prepend=-1))
    count = np.diff(np.append(first, x.size))
    mean_step, mean = np.add.reduceat(x, first) / count, np.add.reduceat(y - y[-1], first) / count + y[-1]
    return mean_step, np.minimum.reduceat(y, first), np.maximum.reduceat(y, first), mean


def _edges(x: Array, num: int) -> Array:
    """Fewer than num inner edges: evenly in step, and evenly in log of the steps since the first."""
    half = num // 2
    even = np.linspace(x[0], x[-1], half + 1)[1:-1]
    width = float(x[-1] - x[0])
    if width <= 0:
        return np.empty(0)
    smallest = max(float(x[1] - x[0]), width * 1e-9)
    early = x[0] + np.geomspace(smallest, max(width, smallest * 2), num - half)[:-1]
    return np.unique(np.concatenate([even, early]))
