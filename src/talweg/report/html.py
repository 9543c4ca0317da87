"""One HTML file that needs nothing else: no network, no second file, and without scripts only the zooming is lost.

Every text passes through `escape`. The page forbids itself any outside request (Content-Security-Policy).
"""

from collections.abc import Callable, Iterable
from html import escape
from importlib.resources import files

from talweg.diagnosis import Diagnosis
from talweg.report import svg
from talweg.report.budget import Budget
from talweg.report.curves import Curves, curves
from talweg.report.figures import nats
from talweg.report.interactive import DECADES, Drawing, drawing
from talweg.report.view import CauseView, RemedyView, Standing, View, view

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
METHOD = (
    "Losses are in nats per token. Intervals hold the true value with a probability of 80 %. A cost is what a cause "
    "adds to the validation loss; a gain is what a change is predicted to win back at the end of the planned run."
)


def to_html(diagnosis: Diagnosis) -> str:
    """The whole page. Raises InputError where Bokeh is not installed."""
    v, drawn = view(diagnosis), curves(diagnosis)
    plot = drawing(drawn, diagnosis.events) if drawn else None
    sections: tuple[Callable[[View], str], ...] = (
        _costs,
        _attempts,
        _unknown,
        _absent,
        _readings,
        _myths,
        _events,
        _facts,
        _reading,
    )
    body = [_header(v), "<main>", _curves(drawn, plot), _budget(v.budget), *(section(v) for section in sections)]
    foot = f"<footer><p>{escape(METHOD)}</p><p>Talweg {escape(v.talweg)}</p></footer>"
    return _document(v, "".join([*body, "</main>", foot]), plot.script if plot else "")


def _document(v: View, body: str, script: str) -> str:
    own = f"<script>{_resource('page.js')}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(v.state)}: {escape(v.title)}</title><style>{_resource('page.css')}</style>"
        "<script>document.documentElement.classList.add('js')</script></head>\n"
        f"<body>{body}\n{script}\n{own}</body></html>\n"
    )


def _resource(name: str) -> str:
    return files("talweg.report").joinpath(name).read_text(encoding="utf-8")


def _header(v: View) -> str:
    state = f'<span class="state {escape(v.state.replace(" ", "-"))}">{escape(v.lead)}</span>'
    first, rest = _first_sentence(v.headline)
    standing = "".join(_standing(row) for row in v.standing)
    return (
        f'<header><p class="path"><code>{escape(v.title)}</code></p>'
        f'<p class="parts">{escape(" · ".join(v.run_parts))}</p><h1>{state}{escape(first)}</h1>'
        f'<p class="rest">{escape(rest)}</p><dl class="standing">{standing}</dl></header>'
    )


def _first_sentence(text: str) -> tuple[str, str]:
    """What of the headline belongs to the state (", not stalled."), and the rest."""
    first, stop, rest = text.partition(". ")
    return first + stop.strip(), rest


def _standing(row: Standing) -> str:
    """The figures large, what qualifies them small below."""
    figures = "".join(
        f'<span class="figure">{f"<small>{escape(f.label)}</small> " if f.label else ""}{escape(f.text)}</span>'
        for f in row.figures
    )
    note = "; ".join(part for part in (row.note, row.because) if part)
    small = f'<span class="small">{escape(note)}</span>' if note else ""
    return f"<div><dt>{escape(row.label)}</dt><dd>{figures}{small}</dd></div>"


def _sentence(text: str) -> str:
    """A reason as a sentence of its own: a capital where it begins with a word, and a full stop."""
    first = text.split(" ", 1)[0]
    return (text[:1].upper() + text[1:] if first.isalpha() else text).rstrip(".") + "."


def _section(title: str, body: str, note: str = "") -> str:
    soft = f' <span class="soft">{escape(note)}</span>' if note else ""
    return f"<section><h2>{escape(title)}{soft}</h2>{body}</section>" if body else ""


def _curves(c: Curves | None, plot: Drawing | None) -> str:
    if c is None or plot is None:
        return ""
    buttons = (
        '<div class="tools"><span role="group" aria-label="axis of steps">'
        '<button type="button" data-axis="log" aria-pressed="true">log steps</button>'
        '<button type="button" data-axis="linear" aria-pressed="false">linear</button></span>'
        '<span role="group" aria-label="part of the run">'
        '<button type="button" data-range="tail" aria-pressed="true">tail</button>'
        '<button type="button" data-range="whole" aria-pressed="false">whole run</button></span></div>'
    )
    still = f'<div class="still-box">{svg.curve(c, decades=DECADES)}</div>'
    return _section("The curve", f'{buttons}<div class="plot">{plot.place}</div>{still}')


def _budget(b: Budget | None) -> str:
    """From the loss now, down by each cost, to what would remain: bars on one axis of loss."""
    if b is None:
        return ""
    ends = [b.now.high, b.now.value, b.rest.low, *(x for bar in b.bars for x in (bar.low, bar.high))]
    low, high = min(ends), max(ends)
    low, high = low - 0.06 * (high - low), high + 0.02 * (high - low)

    ticks = svg.even(low, high, 5)

    def at(loss: float) -> float:
        return 100 * (loss - low) / (high - low)

    grid = "".join(f'<span class="grid" style="left:{at(tick):.2f}%"></span>' for tick in ticks)

    def row(name: str, role: str, left: float, right: float, ends: tuple[float, float], value: str) -> str:
        bar = f'<span class="bar {role}" style="left:{at(left):.2f}%;width:{at(right) - at(left):.2f}%"></span>'
        whisker = (
            f'<span class="whisker" style="left:{at(ends[0]):.2f}%;width:{at(ends[1]) - at(ends[0]):.2f}%"></span>'
        )
        total = " total" if role in ("now", "rest") else ""
        return (
            f'<div><span class="name{total}">{name}</span><span class="track">{grid}{bar}{whisker}</span>'
            f'<span class="value{total}">{escape(value)}</span></div>'
        )

    rows = [row(f"{b.judged} now", "now", low, b.now.value, (b.now.low, b.now.high), nats(b.now.value))]
    for bar in b.bars:
        link = f'<a href="#{escape(bar.label)}"><code>{escape(bar.label)}</code></a>'
        cost = f"-{nats(bar.top - bar.bottom)}"
        rows.append(row(link, "cost", bar.bottom, bar.top, (bar.low, bar.high), cost))
    rows.append(row("remains", "rest", low, b.rest.value, (b.rest.low, b.rest.high), nats(b.rest.value)))
    scale = "".join(f'<span style="left:{at(tick):.2f}%">{tick:.2f}</span>' for tick in ticks)
    rows.append(f'<div><span class="name"></span><span class="scale">{scale}</span><span class="value"></span></div>')
    note = f"If all of it is won back, {b.rest_text} remains. {b.note}"
    return _section(
        "The budget",
        f'<div class="waterfall">{"".join(rows)}</div><p class="soft small">{escape(note)}</p>',
        "nats a token; lines are 80 % intervals",
    )


def _costs(v: View) -> str:
    if not v.costs:
        return _section("Costs", f"<p>{escape(v.no_costs)}</p>")
    return _section("What it costs, and what wins it back", "".join(_card(cost) for cost in v.costs))


def _card(cost: CauseView) -> str:
    interval = f' <span class="small">{escape(cost.interval)}</span>' if cost.interval else ""
    unit = " nats" if cost.interval else ""
    where = f' <span class="soft">({escape(cost.where)})</span>' if cost.where else ""
    return (
        f'<article class="card" id="{escape(cost.name)}"><header><h3>{cost.rank}. <code>{escape(cost.name)}</code></h3>'
        f'<span class="soft small">{escape(cost.group)}</span>'
        f'<span class="cost">{escape(cost.cost)}{unit}{interval}</span></header>'
        f'<p class="soft">{escape(_sentence(cost.summary))}</p><p>{escape(_sentence(cost.because))}{where}</p>'
        f'{_remedies(cost.remedies)}<p class="small soft">Refuted by: {escape(cost.refuted_by)}.</p>'
        f"{_page(cost)}</article>"
    )


def _remedies(remedies: tuple[RemedyView, ...]) -> str:
    if not remedies:
        return ""
    rows = "".join(
        f"<tr><td>{escape(r.change)}{_settings(r)}</td>"
        f'<td class="gain">{escape(r.gain)}</td><td class="number">{escape(r.price)}</td></tr>'
        for r in remedies
    )
    head = '<tr><th>change</th><th>predicted gain</th><th style="text-align:right">price</th></tr>'
    return f'<table class="remedies"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _settings(remedy: RemedyView) -> str:
    return "".join(f'<br><code class="soft">{escape(setting)}</code>' for setting in remedy.settings)


def _page(cause: CauseView) -> str:
    if not cause.page.strip():
        return ""
    return f'<details><summary>About this cause</summary><div class="page">{prose(cause.page)}</div></details>'


def prose(text: str) -> str:
    """A cause's page: paragraphs, with indented lines (formulas) as they stand."""
    parts = []
    for block in text.strip("\n").split("\n\n"):
        lines = block.split("\n")
        if all(line.startswith("    ") or not line.strip() for line in lines):
            parts.append(f"<pre>{escape(chr(10).join(line[4:] for line in lines))}</pre>")
        else:
            parts += [f"<p>{_led(p)}</p>" for p in _paragraphs(lines)]
    return "".join(parts)


def _paragraphs(lines: list[str]) -> Iterable[str]:
    """Lines joined; one that begins with a heading such as "Refuted by:" begins a paragraph."""
    current: list[str] = []
    for line in lines:
        if current and _heading(line):
            yield " ".join(current)
            current = []
        current.append(line.strip())
    if current:
        yield " ".join(current)


def _heading(line: str) -> str:
    head, colon, _ = line.partition(":")
    return head if colon and head[:1].isupper() and len(head) <= 32 and len(head.split()) <= 4 else ""


def _led(paragraph: str) -> str:
    head = _heading(paragraph)
    return f"<strong>{escape(head)}:</strong>{escape(paragraph[len(head) + 1 :])}" if head else escape(paragraph)


def _list(rows: Iterable[tuple[str, str]]) -> str:
    """A list of (term, description), both already HTML."""
    items = "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in rows)
    return f'<dl class="list">{items}</dl>' if items else ""


def _attempts(v: View) -> str:
    items = "".join(f"<li><code>{escape(text)}</code></li>" for text in v.attempts)
    return _section("What to try", f"<ol>{items}</ol>" if items else "", "the largest predicted gain first")


def _unknown(v: View) -> str:
    def text(cause: CauseView) -> str:
        hides = f' <span class="hides">{escape(cause.hides)} nats</span>' if cause.hides else ""
        needs = (
            f' <span class="soft">What would tell: <code>{escape(cause.needs)}</code>.</span>' if cause.needs else ""
        )
        return escape(_sentence(cause.because)) + needs + hides

    return _section("What cannot be told", _entries((cause, text(cause)) for cause in v.unknown))


def _absent(v: View) -> str:
    return _section("Ruled out", _entries((cause, escape(_sentence(cause.because))) for cause in v.absent))


def _entries(rows: Iterable[tuple[CauseView, str]]) -> str:
    """One line for each cause, which opens its page. The text is already HTML."""
    items = []
    for cause, text in rows:
        line = f"<code>{escape(cause.name)}</code><span>{text}</span>"
        page = f'<div class="page">{prose(cause.page)}</div>'
        items.append(f"<details><summary>{line}</summary>{page}</details>" if cause.page.strip() else f"<p>{line}</p>")
    return f'<div class="entries">{"".join(items)}</div>' if items else ""


def _readings(v: View) -> str:
    return _section(
        "Looks like trouble, and is none",
        _list((f"<code>{escape(r.label)}</code>", escape(_sentence(r.text))) for r in v.readings),
    )


def _myths(v: View) -> str:
    rows = ((f"“{escape(m.label)}”", escape(_sentence(m.text))) for m in v.myths)
    return _section("Often said of such a run, and not so", _list(rows))


def _events(v: View) -> str:
    rows = (
        (f"{escape(e.kind)} <span class='soft'>{escape(e.where)}</span>", f"{escape(e.size)} nats: {escape(e.because)}")
        for e in v.events
    )
    return _section("Events", _list(rows))


def _facts(v: View) -> str:
    if not v.facts:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(f.name)}</code></td><td class='number'>{escape(f.value)}</td>"
        f"<td class='soft'>{escape(f.source)}{_conflict(f.conflict)}</td></tr>"
        for f in v.facts
    )
    head = "<tr><th>fact</th><th style='text-align:right'>value</th><th>where it was read</th></tr>"
    return _section(
        "The configuration", f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    )


def _conflict(text: str) -> str:
    return f"; not used: {escape(text)}" if text else ""


def _reading(v: View) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in v.reading)
    return _section("How the log was read", f'<ul class="plain">{items}</ul>')
