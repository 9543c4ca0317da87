"""What every statistic of a curve does first: drop what is not finite, put it in order, gather it into bins."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def finite(step: ArrayLike, value: ArrayLike) -> tuple[Array, Array]:
    """The points with a finite step and value, by ascending step: two arrays of one length, (T,) each."""
    steps = np.asarray(step, dtype=np.float64).ravel()
    values = np.asarray(value, dtype=np.float64).ravel()
    assert steps.size == values.size, f"{steps.size} steps but {values.size} values"
    keep = np.isfinite(steps) & np.isfinite(values)
    if not keep.all():
        steps, values = steps[keep], values[keep]
    if steps.size > 1 and (steps[1:] < steps[:-1]).any():
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
    return steps, values


def binned(x: Array, y: Array, num: int) -> tuple[Array, Array]:
    """Means of at most `num` runs of neighbours, each of the same number of points (left over: the oldest ones).

    Runs of equal count keep what the errors rest on, the order and the sum of all autocovariances, whatever the
    spacing of the steps; the newest points are never among those left out.
    """
    width = -(-x.size // num)
    if width <= 1:
        return x, y
    first = x.size % width
    return x[first:].reshape(-1, width).mean(axis=1), y[first:].reshape(-1, width).mean(axis=1)
