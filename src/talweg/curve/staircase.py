"""A staircase: the training loss drops where each pass over the text begins, for what was read before is remembered.

Where passes are P steps long, the curve about the beginning of each is a line plus a step,

    y(s) = a_k + b_k s + d_k [s > k P],    s within P / 2 of k P, k = 1, 2, ...

fitted one by one; d is their mean, weighted by their errors (which allow for autocorrelation). A staircase is one whose
d is far below 0, in most passes, where no other phase of the period has anything like it, and most of which passes
between close neighbours: a smooth fall has no phase and no edge.
"""

import math
from dataclasses import dataclass

import numpy as np

from talweg.curve.normal import cumulative, quantile_of_tail, student_tail
from talweg.curve.points import Array, binned, finite
from talweg.curve.seam import last_coefficient
from talweg.curve.smooth import without_outliers

FEWEST = 8  # points on either side of a beginning
BINS = 512  # that the curve is gathered into
PHASES = 8  # of the period that the beginning is compared with
OUTSTANDING = 0.5  # of the beginning's z that no phase far from it may reach. Our choice
EDGE = 0.15  # of the period beside the beginning, in which most of the drop is seen already
SHARE_AT_EDGE = 0.5  # of the drop. Our choice
PASSES = (3.0, 12.0)  # in the log, where the period is searched for; fewer beginnings are no pattern
PERIODS = 120  # that are tried
AS_GOOD = 0.8  # of the lowest z: a part of that period that reaches it is the period. Our choice
FREEDOM = 6.0  # of the sum over beginnings, over its error: few windows, errors estimated in each. Our choice


@dataclass(frozen=True)
class Staircase:
    """size: of one drop, positive, in the unit of the curve; significance in normal sd, the search allowed for."""

    period: float  # steps
    first_step: float  # where the second pass begins
    last_step: float  # where the last begins
    num: int  # beginnings of a pass
    size: float
    significance: float


def staircase(step: Array, value: Array, period: float | None = None, least: float = 3.0) -> Staircase | None:
    """The staircase of this period, or where none is given, of the period that shows one best. None where none is."""
    x, y = finite(step, value)
    if x.size < 4 * FEWEST:
        return None
    x, y = binned(x, without_outliers(y), BINS)
    end = float(x[-1])
    if period is not None:
        return _judged(x, y, period, 1, least) if 0 < period < end else None
    best, lowest = 0.0, 0.0
    for tried in np.geomspace(end / PASSES[1], end / PASSES[0], PERIODS).tolist():
        z, _, num = _steps(x, y, tried, 0.0)
        if num >= 2 and z < lowest:
            best, lowest = tried, z
    if not best or _chance(lowest, PERIODS) > cumulative(-least):
        return None
    for parts in (3, 2, 1):  # several passes together begin where passes do, too
        z, shortest = _best_near(x, y, best / parts)
        if z < AS_GOOD * lowest:
            return _judged(x, y, shortest, PERIODS, least)
    return None


def _best_near(x: Array, y: Array, period: float) -> tuple[float, float]:
    """The lowest z within one of the periods tried, and its period."""
    width = math.log(PASSES[1] / PASSES[0]) / PERIODS
    fine = [period * math.exp(width * k / 8) for k in range(-8, 9)]
    return min((_steps(x, y, tried, 0.0)[0], tried) for tried in fine)


def _chance(z: float, searched: int) -> float:
    return min(0.5, searched * student_tail(abs(z), FREEDOM)) if z < 0 else 0.5


def _judged(x: Array, y: Array, period: float, searched: int, least: float) -> Staircase | None:
    z, size, num = _steps(x, y, period, 0.0)
    chance = _chance(z, searched)
    if num < 1 or chance > cumulative(-least):
        return None
    others = [_steps(x, y, period, k / PHASES)[0] for k in range(2, PHASES - 1)]
    if min(others) < OUTSTANDING * z or not _edged(x, y, period, size):
        return None
    begins = _begins(x, period, 0.0)
    return Staircase(period, begins[0], begins[-1], num, -size, quantile_of_tail(max(chance, 1e-300)))


def _begins(x: Array, period: float, phase: float) -> list[float]:
    """Beginnings with enough points on either side."""
    places = (np.arange(0 if phase else 1, int(x[-1] / period) + 1) + phase) * period
    kept = []
    for at in places.tolist():
        before = int(np.searchsorted(x, at)) - int(np.searchsorted(x, at - period / 2))
        after = int(np.searchsorted(x, at + period / 2)) - int(np.searchsorted(x, at))
        if min(before, after) >= FEWEST:
            kept.append(at)
    return kept


def _steps(x: Array, y: Array, period: float, phase: float) -> tuple[float, float, int]:
    """z and size of the mean step at the beginnings, and their number; z is 0 where most do not go down."""
    found = []
    for at in _begins(x, period, phase):
        part = slice(int(np.searchsorted(x, at - period / 2)), int(np.searchsorted(x, at + period / 2)))
        u = (x[part] - at) / period
        design = np.column_stack([np.ones_like(u), u, (u > 0).astype(np.float64)])
        found.append(last_coefficient(design, y[part]))
    found = [(size, error) for size, error in found if error > 0]
    if not found:
        return 0.0, 0.0, 0
    sizes, errors = (np.array(column) for column in zip(*found, strict=True))
    weight = 1 / errors**2
    size, z = float((weight * sizes).sum() / weight.sum()), float((weight * sizes).sum() / math.sqrt(weight.sum()))
    down = int((sizes < 0.25 * size).sum()) if size < 0 else 0
    return (z if 4 * down >= 3 * len(found) else 0.0), size, len(found)


def _edged(x: Array, y: Array, period: float, size: float) -> bool:
    """Whether the means close before and after the beginnings differ by most of the drop."""
    drops = []
    for at in _begins(x, period, 0.0):
        before = y[(x >= at - EDGE * period) & (x < at)]
        after = y[(x > at) & (x <= at + EDGE * period)]
        if before.size and after.size:
            drops.append(float(before.mean() - after.mean()))
    return bool(drops) and float(np.median(drops)) > SHARE_AT_EDGE * -size
