"""A robust smooth of a curve, for plots."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.curve.points import Array

Places = NDArray[np.intp]  # indices

REACH = 0.06  # of the step itself, either side: what happens is seen with the same sharpness in log(step) everywhere
SHARE = 0.04  # of all points, either side: the most that a window may hold, so that the end keeps its shape
FEWEST = 2  # points either side, the least
PLACES = 1500  # at which the smooth is computed; between them a straight line
CLIP = 4.0  # robust sd
MAD_TO_SD = 1.482602218505602


def smooth(step: ArrayLike, value: ArrayLike) -> Array:
    """(T,) level of the curve at each step, from local lines robust to outliers; the unit of `value`.

    Windows reach REACH of the step to either side, at least FEWEST points and at most SHARE of them. Steps ascend.
    Values that are not finite are left out and bridged; nan where no value is finite.
    """
    steps, values = np.asarray(step, dtype=np.float64).ravel(), np.asarray(value, dtype=np.float64).ravel()
    keep = np.isfinite(values) & np.isfinite(steps)
    x, y = (steps, values) if keep.all() else (steps[keep], values[keep])
    if x.size == 0:
        return np.full(steps.size, np.nan)
    offset = float(np.median(y))
    if x.size < 2 * FEWEST + 1:
        return np.full(steps.size, offset)
    place = _places(x.size)
    first, last = _windows(x, place)
    level = offset + _local_lines(x, without_outliers(y - offset), place, first, last)
    return np.asarray(np.interp(steps, x[place], level))


def _places(num: int) -> Places:
    """Indices at which the smooth is computed: evenly in count and evenly in log(count), first and last included."""
    if num <= PLACES:
        return np.arange(num)
    even = np.linspace(0, num - 1, PLACES // 2)
    early = np.geomspace(1, num, PLACES // 2) - 1
    return np.unique(np.concatenate([even, early]).astype(np.intp))


def _windows(x: Array, place: Places) -> tuple[Places, Places]:
    """First and one past the last index of each window."""
    most = max(FEWEST, int(SHARE * x.size))
    reach = REACH * np.abs(x[place])
    first = np.searchsorted(x, x[place] - reach, side="left")
    last = np.searchsorted(x, x[place] + reach, side="right")
    first = np.clip(first, place - most, place - FEWEST)
    last = np.clip(last, place + FEWEST + 1, place + most + 1)
    return np.maximum(first, 0), np.minimum(last, x.size)


def without_outliers(y: Array) -> Array:
    """y with single points pulled to within CLIP robust sd of the median of five about them; bends and jumps pass."""
    middle = running_median(y)
    off = y - middle
    sd = MAD_TO_SD * float(np.median(np.abs(off)))
    return np.asarray(middle + np.clip(off, -CLIP * sd, CLIP * sd)) if sd > 0 else y


def running_median(y: Array) -> Array:
    """Median of five neighbours, the values at the ends repeated. (T,) A network of comparisons, in place: quick."""
    padded = np.concatenate([y[:1], y[:1], y, y[-1:], y[-1:]])
    a, b, c, d, e = (padded[i : i + y.size] for i in range(5))
    least, most = np.minimum(a, b), np.minimum(d, e)
    np.maximum(least, most, out=least)  # of two pairs, the larger of the lower values
    high, other = np.maximum(a, b), np.maximum(d, e, out=most)
    np.minimum(high, other, out=high)  # and the smaller of the higher ones: the median lies with c between them
    np.minimum(least, high, out=other)
    np.maximum(least, high, out=high)
    np.minimum(high, c, out=high)
    return np.asarray(np.maximum(other, high, out=high))


def _local_lines(x: Array, y: Array, place: Places, first: Places, last: Places) -> Array:
    """The value at x[place] of the line through the points first to last of each window, by running sums."""

    def total(z: Array) -> Array:
        run = np.concatenate([[0.0], np.cumsum(z)])
        return np.asarray(run[last] - run[first])

    count = (last - first).astype(np.float64)
    u = (x - x[0]) / max(float(x[-1] - x[0]), 1e-300)
    mean_u, mean_y = total(u) / count, total(y) / count
    spread = np.maximum(total(u * u) / count - mean_u**2, 0.0)
    slope = (total(u * y) / count - mean_u * mean_y) / np.where(spread > 0, spread, 1.0)
    slope = np.where(spread > 1e-12 * mean_u**2, slope, 0.0)  # below, the sums have lost their digits
    return np.asarray(mean_y + slope * (u[place] - mean_u))
