"""What happened to the curves of a run: each event with its place, size, significance, and the losses it is seen in."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from talweg.curve import events as curve_events
from talweg.curve.offset import offset
from talweg.curve.seam import Seam, seam
from talweg.curve.smooth import without_outliers
from talweg.curve.staircase import staircase
from talweg.curve.wave import wave
from talweg.run import Run, Series

COLUMNS = ("train_loss", "train_eval_loss", "val_loss", "grad_norm")
LOSSES = COLUMNS[:3]
TRAIN = COLUMNS[:2]
LASTING = ("rise", "drop", "spike_not_recovered")
SEAM_SURE = (
    3.5  # errors of a jump at a resume: at 1,294 places of sound curves the largest is 2.6 (notes/causes_resume.md)
)
SEAM_LEAST = 0.01  # nats: below, no jump that a person could see. Our choice
ALSO_SURE, ALSO_SHARE = 3.0, 0.3  # errors, and share of the size, that a change must have in the other loss. Our choice
SAME_PERIOD = 0.08  # by which the parts of a staircase's period may differ from a wave's to be its own. Our choice


@dataclass(frozen=True)
class RunEvent:
    """An event of one column of the run. `kind` is one of those of `talweg.curve.events.CurveEvent`, or

    resume_seam:     a jump where the run was taken up again, that decays; size is the jump
    epoch_staircase: drops at the beginning of each pass over the text; size is that of one drop, negative
    wave:            a wave of one period; size is its amplitude, half of crest to trough
    """

    kind: str
    series: str
    first_step: float
    last_step: float
    size: float
    significance: float
    seen_in: str = ""  # train, val, both; empty for a column that is no loss
    period: float | None = None  # steps; of what repeats


@lru_cache(maxsize=32)
def events(run: Run) -> tuple[RunEvent, ...]:
    """Events of the loss columns and the gradient norm, in the order of their steps."""
    seams = _seams(run)
    found = [e for e in departures(run) if not any(_of_seam(e, s) for s in seams)]
    found += [*seams, *_repeating(run)]
    return tuple(sorted((replace(e, seen_in=_seen_in(run, e, found)) for e in found), key=lambda e: e.first_step))


@lru_cache(maxsize=32)
def departures(run: Run) -> tuple[RunEvent, ...]:
    """What each column shows by itself at one place: spikes, jumps, divergence, what is not finite or never changes."""
    found: list[RunEvent] = []
    for name in COLUMNS:
        series: Series = getattr(run, name)
        for e in curve_events.events(series.step, series.value):
            found.append(RunEvent(e.kind, name, e.first_step, e.last_step, e.size, e.significance))
    return tuple(sorted(found, key=lambda e: e.first_step))


@lru_cache(maxsize=32)
def pass_length(run: Run) -> float | None:
    """Steps of one pass over the training text; None where that is not known."""
    f = run.facts
    size = f.train_tokens or f.unique_tokens
    return size / f.tokens_per_step if size and f.tokens_per_step and f.step_unit is None else None


def _seams(run: Run) -> list[RunEvent]:
    """Jumps where the run was taken up again: at the steps stated, and where a later start overtook what was logged."""
    places = set(run.facts.resumed_at or ())
    places |= {float(piece.step[0]) for piece in run.superseded.get("train_loss", ()) if len(piece)}
    loss, found = run.train_loss.finite, []
    ordered = sorted(place for place in places if place > 0)
    for at, until in zip(ordered, [*ordered[1:], math.inf], strict=False):
        s = seam(loss.step, loss.value, at, until=until)
        if s is not None and s.sigma > SEAM_SURE and abs(s.jump) > SEAM_LEAST:
            found.append(_seam_event(s))
    return found


def _seam_event(s: Seam) -> RunEvent:
    return RunEvent("resume_seam", "train_loss", s.at, s.at + 3 * s.decay_steps, s.jump, s.sigma)


def _of_seam(e: RunEvent, s: RunEvent) -> bool:
    """Whether an event of a loss is the jump at a resume, told by its shape alone."""
    near = 0.5 * (s.last_step - s.first_step)
    spike_or_jump = e.kind in ("spike", *LASTING) and e.series in LOSSES
    return spike_or_jump and s.first_step - near <= e.first_step <= s.last_step


def _repeating(run: Run) -> list[RunEvent]:
    """The staircase of passes, and waves that are no part of it."""
    known, found = pass_length(run), list[RunEvent]()
    for name in LOSSES:
        series: Series = getattr(run, name).finite
        stairs = None if name == "val_loss" else staircase(series.step, series.value, known)
        if stairs is not None:
            s = stairs
            step = RunEvent("epoch_staircase", name, s.first_step, s.last_step, -s.size, s.significance)
            found.append(replace(step, period=s.period))
        w = wave(series.step, series.value)
        if w is not None and not (stairs is not None and _part_of(w.period, stairs.period)):
            step = RunEvent("wave", name, w.first_step, w.last_step, w.amplitude, w.significance)
            found.append(replace(step, period=w.period))
    return found


def _part_of(period: float, whole: float) -> bool:
    parts = whole / period
    return abs(parts - max(round(parts), 1)) < SAME_PERIOD * parts


def _seen_in(run: Run, e: RunEvent, others: list[RunEvent]) -> str:
    """In which losses: by an event of the other that belongs to it, or by a change of level there."""
    if e.series not in LOSSES:
        return ""
    own, names = ("train", ("val_loss",)) if e.series in TRAIN else ("val", TRAIN)
    near = max((_spacing(getattr(run, name)) for name in (e.series, *names)), default=0.0)
    for other in others:
        touches = other.first_step <= e.last_step + near and other.last_step >= e.first_step - near
        sign = e.size * other.size > 0 or not math.isfinite(e.size) or e.size == other.size == 0
        period = e.period is None or (other.period is not None and abs(other.period / e.period - 1) < SAME_PERIOD)
        if other.series in names and touches and sign and period and (e.period is None) == (other.period is None):
            return "both"
    if e.kind in LASTING and any(_moved(getattr(run, name).finite, e) for name in names):
        return "both"
    return own


def _spacing(series: Series) -> float:
    return float(np.median(np.diff(series.step))) if len(series) > 1 else 0.0


def _moved(series: Series, e: RunEvent) -> bool:
    """Whether the level of another loss changes there, by a good part and in the same direction."""
    kept = series.between(-math.inf, e.first_step), series.between(e.last_step, math.inf)
    if not (kept[0] and kept[1]):
        return False
    step, value = (np.concatenate([getattr(part, name) for part in kept]) for name in ("step", "value"))
    found = offset(step, without_outliers(value), 0.5 * (e.first_step + e.last_step) + 1e-6)
    if found is None:
        return False
    size = found.size * math.copysign(1.0, e.size)
    return size > max(ALSO_SURE * found.error, ALSO_SHARE * abs(e.size))
