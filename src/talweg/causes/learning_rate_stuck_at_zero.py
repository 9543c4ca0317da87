"""Learning rate stuck at zero: the rate stays at 0, or at the first value of its warm-up, and so does the loss.

Physics: no rate, no step. Adam moves each weight by about the rate in an update, so that after the steps so far it has
moved by up to

    S = sum of eta        nothing to be seen below about 0.005, where fresh weights have a spread of 0.02

The scheduler is never stepped, or holds another optimizer than the one that runs, or a division of integers made its
factor 0. A rate that is printed with few digits may stand there as 0 and be none: with six decimals all below 5e-7
does. Then the loss tells: it falls.

Refuted by: the rate in the optimizer's own state, printed with all its digits, is that of the plan.
Known problems: a log that begins after the end of a schedule shows a rate of 0 that was meant. A constant rate that is
small on purpose looks the same as the first value of a warm-up where no plan is known: then it is not judged.
References: Kingma & Ba 2015, arXiv 1412.6980, section 2.1 (a step is at most about eta).
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.laws import learning_rate as law
from talweg.run import Run, Series
from talweg.schedule import Schedule

Array = NDArray[np.float64]

GROUP = "schedule"
NEEDS = ("learning_rate", "train_loss")
MIN_POINTS = 20  # losses, and rates. Our choice, as in no_parameter_update
CONSTANT = 0.01  # of the rate: a warm-up moves by more from one logged line to the next. Our choice
FAR_BELOW = 0.1  # of the planned rate, in the middle of the log. Our choice: another group's rate is no tenth of it
FIRST = 0.2  # how near to the first value of the warm-up, as a share of it. Our choice
FALL = 0.05  # nats. Our choice: a sound run has lost ten times that in its first 1,000 updates
SIGNIFICANT = 3.0  # standard errors of a fall that counts as one
WARMED = 500  # updates after which a rate above 0 is due where no plan is known. Our choice: llm.c warms up for 700
# False alarms: 0 of 329 simulated sound runs, none of the public ones that could be judged (notes/causes_schedule.md)


def examine(run: Run) -> Finding:
    rate, loss = run.learning_rate.finite, _loss(run)
    if len(loss) < MIN_POINTS:
        return missing("train_loss", because=f"needs {MIN_POINTS} finite losses")
    if len(rate) < MIN_POINTS:
        return missing("learning_rate", because="needs the learning rate as it was logged, not as it was planned")
    highest, plan = float(np.abs(rate.value).max()), _planned(run, rate)
    shown = f"; with its printed digits anything below {rate.resolution / 2:.1g} is 0" if rate.resolution else ""
    told = f"the logged learning rate is {'0' if highest == 0 else f'{highest:.3g}'} throughout"
    if highest > 0 and not _stuck_above_zero(rate, plan):
        return Finding("absent", f"the learning rate moves, or stands where it may: up to {highest:.3g}")
    if plan is not None and float(plan.max()) <= max(rate.resolution / 2, highest):
        return Finding("absent", f"{told}, as the plan has it so far{shown}")
    if evidence.begins_late(run):
        return missing("learning_rate", because=f"{told}, but the log begins at {rate.step[0]:,.0f}: what was before?")
    if plan is None and highest == 0 and run.facts.step_unit is None and rate.step[-1] < WARMED:
        return missing("planned_steps", because=f"{told}; it may still be warming up: wait{shown}")
    fell, flat = _fell(loss)
    if not flat and (highest == 0 or not _at_first(run, highest)):
        why = f"{told}, yet the loss fell by {fell:.2f} nats: it is not the rate of this run, or too few digits"
        return Finding("absent", why + shown) if highest == 0 else missing("learning_rate", because=why)
    meant = f", where the plan has {float(np.median(plan)):.3g}" if plan is not None else ""
    because = f"{told}{meant}; the loss fell by {fell:.3f} nats in all"
    return _present(run, because)


def _loss(run: Run) -> Series:
    return max((run.train_loss.finite, run.val_loss.finite), key=len)


def _planned(run: Run, rate: Series) -> Array | None:
    """The rates of the plan at the logged steps; the peak alone where no more is stated. None: nothing is."""
    if run.planned_schedule is not None:
        return run.planned_schedule.at(rate.step)
    peak, warmup = run.facts.peak_learning_rate, run.facts.warmup_steps
    if not peak:
        return None
    return np.full(len(rate), peak) if warmup is None or rate.step[-1] > 2 * warmup else None


def _stuck_above_zero(rate: Series, plan: Array | None) -> bool:
    """Whether the rate stands still far below what the plan has."""
    highest = float(rate.value.max())
    still = float(np.ptp(rate.value)) <= max(CONSTANT * highest, 0.0)
    return plan is not None and still and highest < FAR_BELOW * float(np.median(plan))


def _at_first(run: Run, value: float) -> bool:
    """Whether this is about the first or second value of the planned warm-up."""
    plan = run.planned_schedule
    return plan is not None and bool(np.any(np.abs(plan.at([0.0, 1.0]) / value - 1) < FIRST))


def _fell(loss: Series) -> tuple[float, bool]:
    """How far the loss fell from its first to its last tenth, and whether that is nothing."""
    num = max(5, len(loss) // 10)
    first, last = loss.value[:num], loss.value[-num:]
    fell = float(np.median(first) - np.median(last))
    scatter = float(np.median(np.abs(np.diff(loss.value)))) / 0.954  # sd of one value, by the steps between neighbours
    error = 1.25 * scatter * math.sqrt(2 / num)  # of a difference of medians
    return fell, fell <= max(SIGNIFICANT * error, FALL, loss.resolution)


def _present(run: Run, because: str) -> Finding:
    f, cost = run.facts, evidence.never_trained(run)
    peak = f.peak_learning_rate
    if not peak and f.parameters and run.tokens_seen:
        peak = float(f"{law.optimum(f.parameters, run.tokens_seen).value / 2:.2g}")
    change = "step the scheduler after each update, and give it the optimizer that runs"
    config: dict[str, object] = {"optimizer.peak_lr": peak} if peak else {"schedule.kind": f.schedule or "cosine"}
    if f.warmup_steps is not None:
        config["schedule.warmup_steps"] = f.warmup_steps
    remedy = Remedy("let_the_rate_rise", change, config, cost, None)
    return Finding("present", because, nats=cost, remedies=(remedy,), steps=(0.0, run.last_step or 0.0))


def example(rng: np.random.Generator) -> Run:
    """The scheduler is never stepped: the first value of a warm-up of 2,000 updates to the end."""
    schedule = Schedule("cosine", 6e-4, 6e-6, 2000, 10_000)
    run = simulated.healthy(rng, schedule=schedule)
    first = float(schedule.at(0))

    def fresh(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        scatter = 0.02 if name == "train_loss" else 0.0005
        return np.asarray(math.log(simulated.VOCABULARY) - 2e-6 * step + scatter * rng.standard_normal(step.size))

    rate = replace(run.learning_rate, value=np.full(len(run.learning_rate), first))
    norm = replace(run.grad_norm, value=8.0 * rng.lognormal(0.0, 0.1, len(run.grad_norm)))
    small = replace(run.update_ratio, value=run.update_ratio.value * 0 + simulated.UPDATE * first / 6e-4)
    return replace(simulated.with_losses(run, fresh), learning_rate=rate, grad_norm=norm, update_ratio=small)
