"""How fast the logged learning rate runs through its stated schedule, and which unit it is then counted in.

A schedule that is counted in another unit than updates is the stated one with its axis stretched: eta(s) = plan(k s).
k is found by the best fit, with the interval of all k that fit about as well, and compared with the numbers that a
trainer could have taken for a count of updates. No k is named where the rate simply follows its plan.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from talweg.laws.annealing import Array
from talweg.run import Run, Series
from talweg.schedule import Schedule

Part = Literal["schedule", "warm-up", "decay"]

FEWEST = 20  # logged rates. Our choice: fewer fit too many schedules
# Mean distance over the peak. Our choice: below, the rate follows a schedule (four printed digits are 0.0001); and a
# plan that the rate is off by so much is not the one it follows: a step's shift of a warm-up of ten is 0.002
FITS, OFF = 0.01, 0.02
FAR = 5.0  # times the distance of the best fit: so much worse must the plan as stated be. Our choice
WORSE = 2.0  # times the distance of the best fit: what fits about as well. Our choice
KNOWN = 1.25  # high over low of the factor: a wider interval holds more than one unit. Our choice
SAME = 0.02  # of the factor: the error of a step's shift and of rounding
LARGEST = 5000.0  # beyond, the rate is at the end, or stays at the start, of its schedule: no shape is left to tell k
COARSE = 400  # factors that are tried on either side of 1
POINTS = 400  # of the logged rates that are compared


@dataclass(frozen=True)
class Stretch:
    """factor > 1: the rate runs through its schedule faster than stated. unit: "" where no number of the run fits."""

    factor: float
    low: float
    high: float
    part: Part  # of the schedule that is off
    cyclic: bool  # it swings back after its end
    plan: Schedule  # as stated
    unit: str  # "" where no number of the run fits
    because: str

    def at(self, step: Array) -> Array:
        """The rate that the run follows, at these steps and beyond the log."""
        return _rate(self.plan, self.part, self.factor, self.cyclic, step)


@lru_cache(maxsize=32)
def stretched(run: Run) -> Stretch | None:
    """None where the rate follows its plan, or no stretch of it, or either is not known well enough to tell."""
    plan, logged = run.planned_schedule, run.learning_rate.finite
    if plan is None or len(logged) < FEWEST or plan.peak_lr <= 0:
        return None
    logged = _thinned(logged)
    stated = _distance(plan.at(logged.step), logged.value, plan.peak_lr)
    if min(stated, _scaled_distance(plan, logged)) < OFF:
        return None
    units = _units(run)
    fits = [_fit(plan, logged, part, cyclic, units) for part in _parts(plan) for cyclic in _ways(plan)]
    found = min((fit for fit in fits if fit is not None), key=lambda fit: fit[0], default=None)
    if found is None or found[0] > FITS or stated < FAR * found[0] or _reached(logged, plan) is None:
        return None
    _, part, cyclic, factors = found
    factor = float(factors[0])
    low, high = float(factors.min()), float(factors.max())
    if high > KNOWN * low or low * (1 - SAME) <= 1 <= high * (1 + SAME):
        return None
    unit, told = _unit(units, low, high)
    because = f"the logged rate runs through its {part} {_times(factor, low, high)} as stated; {told}"
    return Stretch(factor, low, high, part, cyclic, plan, unit, because)


def _thinned(series: Series) -> Series:
    """POINTS of the logged rates: half of them evenly over the steps, half evenly over the way that the rate goes."""
    way = np.append(0.0, np.cumsum(np.abs(np.diff(series.value))))
    place = (series.step - series.step[0]) / np.ptp(series.step) + way / max(float(way[-1]), 1e-300)
    keep = np.unique(np.searchsorted(place, np.linspace(0.0, place[-1], POINTS)).clip(0, len(series) - 1))
    return replace(series, step=series.step[keep], value=series.value[keep])


def _distance(a: Array, b: Array, peak: float) -> float:
    return float(np.mean(np.abs(a - b))) / peak


def _scaled_distance(plan: Schedule, logged: Series) -> float:
    """The distance of the plan with another peak: of another group of weights, or of another configuration."""
    shape = plan.at(logged.step)
    scale = float(np.median(logged.value / np.maximum(shape, 1e-300)))
    return _distance(scale * shape, logged.value, max(float(logged.value.max()), 1e-300))


def _reached(logged: Series, plan: Schedule) -> float | None:
    """The spread of the logged rates over the peak; None where they hardly move, and show no place of a schedule."""
    spread = float(np.ptp(logged.value)) / plan.peak_lr
    return spread if spread > FAR * FITS else None


def _parts(plan: Schedule) -> tuple[Part, ...]:
    if plan.kind == "constant":
        return ("warm-up",)
    return ("schedule", "warm-up", "decay") if plan.warmup_steps else ("schedule",)


def _ways(plan: Schedule) -> tuple[bool, ...]:
    return (False, True) if plan.kind == "cosine" else (False,)


def _rate(plan: Schedule, part: Part, factor: float, cyclic: bool, step: Array) -> Array:
    """The plan with this part of it `factor` times as fast. (K,)"""
    if part == "schedule":
        return _swings(plan, factor * step) if cyclic else plan.at(factor * step)
    if part == "warm-up":
        warmup = round(plan.warmup_steps / factor)
        other = replace(plan, warmup_steps=warmup, end_step=max(plan.end_step, warmup + 1))
    else:
        start, end = round(plan.decay_start / factor), max(1, round(plan.end_step / factor))
        other = replace(plan, warmup_steps=min(plan.warmup_steps, end), decay_start=start, end_step=end)
    return _swings(other, step) if cyclic else other.at(step)


def _swings(plan: Schedule, step: Array) -> Array:
    """A cosine that goes on swinging after its end, as some schedulers compute it."""
    share = (step - plan.warmup_steps) / max(plan.end_step - plan.warmup_steps, 1)
    swing = plan.min_lr + 0.5 * (1 + np.cos(np.pi * share)) * (plan.peak_lr - plan.min_lr)
    return np.where(step < plan.warmup_steps, plan.at(step), swing)


Fit = tuple[float, Part, bool, Array]  # distance, part, cyclic, factors that fit about as well, the best one first


def _fit(plan: Schedule, logged: Series, part: Part, cyclic: bool, units: dict[str, float]) -> Fit | None:
    """The factor at which this part of the plan lies nearest to the logged rates."""

    def distance(factor: float) -> float:
        return _distance(_rate(plan, part, factor, cyclic, logged.step), logged.value, plan.peak_lr)

    candidates = [*np.geomspace(1 / LARGEST, LARGEST, 2 * COARSE)]
    candidates += [x for unit in units.values() for x in (unit, 1 / unit) if 1 / LARGEST < x < LARGEST]
    distances = [distance(x) for x in candidates]
    best, nearest = float(candidates[int(np.argmin(distances))]), min(distances)
    if nearest > OFF * FAR:
        return None
    width = (2 * np.log(LARGEST)) / COARSE
    for _ in range(3):  # each time at a finer step about the best so far
        near = best * np.exp(np.linspace(-width, width, 41))
        distances = [distance(x) for x in near]
        if min(distances) <= nearest:
            best, nearest = float(near[int(np.argmin(distances))]), min(distances)
        width /= 10
    least = max(WORSE * nearest, nearest + 0.002, logged.resolution / plan.peak_lr)
    around = np.geomspace(best / 2, best * 2, 281)
    well = np.array([x for x in around if distance(x) <= least])
    return nearest, part, cyclic, np.append(best, well)


def _units(run: Run) -> dict[str, float]:
    """What a trainer could have counted in place of updates: how many of them make one update."""
    f = run.facts
    found: dict[str, float | None] = {
        "micro-batches": f.accumulation,
        "the updates of all ranks": f.ranks,
    }
    if f.accumulation and f.ranks and f.ranks > 1:
        found["the micro-batches of one rank"] = f.accumulation / f.ranks
        found["micro-batches times ranks"] = f.accumulation * f.ranks
    if f.tokens_per_step:
        found["tokens"] = f.tokens_per_step
        if f.context:
            found["samples"] = f.tokens_per_step / f.context
        text = f.train_tokens or f.unique_tokens
        if text:
            found["epochs"] = f.tokens_per_step / text
    return {name: float(count) for name, count in found.items() if count and abs(float(np.log(count))) > SAME}


def _unit(units: dict[str, float], low: float, high: float) -> tuple[str, str]:
    """The unit within the interval of the factor, or of its inverse, and what it says. The nearest wins."""
    middle = (low * high) ** 0.5
    fitting = {}
    for name, count in units.items():
        for number, way in ((count, "counted in"), (1 / count, "stated in")):
            if low * (1 - SAME) <= number <= high * (1 + SAME):
                fitting[name] = (abs(np.log(number / middle)), way, count)
    if not fitting:
        return "", "no count of this run is such a number"
    name = min(fitting, key=lambda n: fitting[n][0])
    _, way, count = fitting[name]
    told = f"{count:,.4g} of them make an update" if count > 1 else f"one is {1 / count:,.4g} updates"
    return name, f"as if it were {way} {name}: {told}"


def _times(factor: float, low: float, high: float) -> str:
    if factor >= 1:
        return f"{factor:,.3g} ({low:,.3g} to {high:,.3g}) times as fast"
    return f"{1 / factor:,.3g} ({1 / high:,.3g} to {1 / low:,.3g}) times as slowly"
