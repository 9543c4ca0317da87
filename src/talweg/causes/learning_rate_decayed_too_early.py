"""Learning rate decayed too early: the rate reached zero long before the end, and the rest of the steps did nothing.

Physics: progress is paid in learning rate times steps, S1 = sum of eta / eta_peak; the steps after the rate has reached
zero add nothing to it. Against the same schedule stretched to the end of the plan (S1') the run loses

    cost = A (S1^-alpha - S1'^-alpha)           from 10 tokens a parameter on; nats per token
    cost = (L - E) (1 - (S1' / S1)^-beta)       below, where the curve is not yet a power law of S1

    A, alpha: of this run's own curve, up to the end of its decay     L: level at the end     E: 1.8 nats     beta:
    about 0.12

Refuted by: the same configuration with the decay stretched to the last step ends no lower.
Known problems: E and beta are for text of one language and about 4.5 bytes a token. Text that the longer schedule sees
more than about four times gains less.
References: Tissue et al. 2024, arXiv 2408.11029; Hoffmann et al. 2022, arXiv 2203.15556, section 3.1 (a cosine that
ends before the run does).
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import annealing, forecast, undertrained
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "schedule"
NEEDS = ("learning_rate", "val_loss")
ZERO_SHARE = 0.01  # of the peak. A cosine to zero is below it for its last 6 %. Our choice
WASTED_SHARE = 0.10  # of the planned steps. Our choice: a cosine or a line to zero that ends with the run stays below
MATERIAL = 0.01  # nats: 5 sd of a seed's effect on the final loss (0.0014 to 0.0019 at 124 M)
MOVED = 0.02  # nats. Our choice: what the tail of a decay still digests is below
# Over 19 pairs of public runs of different length (25 M to 3 B parameters, 2 to 20 times as long) the law says
# 1.17 times what was lost, sd 0.10: so it is divided by this. The error left is doubled for runs unlike those.
BIAS, LAW_ERROR = 1.17, 0.2  # notes/calibration.md
POWER_LAW_AREA = 1000.0  # S1 in steps: the same where the parameters are not known. The shortest of those pairs


def examine(run: Run) -> Finding:
    end = evidence.horizon(run) or run.last_step
    share, judged = evidence.rate_share(run), evidence.judged(run)
    if share is None or not end:
        return missing("learning_rate", because="neither the log nor a configuration tells the learning rate")
    stretch = evidence.stretched(run)
    if stretch is not None and stretch.unit:
        return Finding("absent", f"{stretch.because}: that is where it ends, and has its own cost")
    zero = _reaches_zero(run, end)
    wasted = 0.0 if zero is None else 1 - zero / end
    if zero is None or wasted <= WASTED_SHARE:
        when = "does not fall" if zero is None else f"falls (at step {zero:,.0f} of {end:,.0f})"
        return Finding("absent", f"the learning rate {when} below {ZERO_SHARE:.0%} of its peak with steps to waste")
    found = f"the learning rate is below {ZERO_SHARE:.0%} of its peak from step {zero:,.0f} of {end:,.0f} on"
    cost = None if judged is None or share > ZERO_SHARE else _cost(run, judged, zero, end)
    if cost is None:
        return missing("val_loss", because=f"{found}; needs a loss curve to tell the cost")
    if judged is not None and (fell := _fell_since(run, judged, zero)):
        because = f"{found}, yet the loss fell by {fell:.3f} since: is this learning rate that of this run?"
        return missing("learning_rate", because=because, would_narrow_nats=cost.value)
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


def _fell_since(run: Run, judged: evidence.Judged, zero: float) -> float:
    """How far the loss fell after the decay was digested, from the first to the last third; 0 where it cannot be told
    from nothing. Weights that do not move cannot do that: the rate is another than was stated."""
    late = judged.loss.between(zero * (1 + 2 * annealing.DIGESTED), math.inf).value
    third = late.size // 3
    if third < 2:
        return 0.0
    fell = float(late[:third].mean() - late[-third:].mean())
    error = evidence.scatter(run, judged) * math.sqrt(2 / third)
    return fell if fell > max(MOVED, 3 * error) else 0.0


def _cost(run: Run, judged: evidence.Judged, zero: float, end: float) -> Estimate | None:
    """Loss at the end of this run's path minus that of the path stretched to `end`, the warm-up kept as it is."""
    steps, far = annealing.grid(zero), annealing.grid(end)
    rate = evidence.rate_at(run, steps)
    if rate is None:
        return None
    peak = float(steps[int(np.argmax(rate))])
    place = np.where(far <= peak, far, peak + (far - peak) * (zero - peak) / max(end - peak, 1.0))
    rates = np.interp(place, steps, rate)
    path = annealing.path(steps, rate, annealing.complete(steps, rate))
    stretched = annealing.path(far, rates, annealing.complete(far, rates))
    if _is_power_law(run, zero, float(path.area[-1])):
        return _by_own_law(run, judged, path, zero, stretched, end)
    return _by_reducible_loss(run, judged, zero, float(stretched.area[-1] / path.area[-1]))


def _is_power_law(run: Run, zero: float, area: float) -> bool:
    per_parameter = _tokens_per_parameter(run, zero)
    return area >= POWER_LAW_AREA if per_parameter is None else per_parameter >= undertrained.POWER_LAW_FROM


def _tokens_per_parameter(run: Run, step: float) -> float | None:
    f = run.facts
    if f.parameters is None or f.tokens_per_step is None:
        return None
    return f.tokens_per_step * step / f.parameters


def _by_own_law(
    run: Run, judged: evidence.Judged, path: annealing.Path, zero: float, stretched: annealing.Path, end: float
) -> Estimate | None:
    wide = forecast.ALPHA_PRIOR[0], 2 * forecast.ALPHA_PRIOR[1]
    noise = evidence.eval_noise(run)
    candidates = [(judged.loss, noise.sd)] if judged.name == "val" and noise is not None else []
    for loss, sd in [*candidates, (run.train_loss.finite, evidence.batch_noise(run) or 0.0)]:
        part = loss.between(0, zero + 0.5 * annealing.DIGESTED * zero)
        law = forecast.fit(part.step, part.value, path, noise_sd=sd, alpha_prior=wide) if part else None
        if law is not None:
            mean, spread = law.difference(path, zero, stretched, end)
            return Estimate.normal(mean / BIAS, math.hypot(spread, LAW_ERROR * mean) / BIAS).at_least(0.0)
    return None


def _by_reducible_loss(run: Run, judged: evidence.Judged, zero: float, ratio: float) -> Estimate | None:
    late = judged.loss.between(zero, math.inf)
    if not late:
        return None
    per_parameter = _tokens_per_parameter(run, zero)
    return undertrained.fall(float(np.median(late.value)), ratio, per_parameter, run.facts.bytes_per_token)


def _remedies(run: Run, cost: Estimate, end: float) -> tuple[Remedy, ...]:
    per_step = run.facts.tokens_per_step
    whole = None if per_step is None else end * per_step
    config = {"schedule.end_share": 1.0, **evidence.length(run, end)}
    change = f"decay over all {end:,.0f} steps, from the start"
    return (Remedy("decay_to_the_end", change, config, cost, whole),)


def example(rng: np.random.Generator) -> Run:
    """A cosine that reaches zero at a quarter of the run."""
    return simulated.healthy(rng, schedule=Schedule("cosine", 6e-4, 0.0, 100, 2500), eval_every=100)
