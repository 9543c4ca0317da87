"""Dropout too strong: dropout is on although the text is hardly repeated and nothing overfits.

Physics: dropout p zeroes a share p of the activations at each training step: noise on the gradient and less
capacity, paid for protection from memorising. In one or two passes there is next to nothing to protect from, so
only the price is left, about in proportion to p:

    cost = 0.3 p        nats per token, 80 % between 0.05 p and 0.9 p; below 10 M parameters 0.85 p (0.4 p to 1.3 p)

Refuted by: a branch from the same checkpoint without dropout, annealed alike, is no better.
Known problems: that no dropout is better in one pass is measured at 160 M and 1.4 B parameters; the size of the
effect is measured on one small model alone (1.3 M, 2 M tokens: 0.086 at p = 0.1), and above it a prior of ours, so
try it before believing it.
References: Liu et al. 2025, arXiv 2505.24788.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.curve.minimum import minimum
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "capacity"
NEEDS = ("dropout",)
EPOCHS = 2.0  # up to here dropout has nothing to protect from. Our choice, between the single pass measured and 4
COST = Estimate(0.3, 0.05, 0.9)  # nats for each unit of p. Sign: Liu et al. 2025; size: our prior, wide on purpose
# The same for small models: .086, .076 and .095 at p = 0.1 over three seeds (notes/calibration.md), widened threefold,
# since it is one size at 1.5 tokens a parameter.
SMALL_COST, SMALL = Estimate(0.85, 0.4, 1.3), 1e7  # nats for each unit of p, parameters
MATERIAL = 0.01  # nats: p below 0.03 is left alone
SIGNIFICANT, RISE = 3.0, 0.02  # a rise of val that may be overfitting: standard errors, nats. Our choice


def examine(run: Run) -> Finding:
    p = run.facts.dropout
    if p is None:
        return missing("dropout")
    small = run.facts.parameters is not None and run.facts.parameters < SMALL
    price = SMALL_COST if small else COST
    if p * price.value < MATERIAL:
        return Finding("absent", f"dropout is {p:g}")
    judged = evidence.judged(run)
    if judged is None:
        return missing("val_loss", because=f"dropout is {p:g}; needs a loss curve, to see that nothing overfits")
    best = minimum(judged.loss.step, judged.loss.value, evidence.scatter(run, judged))
    if best is not None and best.rise_since > max(RISE, SIGNIFICANT * best.rise_standard_error):
        return missing("checkpoint", because=f"dropout is {p:g}, but the loss rose since its minimum: it may be needed")
    epochs, cost = _epochs(run), Estimate(p * price.value, p * price.low, p * price.high)
    if epochs is not None and epochs > EPOCHS:
        because = f"dropout is {p:g} at {epochs:.3g} epochs: it may protect; only a trial tells"
        return missing("checkpoint", because=because, would_narrow_nats=cost.value)
    if epochs is None and (gap := _memorising(run)) is not None:
        because = (
            f"dropout is {p:g}, and val lies {gap:.3f} above the training text in evaluation mode, and more and more"
        )
        return missing("data", because=f"{because}: it may protect", would_narrow_nats=cost.value)
    passes = "an unknown number of epochs (give --data)" if epochs is None else f"{epochs:.2g} epochs"
    because = f"dropout is {p:g} in a run of {passes} that does not overfit"
    change = f"dropout {p:g} -> 0"
    remedy = Remedy("dropout_off", change, {"model.dropout": 0.0}, cost, 0.0)
    return Finding("present", because, nats=cost, remedies=(remedy,))


def _memorising(run: Run) -> float | None:
    """Val minus the training text evaluated alike, where that is a gap and grows: dropout may then hold it down."""
    gap = evidence.gap(run)
    if gap is None or not gap.like_for_like or gap.growth is None:
        return None
    return gap.value.value if gap.value.low > RISE and gap.growth.low > 0 else None


def _epochs(run: Run) -> float | None:
    """Passes over the text at the end of the plan."""
    end, f = evidence.horizon(run) or run.last_step, run.facts
    if f.unique_tokens is None or f.tokens_per_step is None or end is None:
        return None
    return f.tokens_per_step * end / f.unique_tokens


def example(rng: np.random.Generator) -> Run:
    """Dropout 0.2 in a single pass."""
    return simulated.healthy(rng, dropout=0.2, above=0.03)
