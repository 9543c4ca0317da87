"""The curve as a still picture, for print and where scripts do not run. Colours come from the page's style sheet."""

from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.report.curves import Curves, Window, window
from talweg.report.plot import short, ticks
from talweg.run import Series

WIDTH, HEIGHT = 760, 300
Array = NDArray[np.float64]
KEYS = {"val": "val", "train-eval": "train, in evaluation mode", "train": "train, smoothed"}
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 28  # margins around the plane
KEY_STEP = 16  # from one name of a line to the next


def curve(c: Curves, *, decades: float) -> str:
    """An inline <svg>, or "" when the run has too little to draw."""
    shown = window(c, decades=decades)
    if shown is None:
        return ""
    plane = Plane(shown)
    parts = [plane.grid()]
    if c.forecast:
        parts.append(plane.area(c.forecast.step, c.forecast.low, c.forecast.high, "forecast-band"))
        parts.append(plane.line(Series.of(c.forecast.step, c.forecast.value), "forecast-line"))
    lines = [("train", c.train_smooth), ("train-eval", c.train_eval), ("val", c.val)]
    drawn = [(role, series) for role, series in lines if len(series) > 1]
    parts += [plane.line(series, f"{role}-line") for role, series in drawn]
    parts += [_key(place, role, shown) for place, (role, _) in enumerate(reversed(drawn))]
    title = f"{c.judged_name} loss against the step, on a logarithmic axis"
    return (
        f'<svg class="still" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<clipPath id="plane"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>{"".join(parts)}</svg>'
    )


def _key(place: int, role: str, shown: Window) -> str:
    """The name of a line, in its colour, at the right, above or below the end of the curve."""
    first = HEIGHT - BOTTOM - 44 if shown.ends_high else TOP + 16
    return f'<text class="key {role}" x="{WIDTH - RIGHT - 8}" y="{first + KEY_STEP * place}">{KEYS[role]}</text>'


class Plane:
    """From (step, loss) to pixels."""

    def __init__(self, shown: Window) -> None:
        self.shown = shown

    def x(self, step: ArrayLike) -> Array:
        first, last = self.shown.first_step, self.shown.last_step
        share = np.log(np.maximum(np.asarray(step, dtype=np.float64), first / 10) / first) / np.log(last / first)
        return np.asarray(LEFT + share * (WIDTH - LEFT - RIGHT))

    def y(self, loss: ArrayLike) -> Array:
        share = (self.shown.high - np.asarray(loss, dtype=np.float64)) / (self.shown.high - self.shown.low)
        return np.clip(TOP + share * (HEIGHT - TOP - BOTTOM), -HEIGHT, 2 * HEIGHT)

    def points(self, step: ArrayLike, loss: ArrayLike) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(self.x(step), self.y(loss), strict=True))

    def line(self, series: Series, role: str) -> str:
        shown = series.between(self.shown.first_step / 2, self.shown.last_step)
        if len(shown) < 2:
            return ""
        return f'<polyline class="{role}" clip-path="url(#plane)" points="{self.points(shown.step, shown.value)}"/>'

    def area(self, step: tuple[float, ...], low: tuple[float, ...], high: tuple[float, ...], role: str) -> str:
        around = f"{self.points(step, high)} {self.points(step[::-1], low[::-1])}"
        return f'<polygon class="{role}" clip-path="url(#plane)" points="{around}"/>'

    def grid(self) -> str:
        floor = HEIGHT - BOTTOM
        lines = []
        for loss in even(self.shown.low, self.shown.high, 5):
            y = float(self.y(loss))
            lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            lines.append(
                f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{loss:.{self._digits}f}</text>'
            )
        for step in ticks(self.shown):
            x = float(self.x(step))
            anchor = "end" if x > WIDTH - RIGHT - 8 else "middle"
            lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}"/>')
            lines.append(f'<text class="tick" x="{x:.1f}" y="{floor + 17}" text-anchor="{anchor}">{short(step)}</text>')
        return "".join(lines)

    @property
    def _digits(self) -> int:
        return 1 if self.shown.high - self.shown.low > 1 else 2 if self.shown.high - self.shown.low > 0.05 else 3


def even(low: float, high: float, about: int) -> list[float]:
    """About so many round values between low and high: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(float(power * m) for m in (1, 2, 5, 10) if power * m >= rough)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [k * step for k in range(first, last + 1)]
