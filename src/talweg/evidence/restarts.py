"""Where the learning rate goes back to an earlier place of its schedule."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from talweg.evidence.resumes import Resume, resumes
from talweg.run import Run, Series

RISE = 0.1  # of the peak. Our choice: below, a restart costs less than a seed changes
SAME = 0.01  # of the peak: rates that repeat the first ones. Our choice: a schedule logged with four digits
FEWEST = 8  # logged rates that must repeat
LEAVES = 3.0  # times the change between the logged rates before: a smooth schedule never does that. Our choice
PLACES = 201  # of the plan that the rates after a restart are compared with


@dataclass(frozen=True)
class Restart:
    """A rise of the rate after its first peak."""

    step: float  # where the rate goes back
    place: float  # the step of the schedule that it goes back to
    before: float
    highest: float  # of the rates afterwards
    stated: bool  # the run was taken up again there
    warms_up_again: bool  # the rates of the warm-up are repeated


@lru_cache(maxsize=32)
def restart(run: Run) -> Restart | None:
    """The largest rise; where it is known at which steps the run was taken up, only one at these."""
    rate = run.learning_rate.finite
    if len(rate) < 2 * FEWEST:
        return None
    peak = float(rate.value.max())
    if peak <= 0:
        return None
    found = [_restart(run, rate, at, peak) for at in _turns(rate, peak)]
    known = [r for r in found if r.stated or run.facts.resumed_at is None]
    return max(known, key=lambda r: r.highest - r.before, default=None)


def _turns(rate: Series, peak: float) -> list[int]:
    """Indices at which the rate leaves what went before: upward, or down to a second warm-up that ends higher."""
    value, found = rate.value, list[int]()
    first_peak = int(np.argmax(value >= (1 - SAME) * peak))
    for i in range(max(first_peak + 1, 2), value.size):
        usual = LEAVES * abs(value[i - 1] - value[i - 2]) + 0.1 * SAME * peak
        later = value[i : i + max(FEWEST, value.size // 10)]
        rises = float(later.max()) > value[i - 1] + RISE * peak
        if rises and abs(value[i] - value[i - 1]) > usual and (not found or i > found[-1] + FEWEST):
            found.append(i)
    return found


def _restart(run: Run, rate: Series, at: int, peak: float) -> Restart:
    near = _stated_near(resumes(run) or (), rate, at)
    again = _repeats(rate, at, peak)
    after = rate.value[at:]
    return Restart(
        step=float(rate.step[at]) if near is None else near,
        place=0.0 if again else _place(run, rate, at),
        before=float(rate.value[at - 1]),
        highest=float(after.max()),
        stated=near is not None,
        warms_up_again=again and float(after[0]) < 0.5 * float(after.max()),
    )


def _stated_near(places: tuple[Resume, ...], rate: Series, at: int) -> float | None:
    """The resume between the logged rates before and after the turn; None when there is none."""
    low, high = float(rate.step[at - 1]), float(rate.step[at])
    return next((place.step for place in places if low - 1 <= place.step <= high + 1), None)


def _repeats(rate: Series, at: int, peak: float) -> bool:
    """Whether the rates from here on are those of the first steps."""
    after = rate.step[at:] - rate.step[at]
    num = min(after.size, max(FEWEST, at))
    part = rate.value[at : at + num]
    if num < FEWEST or float(part.max() - part.min()) < SAME * peak:
        return False
    spacing = float(np.median(np.diff(rate.step)))
    for offset in (0.0, spacing, float(rate.step[at] - rate.step[at - 1])):  # the seam lies between two logged steps
        first = np.interp(after[:num] + rate.step[0] + offset, rate.step, rate.value)
        if float(np.median(np.abs(first - part))) < SAME * peak:
            return True
    return False


def _place(run: Run, rate: Series, at: int) -> float:
    """The step of the plan whose rates are most like those from here on; 0 where no plan is known."""
    plan = run.planned_schedule
    if plan is None:
        return 0.0
    after, value = rate.step[at:] - rate.step[at], rate.value[at:]
    candidates = np.linspace(0.0, float(rate.step[at]), PLACES)
    errors = [float(np.abs(plan.at(c + after) - value).mean()) for c in candidates]
    return float(candidates[int(np.argmin(errors))])
