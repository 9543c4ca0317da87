"""What happens to a curve at one given step: a jump that decays, and what of it stays.

About the step `at` the curve is followed by a parabola in log(step), plus a transient that begins there:

    y(s) = a + b u + c u^2 + J exp(-(s - at) / tau) [s > at],      u = log(s / at)

Windows of REACH tau to either side, so that the trend is that of the neighbourhood; tau on a grid of doublings, and of
these the J that is most significant. What stays is the offset between both sides once the transient is over: the same
parabola plus a step, the points within GONE tau after `at` left out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve.points import Array, finite

REACH = 8.0  # tau to either side
FEWEST = 8  # points on either side
GONE = 4.0  # tau after which exp(-4) = 2 % of the transient is left
SHORTEST = 1.5  # spacings of the log: a shorter transient is one point, which is no more than an outlier
EARLIEST = 0.4  # of `at`: what lies before is another part of the curve. Our choice
LONGEST = 0.15  # of `at`: a longer transient is not told from the curve's own bends. Our choice
AT_ONCE, AT_ONCE_SURE = 0.5, 2.5  # share of what a jump would show in the first half tau, and its standard errors
BOUND = 1.96  # standard errors above the jump found, or above 0
MAX_LAG1 = 0.95


@dataclass(frozen=True)
class Seam:
    """jump, its error and stays in the unit of the curve; the errors allow for autocorrelation."""

    at: float
    jump: float  # J, positive upward
    error: float  # its standard error
    sigma_of_rest: float  # J / error with the first point after the seam left out; 0 where the sign is another
    at_once: bool  # the jump is seen in the first half tau
    decay_steps: float  # tau
    stays: float  # offset of the curve after the transient; nan where too little follows
    stays_error: float
    bound: float  # no jump upward that lasts is larger than this (one-sided 97.5 %); see `lasting`
    spacing: float  # steps between points after the seam
    num_after: int

    @property
    def sigma(self) -> float:
        """Standard errors of the jump, with its first point or without, whichever are fewer; 0 for a bend."""
        if self.error <= 0 or not self.at_once:
            return 0.0
        return min(abs(self.jump) / self.error, self.sigma_of_rest)

    @property
    def area(self) -> float:
        """Integral of the transient: unit of the curve times steps."""
        return self.jump * self.decay_steps


def seam(step: ArrayLike, value: ArrayLike, at: float, *, until: float = math.inf, lasting: float = 0.0) -> Seam | None:
    """The most significant transient that begins at step `at` (> 0), in the points up to `until`.

    lasting: steps; the bound is that of transients with a tau of at least this, where the curve is long enough.
    None with fewer than eight points on either side.
    """
    x, y = finite(step, value)
    keep = (x >= EARLIEST * at) & (x <= until) & (x > 0)
    x, y = x[keep], y[keep]
    after = x > at
    if at <= 0 or int(after.sum()) < FEWEST or int((~after).sum()) < FEWEST:
        return None
    spacing = float(np.median(np.diff(x[after][: 4 * FEWEST])))
    found, bound = None, 0.0
    lengths = _lengths(spacing, min(float(x[-1] - at) / 2, LONGEST * at))
    for tau in lengths:
        part = _window(x, at, tau, spacing)
        fitted = _transient(x[part], y[part], at, tau)
        if fitted is None:
            continue
        jump, error, rest = fitted
        if tau >= min(lasting, lengths[-1]):
            bound = max(bound, max(jump, 0.0) + BOUND * error)
        if found is None or abs(jump) * found[1] > abs(found[0]) * error:
            found = (jump, error, rest, tau)
    if found is None:
        return None
    jump, error, rest, tau = found
    stays, stays_error = _stays(x, y, at, tau, spacing)
    seen = _at_once(x, y, at, tau, jump)
    return Seam(at, jump, error, rest, seen, tau, stays, stays_error, bound, spacing, int(after.sum()))


def _lengths(spacing: float, longest: float) -> list[float]:
    shortest = SHORTEST * spacing
    return [shortest * 2**k for k in range(12) if shortest * 2**k <= max(longest, shortest)]


def _window(x: Array, at: float, tau: float, spacing: float) -> Array:
    reach = max(REACH * tau, (FEWEST + 0.5) * spacing)
    return np.asarray((x >= at - reach) & (x <= at + reach))


def _trend(x: Array, at: float) -> Array:
    """(T, 3) a parabola in log(step), scaled to the window."""
    u = np.log(x / at)
    u = u / max(float(np.abs(u).max()), 1e-12)
    return np.column_stack([np.ones_like(u), u, u * u])


def _transient(x: Array, y: Array, at: float, tau: float) -> tuple[float, float, float] | None:
    """J, its standard error, and J over its error with the first point after the seam left out."""
    late = x > at
    if int(late.sum()) < FEWEST // 2 or int((~late).sum()) < FEWEST // 2 or x.size < FEWEST:
        return None
    design = np.column_stack([_trend(x, at), np.where(late, np.exp(-(x - at) / tau), 0.0)])
    jump, error = last_coefficient(design, y)
    rest = np.ones(x.size, dtype=bool)
    rest[int(np.argmax(late))] = False
    again, again_error = last_coefficient(design[rest], y[rest])
    same_sign = again * jump > 0
    return jump, error, abs(again) / again_error if same_sign and again_error > 0 else 0.0


def _at_once(x: Array, y: Array, at: float, tau: float, jump: float) -> bool:
    """Whether the means of half a tau before and after differ as such a jump makes them."""
    cut = int(np.searchsorted(x, at, side="right"))
    num = max(3, int(np.searchsorted(x, at + tau / 2, side="right")) - cut)
    before, after = y[max(0, cut - num) : cut], y[cut : cut + num]
    share = float(x[cut + after.size - 1] - at) / tau
    contrast = math.copysign(1.0, jump) * float(after.mean() - before.mean())
    expected = abs(jump) * (1 - math.exp(-share)) / share
    error = math.hypot(*(float(part.std(ddof=1)) / math.sqrt(part.size) for part in (before, after)))
    return contrast > max(AT_ONCE * expected, AT_ONCE_SURE * error)


def _stays(x: Array, y: Array, at: float, tau: float, spacing: float) -> tuple[float, float]:
    """Offset after the transient and its error; nan where too few points follow it."""
    reach = max(2 * REACH * tau, 4 * FEWEST * spacing)
    part = ((x >= at - reach) & (x <= at)) | ((x > at + GONE * tau) & (x <= at + GONE * tau + reach))
    late = x[part] > at
    if int(late.sum()) < FEWEST or int((~late).sum()) < FEWEST:
        return math.nan, math.nan
    return last_coefficient(np.column_stack([_trend(x[part], at), late]), y[part])


def last_coefficient(design: Array, y: Array) -> tuple[float, float]:
    """The last column's, by least squares; the error allows for the correlation of neighbours, if that widens it."""
    centred = y - np.median(y)
    inverse = np.linalg.pinv(design.T @ design)
    beta = inverse @ (design.T @ centred)
    residual = centred - design @ beta
    freedom = max(y.size - design.shape[1], 1)
    total = float(residual @ residual)
    lag1 = float(residual[1:] @ residual[:-1]) / total + design.shape[1] / y.size if total > 0 else 0.0
    lag1 = min(max(lag1, 0.0), MAX_LAG1)
    variance = total / freedom * float(inverse[-1, -1]) * (1 + lag1) / (1 - lag1)
    return float(beta[-1]), math.sqrt(max(variance, 0.0))
