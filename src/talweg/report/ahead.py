"""What a forecast looks like: on a terminal, as JSON, and as a picture that stands alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from talweg import evidence
from talweg.estimate import Estimate
from talweg.evidence import Ahead, Forecast
from talweg.report.curves import Window, thinned
from talweg.report.figures import count, nats, origin, whole, with_interval, written_by
from talweg.report.page import INDENT, LABEL, Page
from talweg.report.plot import DECADES, dots
from talweg.report.svg import HEIGHT, KEY_STEP, LEFT, RIGHT, TOP, WIDTH, Plane
from talweg.run import Run, Series

LEVELS = (0.5, 0.8, 0.95)
ROWS = 10  # of the plot on a terminal
STYLES = ("magenta", "green", "yellow", "blue")  # of the plans, in order
MILESTONES = 4  # steps of the rest at which the intervals are told
Array = NDArray[np.float64]


def to_text(run: Run, forecasts: Sequence[Forecast], *, width: int = 80, color: bool = False) -> str:
    """The page; `forecasts` begins with the run's own plan, where it has one."""
    page = Page(min(max(width, 60), 100))
    first = forecasts[0]
    title = Text().append(origin(run.source), style="bold").append(f"   {_where(run)}")
    lines = [*page.wrapped(title), Text()]
    for place, found in enumerate(forecasts):
        head = Text(" " * INDENT).append("● ", style=STYLES[place % len(STYLES)]).append(found.name, style="bold")
        lines.append(head)
        told = f"{found.judged} {with_interval(found.loss)} at step {whole(found.step)}"
        if found.change is not None:
            told += f", {_against(found.change)}"
        lines += page.wrapped(Text(told), indent=INDENT + 2)
        if found.val is not None and found.train is not None:
            low, high = found.train.interval()
            level = Estimate(float(found.train.mean[-1]), float(low[-1]), float(high[-1]))
            lines += page.wrapped(Text(f"train {with_interval(level)}, its level"), indent=INDENT + 2)
        for note in found.notes:
            lines += page.wrapped(Text(note, style="dim"), indent=INDENT + 2)
    lines += [Text(), *_plot(run, forecasts, page.width), Text(), *_table(first, page), Text()]
    lines += page.wrapped(Text(f"intervals hold 80 % where no other share is named; {first.because}", style="dim"))
    return page.printed(lines, color)


def to_json(run: Run, forecasts: Sequence[Forecast]) -> dict[str, Any]:
    """Every curve with its intervals; nats per token."""
    return {
        "run": {"source": run.source, "format": run.format, "step": run.last_step},
        "forecasts": [
            {
                "name": found.name,
                "step": found.step,
                "judged": found.judged,
                "loss": _estimate(found.loss),
                "change": None if found.change is None else _estimate(found.change),
                "because": found.because,
                "notes": list(found.notes),
                "steps": found.band_step.tolist(),
                "val": _ahead(found.val),
                "train": _ahead(found.train),
            }
            for found in forecasts
        ],
    }


def to_svg(run: Run, forecasts: Sequence[Forecast]) -> str:
    """A picture with its own colours: the judged loss, and each plan with its 50, 80 and 95 % intervals."""
    shown = _window(run, forecasts)
    assert shown is not None, "a run that can be forecast has a curve"
    plane = Plane(shown)
    parts = [plane.grid()]
    judged = _judged(run)
    for place, found in enumerate(forecasts):
        ahead = found.val or found.train
        assert ahead is not None
        for level in LEVELS[::-1]:
            low, high = ahead.interval(level)
            parts.append(plane.area(_plain(found.band_step), _plain(low), _plain(high), f"band p{place}"))
        parts.append(plane.line(Series.of(found.band_step, ahead.mean), f"line p{place}"))
    parts.append(plane.line(judged, "line seen"))
    keys = [("seen", f"{forecasts[0].judged} loss so far"), *((f"p{i}", f.name) for i, f in enumerate(forecasts))]
    y = HEIGHT - 44 - KEY_STEP * len(keys) if shown.ends_high else TOP + 16
    for place, (role, name) in enumerate(keys):
        parts.append(
            f'<text class="key {role}" x="{WIDTH - RIGHT - 8}" y="{y + KEY_STEP * place}">{_escaped(name)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{2 * WIDTH}" '
        f'height="{2 * HEIGHT}" role="img"><style>{CSS}</style><rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>'
        f'<clipPath id="plane"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - 28}"/>'
        f"</clipPath>{''.join(parts)}</svg>\n"
    )


COLOURS = ("#8e44ad", "#1e8e5a", "#b7791f", "#2b6cb0")
CSS = (
    ".ground{fill:#fff}.grid{stroke:#e3e3e3;stroke-width:1}.tick{font:11px sans-serif;fill:#666}"
    ".key{font:12px sans-serif;text-anchor:end;fill:#222}.line{fill:none;stroke-width:2}"
    ".seen{stroke:#222}text.seen{stroke:none}.band{opacity:.15}"
    + "".join(
        f".line.p{i}{{stroke:{c};stroke-dasharray:5 4}}.band.p{i}{{fill:{c}}}text.p{i}{{fill:{c}}}"
        for i, c in enumerate(COLOURS)
    )
)


def _where(run: Run) -> str:
    parts = [written_by(run.format)]
    if run.facts.parameters:
        parts.append(f"{count(run.facts.parameters)} parameters")
    planned = run.facts.planned_steps
    parts.append(f"step {whole(run.last_step or 0)}" + (f" of {whole(planned)}" if planned else ""))
    return " · ".join(parts)


def _against(change: Estimate) -> str:
    sure = change.low > 0 or change.high < 0
    better = "better" if change.value < 0 else "worse"
    size = Estimate(abs(change.value), *sorted((abs(change.low), abs(change.high))))
    if not sure:
        return f"{change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f}) against the plan: no clear difference"
    return f"{with_interval(size)} {better} than the plan"


def _table(found: Forecast, page: Page) -> list[Text]:
    """The intervals at a few steps of the rest."""
    ahead = found.val or found.train
    assert ahead is not None
    levels = LEVELS[: (page.width - INDENT - LABEL) // 18]
    shares = "".join(f"{f'{level:.0%}':>18}" for level in levels)
    lines = [Text(" " * INDENT + f"{'step':>{LABEL}}{shares}", style="dim")]
    steps = found.band_step
    for share in np.arange(1, MILESTONES + 1) / MILESTONES:
        place = int(np.argmin(np.abs(steps - (steps[0] + share * (steps[-1] - steps[0])))))
        cells = ""
        for level in levels:
            low, high = ahead.interval(level)
            cells += f"{f'{nats(float(low[place]))} – {nats(float(high[place]))}':>18}"
        lines.append(Text(" " * INDENT + f"{whole(float(steps[place])):>{LABEL}}{cells}"))
    return lines


def _judged(run: Run) -> Series:
    found = evidence.judged(run)
    assert found is not None, "a run that can be forecast is judged by a loss"
    return thinned(found.loss)


def _window(run: Run, forecasts: Sequence[Forecast]) -> Window | None:
    judged = _judged(run)
    last, end = float(judged.step[-1]), max(found.step for found in forecasts)
    positive = judged.step[judged.step > 0]
    first = max(float(positive[0]), last / 10**DECADES)
    seen = judged.between(first, last).value
    values = np.concatenate([seen, *(found.band[:, 1:].ravel() for found in forecasts)])
    values = values[np.isfinite(values)]
    if values.size < 3 or not np.ptp(values) > 0:
        return None
    margin = 0.04 * float(np.ptp(values))
    low, high = float(values.min()) - margin, float(values.max()) + margin
    return Window(first, end, low, high, ends_high=float(seen[-1]) > (low + high) / 2)


def _plot(run: Run, forecasts: Sequence[Forecast], width: int) -> list[Text]:
    shown = _window(run, forecasts)
    if shown is None:
        return []
    drawn = [(_judged(run), "cyan", True)]
    drawn += [
        (Series(found.band_step, found.band[:, 0]), STYLES[place % len(STYLES)], False)
        for place, found in enumerate(forecasts)
    ]
    return dots(drawn, shown, width=width, rows=ROWS, margin=INDENT + LABEL)


def _ahead(ahead: Ahead | None) -> dict[str, Any] | None:
    if ahead is None:
        return None
    bounds = {f"{level:.0%}".replace("%", ""): [bound.tolist() for bound in ahead.interval(level)] for level in LEVELS}
    return {"mean": ahead.mean.tolist(), "sd": ahead.sd.tolist(), "intervals": bounds}


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
