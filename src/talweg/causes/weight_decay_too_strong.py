"""Weight decay too strong: the weights forget what they learned long before the run is over.

Physics: with decoupled decay the weights are a mean of their last updates, which reaches back

    m = 1 / (eta lambda) steps      eta: peak learning rate   lambda: weight decay
    tau = m / steps                 best: 1.084 TPP^-0.527 (TPP: tokens a parameter), .22 at 20, .08 at 150

At an eighth of the best memory and less, a run is worth a part of its tokens (laws/memory.py says which), and what
these fewer tokens lose is the cost, in nats per token. A memory that is too long costs little and is no cause here.
In balance a step turns the weights by sqrt(2 eta lambda) of their length: an update ratio far below that shows that
the decay is not in force as stated.

Refuted by: a branch with a quarter of the decay, annealed alike, ends no lower; the norms of the weights do not shrink.
Known problems: that the best share follows TPP was measured from 111 M parameters on; what a short memory costs, on one
small model in short runs (4 to 20 steps remembered), in two forms that differ by a factor 4: hence the wide interval.
In runs over the same text again and again strong decay cuts the overfitting (Lovelace et al. 2026): there it is not
called. It is taken to be decoupled, as in AdamW.
References: Wang and Aitchison 2024, arXiv 2405.13698; Bergsma et al. 2025, arXiv 2505.13738; Kosson et al. 2023, arXiv
2305.17212 (the balance); Lovelace et al. 2026, arXiv 2605.01640.
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import memory
from talweg.run import Run

GROUP = "optimization"
NEEDS = ("weight_decay", "peak_learning_rate", "planned_steps", "val_loss")
NEAR = 1 / 4  # of the best memory: down to here the law does not tell a decay from the best. Our choice
SHORT = 1 / 8  # of the best memory: from here on .7 nats and more were measured (notes/causes_batch.md)
MATERIAL = 0.01  # nats, of the lower end of the cost. Our choice: five times a seed's effect
# Epochs from which on decay may protect: as far as repetition costs next to nothing (laws/repetition.py).
REPEATED = 4.0
IN_FORCE = 1 / 4  # of sqrt(2 eta lambda): an update ratio below it cannot be that of this decay. Our choice
COUPLED = ("adam", "sgd")  # optimizers, named just so, whose decay is added to the gradient
# False alarms: 0 of 500 simulated sound runs; no public log of ours states its decay but one (notes/causes_batch.md).


def examine(run: Run) -> Finding:
    f, peak, end = run.facts, evidence.peak_rate(run), evidence.horizon(run)
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: without one nothing is known to train")
    if f.weight_decay is None or not peak:
        names = tuple(n for n in ("weight_decay", "peak_learning_rate") if getattr(f, n) is None) or ("weight_decay",)
        return missing(*names, because=f"the decay's memory cannot be told without {' and '.join(names)}")
    if f.weight_decay <= 0:
        return Finding("absent", "no weight decay")
    if end is None:
        return missing("planned_steps", because="the decay's memory cannot be judged without the steps of the plan")
    if not evidence.adam_like(f.optimizer) or (f.optimizer or "").lower() in COUPLED:
        return missing("optimizer", because=f"the decay of {f.optimizer} is not that of AdamW")
    steps = memory.decay_memory(peak, f.weight_decay)
    told = (
        f"decay {f.weight_decay:g} at a peak of {peak:.3g} remembers {steps:,.0f} steps, {steps / end:.2g} of the run"
    )
    if f.parameters is None or f.tokens_per_step is None:
        best = memory.best_share(memory.FITTED_TPP)  # the longest that any run wants
        if steps / end >= NEAR * best:
            return Finding("absent", f"{told}, near the best of any run ({best:.2g} of it)")
        names = tuple(n for n in ("parameters", "tokens_per_step") if getattr(f, n) is None)
        return missing(*names, because=f"{told}; the best share depends on {' and '.join(names)}")
    tokens = f.tokens_per_step * end
    best = memory.best_share(tokens / f.parameters)
    told += f"; the best is {best:.2g}"
    if steps / end >= NEAR * best:
        return Finding("absent", told)
    return _short(run, told, steps / end / best, tokens)


def _short(run: Run, told: str, ratio: float, tokens: float) -> Finding:
    """A memory that is far below the best: present, if the run is not one that decay protects or does not have it."""
    f, peak = run.facts, evidence.peak_rate(run)
    assert f.weight_decay is not None
    assert peak is not None
    cost = _cost(run, memory.decay_worth(ratio), tokens)
    hidden = None if cost is None else cost.value
    if ratio > SHORT:
        because = f"{told}: between 1/{1 / NEAR:g} and 1/{1 / SHORT:g} of it a trial must tell"
        return missing("checkpoint", because=because, would_narrow_nats=hidden)
    if f.unique_tokens is not None and tokens / f.unique_tokens > REPEATED:
        because = (
            f"{told}, but over {tokens / f.unique_tokens:.2g} passes of the text it may protect: only a trial tells"
        )
        return missing("checkpoint", because=because, would_narrow_nats=hidden)
    turned = _turned(run)
    if turned is not None and turned < IN_FORCE * math.sqrt(2 * peak * f.weight_decay):
        because = f"{told}, yet a step changes {turned:.2g} of the weights, too little for it to be in force"
        return missing("checkpoint", because=because, would_narrow_nats=hidden)
    if cost is None:
        return missing("val_loss", because=f"{told}; the cost needs the level of the loss")
    if cost.low < MATERIAL:
        return Finding("absent", f"{told}, which may cost as little as {cost.low:.3f} nats")
    weaker = float(f"{f.weight_decay * ratio:.1g}")
    remedy = Remedy(
        "weaker_decay",
        f"weight decay {f.weight_decay:g} -> {weaker:g}",
        {"optimizer.weight_decay": weaker},
        cost,
        tokens,
    )
    return Finding("present", told, nats=cost, remedies=(remedy,))


def _turned(run: Run) -> float | None:
    """|update| / |weight| where the rate is highest; None without the column."""
    ratio = run.update_ratio.finite
    return float(np.quantile(ratio.value, 0.9)) if len(ratio) >= evidence.FEW else None


def _cost(run: Run, worth: Estimate, tokens: float) -> Estimate | None:
    f = run.facts
    return memory.cost(worth, f.parameters, tokens, loss=evidence.late_level(run), bytes_per_token=f.bytes_per_token)


def example(rng: np.random.Generator) -> Run:
    """Decay 10 at a rate of 6e-4: 170 steps remembered of 10,000."""
    run = simulated.healthy(rng, weight_decay=10.0, optimizer="adamw", above=0.06)
    ratio = run.update_ratio
    return replace(run, update_ratio=replace(ratio, value=ratio.value * 50))
