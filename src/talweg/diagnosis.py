"""The diagnosis of a run: every cause asked, ranked on one scale, with what is known beside it."""

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np

from talweg import causes as catalogue
from talweg import evidence, myths, readings
from talweg.estimate import Estimate
from talweg.finding import Finding, Myth, ReadingOfRun
from talweg.run import Run, Series

State = Literal["falling", "flat", "rising", "diverged", "broken", "finished", "too_short"]


@dataclass(frozen=True)
class Now:
    """Where the run stands. Levels are of the last stretch of the log, smoothed over the evaluation noise."""

    step: float
    train: Estimate | None  # nats per token
    val: Estimate | None
    trend: Estimate | None  # nats per 1,000 steps, of the loss the run is judged by
    probability_of_rise: float | None  # that one evaluation lies above the one before, at this trend and noise
    next_hundredth: evidence.Next | None = None  # until the loss is 0.01 lower, at this trend
    smallest: evidence.Smallest | None = None  # change that this log could have shown


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
    page: str = ""  # the whole page: the docstring of the cause's module


@dataclass(frozen=True)
class Event:
    """Something that happened at a place of the curve, for plots and the list of events."""

    kind: str  # spike, jump, drop, not_finite
    series: str  # the column it is in
    first_step: float
    last_step: float
    size: float  # nats
    because: str
    seen_in: str = ""  # train, val or both; empty for a column that is no loss
    period: float | None = None  # steps; of what repeats
    significance: float | None = None  # normal sd; inf for what noise cannot do


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
    why: str = ""  # the evidence for the state, in one sentence

    def by_verdict(self, verdict: str) -> tuple[Cause, ...]:
        return tuple(cause for cause in self.causes if cause.finding.verdict == verdict)


def diagnose(run: Run) -> Diagnosis:
    """Ask every cause of the catalogue about `run` and rank the answers in nats."""
    run = evidence.in_nats(run)
    asked = evidence.by_step(run)
    causes = sorted((_ask(name, module, asked) for name, module in catalogue.catalogue().items()), key=_rank)
    present = [cause for cause in causes if cause.finding.verdict == "present"]
    now = _now(run)
    state, why = _state(run, {cause.name for cause in present})
    return Diagnosis(
        run=run,
        state=state,
        headline=_headline(
            state, why, present, sum(c.finding.verdict == "unknown" for c in causes), _doubt(run, present)
        ),
        now=now,
        expected=_expected(run),
        forecast=None if state in ("broken", "diverged") else _forecast(run),
        causes=tuple(causes),
        readings=readings.readings(asked, sound=state not in LOST),
        myths=myths.myths(asked, sound=state not in LOST),
        events=tuple(_event(e) for e in evidence.events(run)),
        why=why,
    )


def _ask(name: str, module: ModuleType, run: Run) -> Cause:
    """One cause's finding. A cause that fails has not found the run healthy: it is `unknown`, with the error."""
    try:
        finding: Finding = module.examine(run)
    except Exception as error:
        finding = Finding("unknown", f"could not be examined: {type(error).__name__}: {error}")
    texts = catalogue.summary(module), catalogue.refuted_by(module)
    return Cause(name, module.GROUP, *texts, finding, catalogue.page(name))


def _rank(cause: Cause) -> tuple[int, float, str]:
    order = {"present": 0, "unknown": 1, "absent": 2}[cause.finding.verdict]
    nats = cause.finding.nats.value if cause.finding.nats else 0.0
    hidden = cause.finding.would_narrow_nats or 0.0
    return order, -(nats if order == 0 else hidden), cause.name


def _now(run: Run) -> Now | None:
    if run.last_step is None or evidence.judged(run) is None:
        return None
    noise = evidence.eval_noise(run)
    return Now(
        step=run.last_step,
        train=evidence.train_level(run),
        val=evidence.val_level(run),
        trend=evidence.trend(run),
        probability_of_rise=noise.probability_of_rise if noise else None,
        next_hundredth=evidence.next_hundredth(run),
        smallest=evidence.smallest(run),
    )


def _expected(run: Run) -> Expected | None:
    found = evidence.expected(run)
    return None if found is None else Expected(found.loss, found.because)


def _forecast(run: Run) -> Forecast | None:
    if evidence.still_warming(run) or evidence.at_frequencies(run) is not None:
        return None
    found = evidence.forecast(run)
    if found is None or found.loss.low < 0:  # a cross-entropy is never negative: the law does not hold here
        return None
    columns = (found.band_step, found.band[:, 0], found.band[:, 1], found.band[:, 2])
    return Forecast(found.step, found.loss, found.because, Band(*(tuple(c.tolist()) for c in columns)))


def _event(e: evidence.RunEvent) -> Event:
    where = f"step {e.first_step:,.0f}" + (f" to {e.last_step:,.0f}" if e.last_step > e.first_step else "")
    size = f" of {e.size:+.3f}" if math.isfinite(e.size) else ""
    every = f", every {e.period:,.0f} steps" if e.period is not None else ""
    seen = ", seen in train and val" if e.seen_in == "both" and size else ""
    because = f"{e.kind.replace('_', ' ')}{size} in {e.series} at {where}{every}{seen}"
    return Event(e.kind, e.series, e.first_step, e.last_step, e.size, because, e.seen_in, e.period, e.significance)


FEWEST_VALUES = 8  # of the judged loss; below this no state is claimed
DONE_SHARE = 0.995  # of the plan


def _state(run: Run, present: set[str]) -> tuple[State, str]:
    """The state and the evidence for it."""
    if "diverged" in present and not _broken(run):
        return "diverged", "it rose by more than its noise and has not come back: see the cause diverged"
    return standing(run)


def standing(run: Run) -> tuple[State, str]:
    """The state by the numbers and the curve alone, and the evidence for it: all but whether it has diverged."""
    if broken := _broken(run):
        return "broken", broken
    judged, trend = evidence.judged(run), evidence.trend(run)
    if run.last_step is None or trend is None or judged is None or len(judged.loss) < FEWEST_VALUES:
        num = max(len(s.finite) for s in (run.val_loss, run.train_eval_loss, run.train_loss))
        return "too_short", f"{num} values of the loss tell no trend; {FEWEST_VALUES} are needed"
    end = evidence.horizon(run)
    if end is not None and run.last_step >= DONE_SHARE * end:
        return "finished", f"the plan's {end:,.0f} steps are done"
    found = evidence.standing(run)
    assert found is not None, "there is a trend"
    return found.state, found.because


def _broken(run: Run) -> str:
    """Why these numbers cannot be a language model's loss; empty when they can."""
    if (unseen := evidence.unseen(run)).since is not None:
        return unseen.because
    for name in ("train_loss", "train_eval_loss", "val_loss"):
        series: Series = getattr(run, name)
        if len(series) >= 3 and not np.isfinite(series.value[-3:]).any():
            first = series.step[len(series) - _trailing_not_finite(series)]
            return f"{name} is not finite from step {first:,.0f} on"
        if series.finite and float(series.finite.value.min()) < 0:
            return f"{name} is negative ({series.finite.value.min():.3f}); a cross-entropy cannot be"
    return ""


def _trailing_not_finite(series: Series) -> int:
    good = np.flatnonzero(np.isfinite(series.value))
    return len(series) - (int(good[-1]) + 1 if good.size else 0)


LOST = ("broken", "diverged")  # what is said of sound curves does not hold of these
OPENING = {
    "falling": "FALLING, not stalled",
    "flat": "FLAT: no fall that this log could show",
    "rising": "RISING",
    "diverged": "DIVERGED",
    "broken": "BROKEN",
    "finished": "FINISHED",
    "too_short": "TOO SHORT to judge",
}
FAULTS = {"optimization", "numerics", "implementation"}  # groups whose causes mean that something is broken


IN_THE_LAW = {"model_too_small", "too_few_tokens", "learning_rate_not_decayed"}  # the expected loss allows for these


def _doubt(run: Run, present: list[Cause]) -> str:
    """What makes the causes present not the whole answer: a loss where no cause found explains it. Empty: nothing."""
    if (unit := evidence.other_unit(run)) is not None:
        return f"The first loss, {evidence.first_loss(run):.2f}, is ln V in {unit}: if that is the unit, give nats."
    if (below := evidence.far_below(run)) is not None:
        return (
            f"The loss lies {below:.2f} nats below what a sound run of this size can reach: are the facts those of "
            f"this run, and does the model see what it should predict?"
        )
    above = evidence.far_above(run)
    costs = [c.finding.nats.value for c in present if c.finding.nats and c.name not in IN_THE_LAW]
    if above is not None and sum(costs) < above / 2:
        more = " more than" if costs else ""
        known = "what the causes found explain" if costs else "and no cause found explains it"
        return f"The loss lies {above:.2f} nats above what is expected of this size,{more} {known}."
    stuck = evidence.at_frequencies(run)
    if stuck is None or costs or evidence.still_warming(run):
        return ""
    return f"{stuck[0].upper()}{stuck[1:]}: nothing is learnt from context yet."


def _headline(state: State, why: str, present: list[Cause], num_unknown: int, doubt: str) -> str:
    """The verdict in a few sentences."""
    opening = OPENING[state] + (f": {why}" if state in ("broken", "too_short") else "") + "."
    if state == "broken":
        return opening
    if doubt:
        opening = f"{opening} {doubt}"
    if not present:
        silent = f"; {num_unknown} could not be judged" if num_unknown else ""
        return opening + ("" if state == "too_short" else f" No cause of the catalogue is present{silent}.")
    costly = [cause for cause in present if cause.finding.nats is None or cause.finding.nats.value > 0]
    if not costly:
        names = ", ".join(cause.name.replace("_", " ") for cause in present)
        return f"{opening} Nothing costs loss; what is measured is not sure: {names}."
    leading = costly[0]
    words = leading.name.replace("_", " ")
    sound = "" if doubt or any(cause.group in FAULTS for cause in present) else " Nothing is broken;"
    return f"{opening}{sound} {'the' if sound else 'The'} leading cost is {words}{_price(leading.finding)}."


def _price(finding: Finding) -> str:
    if finding.nats is None:
        return ""
    return f", {finding.nats.value:.2f} nats" if finding.nats.value >= 0.005 else ", under 0.01 nats"
