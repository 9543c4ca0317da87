"""Learning rate decayed too early: the rate reached zero long before the end, and the rest of the steps did nothing.

Physics: progress is paid in learning rate times steps, S1 = sum of eta / eta_peak. The steps after the rate has
reached zero add nothing to it. Against the same schedule stretched to the end of the plan the run loses

    cost = A (S1_run^-alpha - S1_stretched^-alpha)        nats per token

    A, alpha: the power law of this run's own curve, fitted to the steps before the rate reached zero

Refuted by: the same configuration with the decay stretched to the last step ends no lower.
Known problems: A and alpha come from the short stretch before the end of the decay; the interval carries that. Text
that is seen more than about four times by the longer schedule gains less.
References: Tissue et al. 2024, arXiv 2408.11029; Hoffmann et al. 2022, arXiv 2203.15556, section 3.1 (a cosine that
ends before the run does).
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import annealing, forecast
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "schedule"
NEEDS = ("learning_rate", "val_loss")
ZERO_SHARE = 0.01  # of the peak. A cosine to zero is below it for its last 6 %. Our choice
WASTED_SHARE = 0.10  # of the planned steps. Our choice: a cosine or a line to zero that ends with the run stays below
MATERIAL = 0.01  # nats: 5 sd of a seed's effect on the final loss (0.0014 to 0.0019 at 124 M)
# Over 19 pairs of public runs of different length (25 M to 3 B parameters, 2 to 20 times as long) the law says
# 1.17 times what was lost, sd 0.10: so it is divided by this. The error left is doubled for runs unlike those.
BIAS, LAW_ERROR = 1.17, 0.2  # notes/calibration.md


def examine(run: Run) -> Finding:
    end = evidence.horizon(run) or run.last_step
    share, judged = evidence.rate_share(run), evidence.judged(run)
    if share is None or not end:
        return missing("learning_rate", because="neither the log nor a configuration tells the learning rate")
    zero = _reaches_zero(run, end)
    wasted = 0.0 if zero is None else 1 - zero / end
    if zero is None or wasted <= WASTED_SHARE:
        when = "does not fall" if zero is None else f"falls (at step {zero:,.0f} of {end:,.0f})"
        return Finding("absent", f"the learning rate {when} below {ZERO_SHARE:.0%} of its peak with steps to waste")
    found = f"the learning rate is below {ZERO_SHARE:.0%} of its peak from step {zero:,.0f} of {end:,.0f} on"
    cost = None if judged is None or share > ZERO_SHARE else _cost(run, judged, zero, end)
    if cost is None:
        return missing("val_loss", because=f"{found}; needs a loss curve to tell the cost")
    if cost.value < MATERIAL:
        return Finding("absent", f"{found}, which costs {cost.value:.3f} nats", nats=cost)
    if cost.low <= 0:
        return missing("val_loss", because=f"{found}; the curve before it is too short to tell the cost")
    because = f"{found}: {wasted:.0%} of the steps teach nothing, and the loss has been flat since"
    return Finding("present", because, nats=cost, remedies=_remedies(run, cost, end), steps=(zero, end))


def _reaches_zero(run: Run, end: float) -> float | None:
    """The step from which on the rate stays below ZERO_SHARE of its peak; None if it ends above."""
    steps = annealing.grid(end)
    rate = evidence.rate_at(run, steps)
    if rate is None or rate[-1] > ZERO_SHARE * rate.max() or rate.max() <= 0:
        return None
    return float(steps[int(np.nonzero(rate > ZERO_SHARE * rate.max())[0][-1])])


def _cost(run: Run, judged: evidence.Judged, zero: float, end: float) -> Estimate | None:
    """Loss at the end of this run's path minus that of the path stretched to `end`."""
    steps, far = annealing.grid(zero), annealing.grid(end)
    rate = evidence.rate_at(run, steps)
    part = judged.loss.between(0, zero + 0.5 * annealing.MEMORY_SHARE * zero)
    if rate is None or len(part) < 6:
        return None
    path = annealing.path(steps, rate, annealing.memory(steps, rate))
    noise = evidence.eval_noise(run)
    sd = noise.sd if noise is not None and judged.name == "val" else evidence.batch_noise(run) or 0.0
    wide = forecast.ALPHA_PRIOR[0], 2 * forecast.ALPHA_PRIOR[1]
    law = forecast.fit(part.step, part.value, path, noise_sd=sd, alpha_prior=wide)
    if law is None:
        return None
    rates = np.interp(far * zero / end, steps, rate)
    stretched = annealing.path(far, rates, annealing.memory(far, rates))
    mean, spread = law.difference(path, zero, stretched, end)
    return Estimate.normal(mean / BIAS, math.hypot(spread, LAW_ERROR * mean) / BIAS).at_least(0.0)


def _remedies(run: Run, cost: Estimate, end: float) -> tuple[Remedy, ...]:
    per_step = run.facts.tokens_per_step
    whole = None if per_step is None else end * per_step
    config = {"schedule.end_share": 1.0, "run.steps": round(end)}
    change = f"decay over all {end:,.0f} steps, from the start"
    return (Remedy("decay_to_the_end", change, config, cost, whole),)


def example(rng: np.random.Generator) -> Run:
    """A cosine that reaches zero at a quarter of the run."""
    return simulated.healthy(rng, schedule=Schedule("cosine", 6e-4, 0.0, 100, 2500), eval_every=100)
