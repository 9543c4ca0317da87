"""The corpus as one HTML file that needs nothing else: no script, no network; light and dark, on a desk and a phone.

Every text passes through `escape`, and what comes from a document through `plain` before. The page forbids itself any
outside request (Content-Security-Policy). It wears the style sheet of the diagnosis.
"""

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from talweg.corpus.manifest import Manifest
from talweg.corpus.quality.summary import Summary
from talweg.corpus.show.figures import plain, short
from talweg.corpus.show.histogram import histograms
from talweg.corpus.show.view import Bar, Figure, RuleRow, View, view

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE_SHEETS = ("report/page.css", "corpus/show/corpus.css")
METHOD = (
    "Documents, bytes, tokens and what each rule would drop are counted on everything. Medians are read from "
    "histograms and are true to the width of a bin. Examples are drawn by a hash of the text: a second report shows "
    "the same ones."
)


def page(manifest: Manifest, quality: Summary) -> str:
    """The whole page."""
    v = view(manifest, quality)
    body = "".join(
        (
            _header(v),
            "<main>",
            _warnings(v),
            _families(v),
            _rules(v),
            _histograms(quality),
            _bars("Lengths", v.lengths, "share of the training text by the tokens of its document, from … on"),
            _bars("Languages", v.languages, "share of the documents"),
            _list("Split and overlap", v.split),
            _list("Facts", v.facts),
            "</main>",
            f"<footer><p>{escape(METHOD)}</p><p>Talweg {escape(v.talweg)}</p></footer>",
        )
    )
    style = "".join(files("talweg").joinpath(sheet).read_text(encoding="utf-8") for sheet in STYLE_SHEETS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(v.title)}: the corpus</title><style>{style}</style></head>\n<body>{body}</body></html>\n"
    )


def _header(v: View) -> str:
    figures = "".join(_figure(figure) for figure in v.figures)
    return (
        f'<header><p class="path"><code>{escape(v.title)}</code></p><p class="parts">{escape(" · ".join(v.parts))}</p>'
        f'<h1>{escape(v.headline)}</h1><p class="rest">{escape(v.rest)}</p><dl class="standing">{figures}</dl></header>'
    )


def _figure(figure: Figure) -> str:
    return (
        f'<div><dt>{escape(figure.label)}</dt><dd><span class="figure">{escape(figure.value)}</span>'
        f'<span class="small">{escape(figure.note)}</span></dd></div>'
    )


def _section(title: str, body: str, note: str = "") -> str:
    soft = f' <span class="soft">{escape(note)}</span>' if note else ""
    return f"<section><h2>{escape(title)}{soft}</h2>{body}</section>" if body else ""


def _warnings(v: View) -> str:
    items = "".join(f"<li>{escape(warning)}</li>" for warning in v.warnings)
    return _section("Before you trust it", f'<ul class="plain warnings">{items}</ul>' if items else "")


def _families(v: View) -> str:
    force = (
        f"In force: {', '.join(v.in_force)}."
        if v.in_force
        else "No filter was in force; nothing was dropped by a rule."
    )
    if not v.families:
        return ""
    bars = _bar_rows(Bar(bar.label, bar.share, bar.text, f"{bar.more} of the text") for bar in v.families)
    return _section(
        "What the filters would drop", f'{bars}<p class="soft small">{escape(force)}</p>', "share of the documents"
    )


def _rules(v: View) -> str:
    entries = "".join(_rule(row) for row in v.rules)
    rest = []
    if v.silent:
        rest.append(f"Rules that reject nothing: {', '.join(v.silent)}.")
    if v.not_judged:
        rest.append(f"Not judged, because nothing was measured for them: {', '.join(v.not_judged)}.")
    notes = "".join(f'<p class="soft small">{escape(text)}</p>' for text in rest)
    if not entries and not notes:
        return ""
    return _section("Rule by rule", f'<div class="entries rules">{entries}</div>{notes}', "open one for examples")


def _rule(row: RuleRow) -> str:
    rule = row.rule
    marks = (' <span class="tag noise">noise</span>' if rule.noise else "") + (
        ' <span class="tag">in force</span>' if row.in_force else ""
    )
    source = "our choice" if row.source == "ours" else row.source
    width = f"{100 * row.share:.2f}%"
    line = (
        f"<span><code>{escape(rule.name)}</code>{marks}</span>"
        f'<span class="says">{escape(rule.says)} <span class="soft small">{escape(source)}: '
        f"{escape(rule.threshold)}</span></span>"
        f'<span class="share"><b>{escape(row.documents)}</b> '
        f'<span class="soft small">{escape(row.text)} of the text</span>'
        f'<span class="track"><span class="bar" style="width:{width}"></span></span></span>'
    )
    examples = "".join(
        f'<figure><figcaption class="soft small"><code>{escape(rule.measure)}</code> {short(each.value)}</figcaption>'
        f"<blockquote>{escape(plain(each.text))}</blockquote></figure>"
        for each in row.examples
    )
    return f"<details><summary>{line}</summary>{examples}</details>" if examples else f"<p>{line}</p>"


def _histograms(quality: Summary) -> str:
    cards = "".join(
        f'<figure class="histogram"><figcaption>{escape(each.title)}</figcaption>{each.svg}'
        f'<p class="soft small">{escape(each.note)}</p></figure>'
        for each in histograms(quality)
    )
    note = "documents by measure; dashed: a rule's threshold"
    return _section("Measures", f'<div class="histograms">{cards}</div>' if cards else "", note)


def _bars(title: str, bars: tuple[Bar, ...], note: str) -> str:
    return _section(title, _bar_rows(bars) if bars else "", note)


def _bar_rows(bars: Iterable[Bar]) -> str:
    bars = tuple(bars)
    largest = max((bar.share for bar in bars), default=0.0) or 1.0
    rows = "".join(
        f'<div class="{"noise" if bar.label == "noise" else "plain"}"><span class="name">{escape(bar.label)}</span>'
        f'<span class="track">{_bar(bar.share / largest)}</span>'
        f'<span class="value">{escape(bar.text)}{_more(bar)}</span></div>'
        for bar in bars
    )
    return f'<div class="shares">{rows}</div>'


def _more(bar: Bar) -> str:
    return f' <span class="soft small">{escape(bar.more)}</span>' if bar.more else ""


def _bar(share: float) -> str:
    return f'<span class="bar" style="width:{100 * share:.2f}%"></span>' if share else ""


def _list(title: str, rows: tuple[tuple[str, str], ...]) -> str:
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in rows)
    return _section(title, f'<dl class="list">{items}</dl>' if items else "")
