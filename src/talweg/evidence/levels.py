"""Levels, trend, noise and gap of a run's curves."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talweg.curve import level as curve_level
from talweg.curve import noise as curve_noise
from talweg.curve import trend as curve_trend
from talweg.estimate import Estimate
from talweg.laws import evaluation
from talweg.run import Run, Series

Array = NDArray[np.float64]
FEW = 8  # below this many points a curve is not judged by
STRAIGHT = (
    1.645  # standard errors between the slopes of a tail and of its later half: one straight tail in ten exceeds it
)
LAST = 3  # values whose range stands for the error of the last, where no line fits


@dataclass(frozen=True, eq=False)
class Judged:
    """The loss that the run is judged by: validation where there is enough of it, else training."""

    name: Literal["val", "train_eval", "train"]
    loss: Series  # finite values only


@dataclass(frozen=True)
class EvalNoise:
    """How far one evaluation scatters about the trend, nats."""

    sd: float
    sampling_sd: float | None  # from how the evaluation is made, or as the trainer stated it
    interval_steps: float  # between evaluations
    probability_of_rise: float  # that one evaluation lies above the one before
    because: str


@dataclass(frozen=True)
class Gap:
    """Validation minus training loss."""

    value: Estimate  # nats, at the end of the log
    growth: Estimate | None  # nats per 1,000 steps
    like_for_like: bool  # both in evaluation mode


@lru_cache(maxsize=32)
def judged(run: Run) -> Judged | None:
    """Validation loss if it has eight finite values, else training loss in evaluation mode, else as trained."""
    for name in ("val_loss", "train_eval_loss", "train_loss"):
        series: Series = getattr(run, name).finite
        if len(series) >= FEW:
            return Judged(name.removesuffix("_loss"), series)  # type: ignore[arg-type]
    return None


@lru_cache(maxsize=32)
def val_level(run: Run) -> Estimate | None:
    """Level of the validation loss now. The error holds the scatter of the curve and, where the trainer states it, what
    the choice of the validation text leaves open: that is all there is when the same text is evaluated each time."""
    found, stated = _level(run.val_loss), run.val_standard_error.finite
    if found is None or not stated:
        return found
    return Estimate.normal(found.value, math.hypot(found.sd, float(stated.value[-1])))


@lru_cache(maxsize=32)
def train_level(run: Run) -> Estimate | None:
    """Level of the training loss now: in evaluation mode where the log has it, else as trained."""
    return _level(run.train_eval_loss) or _level(run.train_loss)


def _level(series: Series) -> Estimate | None:
    """The line's value at the end; where no line fits so short and bent a curve, the last value itself, with the range
    of the last few for its error."""
    found, values = curve_level.level(series.step, series.value), series.finite.value
    if found is None:
        return None
    scatter = curve_noise.noise(series.step, series.value)
    error = max(float(np.ptp(values[-LAST:])), 0.0 if scatter is None else scatter.sd)
    if found.standard_error > error:
        return Estimate.normal(float(values[-1]), error)
    return Estimate.normal(found.value, found.standard_error)


@lru_cache(maxsize=32)
def trend(run: Run) -> Estimate | None:
    """Slope of the judged loss at the end of the log, nats per 1,000 steps, negative when it falls."""
    if (j := judged(run)) is None:
        return None
    found = curve_trend.at_end(j.loss.step, j.loss.value)
    return None if found is None else Estimate.normal(1000 * found.slope, 1000 * found.standard_error)


@lru_cache(maxsize=32)
def tail_trend(run: Run) -> Estimate | None:
    """The same slope, from a line on log(step) over the last third of the steps.

    A power law is straight there, so this may reach further back than a line on steps, and sees a fall that the last
    stretch alone does not. None where the later half of it has another slope, lest the fall before a plateau pass for
    one.
    """
    if (j := judged(run)) is None or run.last_step is None:
        return None
    whole, late = (_log_trend(j.loss.between(share * run.last_step, math.inf)) for share in (2 / 3, 5 / 6))
    if whole is None:
        return None
    if late is not None and abs(late.value - whole.value) > STRAIGHT * math.hypot(late.sd, whole.sd):
        return None
    return Estimate.normal(1000 * whole.value / run.last_step, 1000 * whole.sd / run.last_step)


def _log_trend(late: Series) -> Estimate | None:
    """Slope on log(step)."""
    found = curve_trend.trend(np.log(np.maximum(late.step, 1.0)), late.value) if len(late) >= LAST + 1 else None
    return None if found is None else Estimate.normal(found.slope, found.standard_error)


@lru_cache(maxsize=32)
def batch_noise(run: Run) -> float | None:
    """Sd of one logged training loss about its trend, nats."""
    found = curve_noise.noise(run.train_loss.step, run.train_loss.value)
    return None if found is None else found.sd


@lru_cache(maxsize=32)
def eval_noise(run: Run) -> EvalNoise | None:
    """Scatter of the validation loss: measured about its trend, beside what the evaluation's making implies."""
    series = run.val_loss.finite
    if len(series) < 3:
        return None
    sampling, source = _sampling_sd(run)
    found = curve_noise.noise(series.step, series.value)
    if found is not None and len(series) >= 8:
        sd, because = found.sd, f"measured about the trend of {len(series)} evaluations"
    elif sampling is not None:
        sd, because = sampling, source
    else:
        return None
    interval = float(np.median(np.diff(series.step)))
    slope = trend(run)
    chance = 0.5 if slope is None else curve_noise.probability_of_rise(slope.value / 1000, interval, max(sd, 1e-12))
    if sampling is not None and because != source:
        because += f"; {source} gives {sampling:.4f}"
    return EvalNoise(sd, sampling, interval, chance, because)


def _sampling_sd(run: Run) -> tuple[float | None, str]:
    """Standard error of one evaluation as stated by the trainer, else from the number of windows it draws."""
    stated = run.val_standard_error.finite
    if stated:
        return float(np.median(stated.value)), "the standard error stated in the log"
    windows, context = run.facts.eval_windows, run.facts.context
    if windows is None or context is None or run.facts.eval_is_fixed:
        return None, ""
    return evaluation.standard_error(windows, context).value, f"{windows:,} random windows of {context:,} tokens"


@lru_cache(maxsize=32)
def gap(run: Run) -> Gap | None:
    """Validation minus training loss where both were evaluated, else against the smoothed training loss."""
    val, evaluated = run.val_loss.finite, run.train_eval_loss.finite
    if evaluated and len(val) >= 3:
        common = np.intersect1d(val.step, evaluated.step)
        if common.size >= 3:
            return _gap(common, val.at(common) - evaluated.at(common), like_for_like=True)
    beside = above_logged(run, val)
    return None if beside is None else _gap(*beside, like_for_like=False)


def above_logged(run: Run, evaluated: Series) -> tuple[Array, Array] | None:
    """(step, nats): an evaluated loss minus the training loss as it was logged around the same steps."""
    train = run.train_loss.finite
    if len(evaluated) < 3 or len(train) < 2 * FEW:
        return None
    common = evaluated.step[(evaluated.step >= train.step[0]) & (evaluated.step <= train.step[-1])]
    if common.size < 3:
        return None
    spacing = float(np.median(np.diff(common)))
    near = np.array([_near(train, s, spacing / 2) for s in common])
    return common, evaluated.at(common) - near


def _near(train: Series, step: float, reach: float) -> float:
    """Mean training loss within `reach` steps, else the interpolated one."""
    close = train.between(step - reach, step + reach)
    return float(close.value.mean()) if close else float(train.at(step))


def _gap(step: Array, value: Array, like_for_like: bool) -> Gap | None:
    found = curve_level.level(step, value)
    if found is None:
        late = value[-3:]
        return Gap(Estimate.normal(float(late.mean()), float(late.std(ddof=1)) / 3**0.5), None, like_for_like)
    part = slice(step.size // 2, None) if step.size >= 2 * FEW else slice(None)
    slope = curve_trend.trend(step[part], value[part])
    growth = None if slope is None else Estimate.normal(1000 * slope.slope, 1000 * slope.standard_error)
    return Gap(Estimate.normal(found.value, found.standard_error), growth, like_for_like)
