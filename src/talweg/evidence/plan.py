"""The plan of a run: where it ends, and the learning rate at any step of it."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.run import Run
from talweg.schedule import Schedule

Array = NDArray[np.float64]
BEGINS_LATE = 0.05  # of the plan: a first logged rate beyond is no first rate. Our choice


@lru_cache(maxsize=32)
def horizon(run: Run) -> float | None:
    """The step at which the plan ends: as configured, but never before the last logged step. None when nobody said, or
    when the plan counts updates and the log does not."""
    if run.facts.step_unit is not None:
        return None
    planned = run.facts.planned_steps
    if planned is None:
        planned = run.facts.decay_end_step
    if planned is None:
        return None
    return float(max(planned, run.last_step or 0))


def rate_at(run: Run, step: ArrayLike, beyond: Schedule | None = None) -> Array | None:
    """The learning rate of the update after each of these steps. None when neither log nor configuration tells.

    Within the logged stretch the logged column wins. After it comes `beyond` (else the configured schedule, else the
    last logged rate is held); before it the rate is taken to rise linearly from 0, but for a log that begins late.
    """
    s = np.asarray(step, dtype=np.float64)
    logged = run.learning_rate.finite
    planned = beyond or run.planned_schedule
    last = run.last_step or 0.0
    if not logged:
        if run.planned_schedule is None:
            return None
        past = run.planned_schedule.at(s)
        return past if beyond is None else np.where(s <= last, past, beyond.at(s))
    steps, rates = logged.step, logged.value
    if begins_late(run) and run.planned_schedule is not None:
        early = np.linspace(0.0, steps[0], 200, endpoint=False)
        steps, rates = np.append(early, steps), np.append(run.planned_schedule.at(early), rates)
    elif steps[0] > 0:
        steps, rates = np.append(0.0, steps), np.append(0.0, rates)
    inside = np.interp(s, steps, rates)
    return inside if planned is None else np.where(s <= steps[-1], inside, planned.at(s))


@lru_cache(maxsize=32)
def begins_late(run: Run) -> bool:
    """Whether the log begins so far within the run that its first rate is none of a warm-up."""
    logged, end = run.learning_rate.finite, horizon(run) or run.last_step
    return bool(logged) and end is not None and float(logged.step[0]) > BEGINS_LATE * end


@lru_cache(maxsize=32)
def still_warming(run: Run) -> bool:
    """Whether the rate has yet to reach the highest value of its plan."""
    last, end = run.last_step or 0.0, horizon(run) or run.last_step or 0.0
    steps = np.linspace(0.0, max(end, 1.0), 2000)
    rates, now = rate_at(run, steps), rate_at(run, last)
    if rates is None or now is None:
        return False
    return last < float(steps[int(np.argmax(rates))]) and float(now) < 0.99 * float(rates.max())


@lru_cache(maxsize=32)
def peak_rate(run: Run) -> float | None:
    """The highest learning rate of the run so far: of the log, else of the configuration."""
    logged, stated = run.learning_rate.finite, run.facts.peak_learning_rate
    if logged and float(logged.value.max()) > 0:
        highest = float(logged.value.max())
        return max(highest, stated) if begins_late(run) and stated else highest
    return stated


@lru_cache(maxsize=32)
def rate_share(run: Run) -> float | None:
    """The learning rate at the end of the log over the peak."""
    peak, last = peak_rate(run), run.last_step
    if not peak or last is None:
        return None
    now = rate_at(run, last)
    return None if now is None else float(now) / peak
