"""Schedule restarted on resume: the learning rate goes back to an earlier place of its schedule when a run is taken up.

Physics: a rate that begins anew at the resume is too high from there on, and at the end of the plan it has come down
only as far as a run that is s steps shorter would have. With the annealing law of this run's own curve,

    cost = L(actual rates) - L(planned rates)        both at the end of the plan; nats per token
    L = L0 + A S1^-alpha - g D

    S1: steps times rate   D: decay already digested, 0 to 1   g: what a whole decay gives

The higher rate also gathers more S1, so a restart early in a short run may cost nothing.

Refuted by: the rate logged after the resume is that of the plan at the same step.
Known problems: warm restarts (SGDR) and a second phase of training raise the rate on purpose: a rise is accused where
the plan is known and says otherwise, or where a resume is stated, or where the warm-up is repeated. What a second
warm-up unsettles is not counted.
References: Loshchilov and Hutter 2017, arXiv 1608.03983 (SGDR); Tissue et al. 2024, arXiv 2408.11029 (the law).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import annealing
from talweg.run import Run, Series
from talweg.schedule import Schedule

GROUP = "implementation"
NEEDS = ("learning_rate", "resumed_at", "val_loss")
OFF = 0.05  # of the peak, from the plan: a rate that is closer follows it. Our choice: logs round to four digits
DONE = 0.05  # of the peak: a rate that had come down so far had ended its schedule. Our choice
FEWEST = 8  # logged rates
MATERIAL = 0.01  # nats: 5 sd of a seed's effect on the final loss (0.0014 to 0.0019 at 124 M)
LAW_ERROR = 0.3  # relative sd beyond the fit's own, measured on small runs (notes/causes_resume.md)


def examine(run: Run) -> Finding:
    rate = run.learning_rate.finite
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: eight finite values")
    places = evidence.resumes(run)
    if run.facts.resumed_at is not None and not places:
        return Finding("absent", "the run was never taken up again")
    if len(rate) < FEWEST:
        return missing("learning_rate", because="needs the learning rate as it was logged, not as it was planned")
    peak = float(rate.value.max())
    found = evidence.restart(run)
    if found is None:
        where = "at no resume" if places else "nowhere"
        return Finding("absent", f"the learning rate goes back to an earlier place of its schedule {where}")
    told = f"at step {found.step:,.0f} the learning rate goes from {found.before:.3g} back up to {found.highest:.3g}"
    plan = run.planned_schedule
    if plan is not None and _follows(plan, rate.between(found.step, math.inf), peak):
        return Finding("absent", f"{told}, as planned")
    stretch = evidence.stretched(run)
    if stretch is not None and stretch.unit:
        return Finding("absent", f"{told}; {stretch.because}")
    if found.before < DONE * peak:
        return Finding("absent", f"{told}, after it had come down: a new phase, not a resume")
    if plan is None and not found.stated and not found.warms_up_again:
        return missing("resumed_at", because=f"{told}: a warm restart by design, or a resume that lost its place")
    return _judged(run, rate, found, told)


def _judged(run: Run, rate: Series, found: evidence.Restart, told: str) -> Finding:
    plan, fit, end = run.planned_schedule, evidence.fit(run), evidence.horizon(run)
    if plan is None or end is None:
        return missing("schedule", "planned_steps", because=f"{told}; the cost needs the schedule that was planned")
    if fit is None or not fit.schedule_known:
        return missing("val_loss", because=f"{told}; needs eight values of the loss to tell the cost")
    cost = _cost(rate, plan, found, fit, end)
    meant = f"{told}; the plan has {float(plan.at(found.step + 1)):.3g} there"
    if cost.value < MATERIAL:
        few = "nothing" if cost.value < 0.0005 else f"{cost.value:.3f} nats"
        return Finding("absent", f"{meant}, which costs {few} at the end of the plan", nats=cost.at_least(0.0))
    if cost.low <= 0:
        why = f"{meant}; the curve is too short to tell the cost from nothing"
        return missing("val_loss", because=why, would_narrow_nats=cost.value)
    config = {"schedule.kind": plan.kind, "schedule.min_lr": plan.min_lr, "run.steps": round(end)}
    change = f"go on from the checkpoint of step {found.step:,.0f} at the planned rate"
    again = Remedy("planned_rate", change, config, cost, _tokens(run, found.step))
    return Finding("present", meant, nats=cost, remedies=(again,), steps=(found.step, float(rate.step[-1])))


def _tokens(run: Run, since: float) -> float | None:
    per_step = run.facts.tokens_per_step
    return None if per_step is None or run.last_step is None else (run.last_step - since) * per_step


def _follows(plan: Schedule, rate: Series, peak: float) -> bool:
    off = np.abs(plan.at(rate.step) - rate.value)
    shifted = np.abs(plan.at(np.maximum(rate.step - 1, 0)) - rate.value)  # some log the rate of the update before
    return bool(len(rate)) and float(np.minimum(off, shifted).max()) < OFF * peak


def _cost(rate: Series, plan: Schedule, found: evidence.Restart, fit: evidence.RunFit, end: float) -> Estimate:
    steps = annealing.grid(end)
    sound = np.where(steps < found.step, np.interp(steps, rate.step, rate.value), plan.at(steps))
    ahead = plan.at(np.maximum(steps - found.step + found.place, 0.0))
    actual = np.where(steps <= rate.step[-1], np.interp(steps, rate.step, rate.value), ahead)
    mean, spread = fit.law.difference(_path(steps, actual), end, _path(steps, sound), end)
    return Estimate.normal(mean, math.hypot(spread, LAW_ERROR * mean))


def _path(steps: NDArray[np.float64], rate: NDArray[np.float64]) -> annealing.Path:
    return annealing.path(steps, rate, annealing.complete(steps, rate))


@dataclass(frozen=True)
class Restarted(Schedule):
    """A schedule that begins anew at a step."""

    restart: int = 0

    def at(self, step: object) -> NDArray[np.float64]:
        s = np.asarray(step, dtype=np.float64)
        return super().at(np.where(s >= self.restart, s - self.restart, s))


def example(rng: np.random.Generator) -> Run:
    """A cosine that begins anew, warm-up and all, at three fifths of the run."""
    schedule = Restarted("cosine", 6e-4, 6e-6, 250, 10_000, restart=6000)
    return simulated.healthy(rng, schedule=schedule, resumed_at=(6000.0,))
