"""A level that changes at one given step, at once and for good, while the curve goes on as it did.

About the step `at` the curve is followed by a line in log(step), and by a parabola where there are points enough:

    y(s) = a + b u (+ c u^2) + D [s > at] + J [s > at] exp(-(s - at) / tau),     u = log(s / at)

D is the offset. J, with tau a sixth and a half of what follows, tells a jump that decays, or a change that takes its
time: then it is no offset. So do the first values after `at`, where they lie between the two levels.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.curve.points import Array, finite
from talweg.curve.seam import last_coefficient

REACH = 0.4  # of `at`, to either side. Our choice: a stretch that a parabola in log(step) follows
FEWEST = 4  # points on either side
PARABOLA = 10  # points on either side from which on a bend is followed too
FIRST = 3  # values after the change that must lie on the new level. Our choice
TAUS = (1 / 6, 1 / 2)  # of the steps that follow: what decays within them
STEADY = 0.35  # of D: J, or what the first values lack of D, beyond 2 of its errors. Our choice
SURE = 2.0


@dataclass(frozen=True)
class Offset:
    """size and error in the unit of the curve; steady: the change was at once, and stays."""

    size: float
    error: float
    steady: bool
    num_after: int


def offset(step: ArrayLike, value: ArrayLike, at: float, *, until: float = math.inf) -> Offset | None:
    """The change of level at step `at` (> 0), from the points up to `until`. None with fewer than four either side.

    A point at `at` itself may be of either side, and is left out.
    """
    x, y = finite(step, value)
    keep = (x >= (1 - REACH) * at) & (x <= min((1 + REACH) * at, until)) & (x > 0) & (x != at)
    x, y = x[keep], y[keep]
    late = x > at
    num = min(int(late.sum()), int((~late).sum()))
    if at <= 0 or num < FEWEST:
        return None
    u = np.log(x / at)
    trend = [np.ones_like(u), u, *([u * u] if num >= PARABOLA else [])]
    design = np.column_stack([*trend, late.astype(np.float64)])
    size, error = last_coefficient(design, y)
    if num < PARABOLA:
        return Offset(size, error, True, int(late.sum()))
    allowed = STEADY * abs(size)
    lacks, lacks_error = _first_values(y, design, late)
    steady = abs(lacks) < allowed + SURE * lacks_error
    for share in TAUS:
        tau = share * float(x[-1] - at)
        fading = np.where(late, np.exp(-np.maximum(x - at, 0.0) / tau), 0.0)
        jump, jump_error = last_coefficient(np.column_stack([design, fading]), y)
        steady = steady and abs(jump) < allowed + SURE * jump_error
    return Offset(size, error, steady, int(late.sum()))


def _first_values(y: Array, design: Array, late: NDArray[np.bool_]) -> tuple[float, float]:
    """How far the first values after the change lie from where the fit has them; standard error."""
    residual = y - design @ (np.linalg.pinv(design) @ y)
    first = residual[late][:FIRST]
    return float(first.mean()), float(residual.std(ddof=design.shape[1])) / math.sqrt(first.size)
