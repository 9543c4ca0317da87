"""The annealing law fitted to a run, and the forecast of its rest, under its own or another schedule."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.curve import noise as curve_noise
from talweg.estimate import Estimate
from talweg.evidence.levels import Judged, eval_noise, judged
from talweg.evidence.plan import horizon, rate_at
from talweg.evidence.repeated import repetition_ahead
from talweg.laws import annealing, gain
from talweg.laws import forecast as law
from talweg.run import Run
from talweg.schedule import Schedule

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


@dataclass(frozen=True, eq=False)
class Forecast:
    """One evaluation's value at `step` with its 80 % interval, and the curve that leads there."""

    step: float
    loss: Estimate
    band_step: Array
    band: Array  # (T, 3): value, low, high
    because: str


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
    prior = _gain_prior(run, rate if known else None)
    found = law.fit(j.loss.step, j.loss.value, path, noise_sd=scatter(run, j), gain_prior=prior)
    return None if found is None else RunFit(j, found, path, complete, end, known)


def scatter(run: Run, j: Judged) -> float:
    """Sd of one value of the judged loss about its trend."""
    if j.name == "val" and (known := eval_noise(run)) is not None:
        return known.sd
    found = curve_noise.noise(j.loss.step, j.loss.value)
    return 0.0 if found is None else found.sd


def forecast(run: Run, schedule: Schedule | None = None, steps: float | None = None) -> Forecast | None:
    """The rest of the run under its own plan, or from here on under another schedule or length.

    None when there is no fit, no plan, or no learning rate to follow. The interval is of one evaluation: it holds the
    uncertainty of the level, what repeated text may add, and the scatter of an evaluation about the level.
    """
    found = fit(run)
    if found is None or not found.schedule_known:
        return None
    end = steps or (float(schedule.end_step) if schedule is not None else horizon(run))
    if end is None or end <= found.law.last_step:
        return None
    path = found.path if schedule is None and steps is None else _path(run, end, schedule, found.complete)
    ahead = np.linspace(found.law.last_step, end, 60)
    mean, sd = found.law.on(path, ahead)
    repeated, repeated_sd = repetition_ahead(run, ahead)
    mean = mean + repeated
    wide = np.sqrt(sd**2 + found.law.noise_sd**2 + repeated_sd**2)
    bands = np.stack([mean, mean - 1.2815515655 * wide, mean + 1.2815515655 * wide], axis=1)
    first = law.first_step(found.path, found.law.last_step)
    because = (
        f"annealing law fitted to {found.judged.name} from step {first:,.0f}; "
        f"the interval includes the scatter of one evaluation, {found.law.noise_sd:.4f}"
    )
    if repeated[-1] >= 0.0005:
        because += f"; {repeated[-1]:+.3f} for text seen again, between 0 and {2 * repeated[-1]:.3f}"
    return Forecast(end, Estimate.normal(float(mean[-1]), float(wide[-1])), ahead, bands, because)


def why_no_forecast(run: Run) -> str:
    """What a forecast of the run's own plan lacks; empty when there is one."""
    end = horizon(run)
    if end is None:
        return "needs planned_steps"
    if run.last_step is not None and end <= run.last_step:
        return "the plan is done"
    if rate_at(run, 0.0) is None:
        return "needs the learning rate, logged or configured"
    return "" if forecast(run) is not None else "needs eight values of the loss after the warm-up"


def _path(run: Run, end: float, schedule: Schedule | None, complete: float) -> annealing.Path:
    steps = annealing.grid(end)
    rate = rate_at(run, steps, schedule)
    assert rate is not None, "a fit with a known schedule has a rate"
    return annealing.path(steps, rate, complete)


def counterfactual(run: Run, schedule: Schedule, steps: float) -> Estimate | None:
    """The level that this run would have reached had it followed `schedule` from its first step on, minus the level
    that it reaches at the end of its own plan. Negative: the other schedule is better."""
    found = fit(run)
    if found is None or not found.schedule_known:
        return None
    grid = annealing.grid(steps)
    rate = schedule.at(grid)
    other = annealing.path(grid, rate, annealing.complete(grid, rate))
    mean, sd = found.law.difference(other, steps, found.path, found.end)
    return Estimate.normal(mean, sd)


def _gain_prior(run: Run, rate: Array | None) -> tuple[float, float]:
    f = run.facts
    peak = f.peak_learning_rate if rate is None else float(rate.max())
    return gain.prior(f.parameters, peak, f.tokens_per_step, f.optimizer)
