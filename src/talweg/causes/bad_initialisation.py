"""Bad initialisation: the fresh model is surer than it may be, and its first loss lies far above ln V.

Physics: a model that knows nothing should give every token the same probability: loss ln V. Logits z of spread s that
have nothing to do with the text add about

    L(0) - ln V = s^2 / 2        nats per token

so the excess tells the spread. The first steps go into undoing it, at the price of as many steps at the end; an
optimizer that undoes it in a step or two pays nothing.

Refuted by: the same model with the output weights scaled so that the first loss is ln V ends no lower.
Known problems: needs the loss at step 0 or 1. A vocabulary padded to a round number shifts ln V in the third decimal.
A first loss of ln V / ln 2 is a loss in bits, not a fault. The cost at the end is small unless units stay saturated.
References: Radford et al. 2019 (standard deviation 0.02, residual layers scaled); Zhang et al. 2019, arXiv 1901.09321.
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors
from talweg.run import Run, Series

GROUP = "implementation"
NEEDS = ("vocabulary_size", "val_loss")
TOLERANCE = 0.05  # of ln V. Our choice: every sound public run that shows its first loss is within 1.3 % of it
NOTHING = 0.0005  # nats: below it a cost is shown as none
LOST_SHARE = 0.005  # of the plan. Our choice: three public record runs start at 16 to 23 nats and undo it in one step


def examine(run: Run) -> Finding:
    vocabulary, first = run.facts.vocabulary_size, evidence.first_loss(run)
    if first is None or evidence.judged(run) is None:
        return missing("val_loss", because="needs the loss at step 0 or 1, and eight values in all")
    if vocabulary is None:
        return missing("vocabulary_size", because=f"the first loss is {first:.3f}; needs the vocabulary's size")
    uniform = anchors.uniform(vocabulary)
    ratio = first / uniform
    stands = f"the first loss is {first:.3f}, ln {vocabulary:,} is {uniform:.3f}"
    if ratio <= 1 + TOLERANCE:
        return Finding("absent", f"{stands}: {ratio - 1:+.1%}")
    if (unit := evidence.other_unit(run)) is not None:
        return missing("val_loss", because=f"{stands}: that is ln V in {unit}; give the loss in nats")
    times, evaluated = run.facts.accumulation or 1, run.val_loss or run.train_eval_loss
    if times > 1 and not evaluated and abs(ratio / times - 1) < TOLERANCE:
        because = f"{stands}: that is {times} ln V, as {times} micro-batches added up would log it"
        return missing("val_loss", because=f"{because}; an evaluated loss tells the two apart")
    lost, end = _steps_above(run, uniform), evidence.horizon(run) or run.last_step or 1.0
    cost = _cost(run, lost)
    if lost < LOST_SHARE * end:
        because = f"{stands}, but the loss was there by step {math.ceil(lost):,}: {lost / end:.1%} of the plan"
        return Finding("absent", because, nats=cost)
    if cost.high < NOTHING:
        return Finding("absent", f"{stands}, undone by step {math.ceil(lost):,}: that costs nothing", nats=cost)
    spread = math.sqrt(2 * (first - uniform))
    because = f"{stands}: the logits of the fresh model have a spread of about {spread:.1f}, undone by step {lost:,.0f}"
    scale = 1 / max(spread, 1.0)
    warmup = max(300, 2 * (run.facts.warmup_steps or 0))
    change = (
        f"scale the output weights by {scale:.2g} at the start (standard deviation 0.02); till then, a longer warm-up"
    )
    remedy = Remedy("scale_output", change, {"schedule.warmup_steps": warmup}, cost, 0.0)
    return Finding("present", because, nats=cost, remedies=(remedy,), steps=(0.0, lost))


def _steps_above(run: Run, uniform: float) -> float:
    """The steps that went by until the loss was at ln V, by the line between two logged values."""
    series: Series = max((run.train_loss.finite, run.val_loss.finite), key=len)
    below = np.flatnonzero(series.value <= uniform)
    if below.size == 0:
        return float(series.step[-1])
    i = int(below[0])
    return float(np.interp(-uniform, -series.value[i - 1 : i + 1], series.step[i - 1 : i + 1])) if i else 0.0


def _cost(run: Run, lost: float) -> Estimate:
    """The lost steps at the pace of the end; up to what the run lies above the laws where that is sure."""
    slope, above = evidence.trend(run), evidence.far_above(run) or 0.0
    pace = max(0.0, -slope.value / 1000) if slope is not None else 0.0
    least = max(pace * lost, 1e-4)
    return Estimate(least, least / 2, max(2 * least, above))


def example(rng: np.random.Generator) -> Run:
    """Logits of spread five, 23 nats, undone over some hundred steps."""

    def unsure(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        return np.asarray(value + 12.2 * np.exp(-step / 120))

    return simulated.with_losses(simulated.healthy(rng), unsure)
