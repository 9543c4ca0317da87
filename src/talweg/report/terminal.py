"""The answer on one screen: readable without colour, at 80 columns and at 60.

The text is laid out at the fullest detail that fits the screen; what is left over of its height goes to the plot.
"""

import shlex
from dataclasses import dataclass

from rich.text import Text

from talweg.diagnosis import Diagnosis
from talweg.report.curves import curves
from talweg.report.figures import NOT_KNOWN, origin, shortened
from talweg.report.page import INDENT, LABEL, Page
from talweg.report.plot import plot
from talweg.report.view import CauseView, Row, View, view

WIDEST = 100  # longer lines are hard to read
HEIGHT = 44  # lines, where the screen is not known
LEAST_HEIGHT = 40  # a smaller screen scrolls: the reasons are worth more than the fit
PLOT_ROWS = (5, 8)  # fewer do not show a curve, more show no more
STATE_STYLES = {
    "falling": "bold green",
    "finished": "bold green",
    "flat": "bold yellow",
    "rising": "bold yellow",
    "diverged": "bold red",
    "broken": "bold red",
    "too short": "bold",
}


@dataclass(frozen=True)
class Detail:
    """How many lines each part may take."""

    evidence: int  # lines of the reason of one cause
    remedies: int  # per cause
    listed: int  # lines of a list of names
    explained: int  # readings, and myths, that are explained; of the others the names and claims stand in a list


DETAILS = (
    Detail(evidence=3, remedies=3, listed=4, explained=99),
    Detail(evidence=2, remedies=2, listed=3, explained=3),
    Detail(evidence=2, remedies=1, listed=2, explained=1),
    Detail(evidence=2, remedies=1, listed=2, explained=0),
    Detail(evidence=1, remedies=1, listed=2, explained=0),
    Detail(evidence=0, remedies=1, listed=1, explained=0),
    Detail(evidence=0, remedies=0, listed=1, explained=0),
)
EXPLANATION = 2  # lines of one reading or myth
WITH_PLOT = 5  # the reasons are worth more than the plot: beyond this much shortening, the plot goes first


def render(diagnosis: Diagnosis, *, width: int = 80, color: bool = False, height: int = HEIGHT) -> str:
    """The whole answer, lines joined by newlines (none at the end), none wider than `width` cells.

    height: the screen's lines. The answer is shortened to fit; what cannot be shortened further may exceed it.
    """
    v = view(diagnosis)
    page = Page(min(max(width, 40), WIDEST))
    above = _above(v, page)
    drawn = curves(diagnosis)
    for detail in DETAILS[:WITH_PLOT]:
        below = _below(v, page, detail)
        rows = min(height - len(above) - len(below) - 3, PLOT_ROWS[1])  # two lines of axis and a blank one
        lines = plot(drawn, width=page.width, rows=rows, margin=INDENT + LABEL) if drawn else []
        if lines and rows >= PLOT_ROWS[0]:
            return page.printed([*above, *lines, Text(), *below], color)
    for detail in DETAILS:
        below = _below(v, page, detail)
        if len(above) + len(below) <= height:
            break
    return page.printed([*above, *below], color)


def _above(v: View, page: Page) -> list[Text]:
    run = Text().append(origin(v.title), style="bold").append("   " + " · ".join(v.run_parts))
    answer = Text().append(v.lead, style=STATE_STYLES.get(v.state, "bold")).append(v.headline, style="bold")
    lines = [*page.wrapped(run), Text(), *page.wrapped(answer), Text()]
    for row in v.standing:
        text = row.text
        if row.because and (row.label == "expected" or text == NOT_KNOWN):
            text += f": {row.because}"
        lines += page.row(row.label, text, limit=2)
    return [*lines, Text()]


def _below(v: View, page: Page, detail: Detail) -> list[Text]:
    return [
        *_costs(v, page, detail),
        *_absent(v, page, detail),
        *_unknown(v, page, detail),
        *_rows("readings", v.readings, "{0.label}: {0.text}", "{0.label}", page, detail),
        *_rows("not so", v.myths, '"{0.label}": {0.text}', '"{0.label}"', page, detail),
        *page.row("try", "; ".join(v.attempts) or "nothing", limit=2),
        *page.row("more", _more(v), limit=2),
    ]


def _rows(label: str, rows: tuple[Row, ...], full: str, brief: str, page: Page, detail: Detail) -> list[Text]:
    """The first rows on lines of their own, the names of the others in a list."""
    texts = [(full.format(row), EXPLANATION) for row in rows[: detail.explained]]
    if rest := rows[detail.explained :]:
        texts.append((", ".join(brief.format(row) for row in rest), detail.listed))
    lines: list[Text] = []
    for text, limit in texts:
        lines += page.row("" if lines else label, text, limit=limit)
    return lines


def _costs(v: View, page: Page, detail: Detail) -> list[Text]:
    if not v.costs:
        return [*page.row("costs", v.no_costs), Text()]
    names = min(max(len(cost.name) for cost in v.costs), 32)
    values = max(len(cost.cost) for cost in v.costs)
    intervals = max(len("80 %"), *(len(cost.interval) for cost in v.costs))
    room = page.width - INDENT - len("1 ") - names - 2 - values - 2 - intervals - 2
    title = f"{'costs, nats a token':<{names + 2}}"
    lines = [Text(f"{' ' * INDENT}{title}  {'nats':>{values}}  {'80 %':>{intervals}}", style="dim")]
    largest = max((cost.nats.high for cost in v.costs if cost.nats), default=0.0)
    for cost in v.costs:
        lines.append(_cost_line(cost, (names, values, intervals, room), largest))
        lines += _cost_reasons(cost, page, detail)
    return [*lines, Text()]


def _cost_line(cost: CauseView, widths: tuple[int, int, int, int], largest: float) -> Text:
    names, values, intervals, room = widths
    line = Text(f"{' ' * INDENT}{cost.rank} ").append(f"{shortened(cost.name, names):<{names}}", style="bold")
    line.append(f"  {cost.cost:>{values}}", style="bold").append(f"  {cost.interval:>{intervals}}  ")
    if cost.nats and largest > 0 and room >= 6:
        solid, faint = bar(cost.nats.value / largest, cost.nats.high / largest, min(room, 24))
        line.append(solid, style="yellow").append(faint, style="dim")
    return line


def bar(value: float, high: float, width: int) -> tuple[str, str]:
    """A bar up to `value` in eighths of a character, and a fainter one on to `high`; both are shares of `width`."""
    eighths = round(max(value, 0.0) * width * 8)
    solid = "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
    return solid, "─" * max(round(high * width) - len(solid), 0)


def _cost_reasons(cost: CauseView, page: Page, detail: Detail) -> list[Text]:
    lines: list[Text] = []
    if detail.evidence:
        lines += page.wrapped(Text(cost.because), indent=INDENT + 4, limit=detail.evidence)
    for remedy in cost.remedies[: detail.remedies]:
        lines += page.wrapped(Text().append("-> ", style="green").append(remedy.line), indent=INDENT + 4, limit=2)
    return lines


def _absent(v: View, page: Page, detail: Detail) -> list[Text]:
    if not v.absent:
        return []
    first, rest = v.absent[0], [cause.name for cause in v.absent[1:]]
    begin = f"{len(v.absent)}: {first.name} ("
    room = page.width - INDENT - LABEL - len(begin) - len("),")
    reason = shortened(first.because, room if detail.listed <= 2 and rest else len(first.because))
    return page.row("absent", f"{begin}{reason})" + "".join(f", {name}" for name in rest), limit=detail.listed)


def _unknown(v: View, page: Page, detail: Detail) -> list[Text]:
    if not v.unknown:
        return []
    by_answer: dict[str, list[CauseView]] = {}  # those that one thing would answer stand together
    for cause in v.unknown:
        by_answer.setdefault("give " + cause.needs if cause.needs else cause.because, []).append(cause)
    parts = []
    for answer, causes in by_answer.items():
        hides = f" ({causes[0].hides})" if causes[0].hides else ""  # the first hides most
        parts.append(f"{', '.join(cause.name for cause in causes)}: {answer}{hides}")
    return page.row("cannot tell", " · ".join(parts), limit=detail.listed)


def _more(v: View) -> str:
    name = v.costs[0].name if v.costs else "NAME"
    return f"talweg explain {name} · talweg report {shlex.quote(v.title)} -o report.html"
