"""A corpus on one screen: calm in 80 columns, readable without colour."""

import io

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from talweg.corpus.manifest import Manifest
from talweg.corpus.quality.summary import Summary
from talweg.corpus.show.figures import short
from talweg.corpus.show.view import RuleRow, View, view

LEAST_WIDTH, WIDEST = 40, 100
INDENT, LABEL = 2, 17
SHOWN_RULES = 12
BAR, LEAST_BAR = 24, 8  # cells


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
    for figure in v.figures:
        lines += _row(figure.label, Text(figure.value, style="bold").append(f"  {figure.note}", style="not bold"), room)
    lines += _row("document bytes", Text(_spread(quality)), room)
    lines += _row("languages", Text(_languages(v)), room)
    lines += [Text(), *_rules(v, room)]
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
    if not v.rules:
        return _row("rules", Text("none rejects any document"), room)
    shown = v.rules[:SHOWN_RULES]
    names = max(len("a filter would drop"), *(len(row.rule.name) for row in shown))
    bar = min(BAR, room - INDENT - names - 2 * 11 - 2)
    head = f"{' ' * INDENT}{'a filter would drop':<{names}}{'documents':>11}{'text':>11}"
    lines = [Text(head, style="dim")]
    lines += [_rule(row, names, bar, shown[0].share) for row in shown]
    if len(v.rules) > SHOWN_RULES:
        rest = len(v.rules) - SHOWN_RULES
        lines.append(Text(f"{' ' * INDENT}and {rest} more, each {v.rules[SHOWN_RULES].documents} or less", style="dim"))
    active = [row.rule.name for row in v.rules if row.in_force]
    return [*lines, *_row("in force", Text(", ".join(active) or "none", style="bold" if active else "dim"), room)]


def _rule(row: RuleRow, names: int, bar: int, largest: float) -> Text:
    style = "bold" if row.in_force else "default"
    line = Text(" " * INDENT).append(f"{row.rule.name:<{names}}", style=style)
    line.append(f"{row.documents:>11}{row.text:>11}")
    if bar >= LEAST_BAR:
        line.append("  " + blocks(row.share / largest, bar), style="red" if row.rule.noise else "yellow")
    return line


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
