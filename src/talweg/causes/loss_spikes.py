"""Loss spikes: again and again the loss jumps up and comes back, and the steps in between are lost.

Physics: Adam divides by a mean of squared gradients that remembers 1 / (1 - beta2) updates. A gradient that grows
faster than that memory, as from growing attention logits, makes updates too large; the loss rises for some steps and
comes back. What it costs is not the area of the spikes, which nobody trains for, but the progress lost,

    cost = sum_i D_i,  weighed against  |dL/ds| sum_i (length of spike i)

    D_i: how much higher the curve goes on after spike i, nats, with its error   dL/ds: slope at the end, nats per step

A noisy batch is high for one logged value, with a gradient of usual size: that is no spike of the weights.

Refuted by: the loss of the batches of a spike, by a checkpoint from before it, is as high as in the spike.
Known problems: a spike shorter than the distance of the logged steps shows by chance only, and then not what it is
without the gradient's norm. What a remedy wins is between nothing and the whole cost.
References: Chowdhery et al. 2022, arXiv 2204.02311, section 5.1; Wortsman et al. 2023, arXiv 2309.14322 (qk-norm);
Molybog et al. 2023, arXiv 2304.09871 (Adam's memory and spikes).
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.evidence import Spike
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "optimization"
NEEDS = ("train_loss", "grad_norm")
# False alarms: 0 of 200 simulated sound runs, 0 of 93 public logs (notes/events.md).
FEWEST = 2  # spikes. Our choice: one that came back is no habit of the run
SIZE = 0.1  # nats. Our choice: below, no person would call it a spike
NORM = 3.0  # times the gradient norm around. Our choice: sound gradient norms have a tail of sd 0.12 to 0.3 in the log
LASTS = 3  # logged values in a row that no single noisy batch explains. Our choice
EARLY = 0.05  # of the log: the first fall, where neighbours are no measure. Our choice
# nats a spike, beside the whole of the progress lost: what the shift is weighed against. Our choice
PRIOR_ERROR = 0.001


def examine(run: Run) -> Finding:
    loss = run.train_loss.finite
    if evidence.judged(run) is None or len(loss) < 2 * evidence.FEW:
        return missing("train_loss", because="needs a training loss: spikes are not seen in evaluations")
    if run.facts.step_unit is not None:
        return missing("train_loss", because=f"the steps of this log count another thing ({run.facts.step_unit})")
    if any(e.kind == "diverged_from" and e.series != "grad_norm" for e in evidence.departures(run)):
        return Finding("absent", "the loss left its lowest level for good: it diverged")
    begins = float(loss.step[0] + EARLY * (loss.step[-1] - loss.step[0]))
    high = [s for s in evidence.spikes(run) if s.event.size > SIZE and s.first > begins]
    high = [s for s in high if s.event.kind == "spike" and not s.at_resume and not s.rate_rises]
    sure = [s for s in high if s.num >= LASTS or (s.norm_ratio or 0.0) > NORM]
    if len(sure) >= FEWEST:
        return _present(run, sure)
    untold = [s for s in high if s.num < LASTS and s.norm_ratio is None]
    if len(sure) + len(untold) >= FEWEST and not _smooth_val(run):
        told = f"{len(untold)} logged losses stand out by {SIZE} nats or more"
        return missing("grad_norm", because=f"{told}: spikes, or noisy batches, which the gradient's norm tells apart")
    if not high:
        return Finding("absent", f"the training loss has no spike of {SIZE} nats that came back")
    if not sure:
        return Finding("absent", f"{len(high)} single noisy batches: no spike lasts, nor does the gradient grow in one")
    return Finding(
        "absent", f"one spike, of {sure[0].event.size:.2f} nats at step {sure[0].first:,.0f}, that came back"
    )


def _smooth_val(run: Run) -> bool:
    """Whether validation is logged and has nothing of the kind."""
    enough = len(run.val_loss.finite) >= 2 * evidence.FEW
    return enough and not any(e.series == "val_loss" and e.size > 0 for e in evidence.departures(run))


def _present(run: Run, sure: list[Spike]) -> Finding:
    loss = run.train_loss.finite
    span = float(loss.step[-1] - loss.step[0])
    sizes = [s.event.size for s in sure]
    length = sum(_length(s, loss) for s in sure)
    cost = _cost(run, sure, length)
    norms = [s.norm_ratio for s in sure if s.norm_ratio is not None]
    because = (
        f"{len(sure)} spikes of {min(sizes):.2f} to {max(sizes):.2f} nats that came back, one in "
        f"{span / len(sure):,.0f} steps; {length / span:.1%} of the steps lie in them"
    )
    if norms:
        because += f"; the gradient's norm is {float(np.median(norms)):.1f} times its usual size there"
    return Finding("present", because, nats=cost, remedies=_remedies(run, cost), steps=(sure[0].first, sure[-1].last))


def _length(spike: Spike, loss: Series) -> float:
    return float(spike.last - spike.first + np.median(np.diff(loss.step)))


def _cost(run: Run, sure: list[Spike], length: float) -> Estimate:
    """The shifts that are measured, weighed against the steps lost: both say what the same spikes cost."""
    slope = evidence.trend(run)
    lost = 0.0 if slope is None else max(0.0, -slope.value / 1000) * length
    prior_sd = math.hypot(lost, PRIOR_ERROR * math.sqrt(len(sure)))
    shifts = [s.left for s in sure if s.left is not None and s.left.error > 0]
    if len(shifts) < len(sure):
        return Estimate.normal(lost, prior_sd).at_least(0.0)
    total, error = sum(s.size for s in shifts), math.sqrt(sum(s.error**2 for s in shifts))
    weight = prior_sd**2 / (prior_sd**2 + error**2)
    sd = math.sqrt(weight) * error
    return Estimate.normal(lost + weight * (total - lost), sd).at_least(0.0)


def _remedies(run: Run, cost: Estimate) -> tuple[Remedy, ...]:
    """Each wins between nothing and all of the cost; none was measured, and what a lower rate costs is not counted."""
    f, peak = run.facts, evidence.peak_rate(run)
    end = evidence.horizon(run) or run.last_step
    tokens = None if f.tokens_per_step is None or end is None else end * f.tokens_per_step
    gain = Estimate(cost.value / 2, 0.0, cost.high)
    found = []
    if not f.grad_clip or f.grad_clip > 1:
        found.append(Remedy("clip_gradients", "clip gradients at norm 1", {"optimizer.grad_clip": 1.0}, gain, tokens))
    if f.beta2 is None or f.beta2 > 0.95:
        was = "beta2" if f.beta2 is None else f"beta2 {f.beta2:g}"
        found.append(Remedy("shorter_memory", f"{was} -> 0.95", {"optimizer.beta2": 0.95}, gain, tokens))
    if peak:
        lower = float(f"{peak / 2:.2g}")
        change = f"peak learning rate {peak:.3g} -> {lower:.3g}"
        found.append(Remedy("lower_peak", change, {"optimizer.peak_lr": lower}, None, tokens))
    found.append(Remedy("qk_norm", "norm of queries and keys", {"model.qk_norm": True}, None, tokens))
    return tuple(found)


def example(rng: np.random.Generator) -> Run:
    """Six spikes of 0.6 to 1.6 nats, each back within 200 steps, with a gradient ten times as long."""
    run = simulated.healthy(rng, log_every=10)
    places, sizes = np.linspace(2000, 9000, 6), rng.uniform(0.6, 1.6, 6)

    def jumping(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        since = step[:, None] - places
        return np.asarray(value + (np.where(since >= 0, sizes * np.exp(-np.maximum(since, 0) / 40), 0)).sum(axis=1))

    long = 1 + 10 * (np.abs(run.grad_norm.step[:, None] - places) < 20).any(axis=1)
    norm = Series.of(run.grad_norm.step, run.grad_norm.value * long, name="grad_norm")
    return replace(simulated.with_losses(run, jumping), grad_norm=norm)
