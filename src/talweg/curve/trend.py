"""The slope of a curve at its end, and the stretch over which a line describes it.

Errors allow for autocorrelation: residuals are taken as AR(1) with the correlation rho measured on them (corrected for
the bias of a short series, Marriott and Pope 1954), which multiplies the variance of a mean or slope by
(1 + rho) / (1 - rho).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the last step: candidate beginnings of the tail, longest first
FEWEST = 8  # points of a tail, where the curve has them
BENT = 2.0  # standard errors of the quadratic term from which on a stretch is bent. Two-sided 5 %
MOST_POINTS = 2000  # a longer stretch is averaged down to this many means first
RHO_LIMIT = 0.95  # a measured correlation above it cannot be told from a trend


@dataclass(frozen=True)
class Trend:
    """slope in the unit of the curve per step."""

    slope: float
    standard_error: float
    num: int


@dataclass(frozen=True)
class Line:
    """A least-squares line with errors that allow for autocorrelation."""

    slope: float
    slope_error: float
    at_end: float
    error_at_end: float
    curvature_t: float  # the quadratic term in its standard errors


def trend(step: Array, value: Array) -> Trend | None:
    """The slope of a line through the whole stretch given. None below 4 points. (T,), (T,)"""
    s, v = finite(step, value)
    if s.size < 4 or s[-1] <= s[0]:
        return None
    fitted = line(s, v)
    return Trend(fitted.slope, fitted.slope_error, int(s.size))


def tail(step: Array, value: Array) -> slice:
    """The longest of the stretches from SHARES of the last step to the end whose curvature is lost in noise."""
    s, v = finite(step, value)
    keep = np.flatnonzero(np.isfinite(np.asarray(value, dtype=np.float64)))
    if s.size <= FEWEST:
        return slice(int(keep[0]) if keep.size else 0, None)
    for share in SHARES:
        first = int(np.searchsorted(s, share * s[-1]))
        if s.size - first < FEWEST:
            break
        if abs(line(s[first:], v[first:]).curvature_t) < BENT:
            return slice(int(keep[first]), None)
    return slice(int(keep[-FEWEST]), None)


def line(step: Array, value: Array) -> Line:
    """Fit a line and, for its bend, a parabola. Needs 4 points, finite."""
    s, v = thinned(step, value)
    n = s.size
    x = (s - s.mean()) / max(float(s[-1] - s[0]), 1e-300)
    sxx = float(x @ x)
    slope = float(x @ v) / sxx
    residual = v - v.mean() - slope * x
    factor = correlation_factor(residual, 2)
    variance = float(residual @ residual) / (n - 2) * factor
    square = x * x - (x * x).mean() - (x**3).sum() / sxx * x
    bend = float(square @ v) / max(float(square @ square), 1e-300)
    rest = residual - bend * square
    bend_error = math.sqrt(float(rest @ rest) / max(n - 3, 1) * factor / max(float(square @ square), 1e-300))
    width = float(s[-1] - s[0])
    return Line(
        slope=slope / width,
        slope_error=math.sqrt(variance / sxx) / width,
        at_end=float(v.mean() + slope * x[-1]),
        error_at_end=math.sqrt(variance * (1 / n + float(x[-1]) ** 2 / sxx)),
        curvature_t=bend / bend_error if bend_error > 0 else 0.0,
    )


def correlation_factor(residual: Array, num_fitted: int) -> float:
    """(1 + rho) / (1 - rho), rho the lag-1 correlation of the residuals, never below 1."""
    n = residual.size
    total = float(residual @ residual)
    if total <= 0 or n < 6:
        return 1.0
    raw = float(residual[1:] @ residual[:-1]) / total
    rho = min(max(raw + (num_fitted + 3 * raw) / n, 0.0), RHO_LIMIT)
    return (1 + rho) / (1 - rho)


def thinned(step: Array, value: Array) -> tuple[Array, Array]:
    """Means of equal numbers of neighbours, at most MOST_POINTS of them."""
    size = -(-step.size // MOST_POINTS)
    if size == 1:
        return step, value
    whole = step.size // size * size
    return step[-whole:].reshape(-1, size).mean(axis=1), value[-whole:].reshape(-1, size).mean(axis=1)


def finite(step: Array, value: Array) -> tuple[Array, Array]:
    """The points whose step and value are finite. (T,), (T,)"""
    s, v = np.asarray(step, dtype=np.float64), np.asarray(value, dtype=np.float64)
    keep = np.isfinite(s) & np.isfinite(v)
    return s[keep], v[keep]
