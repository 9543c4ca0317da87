"""What is drawn of a long run, and the window that is shown of it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg.report.curves import curves, thinned, window
from talweg.report.plot import plot, short
from talweg.run import Series
from tests.report import seed_diagnosis


def test_thinning_keeps_both_ends_every_spike_and_the_order() -> None:
    step = np.arange(100_000, dtype=float)
    value = np.zeros(step.size)
    value[[0, 1, 54_321, 99_999]] = [7.0, 1.0, 5.0, -1.0]
    thin = thinned(Series(step, value), 1000)
    assert len(thin) <= 1002
    assert (np.diff(thin.step) > 0).all()
    assert {0.0, 99_999.0, 54_321.0} <= set(thin.step)
    assert thin.value.max() == 7.0
    assert thin.value.min() == -1.0


def test_a_short_series_is_left_as_it_is() -> None:
    series = Series(np.arange(10.0), np.arange(10.0))
    assert thinned(series, 10) is series


def test_the_first_steps_do_not_flatten_the_tail() -> None:
    drawn = curves(seed_diagnosis.diagnosis())
    assert drawn
    shown = window(drawn, decades=1.0)
    assert shown
    assert shown.first_step == pytest.approx(1450.0)
    assert shown.last_step == 20_000.0
    assert shown.high < 4.6  # step 0 is at 10.8
    assert shown.low < 3.494  # the lower end of the forecast at its end


def test_a_window_needs_three_values_that_differ() -> None:
    drawn = curves(seed_diagnosis.diagnosis())
    assert drawn
    for value in ([3.0, 2.0], [3.0, 3.0, 3.0, 3.0]):
        flat = Series(np.arange(1.0, len(value) + 1), np.asarray(value))
        odd = type(drawn)(**{**vars(drawn), "val": flat, "forecast": None, "last_step": 4.0})
        assert window(odd, decades=1.0) is None


def test_the_rate_goes_on_as_it_is_planned() -> None:
    drawn = curves(seed_diagnosis.diagnosis())
    assert drawn
    assert drawn.learning_rate.value.max() == pytest.approx(1e-3)
    assert drawn.planned_rate.step[[0, -1]].tolist() == [14_500.0, 20_000.0]
    assert drawn.planned_rate.value[-1] == pytest.approx(1e-4)
    by_hand = 1e-4 + 0.5 * (1 + math.cos(math.pi * 14_000 / 19_500)) * 9e-4
    assert drawn.planned_rate.value[0] == pytest.approx(by_hand)


def test_what_falls_alike_in_every_octave_is_a_straight_line_of_dots() -> None:
    drawn = curves(seed_diagnosis.diagnosis())
    assert drawn
    step = np.geomspace(100, 1000, 400)
    changed = {"val": Series(step, 5 - np.log(step)), "forecast": None, "last_step": 1000.0, "end_step": 1000.0}
    straight = type(drawn)(**{**vars(drawn), **changed})
    lines = [line.plain[12 + 1 :] for line in plot(straight, width=53, rows=8, margin=13)[:8]]
    begins = [next(i for i, c in enumerate(line) if "\u2801" <= c <= "\u28ff") for line in lines]
    assert begins == sorted(begins)
    steps = np.diff(begins)
    assert set(steps[1:]) <= {5, 6}  # 39 columns over 8 rows less the margins above and below, 8 % of the range


def test_a_run_that_has_ended_shows_no_forecast() -> None:
    diagnosis = seed_diagnosis.diagnosis()
    assert diagnosis.forecast
    ended = replace(diagnosis.forecast, band=seed_diagnosis.band(now=10_000.0, end=14_500.0))
    drawn = curves(replace(diagnosis, forecast=ended))
    assert drawn
    assert drawn.forecast is None
    assert drawn.end_step == 14_500.0


def test_steps_on_an_axis_are_short() -> None:
    assert [short(s) for s in (5, 500, 1000, 20_000, 1_500_000)] == ["5", "500", "1k", "20k", "1.5M"]
