"""Adam moment mismatch: the mean of squared gradients reaches back further than the whole run.

Physics: Adam divides by the root of a mean of squared gradients over

    m2 = 1 / (1 - beta2) steps      beta2: dimensionless

The gradients of the first steps are many times those of the rest. While m2 is longer than the run they stay in the mean
to its end, and the steps stay too small:

    share = m2 / steps of the plan  no unit
    cost = L(N, w D) - L(N, D)      nats per token; w: laws/memory.py

At share 0.4 nothing was lost, at 4 a quarter of a nat and more. A memory that is too short for a small batch is told by
`batch_too_small`, since it is the tokens in it that count. Where beta1 > sqrt(beta2) the mean of the gradients outlives
that of their squares, and no bound holds the steps (Reddi et al. 2018); its cost was not measured.

Refuted by: the same run with a beta2 that remembers a tenth of its steps ends no lower.
Known problems: measured on one small model in 256 steps, so the interval is four times wider. In longer runs 0.99 and
0.999 were harmless. 0.999 is slow to forget a spike: what that costs is told by the spikes.
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
NEEDS = ("beta2", "planned_steps", "val_loss")
HARMLESS = 0.4  # of the run: as much was without a cost (notes/causes_batch.md)
TOO_LONG = 1.0  # times the run. Our choice, between what cost nothing and what cost .45
WANTED = 0.1  # of the run: the memory that the remedy asks for
MATERIAL = 0.01  # nats, of the lower end of the cost. Our choice: five times a seed's effect
# False alarms: see notes/causes_batch.md.


def examine(run: Run) -> Finding:
    f, end = run.facts, evidence.horizon(run)
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: without one nothing is known to train")
    if f.optimizer is not None and not evidence.adam_like(f.optimizer):
        return Finding("absent", f"{f.optimizer} is no Adam")
    if f.beta2 is None or not 0 <= f.beta2 < 1:
        return missing("beta2")
    if f.beta1 is not None and f.beta1 > math.sqrt(f.beta2):
        because = f"beta1 {f.beta1:g} lies above the root of beta2 {f.beta2:g}: what that costs was not measured"
        return missing("checkpoint", because=because)
    if end is None:
        return missing("planned_steps", because="the memory of beta2 cannot be judged without the steps of the plan")
    steps = memory.second_moment_steps(f.beta2)
    share = steps / end
    told = f"beta2 {f.beta2:g} remembers {steps:,.0f} steps, {share:.2g} times the run's {end:,.0f}"
    if share <= HARMLESS:
        return Finding("absent", told)
    tokens = None if f.tokens_per_step is None else f.tokens_per_step * end
    parameters = None if tokens is None else f.parameters
    cost = memory.cost(
        memory.long_worth(share),
        parameters,
        tokens or 1.0,
        loss=evidence.late_level(run),
        bytes_per_token=f.bytes_per_token,
    )
    if share <= TOO_LONG or cost is None:
        because = f"{told}: up to {TOO_LONG:g} times a trial must tell"
        return missing("checkpoint", because=because, would_narrow_nats=None if cost is None else cost.value)
    if cost.low < MATERIAL:
        return Finding("absent", f"{told}, which may cost as little as {cost.low:.3f} nats")
    shorter = round(1 - 1 / max(WANTED * end, 2.0), 4)
    remedy = Remedy("shorter_memory", f"beta2 {f.beta2:g} -> {shorter:g}", {"optimizer.beta2": shorter}, cost, tokens)
    return Finding("present", told, nats=cost, remedies=(remedy,))


def example(rng: np.random.Generator) -> Run:
    """beta2 .9998, 5,000 steps, in 1,000 steps of a small model."""
    facts = {"layers": 6, "heads": 4, "width": 256, "beta2": 0.9998, "optimizer": "adamw"}
    return simulated.healthy(
        rng, steps=1000, parameters=1.1e7, tokens_per_parameter=25, above=0.2, log_every=2, **facts
    )  # type: ignore[arg-type]
