"""The diagnosis of a run: every cause asked, ranked on one scale, with what is known beside it."""

from dataclasses import dataclass
from typing import Literal

from talweg.estimate import Estimate
from talweg.finding import Finding, Myth, ReadingOfRun
from talweg.run import Run

State = Literal["falling", "flat", "rising", "diverged", "broken", "finished", "too_short"]


@dataclass(frozen=True)
class Now:
    """Where the run stands. Levels are of the last stretch of the log, smoothed over the evaluation noise."""

    step: float
    train: Estimate | None  # nats per token
    val: Estimate | None
    trend: Estimate | None  # nats per 1,000 steps, of the loss the run is judged by
    probability_of_rise: float | None  # that one evaluation lies above the one before, at this trend and noise


@dataclass(frozen=True)
class Expected:
    """What the laws say that a sound run of this size has reached by now."""

    loss: Estimate
    because: str


@dataclass(frozen=True)
class Band:
    """The forecast curve with its 80 % band, for plots. Arrays as tuples of equal length."""

    step: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Forecast:
    """The loss at `step`: the level that evaluations will scatter about."""

    step: float
    loss: Estimate
    because: str
    band: Band


@dataclass(frozen=True)
class Cause:
    """One cause of the catalogue with its finding about this run."""

    name: str
    group: str
    summary: str  # the first line of the cause's page
    refuted_by: str
    finding: Finding


@dataclass(frozen=True)
class Event:
    """Something that happened at a place of the curve, for plots and the list of events."""

    kind: str  # spike, jump, drop, not_finite
    series: str  # the column it is in
    first_step: float
    last_step: float
    size: float  # nats
    because: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """causes: present ones by nats, then unknown, then absent."""

    run: Run
    state: State
    headline: str  # one or two plain sentences: the verdict
    now: Now | None
    expected: Expected | None
    forecast: Forecast | None
    causes: tuple[Cause, ...]
    readings: tuple[ReadingOfRun, ...]
    myths: tuple[Myth, ...]
    events: tuple[Event, ...]

    def by_verdict(self, verdict: str) -> tuple[Cause, ...]:
        return tuple(cause for cause in self.causes if cause.finding.verdict == verdict)
