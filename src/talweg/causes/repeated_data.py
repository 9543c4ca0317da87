"""Repeated data: the text is read so many times that another pass is worth much less than fresh text.

Physics: D tokens of which U are unique are worth

    D' = U + U R_D (1 - exp(-R / R_D)),   R = D / U - 1,   R_D = 15.388        tokens

to the size law, and N parameters are cut likewise (R_N = 5.310). Up to 4 passes cost next to nothing, after about
16 another one is worth nothing. The cost needs no gap between train and val.

Refuted by: the same steps on text of four times as many unique tokens end no lower.
Known problems: the law has no term for overfitting: beyond ten passes it is a lower bound. Copies within the text make
U smaller than the count says: what they add is the cost of `duplicated_data`.
References: Muennighoff et al. 2023, arXiv 2305.16264, equations 5 and 6.
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import repetition, size
from talweg.run import Run

GROUP = "data"
NEEDS = ("unique_tokens", "tokens_per_step", "parameters")
EPOCHS = repetition.FRESH_EPOCHS  # 4: up to here almost as good as fresh (Muennighoff et al. 2023)
MATERIAL = 0.01  # nats: 5 sd of a seed's effect on the final loss
WORTHLESS_EPOCHS = 16.0  # the smallest text that is worth naming where nothing is known of it (same source)


def examine(run: Run) -> Finding:
    f, end = run.facts, evidence.horizon(run) or run.last_step
    absent = tuple(n for n in ("parameters", "tokens_per_step") if getattr(f, n) is None)
    if absent or f.parameters is None or f.tokens_per_step is None:
        return missing(*absent)
    if not end or evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    n, seen = f.parameters, f.tokens_per_step * end
    # copies within the text are the matter of duplicated_data: here a pass is a pass over the text as it is stored
    size = f.train_tokens or f.unique_tokens
    if not size:
        return _uncounted(run, n, seen)
    epochs = seen / size
    cost = repetition.cost(n, size, seen)
    kind = "in the text" if f.train_tokens else "unique"
    figures = f"{seen / 1e9:,.3g} B tokens at the end of the plan, {size / 1e9:,.3g} B {kind}: {epochs:.3g} epochs"
    if epochs <= EPOCHS or cost.value < MATERIAL:
        return Finding("absent", figures, nats=cost)
    if cost.low <= 0:
        return missing("data", because=f"{figures}; the law cannot tell the cost from nothing")
    enough = _unique_enough(n, seen)
    gain = _less(cost, repetition.cost(n, enough, seen))
    more = Remedy("more_text", f"{enough / 1e9:,.3g} B unique tokens", {"data.path": "a larger DATA"}, gain, 0.0)
    steps = max(1, round(EPOCHS * size / f.tokens_per_step))
    fewer = Remedy("stop_at_four_epochs", f"stop after {EPOCHS:.0f} epochs: {steps:,} steps", {"run.steps": steps})
    return Finding("present", figures, nats=cost, remedies=(more, fewer))


def _uncounted(run: Run, n: float, seen: float) -> Finding:
    """Unknown: how small the text could be, what that would cost, and from which count on it costs nothing."""
    fineweb = "fineweb" in (run.facts.dataset or "").lower() and seen > repetition.FINEWEB_PARQUET
    smallest = min(repetition.FINEWEB_PARQUET if fineweb else seen / WORTHLESS_EPOCHS, seen)
    worst = repetition.cost(n, smallest, seen)
    known = not size.in_range(n, seen)
    told = f"{worst.value:.2f} nats" if known else "which nobody has measured at this size"
    guess = "one full FineWeb parquet holds" if fineweb else "a sixteenth of them would be"
    because = (
        f"nobody counted the text. {seen / 1e9:,.3g} B tokens are planned: no matter from "
        f"{_unique_enough(n, seen) / 1e9:,.2g} B "
        f"unique ones on; {guess} {smallest / 1e9:.2g} B, {seen / smallest:.0f} epochs, {told}. Give --data"
    )
    return missing("unique_tokens", "data", because=because, would_narrow_nats=worst.value if known else None)


def _unique_enough(n: float, seen: float) -> float:
    """The unique tokens from which on `seen` of them cost less than MATERIAL. Bisection on the logarithm."""
    low, high = math.log(seen / 1000), math.log(seen)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if repetition.cost(n, math.exp(middle), seen).value < MATERIAL else (middle, high)
    return math.exp(high)


def _less(cost: Estimate, remaining: Estimate) -> Estimate:
    return cost.shifted(-remaining.value).at_least(0.0)


def example(rng: np.random.Generator) -> Run:
    """A text of an eightieth of the tokens: eighty passes."""
    tokens = simulated.PARAMETERS * simulated.TOKENS_PER_PARAMETER
    return simulated.healthy(rng, unique_tokens=tokens / 80, near_unique_tokens=None)
