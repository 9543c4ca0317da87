"""Where a run was taken up again from a checkpoint: as stated, else as the times of its steps show."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from talweg.evidence.plan import peak_rate
from talweg.run import Run

SLOW = 5.0  # times the median of the steps around: the first step of a process compiles and warms up. Our choice
MOST = 3  # such steps; more are evaluations or a busy machine. Our choice
AROUND = 20  # steps whose median a time is compared with
CONTINUOUS = 0.1  # of the rate, beyond what the logged steps before changed: less is the same schedule. Our choice


@dataclass(frozen=True)
class Resume:
    """Loss and batch logged at `step` are the first of the new process; its first update comes after them."""

    step: float
    until: float  # the next resume, or inf
    stated: bool
    because: str


@dataclass(frozen=True)
class RateSeam:
    """The logged learning rate on both sides of a resume."""

    before: float
    after: float
    continuous: bool


@lru_cache(maxsize=32)
def resumes(run: Run) -> tuple[Resume, ...] | None:
    """Resumes after the first logged step, in order. (): there were none. None: nobody said, and nothing shows one."""
    last = run.last_step
    if run.facts.resumed_at is not None:
        steps = sorted({float(s) for s in run.facts.resumed_at if 0 < s <= (math.inf if last is None else last)})
        ends = [*steps[1:], math.inf]
        return tuple(
            Resume(step, end, True, f"taken up again at step {step:,.0f}")
            for step, end in zip(steps, ends, strict=False)
        )
    slow = _slow_steps(run)
    if not slow:
        return None
    ends = [*(step for step, _ in slow[1:]), math.inf]
    return tuple(
        Resume(
            step, end, False, f"step {step:,.0f} took {times:.0f} times as long as those around it, as after a start"
        )
        for (step, times), end in zip(slow, ends, strict=True)
    )


def _slow_steps(run: Run) -> list[tuple[float, float]]:
    """Steps that took far longer than their neighbours, the first logged one apart, and by how many times."""
    seconds = run.seconds_per_step.finite
    if len(seconds) < 2 * AROUND:
        return []
    found = []
    for i in np.flatnonzero(seconds.value > SLOW * float(np.median(seconds.value))).tolist():
        near = seconds.value[max(0, i - AROUND) : i + AROUND + 1]
        times = float(seconds.value[i] / max(float(np.median(near)), 1e-12))
        if i > 0 and times > SLOW:
            found.append((float(seconds.step[i]), times))
    return found if len(found) <= MOST else []


def rate_seam(run: Run, resume: Resume) -> RateSeam | None:
    """The rate before and after a resume. None where it is not logged on both sides.

    It is continuous where it changes by no more than CONTINUOUS of the peak or twice what the logged steps before did.
    """
    rate, peak = run.learning_rate.finite, peak_rate(run)
    before, after = rate.between(-math.inf, resume.step - 1e-9), rate.between(resume.step, resume.until)
    if len(before) < 2 or not after or not peak:
        return None
    was, now = float(before.value[-1]), float(after.value[0])
    usual = abs(was - float(before.value[-2]))
    gap = (after.step[0] - before.step[-1]) / max(before.step[-1] - before.step[-2], 1e-9)
    allowed = max(CONTINUOUS * max(was, 0.01 * peak), 2 * usual * max(gap, 1.0))
    return RateSeam(was, now, abs(now - was) <= allowed)
