"""The slope of a curve at its end, and how far back a straight line describes it.

The present slope is a local thing: a power law bends, a cosine bends, a decay of the learning rate makes a corner. The
tail is found in two moves. First the longest window, up to the last point, that a parabola in log(step) or in step
describes: the means of its pieces scatter about it no more than the noise lets them. Then the longest part of that
window in which a line's slope is off the parabola's slope at the end by less than BIAS of the line's own error, where
the parabola's bend counts with its uncertainty: a bend that the noise could hide is treated as if it were there.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve import line
from talweg.curve.noise import noise
from talweg.curve.points import Array, binned, finite
from talweg.curve.smooth import without_outliers

FEWEST = 5  # points of a tail, where the curve has them: fewer leave the noise itself unknown
INDEPENDENT = 5.0  # and independent points of it
BIAS = 0.4  # of the standard error. Calibrated with the next two: coverage in tests/curve/test_trend.py
UNSURE = 1.0  # standard errors by which the bend may be larger than it looks
SHARE = 0.65  # of the longest window that a parabola describes: the last third gained is where it begins to fail
MISFIT = 1.5  # sd of chi squared by which the pieces may scatter more than noise does
PIECES = 10
SHORTER = 0.85  # from one window to the next
BINS = 1024


@dataclass(frozen=True)
class Trend:
    """slope in the unit of the curve per step."""

    slope: float
    standard_error: float
    num: int


def trend(step: ArrayLike, value: ArrayLike) -> Trend | None:
    """Slope of a line through the whole stretch given, robust to single outliers. None below four points.

    The error allows for autocorrelation and, by Student's t, for few points: 1.28 of it hold 80 %. A bend of the
    stretch is not allowed for: `at_end` gives the slope now. Formula: see `talweg.curve.line`.
    """
    x, y = finite(step, value)
    found = line.fit(x, y, x[-1]) if x.size else None
    return None if found is None else Trend(found.slope, found.slope_error, found.num)


def at_end(step: ArrayLike, value: ArrayLike) -> Trend | None:
    """The slope now: of the line through the tail. None below four points.

    Where even the shortest tail is bent by more than noise, the bend is added to the error.

    Measured: nominal 80 % intervals hold 88 % (median over power laws, lines, cosines and decays of the rate, 30 to
    2,000 points, noise of correlation 0 to 0.9). The worst are 34 %, ten independent points of a cosine just ending,
    and 42 %, thirty evaluations of such a cosine.
    """
    x, y = finite(step, value)
    part = tail(x, y)
    found = line.fit(x[part], y[part], float(x[-1])) if x.size else None
    if found is None:
        return None
    return Trend(found.slope, math.hypot(found.slope_error, found.bend_in_slope), found.num)


def tail(step: ArrayLike, value: ArrayLike) -> slice:
    """The last stretch, as a slice into the arrays given, over which a line is honest: a bend is small against noise.

    At least five points, and five independent ones, of those there are.
    """
    values = np.asarray(value, dtype=np.float64)
    kept = np.flatnonzero(np.isfinite(values) & np.isfinite(np.asarray(step, dtype=np.float64)))
    if kept.size <= FEWEST:
        return slice(int(kept[0]) if kept.size else 0, values.size)
    x, y = finite(step, value)
    return slice(int(kept[-_length(x, y)]), values.size)


def _length(x: Array, y: Array) -> int:
    """Number of points of the tail of (T,) finite points, T > FEWEST."""
    width = -(-x.size // BINS)
    bx, by = binned(x, y, BINS)
    scatter = noise(bx, by)
    if scatter is None:
        return x.size
    if scatter.sd == 0:  # a curve that stands still, as at learning rate 0: what was before is no part of its end
        return min(FEWEST * width, x.size)
    inflation = bx.size / scatter.num_effective
    least = min(math.ceil(max(FEWEST, INDEPENDENT * inflation)), bx.size)
    error = scatter.sd * math.sqrt(inflation)
    parabola = _parabola(bx, without_outliers(by - by[-1]), error, least)
    longest = least if parabola is None else _nearly_straight(bx, parabola, error, least)
    return min(longest * width, x.size)


@dataclass(frozen=True, eq=False)
class _Parabola:
    """coefficients of 1, u, u^2 and their covariance; u = (axis - axis[-1]) over the last `num` points."""

    num: int
    u: Array  # (num,)
    per_step: float  # du/dstep at the last point
    coefficients: Array
    covariance: Array


def _parabola(x: Array, y: Array, error: float, least: int) -> _Parabola | None:
    """Of SHARE of the longest window that one describes; None when none does."""
    size = float(x.size)
    while size >= least:
        for axis, per_step in _axes(x[-int(size) :]):
            _, misfit = _fit(axis, per_step, y[-axis.size :], error)
            if misfit < MISFIT:
                num = max(int(SHARE * axis.size), least)
                return _fit(axis[-num:], per_step, y[-num:], error)[0]
        size *= SHORTER
    return None


def _axes(x: Array) -> list[tuple[Array, float]]:
    """(u, du/dx at the end) for u straight and logarithmic in x, 0 at the last point and -1 at the first."""
    raw = [(x, 1.0)] if x[0] <= 0 else [(np.log(x), 1 / float(x[-1])), (x, 1.0)]
    widths = [float(axis[-1] - axis[0]) for axis, _ in raw]
    return [((axis - axis[-1]) / w, slope / w) for (axis, slope), w in zip(raw, widths, strict=True) if w > 0]


def _fit(u: Array, per_step: float, y: Array, error: float) -> tuple[_Parabola, float]:
    """Least squares, and by how many of its sd chi squared of the pieces' means lies above what noise gives."""
    design = np.column_stack([np.ones_like(u), u, u * u])
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ (design.T @ y)
    residual = y - design @ coefficients
    pieces = min(PIECES, u.size // 2)
    edges = np.linspace(0, u.size, pieces + 1).astype(int)
    total = np.add.reduceat(residual, edges[:-1])
    squared = float((total**2 / np.diff(edges)).sum()) / error**2
    freedom = max(pieces - 3, 1)
    found = _Parabola(u.size, u, per_step, coefficients, error**2 * inverse)
    return found, (squared - freedom) / math.sqrt(2 * freedom)


def _nearly_straight(x: Array, p: _Parabola, error: float, least: int) -> int:
    """The largest number of last points whose line has the parabola's slope at the end, within its own error."""
    size = float(p.num)
    while size > least:
        num = int(size)
        u, v = p.u[-num:], x[-num:] - x[-num:].mean()
        spread = float(v @ v)
        off = np.array([0.0, float(v @ u) / spread - p.per_step, float(v @ u**2) / spread])
        bias = abs(float(off @ p.coefficients)) + UNSURE * math.sqrt(float(off @ p.covariance @ off))
        if bias <= BIAS * error / math.sqrt(spread):
            return num
        size *= SHORTER
    return least
