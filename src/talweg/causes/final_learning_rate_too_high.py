"""Final learning rate too high: the schedule is over, and the rate that it ends at still holds the loss up.

Physics: a decay that stops at a share of the peak leaves a part of its gain unused. Bringing the rate to 0 over the
last fifth of the same steps would give

    cost = g (D' - D) - (L - E) ((S1 / S1')^beta - 1)        nats per token

    g: what a whole decay gives, 0.1 to 0.2 nats     D: share of it that is done and digested, ' with the last decay
    S1: sum of eta / eta_peak, in steps     L: level at the end     E = 1.8 nats     beta: about 0.08

For a cosine that ends at a tenth of its peak this is less than 0.01 nats; at 0.3 it is 0.02 to 0.03.

Refuted by: a branch from the last checkpoint whose rate goes to 0 over a fifth of the steps done gains nothing.
Known problems: what a lower end of the whole schedule would bring is another, smaller number, for it also spends rate
before: the remedy says both. A decay that is still to come is `learning_rate_not_decayed`. A run that others are to go
on from may end high on purpose.
References: Luo et al. 2025, arXiv 2503.12811; Bergsma et al. 2025, arXiv 2502.15938 (straight to zero: 0.01 to 0.02
nats at 20 tokens a parameter); Hägele et al. 2024, arXiv 2405.18392.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.laws import schedule as law
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "schedule"
NEEDS = ("learning_rate", "val_loss", "planned_steps")
# nats. Our choice: no end at a tenth of the peak reaches it, and most recipes end there. False alarms: 0 of 249
# simulated sound runs, 0 of 15 public cosines (notes/causes_schedule.md)
MATERIAL = 0.02


def examine(run: Run) -> Finding:
    optimizer = (run.facts.optimizer or "").lower().replace("_", "").replace("-", "")
    if "schedulefree" in optimizer:
        return Finding("absent", f"{run.facts.optimizer}: an average of the weights stands in the place of a decay")
    final, end = evidence.final_share(run), evidence.horizon(run) or run.last_step
    if final is None or not end:
        return missing("learning_rate", because="neither the log nor a configuration tells the learning rate")
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    if run.facts.step_unit is not None or evidence.horizon(run) is None:
        return missing("planned_steps", because="where the plan ends is not known, so its final rate is not either")
    if not evidence.end_is_known(run):
        return missing("schedule", because="the log ends before the plan, and no schedule tells the rate from there on")
    if evidence.begins_late(run) and run.planned_schedule is None:
        return missing("schedule", because="the log begins late, and how high the rate was before is not known")
    if (frequencies := evidence.at_frequencies(run)) is not None:
        return missing("val_loss", because=f"{frequencies}: something else comes first")
    stretch = evidence.stretched(run)
    if stretch is not None and stretch.unit:
        return Finding("absent", f"{stretch.because}: its end is not the one that was meant")
    ends = f"the plan ends at {final:.1%} of the peak learning rate"
    if not evidence.decay_is_over(run):
        return Finding("absent", f"{ends}; the rate has yet to come down as far as it will, which is counted apart")
    cost = evidence.cost_of_schedule(run, law.with_last_decay)
    if cost is None:
        return missing("val_loss", because=f"{ends}; needs the level of the loss to tell the cost")
    told = f"{ends}; bringing it to 0 would give {cost.value:.3f} ({cost.low:.3f} to {cost.high:.3f}) nats"
    if cost.value < MATERIAL:
        return Finding("absent", told, nats=cost.at_least(0.0))
    if cost.low <= 0:
        return missing("val_loss", because=f"{told}: not told from nothing", would_narrow_nats=cost.high)
    return Finding("present", told, nats=cost, remedies=_remedies(run, end), steps=(run.last_step or end, end))


def _remedies(run: Run, end: float) -> tuple[Remedy, ...]:
    """A decay at the end of the same steps, and the same schedule with a lower end."""
    per_step = run.facts.tokens_per_step
    whole = None if per_step is None else end * per_step
    last = evidence.cost_of_schedule(run, law.with_last_decay)
    lower = evidence.cost_of_schedule(run, lambda step, rate: law.with_final_rate(step, rate, 0.0))
    rate = evidence.rate_at(run, end)
    now = 0.0 if rate is None else float(rate)
    config = {"schedule.kind": "wsd", "schedule.decay_share": law.LAST_DECAY, "schedule.min_lr": 0.0}
    return (
        Remedy(
            "decay_at_the_end",
            f"the last {law.LAST_DECAY:.0%} of the steps in a line to 0",
            {**config, **evidence.length(run, end)},
            last,
            None if whole is None else law.LAST_DECAY * whole,
        ),
        Remedy("decay_to_zero", f"final learning rate {now:.3g} -> 0", {"schedule.min_lr": 0.0}, lower, whole),
    )


def example(rng: np.random.Generator) -> Run:
    """A cosine that ends at two fifths of its peak."""
    return simulated.healthy(rng, schedule=Schedule("cosine", 6e-4, 2.4e-4, 250, 10_000))
