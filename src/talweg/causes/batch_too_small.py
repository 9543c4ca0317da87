"""Batch too small: so few tokens go into each step that Adam's memory holds too few of them.

Physics: a small batch is no loss by itself. But Adam's means reach back a number of steps, so with the betas held they
hold fewer tokens the smaller the batch is, and the sizes of the steps become a matter of chance. At equal tokens D a
batch of B_best / r is then as if the run had read fewer of them:

    w(r) = 1 / (1 + e(r)),   e = 0.06, 0.23, 0.51, 1.1 at r = 2, 4, 8, 16      share of the tokens that counts, no unit
    cost = L(N, w D) - L(N, D)                                                 nats per token
    B_best = 0.58 D^0.571,   t2 = B ln 2 / -ln beta2                           t2: tokens, half-life of beta2

e was measured with beta1 = .9 and beta2 = .95 held. With t2 held at 10 M tokens, and beta1 tuned, batches of 512
tokens, 117 times below the best, cost nothing at 30 M parameters: where beta2 is that close to 1 the cause is absent.

Refuted by: a run with beta2 nearer to 1, or with more tokens a step, at its best rate and on the same tokens, ends no
lower.
Known problems: B_best was fitted from 215 M parameters and 4 B tokens on; the interval widens below. The cost is that
of the best learning rate for the batch: where the rate is that of a large batch, the loss is higher still. Without
beta2 nothing is said. How long a half-life a short run wants is not measured.
References: Li et al. 2025 (StepLaw), arXiv 2503.04715; Marek et al. 2025, arXiv 2507.07101.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import batch as law
from talweg.run import Run

GROUP = "optimization"
NEEDS = ("tokens_per_step", "planned_steps", "val_loss")
# Times the law's best batch. Down to 1 / law.FACTOR the laws do not tell a batch from the best. From there to
# TOO_SMALL, at which all of the grid lost .02 nats and more, it is left open. Our choice.
TOO_SMALL = 1 / 8
MATERIAL = 0.01  # nats, of the cost. Our choice: five times a seed's effect
# Of the run, as a half-life that is long enough: 10 M of 600 M tokens was. That short runs want as much: our choice.
ENOUGH_OF_RUN = 1 / 60
CLOSE = 4.0  # times shorter than that is still close to it. Our choice: the minimum is flat by about so much
# False alarms: 0 of 500 simulated sound runs, 0 of 93 public logs (notes/causes_batch.md).


def examine(run: Run) -> Finding:
    f, off = run.facts, evidence.off_batch(run)
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: without one nothing is known to train")
    if off is None or f.tokens_per_step is None:
        return missing(
            "tokens_per_step", because="the batch cannot be judged without the tokens of a step and the plan"
        )
    told = evidence.batch_told(run, off)
    if off.ratio >= 1 / law.FACTOR:
        return Finding("absent", f"{told}, no less than 1/{law.FACTOR:g} of it")
    if not evidence.adam_like(f.optimizer):
        return missing("optimizer", because=f"{told}, but no law for the batch of {f.optimizer} is known here")
    wanted = min(law.HALF_LIFE, ENOUGH_OF_RUN * off.tokens)
    remembers = None
    if f.beta2 is not None and 0 < f.beta2 < 1:
        remembers = law.half_life(f.beta2, f.tokens_per_step)
        told = f"{told}; beta2 {f.beta2:g} halves in {float(f'{remembers:.2g}'):,.0f} tokens"
        if remembers * CLOSE >= wanted:
            return Finding("absent", f"{told}, as much as where small batches cost nothing")
    if off.cost is None:
        return missing("parameters", because=f"{told}; the cost needs the parameters or the loss level")
    if off.refuted and remembers is not None:
        return Finding("absent", f"{told}, yet the curve lies too low to have lost {off.cost.low:.2f} nats by it")
    if off.cost.value < MATERIAL:
        return Finding("absent", f"{told}, which costs {off.cost.value:.3f} nats", nats=off.cost)
    if remembers is None:
        because = f"{told}; whether that costs anything depends on beta2"
        return missing("beta2", because=because, would_narrow_nats=off.cost.value)
    if off.ratio > TOO_SMALL:
        because = f"{told}: above 1/{1 / TOO_SMALL:g} of it a trial must tell"
        return missing("checkpoint", because=because, would_narrow_nats=off.cost.value)
    share = law.worth(off.ratio, off.tokens).value
    because = f"{told}, where {float(f'{wanted:.2g}'):,.0f} would do: that is worth {share:.0%} of the tokens"
    return Finding("present", because, nats=off.cost, remedies=_remedies(run, off, wanted))


def _remedies(run: Run, off: "evidence.OffBatch", wanted: float) -> tuple[Remedy, ...]:
    """A longer memory, which costs nothing to try; or the best batch on the same tokens."""
    f, cost = run.facts, off.cost
    assert cost is not None
    assert f.tokens_per_step is not None
    beta2 = round(law.beta2_of(wanted, f.tokens_per_step), 6)
    larger = evidence.in_windows(run, off.best.value)
    steps = max(round(off.tokens / larger), 1)
    # Measured with beta1 and the rate tuned along with it: beta2 alone may win less.
    longer = Remedy(
        "longer_memory",
        f"beta2 {f.beta2:g} -> {beta2:g}",
        {"optimizer.beta2": beta2},
        Estimate(cost.value / 2, 0.0, cost.high),
        off.tokens,
    )
    change = f"{f.tokens_per_step:,.0f} -> {larger:,} tokens a step, {steps:,} steps on the same tokens"
    config: dict[str, object] = {"batch.tokens_per_step": larger, "run.steps": steps}
    return longer, Remedy("larger_batch", change, config, cost, off.tokens)


def example(rng: np.random.Generator) -> Run:
    """124 M parameters, 2.5 B tokens in 600,000 steps of 4,133 tokens, a thirtieth of the best batch, at beta2 .95."""
    return simulated.healthy(
        rng,
        steps=600_000,
        tokens_per_parameter=20,
        above=0.15,
        log_every=600,
        beta2=0.95,
        optimizer="adamw",
        accumulation=1,
    )
