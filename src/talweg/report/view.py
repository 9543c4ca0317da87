"""The view model: every sentence and every formatted number of a report, made once from a `Diagnosis`.

The terminal, Markdown and HTML only arrange what stands here, so that one fact has one text. Strings are plain text:
free of control characters (see `figures.plain`), not yet escaped for HTML or Markdown.
"""

from dataclasses import dataclass, replace

import talweg
from talweg import evidence
from talweg.diagnosis import Cause, Diagnosis, Event, Now
from talweg.estimate import Estimate
from talweg.finding import Remedy
from talweg.report import figures
from talweg.report.budget import Budget, budget
from talweg.report.figures import NOT_KNOWN, nats, plain, whole
from talweg.run import COLUMN_NAMES, FACT_NAMES, Facts, Run, Series

FIRST_QUESTION = "overfitting"  # what most people ask first: its evidence is shown even when it is ruled out


@dataclass(frozen=True)
class Row:
    label: str
    text: str


@dataclass(frozen=True)
class Standing:
    """Where the run stands in one respect: figures (each with what it is of, or ""), what qualifies them, and why."""

    label: str
    figures: tuple[Row, ...]
    note: str = ""
    because: str = ""

    @property
    def text(self) -> str:
        return "   ".join(f"{f.label} {f.text}".strip() for f in self.figures) + (f" {self.note}" if self.note else "")


@dataclass(frozen=True)
class RemedyView:
    name: str
    change: str
    gain: str  # "0.110 (0.080–0.140)"
    price: str  # "free", "2.90 B tokens more", "1.6x the compute"
    settings: tuple[str, ...]  # "model.dropout = 0.0"
    estimate: Estimate | None

    @property
    def line(self) -> str:
        return f"{self.change}: wins {self.gain}, {self.price}"


@dataclass(frozen=True)
class CauseView:
    """One cause. `rank` and `share` (of the largest cost) only for those present."""

    name: str
    group: str
    summary: str
    page: str
    refuted_by: str
    because: str
    nats: Estimate | None
    cost: str  # "0.302", or "not known"
    interval: str
    remedies: tuple[RemedyView, ...]
    where: str  # the stretch of the log that the evidence speaks of, or ""
    needs: str
    hides: str  # "could hide up to 0.120", or ""
    rank: int = 0


@dataclass(frozen=True)
class FactView:
    name: str
    value: str
    source: str
    conflict: str


@dataclass(frozen=True)
class EventView:
    kind: str
    series: str
    where: str
    size: str
    because: str
    first_step: float
    last_step: float


@dataclass(frozen=True)
class View:
    talweg: str
    title: str  # the path as it was given
    run_parts: tuple[str, ...]  # the run in a line
    state: str  # "falling", "too short"
    headline: str  # without the state at its beginning; begins with the mark or blank that follows it
    standing: tuple[Standing, ...]  # now, trend, expected, forecast
    costs: tuple[CauseView, ...]
    unknown: tuple[CauseView, ...]
    absent: tuple[CauseView, ...]
    budget: Budget | None
    attempts: tuple[str, ...]  # what to try, best first: settings, or the change where it needs none
    readings: tuple[Row, ...]
    myths: tuple[Row, ...]  # label: the claim
    events: tuple[EventView, ...]
    facts: tuple[FactView, ...]
    reading: tuple[str, ...]  # how the log was read

    @property
    def no_costs(self) -> str:
        """What to say where no cause is present. That something is unknown is never passed over."""
        if not self.absent:
            return "none could be judged"
        still = f"; {len(self.unknown)} could not be judged" if self.unknown else ""
        return f"no cause is present: {len(self.absent)} ruled out{still}"

    @property
    def lead(self) -> str:
        """The state as the first word of the answer."""
        return self.state.upper()


def view(diagnosis: Diagnosis) -> View:
    costs = tuple(_cause(cause, rank) for rank, cause in enumerate(diagnosis.by_verdict("present"), 1))
    state = diagnosis.state.replace("_", " ")
    return View(
        talweg=talweg.__version__,
        title=plain(diagnosis.run.source) or "the run",
        run_parts=_run_parts(diagnosis),
        state=state,
        headline=_without(state, plain(diagnosis.headline)),
        standing=_standing(diagnosis),
        costs=costs,
        unknown=tuple(_unknown(cause, diagnosis.run) for cause in diagnosis.by_verdict("unknown")),
        absent=tuple(_cause(cause) for cause in _first_question_first(diagnosis.by_verdict("absent"))),
        budget=budget(diagnosis),
        attempts=_attempts(costs),
        readings=tuple(Row(plain(r.name), plain(r.because)) for r in diagnosis.readings),
        myths=tuple(Row(plain(m.claim).rstrip("."), plain(m.reading)) for m in diagnosis.myths),
        events=tuple(_event(e) for e in diagnosis.events),
        facts=_facts(diagnosis.run.facts),
        reading=_reading(diagnosis.run),
    )


def _without(state: str, headline: str) -> str:
    """The headline without the state that leads it: the form sets the state apart."""
    if headline.lower().startswith(state):
        return headline[len(state) :]
    return f". {headline}" if headline else ""


def _run_parts(diagnosis: Diagnosis) -> tuple[str, ...]:
    run, f = diagnosis.run, diagnosis.run.facts
    parts = [figures.written_by(run.format)]
    if f.parameters is not None:
        parts.append(f"{figures.count(f.parameters)} parameters")
    if run.last_step is not None:
        of = f" of {whole(f.planned_steps)}" if f.planned_steps is not None and f.step_unit is None else ""
        parts.append(f"{f.step_unit or 'step'} {whole(run.last_step)}{of}")
    if run.tokens_seen is not None:
        ratio = f" ({_ratio(run.tokens_seen / f.parameters)} a parameter)" if f.parameters else ""
        parts.append(figures.tokens(run.tokens_seen) + ratio)
    epochs = num_epochs(run)
    if epochs is not None:
        passes = f"{epochs:.3g}"
        parts.append(f"{passes} {'pass' if passes == '1' else 'passes'} over the text")
    return tuple(part for part in parts if part)


def num_epochs(run: Run) -> float | None:
    if run.tokens_seen is None or not run.facts.unique_tokens:
        return None
    return run.tokens_seen / run.facts.unique_tokens


def _ratio(value: float) -> str:
    return whole(value) if value >= 10 else f"{value:.2g}"


def _standing(diagnosis: Diagnosis) -> tuple[Standing, ...]:
    now, expected, forecast = diagnosis.now, diagnosis.expected, diagnosis.forecast
    rows = []
    if now is not None:
        levels = [Row(name, figures.with_interval(e)) for name, e in (("val", now.val), ("train", now.train)) if e]
        rows.append(Standing("now", tuple(levels) or _figure(None)))
        rows.append(_trend(now, diagnosis.state))
    rows.append(
        Standing("expected", _figure(expected.loss), because=plain(expected.because))
        if expected
        else Standing("expected", _figure(None), because=plain(evidence.why_not(diagnosis.run)))
    )
    rows.append(
        Standing("forecast", _figure(forecast.loss), f"at step {whole(forecast.step)}", plain(forecast.because))
        if forecast
        else Standing("forecast", _figure(None), because=plain(evidence.why_no_forecast(diagnosis.run)))
    )
    return tuple(rows)


def _figure(estimate: Estimate | None) -> tuple[Row, ...]:
    return (Row("", figures.with_interval(estimate) if estimate and estimate.finite else NOT_KNOWN),)


def _trend(now: Now, state: str) -> Standing:
    """Of a run that falls, how long the next 0.01 take; of a flat one, what the log could have shown."""
    if now.trend is None or not now.trend.finite:
        return Standing("trend", _figure(None))
    note = "nats per 1,000 steps"
    if now.probability_of_rise is not None:
        note += f"; P(an evaluation rises) {figures.percent(now.probability_of_rise)}"
    if state == "falling" and now.next_hundredth is not None:
        steps = now.next_hundredth.steps
        note += f"; the next 0.01 in {whole(steps.value)} steps ({_from_to(steps)})"
    elif state == "flat" and now.smallest is not None:
        note += f"; a trend of {nats(now.smallest.per_1000_steps)} would have shown"
    return Standing("trend", _figure(now.trend), note)


def _from_to(steps: Estimate) -> str:
    return f"{whole(steps.low)}–{whole(steps.high)}" if steps.finite else f"{whole(steps.low)} or more"


def _cause(cause: Cause, rank: int = 0) -> CauseView:
    finding = cause.finding
    known = finding.nats is not None and finding.nats.finite
    hides = finding.would_narrow_nats
    return CauseView(
        name=plain(cause.name),
        group=plain(cause.group),
        summary=plain(cause.summary),
        page=cause.page,
        refuted_by=plain(cause.refuted_by).rstrip("."),
        because=plain(finding.because).rstrip("."),
        nats=finding.nats if known else None,
        cost=nats(finding.nats.value) if known and finding.nats else NOT_KNOWN,
        interval=figures.interval(finding.nats) if known and finding.nats else "",
        remedies=tuple(_remedy(r) for r in finding.remedies),
        where=_where(*finding.steps) if finding.steps else "",
        needs=", ".join(plain(n) for n in finding.needs),
        hides=f"could hide up to {nats(hides)}" if hides is not None else "",
        rank=rank,
    )


def _unknown(cause: Cause, run: Run) -> CauseView:
    """What is asked for is what the run does not have yet: more of a column is no answer to "give val_loss"."""
    lacking = tuple(n for n in cause.finding.needs if not (hasattr(run, n) or n in FACT_NAMES) or not run.has(n))
    return _cause(replace(cause, finding=replace(cause.finding, needs=lacking)))


def _remedy(remedy: Remedy) -> RemedyView:
    gain = remedy.gain if remedy.gain is not None and remedy.gain.finite else None
    return RemedyView(
        name=plain(remedy.name),
        change=plain(remedy.change),
        gain=_gain(gain),
        price=_price(remedy),
        settings=tuple(
            f"{plain(key)} = {'auto' if value is None else plain(str(value))}" for key, value in remedy.config.items()
        ),
        estimate=gain,
    )


def _gain(gain: Estimate | None) -> str:
    if gain is None:
        return "an amount that is not known"
    return f"{nats(gain.value)} ({figures.interval(gain)})" if gain.high > 0 else "no loss, but a surer sight of it"


def _price(remedy: Remedy) -> str:
    """What a change takes: tokens beyond the plan, compute per token, or neither."""
    parts = []
    if remedy.compute_factor > 1:
        parts.append(f"{remedy.compute_factor:.1f}x the compute")
    if remedy.tokens is None:
        parts.append("cost in tokens not known")
    elif remedy.tokens > 0:
        parts.append(f"{figures.tokens(remedy.tokens)} more")
    return " and ".join(parts) or "free"


def _attempts(costs: tuple[CauseView, ...]) -> tuple[str, ...]:
    """The settings of the first remedy of each cause, the largest predicted gain first."""
    first = [cost.remedies[0] for cost in costs if cost.remedies]
    first.sort(key=lambda r: -r.estimate.value if r.estimate else 0.0)
    return tuple(dict.fromkeys(", ".join(remedy.settings) or remedy.change for remedy in first))


def _first_question_first(causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    return tuple(sorted(causes, key=lambda cause: cause.name != FIRST_QUESTION))


def _event(event: Event) -> EventView:
    size = f"{event.size:+.3f}" if abs(event.size) < float("inf") else "not finite"
    return EventView(
        kind=plain(event.kind).replace("_", " "),
        series=plain(event.series),
        where=_where(event.first_step, event.last_step),
        size=size if event.size == event.size else "not finite",
        because=plain(event.because),
        first_step=event.first_step,
        last_step=event.last_step,
    )


def _where(first: float, last: float) -> str:
    return f"step {whole(first)}" if first == last else f"steps {whole(first)}–{whole(last)}"


def _facts(facts: Facts) -> tuple[FactView, ...]:
    stated = [name for name in FACT_NAMES if getattr(facts, name) is not None]
    return tuple(
        FactView(
            name=name,
            value=figures.fact(getattr(facts, name)),
            source=plain(facts.sources.get(name, "")),
            conflict=plain(facts.conflicts.get(name, "")),
        )
        for name in stated
    )


def _reading(run: Run) -> tuple[str, ...]:
    reading = run.reading
    lines = [f"{whole(reading.lines)} lines read, {whole(reading.lines_not_understood)} not understood"]
    for name in COLUMN_NAMES:
        series: Series = getattr(run, name)
        if series:
            column = f' from "{plain(series.name)}"' if series.name else ""
            lost = f", {whole(series.num_not_finite)} not finite" if series.num_not_finite else ""
            lines.append(f"{name}: {whole(len(series))} values{column}{lost}")
    return (*lines, *(plain(note) for note in reading.notes))
