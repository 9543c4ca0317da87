"""The slope now, the tail it is read from, and the level there."""

import math

import numpy as np
import pytest

from talweg.curve.level import level
from talweg.curve.normal import Z_80
from talweg.curve.trend import at_end, tail, trend
from tests.curve.simulate import Array, autoregressive, power_law, power_law_slope, steps

COVERAGE = [  # points, last step, sd, lag-1 correlation
    (30, 15_000.0, 0.010, 0.0),
    (200, 20_000.0, 0.010, 0.0),
    (200, 20_000.0, 0.010, 0.5),
    (2000, 20_000.0, 0.060, 0.0),
    (2000, 20_000.0, 0.010, 0.9),
]


@pytest.mark.parametrize(("num", "last", "sd", "lag1"), COVERAGE)
def test_intervals_of_level_and_trend_at_the_end_of_a_power_law(num: int, last: float, sd: float, lag1: float) -> None:
    rng = np.random.default_rng(num)
    step, held, runs = steps(num, last), np.zeros(2), 100
    for _ in range(runs):
        value = power_law(step) + sd * autoregressive(rng, num, lag1)
        slope, now = at_end(step, value), level(step, value)
        assert slope is not None
        assert now is not None
        held += [
            abs(slope.slope - power_law_slope(last)) < Z_80 * slope.standard_error,
            abs(now.value - power_law(step)[-1]) < Z_80 * now.standard_error,
        ]
    assert (held / runs >= 0.70).all(), held / runs
    assert (held / runs <= 0.95).all(), held / runs


def cosine(step: Array, last: float) -> Array:
    return 3 + 0.5 * np.cos(0.85 * math.pi * step / last)


def decayed(step: Array, last: float) -> Array:
    return power_law(step) - 0.15 * np.clip(step / last - 0.8, 0, 1) / 0.2


@pytest.mark.parametrize(
    ("curve", "slope"),
    [
        (cosine, -0.5 * 0.85 * math.pi / 2e4 * math.sin(0.85 * math.pi)),
        (decayed, power_law_slope(2e4) - 0.15 / 0.2 / 2e4),
    ],
)
@pytest.mark.parametrize("num", [200, 2000])
def test_the_slope_at_the_end_is_the_present_one(curve: object, slope: float, num: int) -> None:
    """Within a tenth, where a line through the second half is off by a third and more."""
    rng = np.random.default_rng(4)
    step = steps(num, 2e4)
    clean = curve(step, 2e4)  # type: ignore[operator]
    found = [at_end(step, clean + 0.003 * rng.standard_normal(num)) for _ in range(20)]
    assert np.mean([f.slope for f in found if f is not None]) == pytest.approx(slope, rel=0.1)
    half = trend(step[num // 2 :], clean[num // 2 :])
    assert half is not None
    assert abs(half.slope / slope - 1) > 0.15


def test_a_fallen_power_law_that_looks_flat_still_falls() -> None:
    """Eighty thousand single batches: from one to the next nothing is seen, yet the fall is plain."""
    rng = np.random.default_rng(5)
    step = steps(80_000, 80_000.0)
    found = at_end(step, power_law(step) + 0.05 * rng.standard_normal(step.size))
    assert found is not None
    assert found.slope < -3 * found.standard_error
    assert found.slope == pytest.approx(power_law_slope(8e4), abs=3 * found.standard_error)


def test_a_bend_that_five_points_still_have_widens_the_error() -> None:
    """Twelve exact points of a cosine to its end: the slope there is 0, the line's is not, and says so."""
    step = steps(12, 1200.0)
    value = np.cos(math.pi * step / 1200) + 1e-4 * np.random.default_rng(0).standard_normal(12)
    found, now = at_end(step, value), level(step, value)
    assert found is not None
    assert now is not None
    assert abs(found.slope) < 4 * found.standard_error
    assert abs(now.value - value[-1]) < 4 * now.standard_error


def test_tail_is_a_slice_into_what_was_given_and_takes_all_of_a_line() -> None:
    rng = np.random.default_rng(6)
    step = np.arange(400.0)
    value = power_law(step) + 0.01 * rng.standard_normal(400)
    part = tail(step, value)
    assert 5 <= 400 - part.start < 200
    holes = np.concatenate([np.full(50, np.nan), value])
    assert tail(np.arange(450.0) - 50, holes).start == part.start + 50
    straight = tail(step, -0.001 * step + 0.01 * rng.standard_normal(400))
    assert straight.start < 350  # a sixth, more than of the power law's bend


def test_units_of_step_and_value() -> None:
    rng = np.random.default_rng(7)
    step, value = steps(300, 3000.0), power_law(steps(300, 3000.0)) + 0.02 * rng.standard_normal(300)
    one, other = at_end(step, value), at_end(step * 512, 1e6 + value / math.log(2))
    assert one is not None
    assert other is not None
    assert other.slope == pytest.approx(one.slope / 512 / math.log(2), rel=1e-5)
    assert other.standard_error == pytest.approx(one.standard_error / 512 / math.log(2), rel=1e-5)


def test_uneven_spacing_and_a_hole_leave_the_truth_within_reach() -> None:
    rng = np.random.default_rng(8)
    step = np.concatenate([np.arange(0, 1000, 10.0), np.arange(5000, 20000, 50.0)])
    value = power_law(step) + 0.01 * rng.standard_normal(step.size)
    value[200] = np.nan
    found = at_end(step, value)
    assert found is not None
    assert abs(found.slope - power_law_slope(19950.0)) < 3 * found.standard_error


@pytest.mark.parametrize("num", [0, 1, 2, 3])
def test_too_few_points(num: int) -> None:
    step = np.arange(float(num))
    assert trend(step, step) is None
    assert at_end(step, step) is None
    assert level(step, step) is None
    assert step[tail(step, step)].size == num


@pytest.mark.parametrize("value", [np.full(50, np.nan), np.full(50, np.inf)])
def test_nothing_finite(value: Array) -> None:
    step = np.arange(50.0)
    assert trend(step, value) is None
    assert at_end(step, value) is None
    assert level(step, value) is None
    assert tail(step, value) == slice(0, 50)


def test_a_constant_series_has_no_error_and_seven_points_have_a_wide_one() -> None:
    step = np.arange(100.0)
    now, slope = level(step, np.full(100, 3.25)), at_end(step, np.full(100, 3.25))
    assert now is not None
    assert slope is not None
    assert (now.value, now.standard_error, slope.slope, slope.standard_error) == (3.25, 0.0, 0.0, 0.0)
    rng = np.random.default_rng(9)
    few = [level(np.arange(7.0), rng.standard_normal(7)) for _ in range(200)]
    assert np.mean([abs(f.value) < Z_80 * f.standard_error for f in few if f is not None]) >= 0.7


def test_halfwidth_takes_twice_as_many_last_steps() -> None:
    step = np.arange(100.0)
    found = level(step, step, halfwidth=10)
    assert found is not None
    assert (found.first_step, found.num) == (79.0, 21)
    assert found.value == pytest.approx(99.0)


def test_a_level_where_even_the_shortest_stretch_is_bent() -> None:
    """Twenty-four exact evaluations of a cosine to its end: the line ends 0.1 too low, and the error knows it."""
    step = steps(24, 2400.0)
    true = np.cos(math.pi * step / 2400)
    now = level(step, true + 1e-3 * np.random.default_rng(0).standard_normal(24))
    assert now is not None
    assert abs(now.value - true[-1]) < 1.5 * now.standard_error
