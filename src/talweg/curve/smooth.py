"""A robust smooth of a curve, for plots, residuals and events."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW_SHARE = 0.08  # of the points, half of it on either side
MOST_POINTS = 4000  # a longer curve is smoothed on means of neighbours and interpolated


def smooth(step: Array, value: Array) -> Array:
    """A local line in log(step) through running medians of five. (T,) finite in, (T,) out, the unit of `value`."""
    n = value.size
    if n < 5:
        return np.full(n, np.median(value)) if n else value
    if n > MOST_POINTS:
        size = -(-n // MOST_POINTS)
        edges = np.arange(0, n, size)
        count = np.diff(np.append(edges, n))
        s, v = np.add.reduceat(step, edges) / count, np.add.reduceat(value, edges) / count
        return np.interp(step, s, smooth(s, v))
    x = np.log1p(np.maximum(step - step[0], 0) + 0.02 * (step[-1] - step[0]))
    y = _running_median(value)
    half = max(2, round(WINDOW_SHARE * n / 2))
    return _local_line(x - x.mean(), y, half)


def _running_median(value: Array) -> Array:
    padded = np.concatenate([value[2:0:-1], value, value[-2:-4:-1]])
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1))


def _local_line(x: Array, y: Array, half: int) -> Array:
    """At each point the line through the points up to `half` places away, shifted inward at the ends."""
    n = x.size
    first = np.clip(np.arange(n) - half, 0, max(n - 2 * half - 1, 0))
    last = np.minimum(first + 2 * half + 1, n)

    def total(z: Array) -> Array:
        run = np.concatenate([[0.0], np.cumsum(z)])
        return run[last] - run[first]

    count = (last - first).astype(np.float64)
    middle = float(y.mean())
    z = y - middle
    mean_x, mean_y = total(x) / count, total(z) / count
    var = total(x * x) / count - mean_x**2
    cov = total(x * z) / count - mean_x * mean_y
    slope = np.where(var > 1e-15, cov / np.maximum(var, 1e-15), 0.0)
    return np.asarray(middle + mean_y + slope * (x - mean_x))
