"""Scatter and its correlation, on noise whose truth is known."""

import math

import numpy as np
import pytest

from talweg.curve import noise as module
from talweg.curve.noise import noise, probability_of_rise
from tests.curve.simulate import Array, autoregressive, power_law, steps


@pytest.mark.parametrize(("num", "lag1"), [(200, 0.0), (200, 0.5), (2000, 0.0), (2000, 0.5), (2000, 0.9)])
def test_sd_and_correlation_are_found_without_bias(num: int, lag1: float) -> None:
    rng = np.random.default_rng(num)
    step = steps(num, 20_000.0)
    found = [noise(step, power_law(step) + 0.02 * autoregressive(rng, num, lag1)) for _ in range(60)]
    assert np.median([f.sd for f in found if f]) == pytest.approx(0.02, rel=0.12)
    assert np.median([f.lag1 for f in found if f]) == pytest.approx(lag1, abs=0.1)
    independent = np.median([f.num_effective for f in found if f])
    assert independent == pytest.approx(num * (1 - lag1) / (1 + lag1), rel=0.35)


@pytest.mark.parametrize("num", [10, 30, 60])
def test_few_evaluations_on_a_steep_curve(num: int) -> None:
    rng = np.random.default_rng(num)
    step = steps(num, 15_000.0)
    found = [noise(step, power_law(step) + 0.01 * rng.standard_normal(num)) for _ in range(200)]
    assert np.median([f.sd for f in found if f]) == pytest.approx(0.01, rel=0.15)


def test_expected_ratio_and_share_against_simulated_noise() -> None:
    """tr(MW) and tr(SMWM) are what a brute-force average over many pieces gives."""
    length, lag1 = 20, 0.7
    ratio, share = module._expected(length)
    rng = np.random.default_rng(0)
    pieces = np.stack([autoregressive(rng, length, lag1) for _ in range(3000)])
    z = np.vander(np.linspace(-1, 1, length), 3)
    residual = pieces - (z @ np.linalg.lstsq(z, pieces.T, rcond=None)[0]).T
    at = int(np.flatnonzero(lag1 == module.LAG1_GRID)[0])
    assert (residual**2).mean() == pytest.approx(share[at], rel=0.03)
    slow = (residual[:, 1:] * residual[:, :-1]).sum() / (residual**2).sum()
    assert slow == pytest.approx(ratio[at], abs=0.02)


def test_outliers_do_not_count_and_units_do() -> None:
    rng = np.random.default_rng(1)
    step, value = np.arange(1000.0), 0.05 * rng.standard_normal(1000)
    clean = noise(step, value)
    value[::40] += 5.0
    dirty, other = noise(step, value), noise(step / 7, 1e6 + 3 * value)
    assert clean is not None
    assert dirty is not None
    assert other is not None
    assert dirty.sd == pytest.approx(clean.sd, rel=0.15)
    assert other.sd == pytest.approx(3 * dirty.sd, rel=1e-6)
    assert other.lag1 == pytest.approx(dirty.lag1, abs=1e-6)


@pytest.mark.parametrize("value", [np.empty(0), np.ones(1), np.arange(5.0), np.full(30, np.nan), np.full(30, np.inf)])
def test_too_little(value: Array) -> None:
    assert noise(np.arange(float(value.size)), value) is None


def test_a_constant_series_and_two_interleaved_levels() -> None:
    flat = noise(np.arange(100.0), np.full(100, 2.0))
    assert flat is not None
    assert (flat.sd, flat.lag1, flat.num_effective) == (0.0, 0.0, 100.0)
    two = noise(np.arange(200.0), np.where(np.arange(200) % 2, 3.0, 4.0))
    assert two is not None
    assert 0.4 < two.sd < 1.2
    assert two.lag1 < -0.4


def test_a_single_nan_changes_next_to_nothing() -> None:
    rng = np.random.default_rng(2)
    step, value = np.arange(300.0), rng.standard_normal(300)
    before = noise(step, value)
    value[150] = np.nan
    after = noise(step, value)
    assert before is not None
    assert after is not None
    assert after.sd == pytest.approx(before.sd, rel=0.1)


def test_probability_of_a_rise_by_hand() -> None:
    """Falling 0.01 an interval with sd 0.0075: z = 0.01 / (0.0075 sqrt 2) = 0.943, Phi(-0.943) = 0.173."""
    assert probability_of_rise(-0.01 / 500, 500, 0.0075) == pytest.approx(0.173, abs=5e-4)
    assert probability_of_rise(0.0, 500, 0.0075) == 0.5
    assert probability_of_rise(-1e-5, 500, 0.0) == 0.0
    assert probability_of_rise(1e-5, 500, 0.0) == 1.0
    assert probability_of_rise(0.0, 500, 0.0) == 0.5
    rng = np.random.default_rng(3)
    value = -0.01 * np.arange(20_001) + 0.0075 * rng.standard_normal(20_001)
    counted = float((np.diff(value) > 0).mean())
    assert counted == pytest.approx(probability_of_rise(-0.01, 1, 0.0075), abs=0.01)
    assert not math.isnan(counted)
