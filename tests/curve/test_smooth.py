"""The smooth for plots, and decimation."""

import numpy as np
import pytest

from talweg.curve.decimate import decimate
from talweg.curve.smooth import running_median, smooth
from tests.curve.simulate import Array, power_law, steps


def test_running_median_against_the_slow_one() -> None:
    value = np.random.default_rng(0).standard_normal(101)
    padded = np.concatenate([[value[0]] * 2, value, [value[-1]] * 2])
    assert np.array_equal(running_median(value), [np.median(padded[i : i + 5]) for i in range(101)])


def test_local_lines_against_polyfit() -> None:
    step = np.arange(1.0, 61.0)
    value = np.sin(step / 9)
    level = smooth(step, value)
    for at in (10, 30, 45):
        near = np.flatnonzero(np.abs(step - step[at]) <= 0.06 * step[at])
        near = np.arange(min(near[0], at - 2), max(near[-1], at + 2) + 1)
        near = near[np.abs(near - at) <= 2]  # 4 % of sixty points is the most: two either side
        assert level[at] == pytest.approx(np.polyval(np.polyfit(step[near], value[near], 1), step[at]), abs=1e-9)


@pytest.mark.parametrize("num", [200, 5000])
def test_it_follows_the_truth_and_no_spike(num: int) -> None:
    rng = np.random.default_rng(num)
    step = steps(num, 1e5)
    value = power_law(step) + 0.03 * rng.standard_normal(num)
    value[::50] += 3.0
    level = smooth(step, value)
    assert level.shape == (num,)
    late = slice(num // 10, None)
    assert np.abs(level - power_law(step))[late].max() < 4 * 0.03 / 2**0.5
    assert np.median(np.abs(level - power_law(step))[late]) < 0.03 / 2


def test_a_straight_line_is_kept_to_its_ends_and_an_early_fall_to_its_shape() -> None:
    step = np.arange(400.0)
    assert smooth(step, 5 - 0.01 * step) == pytest.approx(5 - 0.01 * step, abs=1e-9)
    step = np.arange(20_000.0)
    off = np.abs(smooth(step, power_law(step)) - power_law(step))
    assert off[100:].max() < 0.005


def test_units_offset_and_holes() -> None:
    rng = np.random.default_rng(1)
    step, value = steps(300, 3000.0), power_law(steps(300, 3000.0)) + 0.02 * rng.standard_normal(300)
    assert smooth(512 * step, 1e6 + 3 * value) == pytest.approx(1e6 + 3 * smooth(step, value), abs=1e-6)
    holed = value.copy()
    holed[[0, 150, 299]] = np.nan, np.inf, -np.inf
    assert np.isfinite(smooth(step, holed)).all()
    assert np.isnan(smooth(step, np.full(300, np.nan))).all()


@pytest.mark.parametrize("num", [0, 1, 2, 7])
def test_few_points(num: int) -> None:
    assert smooth(np.arange(float(num)), np.ones(num)) == pytest.approx(np.ones(num))


def drawn(x: Array, y: Array, pixels: int) -> tuple[Array, Array]:
    """Lowest and highest value in each pixel column of an axis from 0 to 1."""
    column = np.minimum((x * pixels).astype(int), pixels - 1)
    low, high = np.full(pixels, np.inf), np.full(pixels, -np.inf)
    np.minimum.at(low, column, y)
    np.maximum.at(high, column, y)
    return low, high


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_decimated_curve_looks_the_same(logarithmic: bool) -> None:
    """In 250 pixel columns of either axis, extremes within one column's neighbourhood are those of all points."""
    rng = np.random.default_rng(2)
    step = np.arange(200_000.0)
    value = power_law(step) + 0.05 * rng.standard_normal(step.size)
    value[[777, 123_456]] += 4.0
    x, low, high, _ = decimate(step, value, 2000)
    assert x.size <= 2000

    def place(s: Array) -> Array:
        return np.log1p(s) / np.log(2e5) if logarithmic else s / 2e5

    all_low, all_high = drawn(place(step), value, 250)
    some_low, some_high = np.minimum(drawn(place(x), low, 250)[0], np.inf), drawn(place(x), high, 250)[1]
    for i in np.flatnonzero(np.isfinite(all_low)):
        near = slice(max(0, i - 1), i + 2)
        assert some_low[near].min() <= all_low[i]
        assert some_high[near].max() >= all_high[i]
    assert np.isin(low, value).all()
    assert np.isin(high, value).all()
    assert {float(value[777]), float(value[123_456])} <= set(high.tolist())


def test_decimate_against_slow_groups_and_on_short_curves() -> None:
    rng = np.random.default_rng(3)
    step, value = np.arange(1000.0), 1e6 + rng.standard_normal(1000)
    x, low, high, mean = decimate(step, value, 50)
    assert x.size <= 50
    assert np.all(np.diff(x) > 0)
    bounds = np.searchsorted(step, np.append((x[1:] + x[:-1]) / 2, np.inf))
    assert low.min() == value.min()
    assert high.max() == value.max()
    assert np.all((low <= mean) & (mean <= high))
    assert bounds[-1] == 1000
    assert mean[-1] == pytest.approx(value[step >= 2 * x[-1] - step[-1]].mean(), abs=1e-6)
    same = decimate(step[:20], value[:20], 50)
    assert all(np.array_equal(column, value[:20]) for column in same[1:])
    assert decimate(np.empty(0), np.empty(0), 50)[0].size == 0
    assert decimate(np.zeros(100), np.arange(100.0), 50)[1:3] == (np.array([0.0]), np.array([99.0]))
