"""Schedule in wrong units: the learning rate follows its stated schedule, but not at the pace of the updates.

Physics: a schedule is a function of a count. Where the trainer counts micro-batches, ranks, samples, tokens or epochs
in place of updates, the rate is the stated one with its axis stretched,

    eta(s) = plan(k s)        s: updates done; k: no unit

k > 1: the scheduler is stepped k times in each update, and the decay is over at 1 / k of the plan. k < 1: the warm-up
or the end was stated in the smaller unit, and the rate is still up, or still warming, when the run ends. k is measured
on the logged rate and compared with the numbers of the run. With the rate as it is and as it was meant, L at the end,

    cost = (L - E) (1 - (S1' / S1)^-beta) + g (D' - D)        nats per token (`warmup_too_long` names the symbols)

Refuted by: the rate that is logged, against the count that the scheduler is given, is the stated schedule.
Known problems: small numbers coincide: with two ranks every schedule at twice its pace fits. Another configuration than
the run's own may look so. A log whose own steps count micro-batches has the same stretched look; where it runs on far
beyond the plan nothing is said.
References: Hoffmann et al. 2022, arXiv 2203.15556, section 3.1 (what a decay of the wrong length costs).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "schedule"
NEEDS = ("learning_rate", "schedule", "planned_steps", "accumulation", "val_loss")
MATERIAL = 0.01  # nats: 5 sd of a seed's effect on the final loss (0.0014 to 0.0019 at 124 M)
BEYOND = 1.05  # of the plan: a log that runs further counts something else than the plan does. Our choice
COUNTS = ("accumulation", "ranks", "tokens_per_step", "context", "train_tokens")  # what a unit is told from
# False alarms: 0 of 200 simulated sound runs, whose rate follows its plan; none of the public ones that could be judged


def examine(run: Run) -> Finding:
    plan, end = run.planned_schedule, evidence.horizon(run)
    if not run.learning_rate.finite:
        return missing("learning_rate", because="needs the learning rate as it was logged, not as it was planned")
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    if plan is None or end is None:
        return missing("schedule", "planned_steps", because="the schedule that was meant is not known")
    found = evidence.stretched(run)
    if found is None:
        return Finding("absent", "the logged rate is no stretched copy of the stated schedule")
    if found.factor < 1 and run.facts.planned_steps and (run.last_step or 0.0) > BEYOND * run.facts.planned_steps:
        why = f"{found.because}; but the log runs on beyond the plan: do its steps count updates?"
        return missing("planned_steps", because=why)
    if not found.unit:
        lacking = [name for name in COUNTS if getattr(run.facts, name) is None]
        return missing(*(lacking or COUNTS[:2]), because=found.because)
    cost = evidence.cost_of_schedule(run, lambda step, rate: plan.at(step), lambda step, rate: found.at(step))
    if cost is None:
        return missing("val_loss", because=f"{found.because}; needs the level of the loss to tell the cost")
    if cost.value < MATERIAL:
        told = f"{found.because}, which costs {max(cost.value, 0.0):.3f} nats"
        return Finding("absent", told, nats=cost.at_least(0.0))
    if cost.low <= 0:
        return missing(
            "val_loss", because=f"{found.because}; the cost is not told from nothing", would_narrow_nats=cost.high
        )
    remedies = (_in_updates(run, plan, cost, found, end),)
    return Finding("present", found.because, nats=cost, remedies=remedies, steps=(0.0, run.last_step or end))


def _in_updates(run: Run, plan: Schedule, cost: Estimate, found: evidence.Stretch, end: float) -> Remedy:
    per_step = run.facts.tokens_per_step
    config = {
        "schedule.warmup_steps": plan.warmup_steps,
        "schedule.end_share": round(plan.end_step / end, 4),
        **evidence.length(run, end),
    }
    change = f"count the {found.part} in updates: warm-up {plan.warmup_steps:,}, end {plan.end_step:,}; from the start"
    return Remedy("count_updates", change, config, cost, None if per_step is None else per_step * end)


@dataclass(frozen=True)
class _Paced(Schedule):
    """A schedule that is run through at another pace."""

    pace: float = 1.0

    def at(self, step: object) -> NDArray[np.float64]:
        return super().at(self.pace * np.asarray(step, dtype=np.float64))


def example(rng: np.random.Generator) -> Run:
    """The scheduler is stepped after each of eight micro-batches."""
    schedule = _Paced("cosine", 6e-4, 6e-6, 400, 10_000, pace=8.0)
    return simulated.healthy(rng, schedule=schedule, accumulation=8, ranks=1, micro_batch=60, eval_every=100)
