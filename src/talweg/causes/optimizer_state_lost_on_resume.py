"""Optimizer state lost on resume: the weights were restored, the optimizer's moments began at zero again.

Physics: Adam divides the mean gradient by its root mean square. After many steps that ratio is small, about
sqrt((1 - beta1) / (1 + beta1)) = 0.23 where noise dominates; after one step it is 1 for every weight, whatever the size
of its gradient. So the first updates are about four times as large and point where single batches do: the loss jumps
and comes back within 10 to 1,000 steps, as the moments fill and the weights settle,

    L(s) = trend + J exp(-(s - s0) / tau),    s > s0, with a learning rate that goes on as before

    J: jump, nats   s0: the resume   tau: steps

What is left of it after t steps is at most about J / (1 + t / tau): a small part of it at the end of the plan.

Refuted by: the norm of the first update after the resume is that of the last before it.
Known problems: a spike looks the same where no resume is known; so does a change of the batch. A jump below the scatter
of the losses is not seen: small models had 0.03 to 0.1 nats, which cost 0.02 at most.
References: Kingma and Ba 2015, arXiv 1412.6980, section 3 (bias of the moments); notes/causes_resume.md (measured).
"""

import math
from dataclasses import dataclass

import numpy as np

from talweg import evidence, simulated
from talweg.curve.seam import Seam, seam
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "implementation"
NEEDS = ("train_loss", "resumed_at", "learning_rate")
# standard errors of the jump. Our choice: at 1,294 places of sound curves, simulated and public, the largest is 2.6
SURE = 3.5  # notes/causes_resume.md
SURE_UNSTATED = 5.0  # where only the time of a step says that the run was taken up there. Our choice
LEAST = 0.01  # nats. Our choice: a jump below is no jump that a person could see
# steps of tau that a lost state has at least: half of its jump is left after 30 to 60 steps
LASTING = 40.0  # notes/causes_resume.md
SMALLEST = 0.1  # nats. Our choice: reported jumps are larger; small models at high rates had 0.03 to 0.1
LONGEST = 2000.0  # steps of tau. Our choice: twice what was ever reported
# nats, sd, and relative sd of what is left: of nine branches without moments, the loss at the end lay 0.009 below
# to 0.023 above their sound twin's, the law says 0.006 to 0.013, mean error +0.001, sd 0.010
NOISE, LAW_ERROR = 0.01, 0.5  # notes/causes_resume.md
SPIKE_LASTS = 4  # logged values of a rise that is asked about; shorter is an outlier


@dataclass(frozen=True)
class _Jump:
    resume: evidence.Resume
    seam: Seam
    rate: evidence.RateSeam | None

    @property
    def found(self) -> bool:
        s = self.seam
        sure = SURE if self.resume.stated else SURE_UNSTATED
        continuous = self.rate is None or self.rate.continuous
        return s.jump > LEAST and s.sigma > sure and s.decay_steps <= LONGEST and continuous


def examine(run: Run) -> Finding:
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: eight finite values")
    places = evidence.resumes(run)
    if run.facts.resumed_at is not None and not places:
        return Finding("absent", "the run was never taken up again")
    if run.facts.step_unit is not None:
        told = f"the steps of this log count another thing than updates ({run.facts.step_unit}), in which a jump decays"
        return missing("train_loss", because=told)
    if not places:
        return _unstated(run)
    loss = run.train_loss.finite
    jumps = [
        _Jump(place, found, evidence.rate_seam(run, place))
        for place in places
        if (found := seam(loss.step, loss.value, place.step, until=place.until, lasting=LASTING)) is not None
    ]
    if not jumps:
        return missing("train_loss", because=f"{places[0].because}; needs eight training losses on either side")
    lost = [jump for jump in jumps if jump.found]
    if lost:
        return _present(run, lost)
    largest = max(jumps, key=lambda jump: jump.seam.bound)
    if (rate := largest.rate) is not None and not rate.continuous and largest.seam.jump > LEAST:
        told = (
            f"the rate changes from {rate.before:.3g} to {rate.after:.3g} there too, so a jump says nothing of moments"
        )
        return missing("checkpoint", because=f"{largest.resume.because}; {told}")
    bound = largest.seam.bound
    if bound > SMALLEST:
        told = f"{largest.resume.because}; the losses scatter so much that a jump of {bound:.2f} nats would go unseen"
        return missing("checkpoint", because=told, would_narrow_nats=2 * NOISE)
    return Finding("absent", f"{largest.resume.because} without a jump: none above {bound:.3f} nats would go unseen")


def _unstated(run: Run) -> Finding:
    """Nobody said where it was taken up, and no slow step shows it."""
    for event in evidence.departures(run):
        kinds = ("spike", "rise", "spike_not_recovered")
        if event.series != "train_loss" or event.kind not in kinds or event.size <= LEAST:
            continue
        if (
            len(run.train_loss.finite.between(event.first_step, event.last_step)) >= SPIKE_LASTS
            or event.kind != "spike"
        ):
            told = f"the training loss jumps by {event.size:.2f} at step {event.first_step:,.0f}"
            return missing("resumed_at", because=f"{told}: a spike, or a resume without the optimizer's moments")
    if len(run.train_loss.finite) < evidence.FEW:
        return missing("train_loss", "resumed_at", because="needs training losses: a jump is not seen in evaluations")
    return Finding("absent", "the training loss jumps nowhere")


def _present(run: Run, lost: list[_Jump]) -> Finding:
    worst = max(lost, key=lambda jump: jump.seam.jump)
    s, at = worst.seam, worst.resume.step
    because = (
        f"{worst.resume.because}, the loss jumps by {s.jump:.3f} ±{1.2816 * s.error:.3f} nats and comes back within "
        f"about {3 * s.decay_steps:,.0f} steps"
    )
    if worst.rate is not None:
        because += ", while the learning rate goes on as before"
    if len(lost) > 1:
        because += f"; so at {len(lost) - 1} more resumes"
    end = evidence.horizon(run) or run.last_step or at
    cost = _cost(lost, end)
    steps = max(1, round(s.decay_steps))
    per_step = run.facts.tokens_per_step
    again = Remedy(
        "restore_the_moments",
        f"take up the checkpoint of step {at:,.0f} again, with the state of its optimizer",
        {"run.steps": round(end)},
        cost,
        None if per_step is None or run.last_step is None else (run.last_step - at) * per_step,
    )
    return Finding("present", because, nats=cost, remedies=(again,), steps=(at, at + 3 * steps))


def _cost(lost: list[_Jump], end: float) -> Estimate:
    """What is left of the jumps: small real runs come back as J / (1 + t / tau), not as an exponential."""
    left = sum(jump.seam.jump / (1 + max(end - jump.resume.step, 0.0) / jump.seam.decay_steps) for jump in lost)
    return Estimate.normal(left, math.hypot(NOISE, LAW_ERROR * left)).at_least(0.0)


def example(rng: np.random.Generator) -> Run:
    """Taken up at half of the run: the loss jumps by 0.3 nats and is back after 200 steps."""

    def jumped(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        return np.asarray(value + 0.3 * np.exp(-np.maximum(step - 5000, 0) / 60) * (step > 5000))

    return simulated.with_losses(simulated.healthy(rng, log_every=10, resumed_at=(5000.0,)), jumped)
