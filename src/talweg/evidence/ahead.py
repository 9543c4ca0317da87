"""The forecast: the rest of a run under its own plan, or under another one, for validation and training loss.

    L(step) = level of the fitted law + half of what repetition may add + what another peak rate changes
    sd^2    = sd of the level^2 + scatter of one evaluation^2 + sd of repetition^2 + sd of the peak^2

Another plan is followed from the last logged step on: until there the run has done what it has done. Its change against
the run's own plan is a difference of two levels of one fit, so what both share, L0 and most of A, cancels, and it is
known far better than either. A training loss is validation less the distance between them, and repetition costs it
nothing.

Known limits: those of the laws that it is made of. Below ten tokens a parameter the law says too little of what more
steps would bring, and the interval of a change does not hold that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from talweg.estimate import Estimate
from talweg.evidence.fitted import RunFit, fit
from talweg.evidence.levels import gap
from talweg.evidence.plan import horizon, rate_at
from talweg.evidence.repeated import repetition_ahead
from talweg.evidence.what_if import Plan, changed
from talweg.laws import annealing, learning_rate, undertrained
from talweg.laws import forecast as law
from talweg.run import Run
from talweg.schedule import Schedule

Array = NDArray[np.float64]
FEW_TOKENS_FACTOR = 2.5  # see `undertrained`: so many times too little at 0.7 tokens a parameter
KNOTS = 60  # of the curve that is forecast


@dataclass(frozen=True, eq=False)
class Ahead:
    """One loss in the rest of the run. (T,) each, against the forecast's steps; nats per token."""

    mean: Array
    sd: Array  # of one evaluation (val), or of the level (train)

    def interval(self, level: float = 0.8) -> tuple[Array, Array]:
        """The bounds that hold this share of what may come. (T,), (T,)"""
        reach = NormalDist().inv_cdf(0.5 + level / 2)
        return self.mean - reach * self.sd, self.mean + reach * self.sd


@dataclass(frozen=True, eq=False)
class Forecast:
    """One evaluation's value at `step` with its 80 % interval, and the curve that leads there."""

    step: float
    loss: Estimate
    band_step: Array  # (T,)
    band: Array  # (T, 3): value, low, high of the loss that the run is judged by
    because: str
    name: str = "as planned"
    judged: str = "val"  # the loss that the run is judged by
    val: Ahead | None = None
    train: Ahead | None = None
    notes: tuple[str, ...] = ()
    change: Estimate | None = None  # of the level at the end, against the run's own plan at its end; negative: better


def forecast(
    run: Run,
    schedule: Schedule | None = None,
    steps: float | None = None,
    what_if: Mapping[str, str | float] | None = None,
) -> Forecast | None:
    """The rest of the run under its own plan, or from here on under another schedule or length.

    what_if: changes of the plan by keys of the configuration, such as {"schedule.min_lr": 0}; raises InputError for
    those that a curve says nothing of.
    None when there is no fit, no plan, or no learning rate to follow. The interval is of one evaluation: it holds the
    uncertainty of the level, what repeated text may add, and the scatter of an evaluation about the level.
    """
    found = fit(run)
    if found is None or not found.schedule_known:
        return None
    plan = changed(run, what_if) if what_if else None
    if plan is not None:
        schedule, steps = plan.schedule, float(plan.steps)
    end = steps or (float(schedule.end_step) if schedule is not None else horizon(run))
    if end is None or end <= found.law.last_step:
        return None
    own = schedule is None and steps is None
    path = found.path if own else _path(run, end, schedule, found)
    return _forecast(run, found, path, np.linspace(found.law.last_step, end, KNOTS), plan)


def _forecast(run: Run, found: RunFit, path: annealing.Path, ahead: Array, plan: Plan | None) -> Forecast:
    level, sd = found.law.on(path, ahead)
    repeated, repeated_sd = repetition_ahead(run, ahead)
    first = law.first_step(found.path, found.law.last_step)
    because = (
        f"annealing law fitted to {found.judged.name} from step {first:,.0f}; "
        f"the interval includes the scatter of one evaluation, {found.law.noise_sd:.4f}"
    )
    if repeated[-1] >= 0.0005:
        because += f"; {repeated[-1]:+.3f} for text seen again, between 0 and {2 * repeated[-1]:.3f}"
    notes = list(plan.notes) if plan is not None else []
    shift = Estimate(0.0, 0.0, 0.0)
    if plan is not None and plan.peak_ratio != 1.0:
        shift, told = _peak(run, plan)
        level, sd = level + shift.value, np.hypot(sd, _sd(shift))
        notes.append(told)
    change = None
    if path is not found.path and found.end > found.law.last_step:
        mean, spread = found.law.difference(path, float(ahead[-1]), found.path, found.end)
        again, again_sd = repetition_ahead(run, np.array([found.end, ahead[-1]]))
        more, more_sd = float(again[1] - again[0]), abs(float(again_sd[1] - again_sd[0]))  # one unknown share of both
        change = Estimate.normal(
            mean + shift.value + more, float(np.sqrt(spread**2 + law.LAW_SD**2 + _sd(shift) ** 2 + more_sd**2))
        )
    if float(found.path.at(found.law.last_step)[1]) == 0.0 and float(path.decayed[-1]) > 0:
        gain, gain_sd = found.law.gain_moments
        notes.append(
            f"no decay of the rate has been seen yet: what one gives, {gain:.3f} +-{1.2816 * gain_sd:.3f}, comes from "
            "other runs, by size, rate and batch"
        )
    sd = np.hypot(sd, law.LAW_SD)
    few = _few_tokens(run)
    if change is not None and few:
        ends = sorted((change.low, change.high, FEW_TOKENS_FACTOR * change.low, FEW_TOKENS_FACTOR * change.high))
        change = Estimate(change.value, ends[0], ends[-1])
        notes.append(
            f"{few:.1f} tokens a parameter: below {undertrained.POWER_LAW_FROM:.0f} the fitted law says too little of "
            f"what more of them would win, by up to {FEW_TOKENS_FACTOR} times"
        )
    judged = Ahead(level + repeated, np.sqrt(sd**2 + found.law.noise_sd**2 + repeated_sd**2))
    low, high = judged.interval()
    val, train = (judged, _train(run, level, sd)) if found.judged.name == "val" else (None, judged)
    return Forecast(
        float(ahead[-1]),
        Estimate.normal(float(judged.mean[-1]), float(judged.sd[-1])),
        ahead,
        np.stack([judged.mean, low, high], axis=1),
        because,
        "as planned" if plan is None else plan.name,
        found.judged.name,
        val,
        train,
        tuple(notes),
        change,
    )


def _few_tokens(run: Run) -> float | None:
    """Tokens a parameter so far, where they are too few for a curve's own law; None where they are not, or unknown."""
    n, seen = run.facts.parameters, run.tokens_seen
    return seen / n if n and seen and seen / n < undertrained.POWER_LAW_FROM else None


def _train(run: Run, level: Array, sd: Array) -> Ahead | None:
    """The level of the training loss: it falls with validation, from where it stands; what repeated text costs
    validation, it does not cost here. None where its distance to validation is not known."""
    found = gap(run)
    if found is None:
        return None
    return Ahead(level - found.value.value, np.hypot(sd, _sd(found.value)))


def _sd(estimate: Estimate) -> float:
    """Of a normal one, by its 80 % interval."""
    return (estimate.high - estimate.low) / 2.5631


def _peak(run: Run, plan: Plan) -> tuple[Estimate, str]:
    """What another peak rate changes, by the measured cost of a wrong one: the area law would call every higher rate
    better, so it is not asked."""
    f = run.facts
    if not f.parameters or not f.tokens_per_step:
        wide = Estimate(0.0, -0.1, 0.1)
        return wide, "what another peak rate changes is not known without parameters and tokens per step: +-0.1"
    best = learning_rate.optimum(f.parameters, f.tokens_per_step * plan.steps)
    if f.optimizer is not None and "muon" in f.optimizer:
        best = learning_rate.optimum_of_muon(f.parameters, f.tokens_per_step * plan.steps)
    old = plan.schedule.peak_lr
    costs = [
        [learning_rate.cost_of_peak(rate / at).value for rate in (old * plan.peak_ratio, old)]
        for at in (best.value, best.low, best.high)
    ]
    changes = [new - before for new, before in costs]
    told = (
        f"a peak rate of {old * plan.peak_ratio:.3g} for {old:.3g}: {changes[0]:+.3f} ({min(changes):+.3f} to "
        f"{max(changes):+.3f}) by the measured cost of a wrong rate, had the run had it from the start; where the best "
        "rate lies is known to a factor of 4 only"
    )
    return Estimate(changes[0], min(changes), max(changes)), told


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


def _path(run: Run, end: float, schedule: Schedule | None, found: RunFit) -> annealing.Path:
    """The path of another plan, which has digested by now what the run has: only the rest has the new plan's memory."""
    steps = annealing.grid(end)
    rate = rate_at(run, steps, schedule)
    assert rate is not None, "a fit with a known schedule has a rate"
    path = annealing.path(steps, rate, annealing.complete(steps, rate))
    now = found.law.last_step
    (gathered, digested), (own_gathered, own_digested) = path.at(now), found.path.at(now)
    return annealing.Path(steps, path.area + (own_gathered - gathered), path.decayed + (own_digested - digested))
