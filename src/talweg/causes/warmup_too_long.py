"""Warmup too long: so much of the plan lies below the peak rate that the run gathers less than a usual one.

Physics: progress is paid in steps times learning rate, and a warm-up of w steps gathers w / 2 where the peak would have
gathered w. Against the same schedule after a usual warm-up the run loses

    cost = (L - E) (1 - (S1' / S1)^-beta) + g (D' - D)        nats per token

    S1: sum of eta / eta_peak; D: decay digested; ' after a usual warm-up: a tenth of the plan up to 300 updates, a
    fiftieth of a long one     L: level at the end     E = 1.8 nats     beta: 0.06 to 0.12     g: gain of a whole decay

A cosine or a line to 0 gathers half of its steps whatever its warm-up, so there even 30 % cost less than 0.01; under a
constant rate or wsd they cost 0.02 and more.

Refuted by: the same run with a usual warm-up ends no lower.
Known problems: where the rate is higher than the model bears, a long warm-up is what carries it, and shortening it
costs: in a run of 800 updates at six times nanoGPT's rate 30 % were 0.17 nats better than 10 % (`warmup_too_short`).
References: Porian et al. 2024, arXiv 2406.19146 (the long warm-up is a half of what set Kaplan and Chinchilla apart);
Tissue et al. 2024, arXiv 2408.11029.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import annealing
from talweg.laws import schedule as law
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "schedule"
NEEDS = ("learning_rate", "val_loss", "planned_steps")
LONG = 0.1  # of the plan: shorter is what recipes do. Our choice
# nats: the scatter of the 200 pairs that the law was checked on allows no less (notes/causes_schedule.md). False
# alarms: 0 of 299 simulated sound runs, none of the public ones that could be judged
MATERIAL = 0.02


def examine(run: Run) -> Finding:
    end, judged = evidence.horizon(run), evidence.judged(run)
    if run.facts.step_unit is not None or end is None:
        return missing("planned_steps", because="how long the plan is, is not known, so the warm-up's share is not")
    steps = annealing.grid(end)
    rate = evidence.rate_at(run, steps)
    if rate is None or float(rate.max()) <= 0:
        return missing("learning_rate", because="neither the log nor a configuration tells the learning rate")
    if judged is None:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    stretch = evidence.stretched(run)
    if stretch is not None and stretch.unit:
        return Finding("absent", f"{stretch.because}: that is another cause")
    if evidence.begins_late(run) and run.planned_schedule is None:
        return missing("schedule", because="the log begins late, and how high the rate was before is not known")
    if (frequencies := evidence.at_frequencies(run)) is not None:
        return missing("val_loss", because=f"{frequencies}: something else comes first")
    warm, usual = law.peak_at(steps, rate), law.usual_warmup(end)
    told = f"the rate is below its peak for the first {warm:,.0f} of {end:,.0f} steps ({warm / end:.1%})"
    if evidence.rises_late(steps, rate):
        return Finding("absent", f"{told}, not in one rise from the start: no warm-up")
    if warm <= max(usual, LONG * end):
        return Finding("absent", told)
    cost = evidence.cost_of_schedule(run, lambda s, r: law.with_warmup(s, r, usual))
    if cost is None:
        return missing("val_loss", because=f"{told}; needs the level of the loss to tell the cost")
    told += f"; after {usual:,.0f} it would end {cost.value:.3f} ({cost.low:.3f} to {cost.high:.3f}) nats lower"
    if cost.value < MATERIAL:
        return Finding("absent", told, nats=cost.at_least(0.0))
    return _judged(run, told, cost, usual, end)


def _judged(run: Run, told: str, cost: Estimate, usual: float, end: float) -> Finding:
    """Present, unless what a long warm-up has been seen to win in so short a run could be as much."""
    if cost.low <= 0 or (end < law.SHORT_RUN and cost.low < law.LONGER_WON.high):
        why = f"{told}, were it not for what a long warm-up wins in a short run: up to {law.LONGER_WON.high:.2f}"
        return missing("val_loss", because=why, would_narrow_nats=cost.high)
    per_step = run.facts.tokens_per_step
    steps = round(usual)
    change = f"warm-up of {steps:,} steps, from the start"
    config = {"schedule.warmup_steps": steps, **evidence.length(run, end)}
    shorter = Remedy("shorter_warmup", change, config, cost, None if per_step is None else per_step * end)
    return Finding("present", told, nats=cost, remedies=(shorter,), steps=(0.0, end))


def example(rng: np.random.Generator) -> Run:
    """Half of the steps are warm-up; the rest stays at the peak and decays at the end."""
    schedule = Schedule("wsd", 6e-4, 0.0, 5000, 10_000, decay_start=8000)
    return simulated.healthy(rng, schedule=schedule, above=0.04)
