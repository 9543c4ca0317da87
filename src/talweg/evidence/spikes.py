"""The upward departures of the training loss, each with what is beside it: gradient, rate, resumes, what is left."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from talweg.curve.offset import Offset, offset
from talweg.curve.smooth import without_outliers
from talweg.estimate import Estimate
from talweg.evidence.events import RunEvent, departures
from talweg.evidence.fitted import fit
from talweg.evidence.levels import FEW, judged
from talweg.evidence.plan import peak_rate
from talweg.evidence.resumes import resumes
from talweg.run import Run, Series

KINDS = ("spike", "spike_not_recovered", "rise")
AROUND = 40  # logged gradient norms whose median one of them is compared with. Our choice
GONE = 4.0  # lengths of a departure after which 1 % of its own traces is left, if they decay. Our choice
NEAR = 3.0  # logged steps within which a resume or a change of the rate belongs to the departure. Our choice
RATE_RISES = 0.05  # of the peak: a rise of the rate from before to after that can move the loss by itself. Our choice
LATE = 1 / 3  # of what follows: the part that is compared with what the law had expected. Our choice
MORE = (0.0, 10.0, 20.0, 40.0)  # logged values that are left out at least, until the rest is steady. Our choice
MOST = 30  # departures that are measured, the largest first


@dataclass(frozen=True)
class Spike:
    """One departure upward of the training loss; left in nats, errors of one standard deviation."""

    event: RunEvent
    num: int  # logged losses in it
    norm_ratio: float | None  # highest gradient norm at or just before it over the median around; None: not logged
    at_resume: bool
    rate_rises: bool
    left: Offset | None  # of the training loss, the departure and its traces left out
    left_in_val: Offset | None

    @property
    def first(self) -> float:
        return self.event.first_step

    @property
    def last(self) -> float:
        return self.event.last_step


@lru_cache(maxsize=32)
def spikes(run: Run) -> tuple[Spike, ...]:
    """All of them, in the order of their steps; at most MOST, the largest."""
    found = [e for e in departures(run) if e.series == "train_loss" and e.kind in KINDS and e.size > 0]
    found = sorted(sorted(found, key=lambda e: -e.size)[:MOST], key=lambda e: e.first_step)
    return tuple(_spike(run, e, found) for e in found)


def _spike(run: Run, event: RunEvent, others: list[RunEvent]) -> Spike:
    loss = run.train_loss.finite
    spacing = float(np.median(np.diff(loss.step)))
    near = NEAR * spacing
    before = [e.last_step for e in others if e.last_step < event.first_step]
    after = [e.first_step for e in others if e.first_step > event.last_step]
    since, until = max(before, default=0.0), min(after, default=math.inf)
    return Spike(
        event,
        num=len(loss.between(event.first_step, event.last_step)),
        norm_ratio=_norm_ratio(run.grad_norm.finite, event, near),
        at_resume=any(event.first_step - near <= r.step <= event.last_step + near for r in resumes(run) or ()),
        rate_rises=_rate_rises(run, event, near),
        left=left_over(loss, event, since, until),
        left_in_val=left_over(run.val_loss.finite, event, since, until),
    )


def left_over(series: Series, event: RunEvent, since: float, until: float) -> Offset | None:
    """How much higher the curve goes on after the departure: what lies between the last one and the next is compared.
    Where what is left still decays, more of what follows is left out."""
    length = event.last_step - event.first_step
    part = series.between(since, until)
    if len(part) < FEW:
        return None
    spacing = float(np.median(np.diff(part.step)))
    found = None
    for more in MORE:
        over = event.last_step + max(GONE * length, more * spacing)
        keep = ((part.step < event.first_step) | (part.step > over)) & ((part.step > since) | (since == 0.0))
        step, value = part.step[keep], part.value[keep]
        if step.size < FEW:
            break
        at = 0.5 * (event.last_step + over) + 1e-6
        again = offset(step, without_outliers(value), at)
        found = found if again is None else again
        if again is None or again.steady:
            break
    return found


def _norm_ratio(norm: Series, event: RunEvent, near: float) -> float | None:
    inside = norm.between(event.first_step - near, event.last_step)
    if not inside or len(norm) < FEW:
        return None
    place = int(np.searchsorted(norm.step, event.first_step))
    around = norm.value[max(0, place - AROUND) : place + AROUND]
    return float(inside.value.max() / max(float(np.median(around)), 1e-300))


def _rate_rises(run: Run, event: RunEvent, near: float) -> bool:
    rate, peak = run.learning_rate.finite, peak_rate(run)
    if len(rate) < 2 or not peak:
        return False
    before, after = rate.at(event.first_step - near), rate.at(event.last_step + near)
    return float(after) > float(before) + RATE_RISES * peak


@lru_cache(maxsize=32)
def above_the_law_before(run: Run, first: float, last: float) -> Estimate | None:
    """How far the judged loss lies, in the last third of what follows the stretch, above what the annealing law fitted
    to the part before it had expected there. None where too little lies before or after."""
    names = ("train_loss", "train_eval_loss", "val_loss")
    cut: dict[str, Series] = {name: getattr(run, name).between(-math.inf, first - 1e-9) for name in names}
    whole, known = judged(run), fit(replace(run, **cut))  # type: ignore[arg-type]
    if whole is None or known is None or known.judged.name != whole.name:
        return None
    after = whole.loss.between(last + GONE * (last - first) + 1e-9, math.inf)
    late = after.between(after.step[-1] - LATE * (after.step[-1] - last), math.inf) if after else after
    if len(late) < 3 or float(late.step[-1]) > known.path.step[-1]:
        return None
    mean, sd = known.law.on(known.path, late.step)
    error = known.residual_sd / math.sqrt(len(late))
    return Estimate.normal(float(np.mean(late.value - mean)), math.hypot(float(sd.max()), error))
