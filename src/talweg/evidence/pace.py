"""What the pace of a run means: how long the next 0.01 nats take, the smallest change its log could show, and how much
of the scatter of evaluations is the sample's and how much the weights'."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from talweg.curve.noise import noise
from talweg.estimate import Estimate
from talweg.evidence.fitted import fit
from talweg.evidence.levels import eval_noise, judged, trend
from talweg.evidence.plan import horizon, rate_at
from talweg.run import Run

NEXT = 0.01  # nats
POWER = 1.6449 + 0.8416  # standard errors: one-sided 5 % and 80 % power
FEWEST = 24  # evaluations, for the scatter of two halves
BEYOND = 1e9  # a pace so slow that its time is not told


@dataclass(frozen=True)
class Next:
    """Until the loss is NEXT lower at the present pace. A `high` of inf: the pace may be nothing."""

    steps: Estimate
    tokens: Estimate | None
    hours: Estimate | None


@dataclass(frozen=True)
class Smallest:
    """The smallest change that this log could have shown: seen in four logs of five, at one false alarm in twenty.

    By the error of the local trend alone. Measured on 41 and 101 values of a straight fall of this slope: that trend
    shows it in 54 to 83 % of logs (its stretch varies), the whole answer in all of 60, for it asks the whole curve.
    """

    per_1000_steps: float  # nats
    rest_of_plan: float | None  # nats from now to the end of the plan; None where that is not known or done
    num: int  # values of the loss that the log holds
    sd: float | None  # of one of them


@dataclass(frozen=True)
class NoiseSplit:
    """Sd of one evaluation in two parts, nats: of the sample of text, which stays when the rate decays, and of the
    weights, which goes with it."""

    sampling: Estimate
    iterate: Estimate
    because: str


@lru_cache(maxsize=32)
def next_hundredth(run: Run) -> Next | None:
    """None where the loss is not seen to fall: the upper end of its trend is then no fall, and no time is an answer."""
    now = trend(run)
    if now is None or now.value >= 0 or run.facts.step_unit is not None:
        return None
    slow, fast = max(-now.high, 0.0), -now.low
    steps = Estimate(1000 * NEXT / -now.value, 1000 * NEXT / fast, 1000 * NEXT / slow if slow else math.inf)
    if steps.value > BEYOND:
        return None
    per, seconds = run.facts.tokens_per_step, _seconds_per_step(run)
    return Next(steps, _times(steps, per), _times(steps, None if seconds is None else seconds / 3600))


def _times(steps: Estimate, by: float | None) -> Estimate | None:
    return None if by is None or by <= 0 else Estimate(steps.value * by, steps.low * by, steps.high * by)


def _seconds_per_step(run: Run) -> float | None:
    """By the clock over the last half of the log, pauses included; else the median time logged for a step."""
    clock, pace = run.wall_time.finite, run.seconds_per_step.finite
    if len(clock) >= 2:
        late = clock.between(float(clock.step[len(clock) // 2 - 1]), math.inf)
        if len(late) >= 2 and late.step[-1] > late.step[0] and late.value[-1] > late.value[0]:
            return float((late.value[-1] - late.value[0]) / (late.step[-1] - late.step[0]))
    return float(np.median(pace.value)) if pace else None


@lru_cache(maxsize=32)
def smallest(run: Run) -> Smallest | None:
    """By the error of the trend of this log: it holds noise, autocorrelation and density of the values."""
    now, j = trend(run), judged(run)
    if now is None or j is None or run.last_step is None:
        return None
    slope, end = POWER * now.sd, horizon(run)
    rest = slope * (end - run.last_step) / 1000 if end is not None and end > run.last_step else None
    scatter = noise(j.loss.step, j.loss.value)
    return Smallest(slope, rest, len(j.loss), None if scatter is None else scatter.sd)


@lru_cache(maxsize=32)
def noise_split(run: Run) -> NoiseSplit | None:
    """From how the evaluation is made, where that is known; else from how the scatter went down with the rate.

        sd^2 = sampling^2 + iterate^2 h        h: rate over its highest; iterate: at the highest rate

    Given at the rate of now. None where neither is known, or the rate has moved too little to tell.
    """
    found = eval_noise(run)
    if found is None:
        return None
    num = max(len(run.val_loss.finite) // 2, 2)
    error = found.sd / math.sqrt(2 * num)
    if run.facts.eval_is_fixed:
        return NoiseSplit(
            Estimate(0.0, 0.0, 0.0), Estimate.normal(found.sd, error).at_least(0.0), "the same text each time"
        )
    if found.sampling_sd is not None:
        sampling = Estimate(found.sampling_sd, 0.85 * found.sampling_sd, 1.15 * found.sampling_sd)
        return NoiseSplit(sampling, _left(found.sd, error, sampling), found.because)
    return _by_rate(run)


def _left(sd: float, error: float, sampling: Estimate) -> Estimate:
    """The part of `sd` that is not sampling."""

    def part(whole: float, other: float) -> float:
        return math.sqrt(max(whole**2 - other**2, 0.0))

    low, high = part(sd - 1.2816 * error, sampling.high), part(sd + 1.2816 * error, sampling.low)
    return Estimate(part(sd, sampling.value), low, high)


def _by_rate(run: Run) -> NoiseSplit | None:
    """A line through second differences squared against the rate's share."""
    val = run.val_loss.finite
    rates = rate_at(run, val.step)
    if rates is None or len(val) < FEWEST or fit(run) is None or float(rates.max()) <= 0:
        return None
    half = len(val) // 3
    off = (val.value[2:] - 2 * val.value[1:-1] + val.value[:-2]) ** 2 / 6  # of white noise: its variance
    share, off = (rates / rates.max())[1:-1][half:], off[half:]
    if float(share.max()) < 2 * float(share.min()):
        return None
    off = np.minimum(off, 20 * float(np.median(off)))  # single spikes
    design = np.column_stack([np.ones_like(share), share])
    inverse = np.linalg.pinv(design.T @ design)
    beta = inverse @ (design.T @ off)
    residual = off - design @ beta
    # neighbouring second differences share values: their squares have a correlation of (4/6)^2, then (1/6)^2
    cov = inverse * float(residual @ residual) / max(share.size - 2, 1) * (1 + 2 * (16 + 1) / 36)
    now = float(share[-1])
    parts = []
    for at in (np.array([1.0, 0.0]), np.array([0.0, now])):
        value, error = float(at @ beta), math.sqrt(float(at @ cov @ at))
        bounds = [math.sqrt(max(value + z * error, 0.0)) for z in (0.0, -1.2816, 1.2816)]
        parts.append(Estimate(*bounds))
    return NoiseSplit(parts[0], parts[1], f"from {off.size} evaluations while the rate came to {now:.0%} of its peak")
