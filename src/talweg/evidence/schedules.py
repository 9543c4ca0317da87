"""What the schedule of a run is, and what another one would have brought it: the costs of `laws.schedule` for a Run."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from talweg.estimate import Estimate
from talweg.evidence.fitted import fit
from talweg.evidence.levels import train_level, val_level
from talweg.evidence.plan import horizon, peak_rate, rate_at
from talweg.laws import annealing, batch, gain, learning_rate, undertrained
from talweg.laws import schedule as law
from talweg.laws.annealing import Array
from talweg.run import Run

Change = Callable[[Array, Array], Array]  # steps, rates -> the rates of another schedule on the same steps

COME_DOWN = 0.5  # of the peak: a rate that ends below has been brought down. Our choice: a drop to 0.6 is a stage
POWER_LAW_AREA = 1000.0  # S1 in steps: where a curve is a power law of it, if the parameters are not known
# nats. Six pairs of public runs that differ in their last rate alone, 25 M to 400 M parameters: said minus measured
# is 0.0016 to 0.0095, where `law.cost` is off by 0.02 to 0.04 (notes/causes_schedule.md)
OWN_LAW_ERROR = 0.006
RISES_AGAIN = 0.1  # of the peak: a fall within what is taken for a warm-up. Our choice
STILL_FALLS = 0.9  # of the rate now: a plan that goes lower still has decay to come


REACHES = 0.98  # of the plan: a log that ends there shows how the schedule ends. Our choice


def end_is_known(run: Run) -> bool:
    """Whether the schedule is stated to its end, or the log shows it: else nothing says how it goes on."""
    end = horizon(run)
    reached = end is not None and run.last_step is not None and run.last_step >= REACHES * end
    return reached or run.planned_schedule is not None


@lru_cache(maxsize=32)
def final_share(run: Run) -> float | None:
    """The rate at the end of the plan over the peak; None where no rate or no end is known."""
    end, peak = horizon(run) or run.last_step, peak_rate(run)
    rate = None if not end else rate_at(run, end)
    return None if rate is None or not peak else float(rate) / peak


@lru_cache(maxsize=32)
def decay_is_over(run: Run) -> bool:
    """Whether the rate has come down as far as its plan ever will, from a peak that it has left: what is still held up
    then is a matter of the final rate, not of a decay that is missing."""
    last, end = run.last_step, horizon(run) or run.last_step
    peak = peak_rate(run)
    rates = None if last is None or end is None else rate_at(run, [last, end])
    if rates is None or not peak or not end_is_known(run):
        return False
    now, then = float(rates[0]), float(rates[1])
    return now <= COME_DOWN * peak and then >= min(STILL_FALLS * now, now - annealing.STILL * peak) and then <= now


def cost_of_schedule(run: Run, change: Change, own: Change | None = None) -> Estimate | None:
    """Nats that the run's rate loses at the end of its plan against `change` of it. None without a level, rate or end.

    By the law of the run's own curve where that is a power law, else by `laws.schedule.cost`.
    own: changes the run's own rate first, where the plan that `rate_at` follows after the log is not what will come.
    """
    end, now = horizon(run) or run.last_step, val_level(run) or train_level(run)
    if not end or now is None:
        return None
    steps = annealing.grid(end)
    rate = rate_at(run, steps)
    if rate is None or float(rate.max()) <= 0:
        return None
    other = change(steps, rate)
    if own is not None:
        rate = own(steps, rate)
    f = run.facts
    per = f.tokens_per_step * end / f.parameters if f.tokens_per_step and f.parameters else None
    path, changed, found = law.path(steps, rate), _same_scale(steps, other, rate), fit(run)
    power_law = float(path.area[-1]) >= POWER_LAW_AREA if per is None else per >= undertrained.POWER_LAW_FROM
    if power_law and own is None and found is not None and found.schedule_known:
        mean, sd = found.law.difference(path, end, changed, end)
        return Estimate.normal(mean, math.hypot(math.hypot(sd, OWN_LAW_ERROR), law.DECAY_ERROR * mean))
    return law.cost(
        now.value,
        path,
        changed,
        gain=_gain(run, float(other.max())),
        tokens_per_parameter=per,
        bytes_per_token=f.bytes_per_token,
    )


def _same_scale(steps: Array, other: Array, rate: Array) -> annealing.Path:
    """The other path with its area in the same unit: steps at the peak rate of `rate`."""
    found = law.path(steps, other)
    return annealing.Path(found.step, found.area * float(other.max()) / float(rate.max()), found.decayed)


def _gain(run: Run, peak: float) -> tuple[float, float]:
    """Mean and sd of what a whole decay gives: from the curve where it is fitted, else from other runs."""
    found = fit(run)
    if found is not None and found.schedule_known:
        return found.law.gain_moments
    median, sd = gain.prior(run.facts.parameters, peak, run.facts.tokens_per_step, run.facts.optimizer)
    return median, sd * median


def rises_late(step: Array, rate: Array) -> bool:
    """Whether the peak comes after a first one: a rate that came down in between was warm before."""
    peak = float(rate.max())
    before = rate[step < law.peak_at(step, rate)]
    return bool(before.size) and bool(np.any(np.maximum.accumulate(before) - before > RISES_AGAIN * peak))


def best_peak(run: Run, end: float) -> Estimate | None:
    """The best peak rate of this run for a plan of `end` steps. None where facts are missing, or for an optimizer that
    no law is known of. A trainer that is not Talweg's own may or may not scale Muon's updates to AdamW's."""
    f = run.facts
    if f.parameters is None or f.tokens_per_step is None:
        return None
    own = run.format == "talweg"
    tokens = end * f.tokens_per_step
    return learning_rate.optimum_for(f.optimizer, f.parameters, tokens, scaled_to_adamw=own, width=f.width)


def lowest_best_peak(run: Run, end: float) -> float | None:
    """The lowest rate that may be the best one: a batch below the best one wants a rate that is lower by as much."""
    best, per_step = best_peak(run, end), run.facts.tokens_per_step
    if best is None or per_step is None:
        return None
    return best.low * min(1.0, per_step / batch.optimum(per_step * end).value)
