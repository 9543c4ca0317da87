"""A minimum is called one when noise and the search for it do not explain the rise."""

import math

import numpy as np
import pytest

from talweg.curve.minimum import _error, minimum
from talweg.curve.noise import Noise
from tests.curve.simulate import Array, autoregressive, power_law, steps


@pytest.mark.parametrize(("num", "lag1"), [(12, 0.0), (30, 0.0), (30, 0.5), (60, 0.5), (200, 0.0), (200, 0.5)])
def test_curves_that_only_fall_or_are_flat_raise_no_alarm(num: int, lag1: float) -> None:
    """At most one in a hundred of these two hundred, where half a percent is aimed at."""
    rng = np.random.default_rng(num)
    step, alarms = steps(num, 1e4), 0
    for i in range(200):
        level = 0.0 if i % 2 else 300 * power_law(step)
        found = minimum(step, level + autoregressive(rng, num, lag1))
        assert found is not None
        alarms += found.significant
    assert alarms <= 2


def test_overfitting_is_seen_and_measured() -> None:
    """Thirty evaluations of sd 0.0075: falls to step 6,000, then climbs by 0.15."""
    rng = np.random.default_rng(0)
    step, seen, rises = steps(30, 15_000.0), 0, []
    for _ in range(50):
        true = 3.5 + 0.4 * np.exp(-step / 1500) + 0.15 * np.clip(step - 6000, 0, None) / 9000
        found = minimum(step, true + 0.0075 * rng.standard_normal(30), 0.0075)
        assert found is not None
        seen += found.significant
        rises.append(found.rise_since)
        assert 4000 < found.step < 9000
    assert seen >= 45
    assert np.mean(rises) == pytest.approx(0.135, abs=0.025)


def test_against_a_slow_count_of_blocks() -> None:
    rng = np.random.default_rng(1)
    step, value = np.arange(103.0), np.abs(np.arange(103.0) - 60) + rng.standard_normal(103)
    found = minimum(step, value, 1.0)
    blocks = [(float(np.mean(value[i : i + 6])), float(np.mean(step[i : i + 6]))) for i in range(1, 103, 6)]
    assert found is not None
    assert (found.value, found.step) == pytest.approx(min(blocks))
    assert found.rise_since == pytest.approx(blocks[-1][0] - min(blocks)[0])


def test_a_curve_at_its_lowest_has_risen_by_nothing() -> None:
    found = minimum(np.arange(50.0), -np.arange(50.0), 0.1)
    assert found is not None
    assert (found.step, found.rise_since, found.significant) == (49.0, 0.0, False)


def test_units() -> None:
    rng = np.random.default_rng(2)
    step, value = np.arange(100.0), np.abs(np.arange(100.0) - 60) / 60 + 0.1 * rng.standard_normal(100)
    one, other = minimum(step, value), minimum(512 * step, 1e6 + value / math.log(2))
    assert one is not None
    assert other is not None
    assert other.step == 512 * one.step
    assert other.rise_since == pytest.approx(one.rise_since / math.log(2), rel=1e-6)
    assert other.rise_standard_error == pytest.approx(one.rise_standard_error / math.log(2), rel=1e-6)


@pytest.mark.parametrize("value", [np.empty(0), np.ones(1), np.ones(2), np.full(40, np.nan), np.full(40, np.inf)])
def test_too_little(value: Array) -> None:
    assert minimum(np.arange(float(value.size)), value) is None


def test_seven_points_and_a_constant() -> None:
    assert minimum(np.arange(7.0), np.ones(7)) is not None
    flat = minimum(np.arange(100.0), np.ones(100))
    assert flat is not None
    assert not flat.significant


def test_error_of_two_blocks_by_hand() -> None:
    """Means of two values of correlation 0.5: variance (1 + 0.5)/2; the difference of two such: 1.5 sd^2.

    Nine blocks: t of 0.005/8 at 0.3 * 100 = 30 degrees is 3.57 (the table: 3.385 at 0.001, 3.646 at 0.0005).
    """
    found = _error(2.0, Noise(2.0, 0.5, 100.0), 2, np.zeros(9))
    assert found == pytest.approx(2 * 1.5**0.5 * 3.57 / 3, rel=0.01)
