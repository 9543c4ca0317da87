"""What was understood of a log, on a screen: its columns, its facts with their sources, and what was left over."""

import time
from collections.abc import Callable

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from talweg.report.figures import origin, written_by
from talweg.report.page import INDENT, Page
from talweg.run import COLUMN_NAMES, FACT_NAMES, Run, Series

WIDEST = 140
NARROW = 96  # a narrower screen has no room for the range of a column beside its name in the log
WIDE = 110  # a screen that holds all columns of the table of columns
MOST_OTHERS = 12  # columns that nothing asks for, shown in full with --all alone
RECORDS = {"mlflow", "neptune", "tensorboard", "trackio", "wandb", "wandb_api"}  # formats that have no lines
KINDS = {
    "batch": "mean of a batch",
    "micro_batch": "one micro-batch",
    "interval_mean": "mean of an interval",
    "running_mean": "running mean",
    "evaluation": "evaluation",
    "unknown": "",
}


def understood(run: Run, *, width: int = 100, color: bool = False, everything: bool = False) -> str:
    """The page; lines joined by newlines. everything: also the columns of which a long list is cut otherwise."""
    page = Page(min(max(width, 60), WIDEST))
    parts: list[RenderableType] = [_title(run), Text(), _columns(run, page.width, everything)]
    if run.superseded:
        parts += [Text(), _superseded(run)]
    parts += [Text(), _facts(run, page.width)]
    if run.reading.notes:
        parts += [Text(), Text("  notes", style="dim")]
        parts += [Padding(Text(note), (0, 0, 0, 4)) for note in run.reading.notes]
    if run.reading.lines_not_understood:
        parts += [Text(), *_left_over(run)]
    return page.drawn(Group(*parts), color)


def _title(run: Run) -> Text:
    title = Text().append(origin(run.source), style="bold").append("   " + written_by(run.format))
    lines, bad = run.reading.lines, run.reading.lines_not_understood
    if lines > 1:  # a document of one line is no count of anything
        what = "records" if run.format in RECORDS else "lines"
        title.append(f" · {lines:,} {what}, " + (f"{bad:,} not understood" if bad else "all understood"))
    if len(run.reading.runs) > 1:
        title.append(f" · {len(run.reading.runs)} runs, --which NAME takes another")
    if run.reading.configurations:
        title.append(" · configuration: " + ", ".join(run.reading.configurations))
    return title


def _columns(run: Run, width: int, everything: bool) -> RenderableType:
    figures = ("points", "steps", "first", "last", "lowest", "highest")[: 4 if width < NARROW else 6]
    left = ("column", "in the log", "one value is") if width >= WIDE else ("column", "in the log")
    table = _table(*left, right=figures)
    for name in COLUMN_NAMES:
        if series := getattr(run, name):
            said = (name, series.name, KINDS[series.kind])
            clock = _clock if name == "wall_time" else None
            table.add_row(*map(Text, said[: len(left)]), *_figures(series, clock)[: len(figures)])
    others = list(run.others.items())
    shown = others if everything or len(others) <= MOST_OTHERS else others[:MOST_OTHERS]
    for name, series in shown:
        table.add_row(*map(Text, ("-", name, "")[: len(left)]), *_figures(series)[: len(figures)], style="dim")
    if len(others) > len(shown):
        table.add_row("", Text(f"and {len(others) - len(shown)} more (--all)", style="dim"))
    return Padding(table, (0, 0, 0, INDENT))


def _figures(series: Series, written: Callable[[float], str] | None = None) -> tuple[str, ...]:
    finite, write = series.finite.value, written or number
    lowest, highest = (write(finite.min()), write(finite.max())) if finite.size else ("", "")
    points = f"{len(series):,}"
    if series.num_not_finite:
        points += f" ({series.num_not_finite:,} not finite)"
    steps = f"{series.step[0]:,.0f}-{series.step[-1]:,.0f}" if len(series) > 1 else f"{series.step[0]:,.0f}"
    return points, steps, write(series.value[0]), write(series.value[-1]), lowest, highest


def _clock(seconds: float) -> str:
    """A time on the wall, in UTC."""
    return time.strftime("%m-%d %H:%M", time.gmtime(seconds)) if 0 <= seconds < 1e11 else number(seconds)


def number(value: float) -> str:
    """At most five digits, and no more than there are."""
    if not np.isfinite(value):
        return str(float(value))
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.3g}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.5g}"


def _superseded(run: Run) -> Text:
    told = []
    for name, pieces in run.superseded.items():
        for piece in pieces:
            told.append(f"{name} {piece.step[0]:,.0f}-{piece.step[-1]:,.0f} ({len(piece):,})")
    text = Text("  overtaken   ", style="dim")
    return text.append(" · ".join(told[:6]) + (" · ..." if len(told) > 6 else ""))


def _facts(run: Run, width: int) -> RenderableType:
    facts = run.facts
    known = [name for name in FACT_NAMES if getattr(facts, name) is not None]
    if not known:
        return Text("  no fact about the configuration is known; --config FILE tells them", style="dim")
    table = _table("fact", "value", "from")
    for name in known:
        source = Text(facts.sources.get(name, ""), style="dim")
        if name in facts.conflicts:
            source.append(f"   elsewhere {facts.conflicts[name]}", style="yellow")
        table.add_row(name, Text(_value(getattr(facts, name))), source)
    return Padding(table, (0, 0, 0, INDENT))


def _value(value: object) -> str:
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, tuple):
        shown = ", ".join(map(_value, value[:6]))
        return (shown + ", ..." if len(value) > 6 else shown) or "none"
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else number(float(value))


def _left_over(run: Run) -> list[RenderableType]:
    parts: list[RenderableType] = [Text("  not understood", style="dim")]
    for line, text in run.reading.unknown:
        parts.append(Text(f"    line {line:,}: {text[:200]}", style="dim", no_wrap=True, overflow="ellipsis"))
    if run.reading.lines_not_understood > len(run.reading.unknown) > 0:
        parts.append(Text("    ...", style="dim"))
    return parts


def _table(*left: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(left):
        table.add_column(name, overflow="fold", no_wrap=place == 0)  # what it is can be told by its first column alone
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table
