"""A straight line through autocorrelated points, robust to single outliers, with errors that hold.

Ordinary least squares on winsorised points; the noise is taken for a first-order autoregression e_i = r e_(i-1) + u_i
(in the order of logging), whose r is estimated from the residuals. With X the (n, 2) design and W_ij = r^|i-j|

    cov = s^2 (X'X)^-1 X'W X (X'X)^-1,     s^2 = e'e / (n - tr[(Z'Z)^-1 Z'W Z])

where e are the residuals about a parabola, design Z (about the line itself below eight points): a bend of the stretch
is neither noise nor autocorrelation. The line is then the straight average of what is bent.

What an autoregression of first order misses is caught by Newey and West's sum over the prewhitened scores (Andrews and
Monahan 1992, Econometrica 60, 953; bandwidth 4 (n/100)^(2/9)), of which the larger counts. r is corrected for the bias
that the fit causes and is never taken below 0. Intervals are those of Student's t with as many
degrees as there are independent points, so that 1.28 standard errors hold 80 % also when points are few.
"""

import math
from dataclasses import dataclass

import numpy as np

from talweg.curve.normal import student_widening
from talweg.curve.points import Array, binned

MAX_POINTS = 256  # more are gathered into bins: the matrices below are n x n
CLIP = 4.0  # robust sd beyond which a point is pulled in. Our choice: touches 1 of 16,000 normal points
MAX_LAG1 = 0.98
FEW_LAG1 = 4.0  # n points show no lag above 1 - 4 / n: more is not told from a trend, and its error has no bound
BENT = 8  # points from which on the scatter is taken about a parabola, so that a bend does not pass for noise
MAD_TO_SD = 1.482602218505602


@dataclass(frozen=True)
class Line:
    """y = value + slope (x - at); the errors are widened for few points."""

    at: float
    value: float
    value_error: float
    slope: float
    slope_error: float
    bend_in_value: float  # root of what a significant bend adds to the squared error of value at the end of the stretch
    bend_in_slope: float  # and of slope, when that of the end of the stretch is meant
    lag1: float  # of the points or bins that were fitted
    num: int  # points before binning


def fit(x: Array, y: Array, at: float, *, max_points: int = MAX_POINTS) -> Line | None:
    """The line through (T,) finite points, its value at x = `at`. None below four points or without spread in x."""
    num = x.size
    x, y = binned(x, y, max_points)
    centre, offset = float(x.mean()) if num else 0.0, float(np.median(y)) if num else 0.0
    half = float(np.abs(x - centre).max()) if num else 0.0
    if num < 4 or half == 0.0:
        return None
    u, v = (x - centre) / half, y - offset
    design = np.column_stack([np.ones_like(u), u])
    noise_design = np.column_stack([design, u * u]) if u.size >= BENT else design
    v = _winsorised(noise_design, v)
    beta = _solve(design) @ (design.T @ v)
    residual = v - noise_design @ (_solve(noise_design) @ (noise_design.T @ v))
    lag1 = _lag1(residual, noise_design.shape[1])
    cov, freedom = _covariance(design, noise_design, residual, lag1)
    to = np.array([1.0, (at - centre) / half])
    widening = student_widening(freedom)
    bend = _bend(design, noise_design, v, cov)
    return Line(
        at=at,
        value=float(to @ beta) + offset,
        value_error=widening * math.sqrt(float(to @ cov @ to)),
        slope=float(beta[1]) / half,
        slope_error=widening * math.sqrt(float(cov[1, 1])) / half,
        bend_in_value=bend[0],
        bend_in_slope=bend[1] / half,
        lag1=lag1,
        num=num,
    )


def _solve(design: Array) -> Array:
    """(X'X)^-1, by pseudo-inverse: steps may coincide."""
    return np.asarray(np.linalg.pinv(design.T @ design))


def _winsorised(design: Array, v: Array) -> Array:
    """v with outliers pulled in to CLIP robust sd about the fit."""
    if v.size < 6:
        return v
    solve = _solve(design) @ design.T
    pulled = v
    for _ in range(3):
        fitted = design @ (solve @ pulled)
        sd = MAD_TO_SD * float(np.median(np.abs(v - fitted)))
        if sd == 0.0:
            return v
        pulled = fitted + np.clip(v - fitted, -CLIP * sd, CLIP * sd)
    return np.asarray(pulled)


def _lag1(residual: Array, num_fitted: int) -> float:
    """Correlation of neighbours, corrected for the bias -(k + (k + 2) r)/n of k fitted coefficients."""
    n, total = residual.size, float(residual @ residual)
    if n < 6 or total == 0.0:
        return 0.0
    raw = float(residual[1:] @ residual[:-1]) / total
    return min(max((raw + num_fitted / n) / (1 - (num_fitted + 2) / n), 0.0), MAX_LAG1, 1 - FEW_LAG1 / n)


def _covariance(design: Array, noise_design: Array, residual: Array, lag1: float) -> tuple[Array, float]:
    """Covariance of the line's two coefficients, and the degrees of freedom."""
    n, fitted = residual.size, noise_design.shape[1]
    place = np.arange(n)
    correlation = lag1 ** np.abs(place[:, None] - place[None, :]) if lag1 else np.eye(n)
    spent = float(np.trace(_solve(noise_design) @ (noise_design.T @ correlation @ noise_design)))
    scale = n / (n - min(spent, n - 1.0))
    inverse = _solve(design)
    middle = float(residual @ residual) / n * (design.T @ correlation @ design)
    regressive = scale * inverse @ middle @ inverse
    free = scale * inverse @ _newey_west(design * residual[:, None], lag1) @ inverse
    larger = np.sqrt(np.maximum(np.diag(free) / np.maximum(np.diag(regressive), 1e-300), 1.0))
    return regressive * np.outer(larger, larger), n * (1 - lag1) / (1 + lag1) - fitted


def _bend(design: Array, noise_design: Array, v: Array, cov: Array) -> tuple[float, float]:
    """How far the parabola's value and slope (per u) at the end lie off the line's, less what noise gives."""
    if noise_design.shape[1] == 2:
        return 0.0, 0.0
    end = design[-1, 1]
    line, parabola = _solve(design) @ (design.T @ v), _solve(noise_design) @ (noise_design.T @ v)
    value = abs(float(np.array([1.0, end, end**2]) @ parabola - design[-1] @ line))
    slope = abs(float(parabola[1] + 2 * end * parabola[2] - line[1]))
    # of evenly spaced points these differences have 3.87 and 1.29 times the error of the line's slope per u
    error = math.sqrt(float(cov[1, 1]))
    return math.sqrt(max(value**2 - (1.29 * error) ** 2, 0.0)), math.sqrt(max(slope**2 - (3.87 * error) ** 2, 0.0))


def _newey_west(score: Array, lag1: float) -> Array:
    """Long-run sum of products of the scores (n, 2), prewhitened by lag1 and recoloured."""
    white = score[1:] - lag1 * score[:-1]
    n = white.shape[0]
    total = white.T @ white
    bandwidth = int(4 * (n / 100) ** (2 / 9))
    for lag in range(1, min(bandwidth, n - 1) + 1):
        product = white[lag:].T @ white[:-lag]
        total += (1 - lag / (bandwidth + 1)) * (product + product.T)
    return np.asarray(total / (1 - lag1) ** 2)
