"""The annealing law fitted to a run: to validation loss where there are eight values, else to training loss.

The path of the rate is what the log says, from there on what the plan says; the prior of g is that of the run's size,
peak rate and batch. From the fit come what a decay would still give, the pace now, and what another schedule from the
first step on would have reached.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.curve import noise as curve_noise
from talweg.estimate import Estimate
from talweg.evidence.levels import Judged, eval_noise, judged
from talweg.evidence.plan import horizon, rate_at
from talweg.laws import annealing, gain
from talweg.laws import forecast as law
from talweg.run import Run

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunFit:
    """The law fitted to the judged loss of one run."""

    judged: Judged
    law: law.Fit
    path: annealing.Path  # of the run's own learning rate, to the end of its plan
    complete: float  # the step at which the decay of its rate is complete
    end: float  # the step at which the plan ends
    schedule_known: bool  # False: no learning rate is known, and the path is that of a constant one

    def loss_at(self, step: ArrayLike) -> Array:
        """The fitted level at these steps, the run's own plan followed."""
        return self.law.on(self.path, step)[0]

    @property
    def residual_sd(self) -> float:
        return self.law.noise_sd

    @property
    def power_law_slope(self) -> float:
        """alpha of A S1^-alpha."""
        return self.law.alpha_mean

    @property
    def gain_of_full_decay_now(self) -> Estimate:
        """Nats that decaying the rate to 0 from here would still give, once digested."""
        mean, sd = self.law.gain_moments
        _, decayed = self.path.at(self.law.last_step)
        left = max(0.0, 1 - float(decayed))
        return Estimate.normal(mean * left, sd * left).at_least(0.0)

    @property
    def trend(self) -> Estimate:
        """Nats per 1,000 steps over the last tenth of the log, by the fitted law: steadier than a local line."""
        span = 0.1 * self.law.last_step
        mean, sd = self.law.difference(self.path, self.law.last_step, self.path, self.law.last_step - span)
        return Estimate.normal(1000 * mean / span, 1000 * sd / span)

    @property
    def gain_to_end(self) -> Estimate:
        """Nats from now to the end of the plan, if it is followed: positive when the loss will fall."""
        mean, sd = self.law.difference(self.path, self.law.last_step, self.path, self.end)
        return Estimate.normal(mean, sd)

    @property
    def gain_of_decay_to_end(self) -> Estimate:
        """The part of `gain_to_end` that comes from the learning rate coming down."""
        mean, sd = self.law.gain_moments
        _, decayed = self.path.at(np.array([self.law.last_step, self.end]))
        share = max(0.0, float(decayed[1] - decayed[0]))
        return Estimate.normal(mean * share, sd * share).at_least(0.0)


@lru_cache(maxsize=32)
def fit(run: Run) -> RunFit | None:
    """The annealing law on the judged loss. None for fewer than eight usable points or a loss that is not finite."""
    if (j := judged(run)) is None or len(j.loss) < 8:
        return None
    end = horizon(run) or float(j.loss.step[-1])
    steps = annealing.grid(end)
    rate = rate_at(run, steps)
    known = rate is not None and float(rate.max()) > 0
    rates = rate if known and rate is not None else np.ones_like(steps)
    complete = annealing.complete(steps, rates)
    path = annealing.path(steps, rates, complete)
    prior = gain_prior(run)
    found = law.fit(j.loss.step, j.loss.value, path, noise_sd=scatter(run, j), gain_prior=prior)
    return None if found is None else RunFit(j, found, path, complete, end, known)


def scatter(run: Run, j: Judged) -> float:
    """Sd of one value of the judged loss about its trend."""
    if j.name == "val" and (known := eval_noise(run)) is not None:
        return known.sd
    found = curve_noise.noise(j.loss.step, j.loss.value)
    return 0.0 if found is None else found.sd


def gain_prior(run: Run) -> tuple[float, float]:
    """Median and sd of the logarithm of what a whole decay of this run's rate gives, before its curve is asked."""
    f, peak = run.facts, run.facts.peak_learning_rate
    rate = rate_at(run, annealing.grid(horizon(run) or run.last_step or 0.0))
    if rate is not None and float(rate.max()) > 0:
        peak = float(rate.max())
    return gain.prior(f.parameters, peak, f.tokens_per_step, f.optimizer)
