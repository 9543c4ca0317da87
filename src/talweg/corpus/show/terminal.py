"""A corpus on one screen: calm in 80 columns, readable without colour."""

import io

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from talweg.corpus.manifest import Manifest
from talweg.corpus.quality.summary import Summary
from talweg.corpus.show.figures import short
from talweg.corpus.show.view import View, view

LEAST_WIDTH, WIDEST = 40, 100
INDENT, LABEL = 2, 17
SHOWN_RULES = 8  # and every rule of noise that rejects something
HEAD = "a filter would drop"
NARROW = 58
BAR, LEAST_BAR, COLUMN = 24, 8, 11  # cells


def terminal(manifest: Manifest, quality: Summary, width: int = 80, color: bool = False) -> str:
    """The report, lines joined by newlines (none at the end), none wider than `width` cells (at least 40)."""
    v, room = view(manifest, quality), min(max(width, LEAST_WIDTH), WIDEST)
    lines = [
        *_wrapped(Text(v.title, style="bold").append("   " + " · ".join(v.parts), style="default"), room, 0),
        Text(),
        *_wrapped(Text(v.headline, style="bold green"), room, 0),
        *_wrapped(Text(v.rest), room, 0),
        Text(),
    ]
    values = max(len(figure.value) for figure in v.figures)
    for figure in v.figures:
        value = Text(f"{figure.value:>{values}}", style="bold")
        lines += _row(figure.label, value.append(f"  {figure.note}", style="not bold"), room)
    lines += _row("document bytes", Text(_spread(quality)), room)
    lines += _row("languages", Text(_languages(v)), room)
    lines += [Text(), *(_rules(v, room) if v.families else [])]
    lines += _row("in force", Text(", ".join(v.in_force) or "no filter"), room)
    if v.silent:
        lines += _row("reject nothing", Text(f"{len(v.silent)} other rules", style="dim"), room)
    if v.not_judged:
        lines += _row("not judged", Text(", ".join(v.not_judged), style="dim"), room)
    for place, warning in enumerate(v.warnings):
        lines += [Text()] if not place else []
        lines += _row("warning", Text(warning, style="yellow"), room)
    return _printed(lines, room, color)


def _spread(quality: Summary) -> str:
    marks = [quality.quantile("bytes", q) for q in (0.02, 0.5, 0.98)]
    if marks[0] is None:
        return "not known"
    low, middle, high = (short(float(f"{mark:.2g}")) for mark in marks if mark is not None)
    return f"about {middle} in the middle, {low} to {high} for all but 2 % at either end"


def _languages(v: View) -> str:
    return " · ".join(f"{bar.label} {bar.text}" for bar in v.languages) or "not known"


def _rules(v: View, room: int) -> list[Text]:
    shown = [row for place, row in enumerate(v.rules) if place < SHOWN_RULES or row.rule.noise]
    texts = 1 if room >= NARROW else 0  # a narrow screen has no room for the share of the text
    names = max(len(HEAD), *(len(row.rule.name) for row in shown), 0)
    names = min(names, room - INDENT - COLUMN * (1 + texts))
    width = min(BAR, room - INDENT - names - COLUMN * (1 + texts) - 2)
    largest = max((*(bar.share for bar in v.families), *(row.share for row in shown)), default=0.0)

    def line(name: str, documents: str, text: str, share: float, style: str, role: str) -> Text:
        name = name if len(name) <= names else name[: names - 1] + "…"
        row = Text(" " * INDENT).append(f"{name:<{names}}", style=style)
        row.append(f"{documents:>{COLUMN}}" + f"{text:>{COLUMN}}" * texts)
        return row.append("  " + blocks(share / largest, width), style=role) if share and width >= LEAST_BAR else row

    lines = [line(HEAD, "documents", "text", 0.0, "default", "default")]
    lines[0].stylize("dim")
    for bar in v.families:
        role = "red" if bar.label == "noise" else "yellow"
        lines.append(line(bar.label, bar.text, bar.more, bar.share, "bold", role))
    lines.append(Text())
    for each in shown:
        role = "red" if each.rule.noise else "yellow"
        lines.append(line(each.rule.name, each.documents, each.text, each.share, "default", role))
    if len(v.rules) > len(shown):
        more = f"{len(v.rules) - len(shown)} other rules, each {v.rules[SHOWN_RULES].documents} or less"
        lines.append(Text(f"{' ' * INDENT}{more}", style="dim"))
    return [*lines, Text()]


def blocks(share: float, width: int) -> str:
    """A bar in eighths of a character, never nothing for something."""
    eighths = max(round(share * width * 8), 1)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def _row(label: str, text: Text, room: int) -> list[Text]:
    lines = _wrapped(text, room, INDENT + LABEL)
    head = Text(" " * INDENT).append(f"{label:<{LABEL}}", style="dim")
    return [head.append_text(lines[0][INDENT + LABEL :]), *lines[1:]]


def _wrapped(text: Text, room: int, indent: int) -> list[Text]:
    lines = list(text.wrap(_console(room), room - indent)) or [Text()]
    for line in lines:
        line.rstrip()
    return [Text(" " * indent).append_text(line) for line in lines]


def _console(room: int, color: bool = False) -> Console:
    return Console(
        file=io.StringIO(),
        width=room,
        color_system="standard" if color else None,
        force_terminal=color,
        legacy_windows=False,
        _environ={},
    )


def _printed(lines: list[Text], room: int, color: bool) -> str:
    console = _console(room, color)
    for line in lines:
        line.rstrip()
        assert cell_len(line.plain) <= room, line.plain
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")
