"""What the plots draw: the run's series, thinned to what a screen can show, and the stretch worth showing.

The axis of steps is logarithmic: a power law is a straight line there, and the fast first phase takes its fair share.
The range of losses is that of the stretch shown, so that the fall from ln V never flattens what follows.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg import evidence
from talweg.curve.smooth import smooth
from talweg.diagnosis import Band, Diagnosis
from talweg.run import Run, Series

MAX_POINTS = 1500  # of one line in a page: more than it has pixels
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """Series of finite values, thinned. Losses in nats per token. `judged` is the one the run is judged by."""

    train: Series
    train_smooth: Series
    train_eval: Series
    val: Series
    val_error: Array  # (T of val,) standard error of each value, NaN where it is not known
    learning_rate: Series
    planned_rate: Series  # from the end of the log to the end of the plan
    forecast: Band | None
    last_step: float
    end_step: float  # of the forecast, or of the log

    @property
    def judged(self) -> Series:
        return self.val or self.train_eval or self.train_smooth or self.train

    @property
    def judged_name(self) -> str:
        return "val" if self.val else "train"


@dataclass(frozen=True)
class Window:
    """The part of the plane that a plot shows. ends_high: the curve ends in the upper half, so a key goes below it."""

    first_step: float
    last_step: float
    low: float
    high: float
    ends_high: bool


def curves(diagnosis: Diagnosis) -> Curves | None:
    """None when the run has no loss that could be drawn."""
    run = diagnosis.run
    if run.last_step is None or not (run.val_loss.finite or run.train_eval_loss.finite or run.train_loss.finite):
        return None
    band = diagnosis.forecast.band if diagnosis.forecast else None
    forecast = band if band and len(band.step) > 1 and band.step[-1] > run.last_step else None
    end = max(run.last_step, forecast.step[-1] if forecast else 0.0)
    val = thinned(run.val_loss.finite)
    return Curves(
        train=thinned(run.train_loss.finite),
        train_smooth=_smooth(run.train_loss.finite),
        train_eval=thinned(run.train_eval_loss.finite),
        val=val,
        val_error=_val_error(run, val),
        learning_rate=_rate(run),
        planned_rate=_planned_rate(run, end),
        forecast=forecast,
        last_step=run.last_step,
        end_step=end,
    )


def window(c: Curves, *, decades: float) -> Window | None:
    """The last `decades` powers of ten of the steps, and the range of the judged loss and of the forecast there.

    None when fewer than three values lie there or they do not differ.
    """
    judged = c.judged
    positive = judged.step[judged.step > 0]
    if positive.size < 3:
        return None
    first = max(float(positive[0]), c.last_step / 10**decades)
    shown = judged.between(first, c.last_step)
    values = shown.value
    if c.forecast:
        values = np.concatenate([values, np.asarray(c.forecast.low), np.asarray(c.forecast.high)])
    values = values[np.isfinite(values)]
    if len(shown) < 3 or values.size < 3 or not np.ptp(values) > 0:
        return None
    margin = 0.04 * float(np.ptp(values))
    low, high = float(values.min()) - margin, float(values.max()) + margin
    return Window(first, c.end_step, low, high, ends_high=float(shown.value[-1]) > (low + high) / 2)


def thinned(series: Series, points: int = MAX_POINTS) -> Series:
    """At most about `points` values: of each slice of log(step) the lowest and the highest, so no spike is lost."""
    if len(series) <= points:
        return series
    place = np.log1p(np.maximum(series.step, 0.0))
    edges = np.linspace(place[0], place[-1], points // 2 + 1)
    part = np.clip(np.searchsorted(edges, place, side="right") - 1, 0, points // 2 - 1)
    order = np.lexsort((series.value, part))
    starts = np.flatnonzero(np.append(True, part[order][1:] != part[order][:-1]))
    ends = np.append(starts[1:], part.size) - 1
    keep = np.unique(np.concatenate([order[starts], order[ends], [0, len(series) - 1]]))
    return Series(series.step[keep], series.value[keep], series.kind, series.resolution, series.name)


def _smooth(series: Series) -> Series:
    """The robust trend of the logged training loss; empty where it has too few values."""
    if len(series) < 8:
        return Series()
    return thinned(Series(series.step, smooth(series.step, series.value)).finite, MAX_POINTS // 3)


def _val_error(run: Run, val: Series) -> Array:
    """As the trainer stated it for each value, else one figure for all: from the windows of an evaluation, or from the
    scatter of the evaluations about their trend."""
    error = run.val_standard_error.finite
    if not error or not val:
        noise = evidence.eval_noise(run) if val else None
        sd = (noise.sampling_sd or noise.sd) if noise else math.nan
        return np.full(len(val), sd)
    place = np.clip(np.searchsorted(error.step, val.step), 0, len(error) - 1)
    known = error.step[place] == val.step
    return np.where(known, error.value[place], math.nan)


def _rate(run: Run) -> Series:
    """The rate as it was logged, or as the stated schedule gives it."""
    if run.learning_rate.finite:
        return thinned(run.learning_rate.finite, MAX_POINTS // 3)
    schedule = run.planned_schedule
    if schedule is None or run.last_step is None:
        return Series()
    step = _even_in_log(0.0, run.last_step)
    return Series(step, schedule.at(step))


def _planned_rate(run: Run, end: float) -> Series:
    schedule = run.planned_schedule
    if schedule is None or run.last_step is None or end <= run.last_step:
        return Series()
    step = np.linspace(run.last_step, end, 80)
    return Series(step, schedule.at(step))


def _even_in_log(first: float, last: float, points: int = 200) -> Array:
    """Steps close together at first, where a warm-up is, and wide apart at the end, plus an even grid."""
    grown = np.expm1(np.linspace(np.log1p(first), np.log1p(last), points))
    return np.unique(np.concatenate([np.round(grown), np.linspace(first, last, points)]))
