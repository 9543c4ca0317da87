"""A histogram of one measure as an inline SVG. Colours come from the page's style sheet."""

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.quality.rules import RULES, Rule
from talweg.corpus.quality.summary import COUNTS, RATIOS, SHARES, SMALL, Summary, edges, quantile
from talweg.corpus.show.figures import percent, short

WIDTH, HEIGHT = 300, 120
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 16, 20  # margins around the plane
TICKS = 6
ROUND_EVERY = {COUNTS: 4, SHARES: 5, SMALL: 5, RATIOS: 8}  # edges from one round value to the next
TITLES = {  # what is drawn, in this order
    "bytes": "bytes a document",
    "bytes_per_token": "bytes a token",
    "compression": "compression, times",
    "mean_word_length": "characters a word",
    "stop_word_share": "of words: the commonest eight",
    "end_punctuation": "of lines: end like a sentence",
    "short_lines": "of lines: 30 characters or less",
    "duplicate_line_characters": "of text: repeated lines",
    "duplicate_5gram_characters": "of text: five words seen before",
    "top_2gram_characters": "of text: the most frequent pair of words",
    "digits": "of characters: digits",
    "non_ascii": "of characters: beyond ASCII",
    "mojibake": "of characters: wrongly decoded",
    "control_characters": "of characters: control",
}


@dataclass(frozen=True)
class Drawn:
    title: str
    svg: str
    note: str


def histograms(quality: Summary) -> list[Drawn]:
    """Every measure of TITLES that was taken; those that are zero everywhere stand in no picture."""
    return [
        _drawn(measure, title, quality.histograms[measure])
        for measure, title in TITLES.items()
        if measure in quality.histograms and quality.histograms[measure][1:].any()
    ]


def _drawn(measure: str, title: str, counts: NDArray[np.int64]) -> Drawn:
    """Documents in each bin above zero; how many are zero is said in the note."""
    total, zero = int(counts.sum()), int(counts[0])
    middle = quantile(counts, measure, 0.5)
    note = f"median about {short(float(f'{middle:.2g}'))}" if middle else ""
    if zero:
        note = f"none in {percent(zero, total)}" + (f"; {note}" if note else "")
    limits = [(rule, at) for rule in RULES if rule.measure == measure for at in (rule.low, rule.high) if at]
    return Drawn(title, _svg(title, counts[1:], edges(measure), limits), note)


def _svg(title: str, counts: NDArray[np.int64], marks: tuple[float, ...], limits: list[tuple[Rule, float]]) -> str:
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1]) + 1  # bins first .. last - 1; bin k begins at marks[k]
    for _, at in limits:  # a limit just outside is worth showing
        place = float(np.interp(at, marks, np.arange(len(marks))))
        if first - 12 <= place <= last + 12:
            first, last = min(first, int(place)), max(last, int(place) + 1)
    last = min(max(last, first + 8), len(marks))
    width = (WIDTH - LEFT - RIGHT) / (last - first)
    floor, highest = HEIGHT - BOTTOM, counts[first:last].max()
    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>']
    for k in range(first, last):
        if counts[k]:
            tall = max((floor - TOP) * counts[k] / highest, 1.0)  # a pixel for a single document
            x = LEFT + width * (k - first)
            wide = max(width - 0.75, 0.75)
            parts.append(f'<rect x="{x:.1f}" y="{floor - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>')
    parts += [_tick(k, first, last, width, marks) for k in _ticks(first, last, marks)]
    parts += [_limit(rule, at, first, last, width, marks) for rule, at in limits]
    head = f'<svg class="bars" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return f"{head}{''.join(parts)}</svg>"


def _ticks(first: int, last: int, marks: tuple[float, ...]) -> list[int]:
    """Which edges are named: at most TICKS round ones."""
    natural = ROUND_EVERY.get(marks, 1)
    inside = range(first, min(last, len(marks) - 1) + 1)
    for every in (natural * times for times in (1, 2, 3, 4, 5, 6, 8, 10)):
        named = [k for k in inside if k % every == 0]
        if len(named) <= TICKS:
            return named
    return named[:: len(named) // TICKS + 1]


def _tick(k: int, first: int, last: int, width: float, marks: tuple[float, ...]) -> str:
    x = LEFT + width * (k - first)
    anchor = "start" if x < 20 else "end" if x > WIDTH - 20 else "middle"
    value = 0.0 if marks[k] < 1e-6 else marks[k]
    text = short(float(f"{value:.2g}")) if marks != COUNTS else _power_of_two(value)
    return f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{text}</text>'


def _power_of_two(value: float) -> str:
    """The edges of counts that are named are 1, 2, 4 ... 1k, 2k ..., of 1,024."""
    for power, letter in ((30, "G"), (20, "M"), (10, "k")):
        if value >= 2**power:
            return f"{value / 2**power:.4g}{letter}"
    return f"{value:.4g}"


def _limit(rule: Rule, at: float, first: int, last: int, width: float, marks: tuple[float, ...]) -> str:
    """A dashed line where a rule's threshold lies, named by its source on hovering."""
    place = float(np.interp(at, marks, np.arange(len(marks))))
    if not first <= place <= last:
        return ""
    x, kind = LEFT + width * (place - first), "limit noise" if rule.noise else "limit"
    name = escape(f"{rule.name}: {rule.threshold}")
    where = f'x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{HEIGHT - BOTTOM}"'
    return f'<line class="{kind}" {where}><title>{name}</title></line>'
