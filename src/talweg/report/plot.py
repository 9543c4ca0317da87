"""A curve in Braille dots: four dots high and two wide to a character, on an axis of log(step)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from talweg.report.curves import Curves, Window, window
from talweg.run import Series

DECADES = 1.0  # of steps shown, from a tenth of the run. Our choice: a tail that falls at all is seen to fall
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # bit of the dot in column 0 and 1, from the top
TICKS = (1, 2, 5)


def plot(c: Curves, *, width: int, rows: int, margin: int) -> list[Text]:
    """`rows` lines of plot and two of axis, `width` characters wide; y labels end before column `margin`. [] if the run
    has too little to draw."""
    shown = window(c, decades=DECADES)
    columns = width - margin - 1
    if shown is None or columns < 20 or rows < 3:
        return []
    drawn = [(c.judged.between(shown.first_step, c.last_step), "cyan", True)]
    if c.forecast:
        drawn.append((Series(np.asarray(c.forecast.step), np.asarray(c.forecast.value)), "magenta", False))
    lines = dots(drawn, shown, width=width, rows=rows, margin=margin)
    _legend(lines, f"{c.judged_name} loss" + (", forecast dotted" if c.forecast else ""), margin)
    return lines


def dots(drawn: Sequence[tuple[Series, str, bool]], shown: Window, *, width: int, rows: int, margin: int) -> list[Text]:
    """`rows` lines with all series in them and two of axis. Of each series: its style, and whether it is a full line,
    else every second dot."""
    columns = width - margin - 1
    layers = []
    for series, style, full in drawn:
        heights = _heights(series, shown, columns, rows, joined=full)
        layers.append((_cells(heights if full else _every_second(heights), columns, rows), style))
    labels = _labels(shown, rows)
    lines = []
    for row in range(rows):
        line = Text().append(f"{labels.get(row, ''):>{margin - 2}} ", style="dim")
        line.append("┤" if row in labels else "│", style="dim")
        for column in range(columns):
            here = [(int(cells[row][column]), style) for cells, style in layers if cells[row][column]]
            mark = 0
            for dot, _ in here:
                mark |= dot
            line.append(chr(0x2800 + mark) if here else " ", style=here[0][1] if here else "")
        lines.append(line)
    return lines + _axis(shown, columns, margin)


def _columns(step: NDArray[np.float64], shown: Window, columns: int) -> NDArray[np.float64]:
    """The place of each step on the axis, in dot columns."""
    share = np.log(np.maximum(step, 1e-9) / shown.first_step) / np.log(shown.last_step / shown.first_step)
    return np.asarray(share * (2 * columns - 1))


def _heights(series: Series, shown: Window, columns: int, rows: int, *, joined: bool) -> list[tuple[int, int, int]]:
    """Runs of dots as (dot column, first dot row, last dot row): the median in each column, joined across gaps."""
    place = np.round(_columns(series.step, shown, columns)).astype(int)
    inside = (place >= 0) & (place < 2 * columns)
    place, value = place[inside], series.value[inside]
    if not place.size:
        return []
    filled = np.unique(place)
    median = np.array([np.median(value[place == column]) for column in filled])
    every = np.arange(filled[0], filled[-1] + 1)
    height = (shown.high - np.interp(every, filled, median)) / (shown.high - shown.low) * (4 * rows - 1)
    dots = np.clip(np.round(height), 0, 4 * rows - 1).astype(int)
    runs = []
    for i, (column, dot) in enumerate(zip(every, dots, strict=True)):
        before = dots[i - 1] if i and joined else dot
        first, last = sorted((int(dot), int(before + np.sign(dot - before))))
        runs.append((int(column), first, last))
    return runs


def _every_second(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return [run for run in runs if run[0] % 2 == 0]


def _cells(runs: list[tuple[int, int, int]], columns: int, rows: int) -> NDArray[np.int64]:
    cells = np.zeros((rows, columns), dtype=np.int64)
    for column, first, last in runs:
        for dot in range(first, last + 1):
            cells[dot // 4, column // 2] |= DOTS[column % 2][dot % 4]
    return cells


def _labels(shown: Window, rows: int) -> dict[int, str]:
    """Losses at the middle of the first, the middle and the last row."""
    per_row = (shown.high - shown.low) / rows
    chosen = {0, rows - 1} | ({rows // 2} if rows >= 5 else set())
    return {row: f"{shown.high - (row + 0.5) * per_row:.2f}" for row in chosen}


def _legend(lines: list[Text], text: str, margin: int) -> None:
    """Put the name into the upper right corner, where a falling curve leaves room."""
    line = lines[0]
    begin = len(line) - len(text) - 1
    if begin > margin + 4 and all(c == " " for c in line.plain[begin - 2 :]):
        kept = line[:begin]
        kept.append(text, style="dim")
        lines[0] = kept


def _axis(shown: Window, columns: int, margin: int) -> list[Text]:
    ruler, names = ["─"] * columns, [" "] * columns
    taken = -1
    for step in ticks(shown):
        at = min(round(float(_columns(np.array([step]), shown, columns)[0]) / 2), columns - 1)
        text = short(step)
        begin = min(at, columns - len(text))
        if 0 <= at < columns and begin > taken + 1:
            ruler[at] = "┬"
            names[begin : begin + len(text)] = text
            taken = begin + len(text)
    pad = " " * (margin - 1)
    return [Text(f"{pad}└{''.join(ruler)}", style="dim"), Text(f"{pad} {''.join(names)}".rstrip(), style="dim")]


def ticks(shown: Window) -> list[float]:
    first = int(np.floor(np.log10(shown.first_step)))
    last = int(np.ceil(np.log10(shown.last_step)))
    steps = [m * 10.0**power for power in range(first, last + 1) for m in TICKS]
    return [step for step in steps if shown.first_step <= step <= shown.last_step]


def short(step: float) -> str:
    """A step on an axis: 500, 2k, 1.5M."""
    for scale, letter in ((1e6, "M"), (1e3, "k")):
        if step >= scale:
            return f"{step / scale:g}{letter}"
    return f"{step:g}"
