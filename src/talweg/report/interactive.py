"""The curves one can zoom and hover, drawn by Bokeh inside the page. Bokeh is imported only when a page is made.

Colours are names of roles (`val`, `soft`...), kept as tags on Bokeh's models; the page's script fills them in from its
style sheet, so that one palette serves light, dark and Bokeh's canvas.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from talweg.diagnosis import Event
from talweg.errors import InputError
from talweg.report.curves import Curves, Window, window
from talweg.run import Series

DECADES = 1.3  # of steps shown at first; the whole run is one button away
MAX_EVENTS = 40  # marks on the plot, the largest first; the list below it has them all
Axis = Literal["log", "linear"]
FONT = "system-ui, sans-serif"
LIGHT = {  # a first paint before the page's script has run
    "val": "#1f5fa8",
    "train": "#8a8f98",
    "train-eval": "#5c6470",
    "rate": "#7a4fa3",
    "alarm": "#b3261e",
    "ink": "#1d2126",
    "soft": "#5c6470",
    "line": "#e3e5e8",
}


@dataclass(frozen=True)
class Drawing:
    """script: Bokeh itself and the drawing, as <script> elements; place: the element that it is drawn into."""

    script: str
    place: str


def drawing(c: Curves, events: tuple[Event, ...]) -> Drawing:
    """The loss, and the learning rate below it on the same steps; once with log(step) and once with the step.

    Raises InputError where Bokeh is not installed.
    """
    try:
        from bokeh.embed import components
        from bokeh.models import Column
        from bokeh.resources import Resources
    except ImportError as error:
        needed = "the HTML report needs Bokeh, which is not installed: pip install 'talweg[report]'"
        raise InputError(needed) from error
    shown = window(c, decades=DECADES)
    panels = [_panel(c, events, shown, "log"), _panel(c, events, shown, "linear")]
    script, place = components(Column(children=panels, sizing_mode="stretch_width", name="curves"))
    library = "".join(f"<script>{text}</script>" for text in Resources(mode="inline", components=["bokeh"]).js_raw)
    return Drawing(library + script, place)


def _panel(c: Curves, events: tuple[Event, ...], shown: Window | None, axis: Axis) -> Any:
    from bokeh.models import Column

    loss = _loss_figure(c, shown, axis)
    _draw_events(loss, events, c)
    figures = [loss]
    if c.learning_rate:
        loss.xaxis.visible = False
        figures.append(_rate_figure(c, loss, axis))
    else:
        loss.xaxis.axis_label = "step"
    return Column(children=figures, sizing_mode="stretch_width", name=axis, visible=axis == "log")


def _figure(axis: Axis, height: int, **options: Any) -> Any:
    from bokeh.models import FixedTicker, NumeralTickFormatter
    from bokeh.plotting import figure

    f: Any = figure(
        x_axis_type=axis, height=height, sizing_mode="stretch_width", tools="", toolbar_location=None, **options
    )
    f.xaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    f.yaxis.formatter = NumeralTickFormatter(format="0.00")
    if axis == "log":
        f.xaxis.ticker = f.xgrid.ticker = FixedTicker(ticks=[m * 10**k for k in range(9) for m in (1, 2, 5)])
    f.background_fill_color = f.border_fill_color = f.outline_line_color = None
    f.min_border_left = 54
    f.min_border_right = 12
    for side in (f.xaxis, f.yaxis):
        side.update(minor_tick_line_color=None, major_tick_line_color=None, axis_line_color=None)
        side.update(major_label_text_font=FONT, major_label_text_font_size="12px")
        side.update(axis_label_text_font=FONT, axis_label_text_font_size="12px", axis_label_text_font_style="normal")
        _themed(side[0], major_label_text_color="soft", axis_label_text_color="soft")
    for grid in f.grid:
        _themed(grid, grid_line_color="line")
    return f


def _themed(model: Any, **roles: str) -> None:
    model.tags = [roles]
    model.update(**{name: LIGHT[role] for name, role in roles.items()})


def _loss_figure(c: Curves, shown: Window | None, axis: Axis) -> Any:
    from bokeh.models import BoxZoomTool, PanTool, Range1d, ResetTool, SaveTool, WheelZoomTool

    f = _figure(axis, 400, name=f"loss-{axis}")
    f.add_tools(PanTool(), BoxZoomTool(), WheelZoomTool(modifiers={"ctrl": True}), SaveTool(), ResetTool())
    f.toolbar.update(logo=None, autohide=True)
    f.toolbar_location = "above"
    if shown:
        f.x_range = Range1d(start=shown.first_step / 1.02, end=shown.last_step * 1.02)
        f.y_range = Range1d(start=shown.low, end=shown.high)
    f.yaxis.axis_label = "loss, nats a token"
    _draw_losses(f, c, axis)
    f.legend.update(
        location="bottom_right" if shown and shown.ends_high else "top_right",
        click_policy="hide",
        background_fill_alpha=0.0,
        border_line_color=None,
        label_text_font=FONT,
        label_text_font_size="12px",
        spacing=0,
    )
    _themed(f.legend[0], label_text_color="soft")
    return f


def _draw_losses(f: Any, c: Curves, axis: Axis) -> None:
    if c.train:
        few = len(c.train) < 300
        raw = f.scatter(
            "step", "loss", source=_source(c.train, axis), size=4 if few else 3, legend_label="train, as logged"
        )
        raw.glyph.update(line_color=None, fill_alpha=0.7 if few else 0.35)
        _themed(raw.glyph, fill_color="train")
    if c.train_smooth:
        smooth = f.line(
            "step", "loss", source=_source(c.train_smooth, axis), line_width=1.5, legend_label="train, smoothed"
        )
        _themed(smooth.glyph, line_color="train")
    if c.train_eval:
        _joined(f, c.train_eval, axis, "train-eval", "train, in evaluation mode")
    if c.val:
        _draw_errors(f, c, axis)
        _joined(f, c.val, axis, "val", "val")
    if c.forecast:
        _draw_forecast(f, c)


def _joined(f: Any, series: Series, axis: Axis, role: str, name: str) -> None:
    from bokeh.models import HoverTool

    source = _source(series, axis)
    line = f.line("step", "loss", source=source, line_width=2 if role == "val" else 1.2, legend_label=name)
    _themed(line.glyph, line_color=role)
    if len(series) <= 200:
        dots = f.scatter(
            "step", "loss", source=source, size=5 if role == "val" else 3, line_color=None, legend_label=name
        )
        _themed(dots.glyph, fill_color=role)
    tip = [(name, "@loss{0.000}"), ("step", "@step{0,0}")]
    f.add_tools(HoverTool(renderers=[line], tooltips=tip, mode="vline", line_policy="nearest", visible=False))


def _draw_errors(f: Any, c: Curves, axis: Axis) -> None:
    """Whiskers of one standard error, where the trainer gave it."""
    from bokeh.models import ColumnDataSource

    known = np.isfinite(c.val_error) & ((c.val.step > 0) | (axis == "linear"))
    if not known.any():
        return
    step, value, error = c.val.step[known], c.val.value[known], c.val_error[known]
    source = ColumnDataSource({"step": step, "low": value - error, "high": value + error})
    whiskers = f.segment("step", "low", "step", "high", source=source, line_alpha=0.5, legend_label="val")
    _themed(whiskers.glyph, line_color="val")


def _draw_forecast(f: Any, c: Curves) -> None:
    from bokeh.models import ColumnDataSource, HoverTool

    assert c.forecast is not None
    band = {name: np.asarray(getattr(c.forecast, name)) for name in ("step", "value", "low", "high")}
    source = ColumnDataSource(band)
    area = f.varea("step", "low", "high", source=source, fill_alpha=0.16, legend_label="forecast, 80 %")
    _themed(area.glyph, fill_color="val")
    line = f.line("step", "value", source=source, line_dash=[4, 4], line_width=1.5, legend_label="forecast, 80 %")
    _themed(line.glyph, line_color="val")
    tip = [("forecast", "@value{0.000} (@low{0.000}–@high{0.000})"), ("step", "@step{0,0}")]
    f.add_tools(HoverTool(renderers=[line], tooltips=tip, mode="vline", line_policy="nearest", visible=False))


def _draw_events(f: Any, events: tuple[Event, ...], c: Curves) -> None:
    from bokeh.models.annotations import BoxAnnotation, Span

    largest = sorted(events, key=lambda e: -abs(e.size) if np.isfinite(e.size) else -np.inf)[:MAX_EVENTS]
    for event in largest:
        mark: Any
        if event.first_step == event.last_step:
            mark = Span(location=event.first_step, dimension="height", line_alpha=0.5, line_dash=[2, 3])
            _themed(mark, line_color="alarm")
        else:
            mark = BoxAnnotation(left=event.first_step, right=event.last_step, fill_alpha=0.12, line_color=None)
            _themed(mark, fill_color="alarm")
        f.add_layout(mark)


def _rate_figure(c: Curves, loss: Any, axis: Axis) -> Any:
    from bokeh.models import PrintfTickFormatter

    f = _figure(axis, 130, x_range=loss.x_range, name=f"rate-{axis}")
    f.xaxis.axis_label, f.yaxis.axis_label = "step", "learning rate"
    f.yaxis.ticker.desired_num_ticks = 3
    f.yaxis.formatter = PrintfTickFormatter(format="%.3g")
    past = f.line("step", "loss", source=_source(c.learning_rate, axis), line_width=1.5)
    _themed(past.glyph, line_color="rate")
    if c.planned_rate:
        planned = f.line("step", "loss", source=_source(c.planned_rate, axis), line_width=1.5, line_dash=[4, 4])
        _themed(planned.glyph, line_color="rate")
    return f


def _source(series: Series, axis: Axis) -> Any:
    """The points of a series; step 0 has no place on an axis of log(step)."""
    from bokeh.models import ColumnDataSource

    keep = series.step > 0 if axis == "log" else np.ones(len(series), dtype=bool)
    return ColumnDataSource({"step": series.step[keep], "loss": series.value[keep].astype(np.float32)})
