"""Spike not recovered: after a spike the loss goes on above the line that it had followed.

Physics: one update, or a few, throw the weights to another place. From there the loss falls as before, but from a
higher level; what stays is the shift between both sides,

    y(s) = trend(s) + D [s > s0],    the spike and twice its length after it left out

    D: shift, nats   s0: the spike   trend: a parabola in log(step)

and, where the learning rate is known, the loss now less what the annealing law expected of it from the part before.

Refuted by: a branch from a checkpoint before the spike, past the batches in which it came, ends no lower.
Known problems: a resume that nobody stated looks the same where the optimizer's moments or the data were lost. A shift
heals in part while the rate is still high, so that its cost at the end of the plan may be less than now. A shift
below four of its errors is not seen.
References: Chowdhery et al. 2022, arXiv 2204.02311, section 5.1 (spikes, and restarts before them).
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.evidence import Spike
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "optimization"
NEEDS = ("train_loss",)
# False alarms: 0 of 200 simulated sound runs, 0 of 93 public logs (notes/events.md).
SURE = 4.0  # errors of the shift. Our choice: notes/events.md has the false alarms
LEAST = 0.02  # nats. Our choice: a shift below is 14 sd of what a seed changes, but small beside its own error
VAL_SHARE = 0.3  # of the shift that val must show, beyond 2 of its errors, where it is logged on both sides. Our choice
EARLY = 0.05  # of the log: the first fall, which no parabola follows. Our choice
LASTS, NORM = 3, 3.0  # logged values, or times the usual gradient: less is a single noisy batch. Our choice
HIDDEN = 0.1  # nats: an error of the shift from which on it could hide that much. Our choice


def examine(run: Run) -> Finding:
    loss = run.train_loss.finite
    if evidence.judged(run) is None or len(loss) < 2 * evidence.FEW:
        return missing("train_loss", because="needs a training loss: a spike is not seen in evaluations")
    if run.facts.step_unit is not None:
        return missing("train_loss", because=f"the steps of this log count another thing ({run.facts.step_unit})")
    if any(e.kind == "diverged_from" and e.series != "grad_norm" for e in evidence.departures(run)):
        return Finding("absent", "the loss left its lowest level for good: it diverged")
    begins = float(loss.step[0] + EARLY * (loss.step[-1] - loss.step[0]))
    found = [spike for spike in evidence.spikes(run) if spike.first > begins]
    if not found:
        return Finding("absent", "the training loss has no spike")
    judged = [(spike, _answer(spike)) for spike in found]
    stayed = [spike for spike, why in judged if why == "" and _shift(run, spike).low > 0]
    if stayed:
        return _present(run, stayed)
    judged = [(spike, why or "the law fitted before it expected the level after it") for spike, why in judged]
    largest, why = max(judged, key=lambda pair: pair[0].event.size)
    told = f"the largest of {len(found)} spikes, {largest.event.size:.2f} nats at step {largest.first:,.0f}"
    if why.startswith("too little"):
        return missing("train_loss", because=f"{told}: {why}")
    return Finding("absent", f"{told}: {why}")


def _answer(spike: Spike) -> str:
    """Why a spike did recover, or is none; empty where it stayed."""
    left, val = spike.left, spike.left_in_val
    if spike.at_resume:
        return "the run was taken up again there"
    if spike.rate_rises:
        return "the learning rate rises there"
    narrow = spike.num < LASTS and (spike.norm_ratio or 0.0) < NORM
    moved = val is not None and val.size > max(LEAST, SURE * val.error)
    if narrow and not moved:
        return "a single noisy batch, after which validation goes on as before or is not told"
    if left is None or left.error * SURE > HIDDEN + abs(left.size):
        return "too little is logged on one side of it to tell what stays"
    if left.size < max(LEAST, SURE * left.error) or not left.steady:
        return f"the loss came back to its line within {1.28 * left.error:.3f} nats"
    if val is not None and val.size + 2 * val.error < VAL_SHARE * left.size:
        return "the validation loss went on as before"
    if spike.event.kind == "rise" and narrow:
        return "a level that moved, without a spike"
    return ""


def _present(run: Run, stayed: list[Spike]) -> Finding:
    worst = max(stayed, key=lambda spike: spike.left.size if spike.left else 0.0)
    shift = _shift(run, worst)
    because = (
        f"at step {worst.first:,.0f} the training loss rises by {worst.event.size:.2f} nats, and goes on "
        f"{shift.value:.3f} ({shift.low:.3f} to {shift.high:.3f}) above the line before it"
    )
    if worst.left_in_val is not None:
        because += f"; validation by {worst.left_in_val.size:.3f} ±{1.28 * worst.left_in_val.error:.3f}"
    if run.facts.resumed_at is None:
        because += "; that the run was not taken up again there is not stated"
    return Finding(
        "present",
        because,
        nats=shift,
        remedies=_remedies(run, worst, shift),
        steps=(worst.first, worst.last),
    )


def _shift(run: Run, spike: Spike) -> Estimate:
    """Of the shift beside the spike and the excess over the law now, the surer; the other shows how far it may heal."""
    assert spike.left is not None
    near = Estimate.normal(spike.left.size, spike.left.error)
    law = evidence.above_the_law_before(run, spike.first, spike.last)
    if law is None:
        return near.at_least(0.0)
    value, sd = (law.value, law.sd) if law.sd < near.sd else (near.value, near.sd)
    apart = min(abs(law.value - near.value), 2 * law.sd)
    return Estimate.normal(max(value, 0.0), math.hypot(sd, 0.5 * apart)).at_least(0.0)


def _remedies(run: Run, spike: Spike, cost: Estimate) -> tuple[Remedy, ...]:
    peak, per_step, last = evidence.peak_rate(run), run.facts.tokens_per_step, run.last_step or spike.last
    again = None if per_step is None else (last - spike.first) * per_step
    gain = Estimate(cost.value / 2, 0.0, cost.high)  # other batches may bring the spike again
    before = f"from a checkpoint before step {spike.first:,.0f}"
    found = [Remedy("roll_back", f"{before}, past its batches", {"run.on_divergence": "rollback"}, gain, again)]
    if not run.facts.grad_clip or run.facts.grad_clip > 1:
        found.append(Remedy("clip_gradients", f"{before}, clip at norm 1", {"optimizer.grad_clip": 1.0}, gain, again))
    if peak:
        lower = float(f"{peak / 2:.2g}")
        change = f"{before}: peak learning rate {peak:.3g} -> {lower:.3g}"
        found.append(Remedy("lower_peak", change, {"optimizer.peak_lr": lower}, None, again))
    return tuple(found)


def example(rng: np.random.Generator) -> Run:
    """At two fifths of the run the loss jumps by 1.5 nats, comes back within 200 steps, and stays 0.2 higher."""

    def thrown(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        since = np.maximum(step - 4000, 0)
        return np.asarray(value + (step > 4000) * (0.2 + 1.3 * np.exp(-since / 60)))

    return simulated.with_losses(simulated.healthy(rng, log_every=10), thrown)
