"""What part of the gap between validation and the logged training loss comes from how the latter is logged."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from talweg.curve import trend as curve_trend
from talweg.estimate import Estimate
from talweg.evidence.levels import above_logged
from talweg.laws import logged_loss
from talweg.run import Run, Series

LATE = 0.3  # of the pairs. Our choice: the end of the log, and at least three
REACHES = 0.5  # of the log: as far as evaluated training text must, to stand for the end. Our choice
FEW_POINTS = 1.2  # Student's t of five pairs over the normal at 80 %


@dataclass(frozen=True)
class Artefact:
    """Nats by which the logged training loss lies above the same text's loss in evaluation mode, with the same weights.

    size None: not known; `missing` then names what would tell, and `because` says why.
    """

    size: Estimate | None
    because: str
    missing: tuple[str, ...] = ()


def _val_in_nats(run: Run) -> Series:
    """Validation in nats per token; of bits per byte, where there is nothing else and the bytes of a token are known.

    bits per byte x ln 2 x bytes per token = nats per token
    """
    bits, size = run.val_bits_per_byte, run.facts.bytes_per_token
    if run.val_loss or not bits or size is None:
        return run.val_loss
    factor = math.log(2) * size
    return replace(bits, value=bits.value * factor, resolution=bits.resolution * factor, kind="evaluation")


def in_nats(run: Run) -> Run:
    """The run with that validation loss, and a note of it; itself where nothing was to be converted."""
    val = _val_in_nats(run)
    if val is run.val_loss:
        return run
    note = (
        f"val is logged in bits per byte: times ln 2 and {run.facts.bytes_per_token:.4g} bytes a token, it is in nats"
    )
    return replace(run, val_loss=val, reading=replace(run.reading, notes=(*run.reading.notes, note)))


@lru_cache(maxsize=32)
def gap_as_logged(run: Run) -> Estimate | None:
    """Validation minus the training loss as it was logged, late in the log, even where training text was evaluated."""
    return _late(run, run.val_loss.finite)


def _late(run: Run, evaluated: Series) -> Estimate | None:
    """The mean of an evaluated loss minus the logged one over the last LATE of the pairs: both move alike."""
    beside = above_logged(run, evaluated)
    if beside is None:
        return None
    late = beside[1][-max(3, int(LATE * beside[1].size)) :]
    return Estimate.normal(float(late.mean()), FEW_POINTS * float(late.std(ddof=1)) / math.sqrt(late.size))


@lru_cache(maxsize=32)
def artefact(run: Run) -> Artefact:
    """Measured against the training text in evaluation mode where the log has it; else the sum of lag and dropout."""
    evaluated, train = run.train_eval_loss.finite, run.train_loss.finite
    reaches = bool(evaluated and train) and evaluated.step[-1] >= REACHES * train.step[-1]
    measured = _late(run, evaluated) if reaches else None
    if measured is not None:
        told = f"it lies {-measured.value:+.3f} from the training text in evaluation mode (train_eval_loss)"
        return Artefact(-measured, told)
    kind, p = run.train_loss.kind, run.facts.dropout
    if kind == "evaluation":
        return Artefact(Estimate(0.0, 0.0, 0.0), "it is logged in evaluation mode")
    if kind == "unknown":
        look = "is one value a micro-batch, a mean over steps, a running mean? The line that logs it tells"
        return Artefact(None, look, ("train_eval_loss",))
    lag = _lag(run)
    if lag.size is None:
        return lag
    if p is None:
        return Artefact(None, f"{lag.because}; is dropout on in it?", ("dropout",))
    if p == 0:
        return Artefact(lag.size, f"{lag.because}; dropout is off")
    lifted = logged_loss.dropout_offset(p, run.facts.parameters)
    told = f"{lag.because}; dropout {p:g} is on in it and off in val ({lifted.low:+.3f} to {lifted.high:+.3f})"
    return Artefact(_sum(lag.size, lifted), told)


def _lag(run: Run) -> Artefact:
    """What the age of the losses that are averaged makes of a curve that falls."""
    kind, train = run.train_loss.kind, run.train_loss.finite
    if kind in ("batch", "micro_batch"):
        return Artefact(Estimate(0.0, 0.0, 0.0), f"one value is one {kind.replace('_', '-')}")
    window, decay = run.facts.train_loss_window, run.facts.train_loss_decay
    if kind == "interval_mean":
        spacing = float(np.median(np.diff(train.step)))
        age = spacing / 2 if window is None or run.facts.step_unit is not None else logged_loss.mean_age(window=window)
        what = f"one value is the mean of {window or spacing:,.0f} {run.facts.step_unit or 'update'}s"
    elif decay is None or run.facts.step_unit is not None or not 0 <= decay < 1:
        return Artefact(None, "it is a running mean: of how many updates is not known", ("train_loss_decay",))
    else:
        age, what = logged_loss.mean_age(decay=decay), f"it is a running mean of decay {decay:g}"
    slope = curve_trend.at_end(train.step, train.value)
    if slope is None:
        return Artefact(None, f"{what}; too few values to tell its slope", ("train_loss",))
    size = Estimate.normal(-slope.slope * age, slope.standard_error * age)
    unit = run.facts.step_unit or "update"
    return Artefact(size, f"{what}, which lags by {age:,.3g} {unit}s ({size.value:+.4f})")


def _sum(a: Estimate, b: Estimate) -> Estimate:
    """Independent errors, the halves of the intervals added in squares."""
    low = math.hypot(a.value - a.low, b.value - b.low)
    high = math.hypot(a.high - a.value, b.high - b.value)
    value = a.value + b.value
    return Estimate(value, value - low, value + high)
