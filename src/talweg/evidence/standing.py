"""Whether the loss still falls: the test against the fitted curve that knows the schedule."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from talweg.curve import trend as curve_trend
from talweg.estimate import Estimate
from talweg.evidence.fitted import fit, gain_prior
from talweg.evidence.levels import judged, tail_trend, trend
from talweg.evidence.norm import at_frequencies
from talweg.evidence.plan import rate_at, still_warming
from talweg.laws import stopped as law_stopped
from talweg.run import Run, Series

Course = Literal["falling", "flat", "rising", "too_short"]
SURE = 2.0  # standard errors of a trend that is called a fall
SURE_RISE = 2.33  # and of one that is called a rise, an alarm: one in a hundred flat curves exceeds it
# And of one in a window that was chosen among about ten for what it shows: one in a thousand each, so that again one in
# a hundred flat curves has one (Bonferroni).
SURE_CHOSEN = 3.09
TAIL_SURE = 3.0  # standard errors, of a fall that only the longer tail shows: under 1 % of plateaus. Our choice
STOPPED = 2.0  # standard errors of the missing share of a fall. Our choice, with its rates of error: notes/stalled.md
MISSING = 0.5  # of the expected fall
STILL = 1e-5  # of the peak rate: below it weights do not move by anything that a loss shows
FEW = 3  # evaluations at such a rate


@dataclass(frozen=True)
class Standing:
    state: Course
    because: str


@lru_cache(maxsize=32)
def standing(run: Run) -> Standing | None:
    """Whether the judged loss falls, is flat or rises at the end of the log. None where no trend can be told."""
    now = trend(run)
    if now is None or judged(run) is None:
        return None
    if (still := _at_rate_zero(run)) is not None:
        return still
    if now.value > SURE_RISE * now.sd:
        return Standing("rising", _pace(now))
    if (risen := _risen(run)) is not None:
        return Standing("rising", f"{_pace(risen)} over the stretch in which a fall was expected")
    stop = stopped(run)
    if stop is not None:
        return Standing("flat", _told(stop))
    if now.value < -SURE * now.sd:
        return Standing("falling", _pace(now))
    tail, found = tail_trend(run), fit(run)
    if tail is not None and tail.value < -TAIL_SURE * tail.sd and _agree(tail, now):
        return Standing(
            "falling", f"{_pace(tail)} by a power law over the last third; the last stretch alone cannot tell"
        )
    if at_frequencies(run) is not None:
        return (
            Standing("too_short", "the learning rate is still rising") if still_warming(run) else Standing("flat", "")
        )
    if found is not None and found.trend.value < -SURE * found.trend.sd and _agree(found.trend, now):
        return Standing(
            "falling", f"{_pace(found.trend)} by the law fitted to the whole curve; the last stretch alone cannot tell"
        )
    return Standing("flat", _pace(now))


@lru_cache(maxsize=32)
def _windows(run: Run) -> tuple[law_stopped.Stopped, ...]:
    found, j = fit(run), judged(run)
    if found is None or j is None:
        return ()
    return law_stopped.windows(j.loss.step, j.loss.value, found.path, gain_prior=gain_prior(run))


@lru_cache(maxsize=32)
def stopped(run: Run) -> law_stopped.Stopped | None:
    """The last stretch in which the fall that was expected is missing. None where it is not, or none was expected."""
    j = judged(run)
    return None if j is None else next((w for w in _windows(run) if _has_stopped(j.loss, w)), None)


def _risen(run: Run) -> Estimate | None:
    """The slope of the stretch that tells most of a stop, nats per 1,000 steps, where it is a rise."""
    j, windows = judged(run), _windows(run)
    if j is None or not windows or windows[0].z <= STOPPED or windows[0].missing <= 1:
        return None
    late = j.loss.between(windows[0].first_step, math.inf)
    line = curve_trend.trend(late.step, late.value)
    if line is None or line.slope <= SURE_CHOSEN * line.standard_error:
        return None
    return Estimate.normal(1000 * line.slope, 1000 * line.standard_error)


def _has_stopped(loss: Series, stop: law_stopped.Stopped) -> bool:
    """The fall is missing, no more and no less than it; or the window is level by a line that knows of no law."""
    if stop.z <= STOPPED or stop.missing <= MISSING:
        return False
    if abs(1 - stop.missing) < SURE * stop.left_error:
        return True
    late = loss.between(stop.first_step, math.inf)
    line = curve_trend.trend(late.step, late.value)
    return line is not None and abs(line.slope) < SURE * line.standard_error


def _told(stop: law_stopped.Stopped) -> str:
    return (
        f"over the last {stop.num} values, from step {stop.first_step:,.0f}, {stop.missing:.0%} "
        f"(+-{1.2816 * stop.error:.0%}) of the {stop.expected:.4f} nats that the curve before them and the rate "
        "let expect are missing"
    )


def _at_rate_zero(run: Run) -> Standing | None:
    """What is said of the evaluations since the learning rate is 0."""
    j = judged(run)
    if j is None or (rates := rate_at(run, j.loss.step)) is None or float(rates.max()) <= 0:
        return None
    moving = np.flatnonzero(rates > STILL * rates.max())
    since = int(moving[-1]) + 1
    num = len(j.loss) - since
    if num < FEW:
        return None
    late = j.loss.between(float(j.loss.step[since]), math.inf)
    found = curve_trend.trend(late.step, late.value)
    if found is not None and abs(found.slope) > SURE_RISE * found.standard_error:
        return None
    return Standing("flat", f"the learning rate is 0 since step {late.step[0]:,.0f}: the weights no longer move")


def _agree(one: Estimate, other: Estimate) -> bool:
    return abs(one.value - other.value) < SURE * math.hypot(one.sd, other.sd)


def _pace(trend: Estimate) -> str:
    return f"{trend.value:+.4f} nats per 1,000 steps ({trend.low:+.4f} to {trend.high:+.4f})"
