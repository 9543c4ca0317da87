"""Learning rate too low: the peak rate lies far below what this size wants, wherever in its interval the best one is.

Physics: the best peak rate eta_best of AdamW is known by two laws to a factor 4 (`learning_rate_too_high` has them).
Too low a rate errs on the safe side, and costs little until it is far off; measured at the end of the run,

    eta / eta_best      1/2     1/4     1/8     1/16    1/32
    cost in nats        0.007   0.021   0.037   0.057   0.079      known to a factor 2

A batch below its best size wants a rate that is lower by as much. So a rate is called too low only where it would be so
against the lowest that the best may be.

Refuted by: the same run with three times the rate ends no lower.
Known problems: the cost below 1/32 is that table carried on, which says too little. A model that begins with trained
weights wants a low rate and is left alone. Lion, SGD or muP rates are on other scales; muP's is not seen in a log.
References: Li et al. 2025 (StepLaw), arXiv 2503.04715, whose table of final losses gives the costs, and 0.06 to 0.25 of
the best rate at an eighth of the best batch; DeepSeek 2024, arXiv 2401.02954; Liu et al. 2025, arXiv 2502.16982 (Muon).
"""

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors
from talweg.laws import learning_rate as law
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "optimization"
NEEDS = ("peak_learning_rate", "parameters", "tokens_per_step", "val_loss")
# nats, against the lowest rate that may be the best one: a quarter of it or less. Our choice. False alarms: 0 of 140
# simulated sound runs, none of the public ones that could be judged (notes/causes_schedule.md)
MATERIAL = 0.02
FRESH = 0.9  # of ln V. Our choice: fresh models start within 5 % of it, trained ones below 0.6
LEARNT = 0.3  # nats below the first loss. Our choice: a run that has not come so far has another trouble
FOLLOWS = 0.5  # of the planned peak. Our choice: a rate that stays below does not follow its plan


def examine(run: Run) -> Finding:
    f, judged = run.facts, evidence.judged(run)
    end = evidence.horizon(run) or run.last_step
    if judged is None or not end:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    logged = run.learning_rate.finite
    peak = max(float(logged.value.max()) if logged else 0.0, f.peak_learning_rate or 0.0)
    if peak <= 0:
        return missing("peak_learning_rate", because="neither the log nor a configuration tells the learning rate")
    if f.parameters is None or f.tokens_per_step is None:
        names = tuple(n for n in ("parameters", "tokens_per_step") if getattr(f, n) is None)
        return missing(*names, because=f"a peak of {peak:.3g} cannot be judged without {' and '.join(names)}")
    best, lowest = evidence.best_peak(run, end), evidence.lowest_best_peak(run, end)
    if best is None or lowest is None:
        return missing("optimizer", because=f"no law for the learning rate of {f.optimizer} is known here")
    ratio = f"{peak / best.value:.2g} of the law's {best.value:.2g} ({lowest:.1g} to {best.high:.1g})"
    told = f"the peak {peak:.3g} is {ratio}"
    sure = law.cost_of_peak(min(peak / lowest, 1.0))
    if sure.value < MATERIAL:
        return Finding("absent", f"{told}, not so low that the law could tell")
    if (other := _other(run, peak, told)) is not None:
        return other
    cost = _cost(peak, best, lowest)
    higher = float(f"{best.value / 2:.2g}")
    change = f"peak learning rate {peak:.3g} -> {higher:.2g}, from the start"
    remedy = Remedy("higher_peak", change, {"optimizer.peak_lr": higher}, cost, end * f.tokens_per_step)
    because = f"{told}; even if the best is {lowest:.1g} it costs {sure.value:.3f}"
    return Finding("present", because, nats=cost, remedies=(remedy,))


def _cost(peak: float, best: Estimate, lowest: float) -> Estimate:
    """The table at the middle and at both ends of what the best rate may be."""
    middle, near, far = (law.cost_of_peak(min(peak / x, 1.0)) for x in (best.value, lowest, best.high))
    return Estimate(middle.value, min(near.low, middle.value), max(far.high, middle.value))


def _other(run: Run, peak: float, told: str) -> Finding | None:
    """What else explains so low a rate, or speaks against it: then nobody is accused."""
    f, logged, first = run.facts, run.learning_rate.finite, evidence.first_loss(run)
    begun = f.initialised_from or (
        "trained weights"
        if first is not None and f.vocabulary_size and first < FRESH * anchors.uniform(f.vocabulary_size)
        else None
    )
    if begun:
        return Finding("absent", f"{told}, by design: the run began with {begun}")
    if logged and float(logged.value.max()) < FOLLOWS * peak and not evidence.still_warming(run):
        return missing("learning_rate", because=f"{told}, but the logged rate never comes near it: another cause")
    now = evidence.val_level(run) or evidence.train_level(run)
    if now is None or (first is not None and now.value > first - LEARNT):
        return missing("val_loss", because=f"{told}; the loss has hardly moved yet: something else comes first")
    law_level = evidence.expected(run)
    if law_level is not None and now.high < law_level.loss.low:
        return Finding("absent", f"{told}, yet the loss lies below what the laws expect of a good rate")
    return None


def example(rng: np.random.Generator) -> Run:
    """A hundredth of the law's rate."""
    return simulated.healthy(
        rng, schedule=Schedule("cosine", 1.5e-5, 1.5e-7, 250, 10_000), above=0.1, optimizer="adamw"
    )
