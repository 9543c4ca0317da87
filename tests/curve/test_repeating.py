"""Staircases and waves: planted ones are found and measured, falls and noise have none."""

import numpy as np
import pytest

from talweg.curve.staircase import staircase
from talweg.curve.wave import wave
from tests.curve.simulate import Array, autoregressive, power_law, steps

SD = 0.03


def noisy(seed: int, num: int = 1000) -> tuple[Array, Array]:
    step = steps(num, 1e4)
    return step, power_law(step) + SD * np.random.default_rng(seed).standard_normal(num)


@pytest.mark.parametrize("passes", [3, 4, 5, 6, 7, 8])
def test_a_staircase_is_found_with_its_period_and_size(passes: int) -> None:
    step, value = noisy(passes)
    value = value - 0.2 * np.floor(step / (1e4 / passes))
    for period in (1e4 / passes, None):
        found = staircase(step, value, period)
        assert found is not None
        assert found.period == pytest.approx(1e4 / passes, rel=0.01)
        assert found.size == pytest.approx(0.2, abs=0.04)
        assert found.num == passes - 1


def test_a_single_known_beginning_is_enough() -> None:
    step, value = noisy(1)
    assert staircase(step, value - 0.1 * (step > 5000), 5000.0) is not None
    assert staircase(step, value, 5000.0) is None
    assert staircase(step, value - 0.1 * (step > 4000), 5000.0) is None


def test_size_of_a_drop_by_hand() -> None:
    """Two flat passes at 2 and 1.5 with noise of +-0.01 in turn: a line plus a step gives 0.5."""
    step = np.arange(1.0, 101)
    value = np.where(step <= 50, 2.0, 1.5) + 0.01 * (-1.0) ** np.arange(100)
    found = staircase(step, value, 50.5)
    assert found is not None
    assert found.size == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("cycles", [8.3, 20.0, 47.7])
def test_a_wave_is_found_with_its_period_and_amplitude(cycles: float) -> None:
    step, value = noisy(2)
    found = wave(step, value + 0.05 * np.sin(2 * np.pi * step * cycles / 1e4))
    assert found is not None
    assert found.period == pytest.approx(1e4 / cycles, rel=0.02)
    assert found.amplitude == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("lag1", [0.0, 0.5, 0.9])
def test_correlated_noise_has_neither(lag1: float) -> None:
    alarms = 0
    for seed in range(15):
        step = steps(600, 1e4)
        value = power_law(step) + SD * autoregressive(np.random.default_rng(seed), 600, lag1)
        alarms += (staircase(step, value) is not None) + (wave(step, value) is not None)
    assert alarms <= 1


@pytest.mark.parametrize("num", [0, 1, 2, 7, 31])
def test_too_few_points(num: int) -> None:
    step, value = noisy(3, 100)
    assert staircase(step[:num], value[:num], 5.0) is None
    assert wave(step[:num], value[:num]) is None
