"""Batch too large: so many tokens go into each step that too few steps are made of the tokens of the plan.

Physics: beyond a point more tokens make the gradient of a step hardly better, but each step takes them from another.
At equal tokens D a batch of r times the best one is as if the run had read fewer of them:

    w(r) = 1 / (1 + e(r)),   e = 0.06, 0.23, 0.51, 1.1 at r = 2, 4, 8, 16      share of the tokens that counts, no unit
    cost = L(N, w D) - L(N, D)                                                 nats per token
    r = B / B_best,   B_best = 0.58 D^0.571                                    B: tokens per step

e was measured on 17 cells of size and tokens, and tells runs of a seventh of the smallest size that were no part of it.

Refuted by: a run over the same tokens in a quarter of the batch, at its best rate, ends no lower.
Known problems: B_best was fitted from 215 M parameters and 4 B tokens on; another law has a power of .383 where this
one has .571, so the interval widens by that difference below. Who pays by the hour and not by the token may want the
large batch. Muon bears larger batches than AdamW, by how much is not measured here. Where the gradient's noise was
measured (gradient norms of micro-batches), it says more than this law.
References: Li et al. 2025 (StepLaw), arXiv 2503.04715; Marek et al. 2025, arXiv 2507.07101; Bergsma et al. 2025, arXiv
2505.13738; McCandlish et al. 2018, arXiv 1812.06162.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.laws import batch as law
from talweg.run import Run

GROUP = "optimization"
NEEDS = ("tokens_per_step", "planned_steps", "val_loss")
# Times the law's best batch. Up to law.FACTOR the laws do not tell a batch from the best. From there to TOO_LARGE, at
# which all of the grid lost .05 nats and more, it is left open. Our choice: two of 42 public runs stand at 4.5 and 5.2.
TOO_LARGE = 8.0
MATERIAL = 0.01  # nats, of the lower end of the cost. Our choice: five times a seed's effect
# False alarms: 0 of 500 simulated sound runs, 0 of 93 public logs (notes/causes_batch.md).


def examine(run: Run) -> Finding:
    off = evidence.off_batch(run)
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: without one nothing is known to train")
    if off is None:
        return missing(
            "tokens_per_step", because="the batch cannot be judged without the tokens of a step and the plan"
        )
    told = evidence.batch_told(run, off)
    if off.ratio <= law.FACTOR:
        return Finding("absent", f"{told}, no more than {law.FACTOR:g} times it")
    if not evidence.adam_like(run.facts.optimizer):
        return missing("optimizer", because=f"{told}, but no law for the batch of {run.facts.optimizer} is known here")
    if off.cost is None:
        return missing("parameters", because=f"{told}; the cost needs the parameters or the loss level")
    if off.refuted:
        return Finding("absent", f"{told}, yet the curve lies too low to have lost {off.cost.low:.2f} nats by it")
    if off.cost.low < MATERIAL:
        return Finding("absent", f"{told}, which may cost as little as {off.cost.low:.3f} nats")
    if off.ratio < TOO_LARGE:
        because = f"{told}: below {TOO_LARGE:g} times a trial must tell"
        return missing("checkpoint", because=because, would_narrow_nats=off.cost.value)
    smaller = evidence.in_windows(run, off.best.value)
    steps = round(off.tokens / smaller)
    change = f"{run.facts.tokens_per_step:,.0f} -> {smaller:,} tokens a step, {steps:,} steps on the same tokens"
    config: dict[str, object] = {"batch.tokens_per_step": smaller, "run.steps": steps}
    because = (
        f"{told}: at equal tokens a batch that large is worth {law.worth(off.ratio, off.tokens).value:.0%} of them"
    )
    remedy = Remedy("smaller_batch", change, config, off.cost, off.tokens)
    return Finding("present", because, nats=off.cost, remedies=(remedy,))


def example(rng: np.random.Generator) -> Run:
    """124 M parameters and 2.5 B tokens in 400 steps of 6 M, 40 times the best batch; half a nat above the laws."""
    return simulated.healthy(rng, steps=400, tokens_per_parameter=20, above=0.5, log_every=2, eval_every=10)
