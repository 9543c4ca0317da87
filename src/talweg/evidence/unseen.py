"""Whether a log that shows another number where the loss was NaN hides that it is NaN by now."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from talweg.run import Run, Series

FOR_GOOD = 3  # values at the end of a log: one or two may be batches that were passed over. Our choice
GO_ON = ("learning_rate", "grad_norm", "seconds_per_step", "tokens_per_second", "loss_scale")  # logged at every step


@dataclass(frozen=True)
class Unseen:
    """since: the step from which on the loss is not finite behind what is logged; None where it is finite at the end.

    known: False where the log does not tell; what it takes for a loss then says nothing of health.
    """

    since: float | None
    known: bool
    because: str


@lru_cache(maxsize=32)
def unseen(run: Run) -> Unseen:
    """Where NaN is logged as NaN there is nothing unseen.

    Else what speaks: gradients that are not finite to the end beside losses that are exactly 0, all alike or absent;
    rows that go on without a loss; losses of exactly 0 at the end. And what speaks against it: a finite gradient at the
    end, or a finite validation as late as validation can be.
    """
    stands = run.facts.nan_logged_as
    if stands is None or _trailing(~np.isfinite(run.train_loss.value)) >= FOR_GOOD:  # its reader knows where NaN was
        return Unseen(None, True, "")
    train, norm = run.train_loss.finite, run.grad_norm
    told = f"a loss that is NaN is logged as another thing here ({stands})"
    num = _trailing(~np.isfinite(norm.value))
    if num >= FOR_GOOD:
        since = float(norm.step[-num])
        behind = train.between(since, math.inf)
        frozen = len(behind) == 0 or bool((behind.value == behind.value[0]).all())
        where = f"the gradient is not finite from step {since:,.0f} on"
        if val := run.val_loss.finite.between(since, math.inf):
            return Unseen(None, True, f"{where}, but validation at step {val.step[-1]:,.0f} is, so the weights are")
        if frozen and (behind or train):
            shown = "no loss is logged" if not behind else f"the loss stands at {behind.value[0]:.3g}"
            return Unseen(since, True, f"{where}, where {shown}; {told}")
        return Unseen(None, False, f"{where}; {told}")
    zeros = _trailing(train.value == 0)
    if zeros >= FOR_GOOD and zeros < len(train):
        since = float(train.step[-zeros])
        return Unseen(since, True, f"the loss is exactly 0 from step {since:,.0f} on; {told}")
    if (rows := _rows_without_loss(run, train)) is not None:
        return Unseen(rows, True, f"no loss is logged from step {rows:,.0f} on, though steps are; {told}")
    if norm and num == 0:
        return Unseen(None, True, f"the last gradient, {norm.value[-1]:.3g}, is finite")
    if (late := _late_val(run)) is not None:
        return Unseen(None, True, f"validation at step {late:,.0f} is finite, so the weights were")
    return Unseen(None, False, told)


def _trailing(bad: np.ndarray) -> int:
    """How many values at the end are bad. bad: (T,) bool."""
    good = np.flatnonzero(~bad)
    return int(bad.size - (good[-1] + 1 if good.size else 0))


def _rows_without_loss(run: Run, train: Series) -> float | None:
    """The first step after the last training loss, where FOR_GOOD rows of a column that was logged with it follow."""
    for name in GO_ON:
        series: Series = getattr(run, name)
        if not train or not series:
            continue
        after = series.step[series.step > train.step[-1]]
        both = np.intersect1d(train.step, series.step).size
        if after.size >= FOR_GOOD and both > 0.9 * max(len(train), series.step.size - after.size):
            return float(after[0])
    return None


def _late_val(run: Run) -> float | None:
    """The last validation, where it is finite and the next one is not yet due."""
    val, last = run.val_loss, run.last_step
    if len(val) < 2 or last is None or not np.isfinite(val.value[-1]):
        return None
    return float(val.step[-1]) if last - val.step[-1] < 1.5 * float(np.median(np.diff(val.step))) else None
