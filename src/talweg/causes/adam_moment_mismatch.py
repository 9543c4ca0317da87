"""Adam moment mismatch: the mean of the gradients outlives the mean of their squares, and the steps are no longer held.

Physics: a step of Adam is the mean of the last gradients over the root of the mean of their squares,

    m1 = 1 / (1 - beta1),   m2 = 1 / (1 - beta2)       steps that the two reach back; usual .9 and .95: 10 and 20
    q = m1 / m2                                        no unit; beta1 = sqrt(beta2) at about q = 2
    cost = L(N, w D) - L(N, D)                         nats per token; w by q: laws/memory.py

Where beta1 > sqrt(beta2) a large gradient stays in the numerator when the denominator has forgotten it, and no bound
holds the step (Reddi et al. 2018). Measured at q = 5: .09 to .49 nats with m2 = 20; with m2 = 2, as at q = 10 with m2 =
5, the run diverged.

Refuted by: the same run with beta2 of twice the memory of beta1, or with beta1 .9, ends no lower.
Known problems: measured on one small model in 512 steps, so the interval is wide. A beta2 that remembers more than the
whole run was harmless in one form of model (twice and twenty times its 512 steps) and not in another, less stable one
(four times: .02 and .45): there nothing is said, for only a trial tells. A memory that holds too few tokens in small
batches is told by `batch_too_small`. That 0.999 is slow to forget a spike was not measured.
References: Kingma and Ba 2015, arXiv 1412.6980; Reddi et al. 2018, arXiv 1904.09237; Marek et al. 2025, arXiv
2507.07101.
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.laws import memory
from talweg.run import Run

GROUP = "optimization"
NEEDS = ("beta1", "beta2", "planned_steps", "val_loss")
MISMATCH = 4.0  # q. Our choice, between 2, which cost nothing, and 5, which cost .09 and more (notes/causes_batch.md)
OUTLIVES = 1.0  # m2 over the steps of the run: from here on what was measured disagrees (notes/causes_batch.md)
MATERIAL = 0.01  # nats, of the lower end of the cost. Our choice: five times a seed's effect
# False alarms: 0 of 500 simulated sound runs, 0 of 93 public logs, none of which states its betas.


def examine(run: Run) -> Finding:
    f, end = run.facts, evidence.horizon(run)
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: without one nothing is known to train")
    if f.optimizer is not None and not evidence.adam_like(f.optimizer):
        return Finding("absent", f"{f.optimizer} is no Adam")
    if f.beta1 is None or f.beta2 is None or not 0 <= f.beta1 < 1 or not 0 <= f.beta2 < 1:
        return missing(*(tuple(n for n in ("beta1", "beta2") if not run.has(n)) or ("beta1", "beta2")))
    first, second = memory.moment_steps(f.beta1), memory.moment_steps(f.beta2)
    told = f"beta1 {f.beta1:g} remembers {first:,.3g} steps, beta2 {f.beta2:g} {second:,.3g}"
    if f.beta1 <= math.sqrt(f.beta2):
        if end is not None and second > OUTLIVES * end:
            return missing("checkpoint", because=f"{told}, the whole run of {end:,.0f} and more: only a trial tells")
        return Finding("absent", told)
    return _outlived(run, told, first / second, end)


def _outlived(run: Run, told: str, ratio: float, end: float | None) -> Finding:
    """beta1 above the root of beta2."""
    f = run.facts
    assert f.beta1 is not None
    if end is None or f.step_unit is not None:
        return missing("planned_steps", because=f"{told}; the cost needs the steps of the plan")
    tokens = None if f.tokens_per_step is None else f.tokens_per_step * end
    cost = memory.cost(
        memory.outlived_worth(ratio),
        None if tokens is None else f.parameters,
        tokens or 1.0,
        loss=evidence.late_level(run),
        bytes_per_token=f.bytes_per_token,
    )
    if ratio <= MISMATCH or cost is None:
        because = f"{told}: up to {MISMATCH:g} times a trial must tell"
        return missing("checkpoint", because=because, would_narrow_nats=None if cost is None else cost.value)
    if cost.low < MATERIAL:
        return Finding("absent", f"{told}, which may cost as little as {cost.low:.3f} nats")
    longer = round(1 - (1 - f.beta1) / 2, 6)
    remedies = (
        Remedy("longer_second_moment", f"beta2 {f.beta2:g} -> {longer:g}", {"optimizer.beta2": longer}, cost, tokens),
        Remedy(
            "usual_moments",
            "beta1 -> 0.9, beta2 -> 0.95",
            {"optimizer.beta1": 0.9, "optimizer.beta2": 0.95},
            cost,
            tokens,
        ),
    )
    return Finding("present", f"{told}: the gradients outlive their squares", nats=cost, remedies=remedies)


def example(rng: np.random.Generator) -> Run:
    """beta1 .99 beside beta2 .95."""
    return simulated.healthy(rng, beta1=0.99, beta2=0.95, optimizer="adamw", above=0.08)
