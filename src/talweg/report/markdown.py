"""The answer as Markdown, to paste into an issue or a forum."""

import re

from talweg.diagnosis import Diagnosis
from talweg.report.view import CauseView, View, view


def to_markdown(diagnosis: Diagnosis) -> str:
    """GitHub's dialect. What comes from files can neither format the text nor call anybody by an @."""
    v = view(diagnosis)
    parts = [
        f"**{v.lead}**{text(v.headline)}",
        f"{code(v.title)} · {text(' · '.join(v.run_parts))}",
        _standing(v),
        _costs(v),
        _named("Ruled out", [f"{code(c.name)}: {text(c.because)}" for c in v.absent]),
        _named("Cannot be told", [_unknown(c) for c in v.unknown]),
        _named("Looks like trouble, and is none", [f"{code(r.label)}: {text(r.text)}" for r in v.readings]),
        _named("Often said, and not so", [f'"{text(m.label)}": {text(m.text)}' for m in v.myths]),
        _named("What to try", [code(attempt) for attempt in v.attempts]),
        f"<sub>Talweg {v.talweg}; losses in nats a token; intervals of 80 %</sub>",
    ]
    return "\n\n".join(part for part in parts if part)


def _standing(v: View) -> str:
    rows = [f"| {row.label} | {text(row.text)} | {text(row.because)} |" for row in v.standing]
    return "\n".join(["| | | |", "|---|---|---|", *rows])


def _costs(v: View) -> str:
    if not v.costs:
        return f"Costs: {text(v.no_costs)}."
    head = ["| | cause | nats | 80 % | because | wins it back |", "|---:|---|---:|---|---|---|"]
    return "\n".join([*head, *(_row(cost) for cost in v.costs)])


def _row(cost: CauseView) -> str:
    remedies = "<br>".join(text(remedy.line) for remedy in cost.remedies)
    cells = (str(cost.rank), code(cost.name), cost.cost, cost.interval, text(cost.because), remedies)
    return "| " + " | ".join(cells) + " |"


def _unknown(cause: CauseView) -> str:
    needs = f"; give {text(cause.needs)}" if cause.needs else ""
    hides = f"; {cause.hides}" if cause.hides else ""
    return f"{code(cause.name)}: {text(cause.because)}{needs}{hides}"


def _named(title: str, items: list[str]) -> str:
    return f"**{title}**\n\n" + "\n".join(f"- {item}" for item in items) if items else ""


def text(plain: str) -> str:
    """Plain text as Markdown that shows exactly it."""
    escaped = re.sub(r"([\\`*\[\]<|~#&])", r"\\\1", plain)
    escaped = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)  # within a word it is no emphasis
    return escaped.replace("@", "&#64;")


def code(plain: str) -> str:
    """A code span: fenced by more backticks than it holds; a bar would end a table's cell."""
    longest = max((len(ticks) for ticks in re.findall("`+", plain)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{plain.replace('|', '¦')}{pad}{fence}"
