"""The line, its error, and how often its intervals hold."""

import numpy as np
import pytest

from talweg.curve import line
from talweg.curve.normal import Z_80
from tests.curve.simulate import autoregressive


def test_a_line_by_hand() -> None:
    """x 0..3, y 1 3 2 4: slope 0.8, intercept 1.3; residuals -.3 .9 -.9 .3, s^2 = 1.8/2 = .9, se = sqrt(.9/5)."""
    found = line.fit(np.arange(4.0), np.array([1.0, 3.0, 2.0, 4.0]), 3.0)
    assert found is not None
    assert found.slope == pytest.approx(0.8)
    assert found.value == pytest.approx(1.3 + 3 * 0.8)
    assert found.slope_error >= 0.9**0.5 / 5**0.5
    assert found.slope_error == pytest.approx(0.9**0.5 / 5**0.5 * 1.886 / Z_80, rel=0.25)  # t with 2 degrees


def test_covariance_against_a_slow_sum_over_all_pairs() -> None:
    """Var of the slope = sum over i, j of w_i w_j s^2 r^|i-j|, written out."""
    rng = np.random.default_rng(3)
    n, r = 40, 0.6
    design = np.column_stack([np.ones(n), np.linspace(-1, 1, n)])
    residual = autoregressive(rng, n, r)
    residual -= design @ np.linalg.lstsq(design, residual, rcond=None)[0]
    cov, _ = line._covariance(design, design, residual, r)
    weights = np.linalg.pinv(design)
    off = np.eye(n) - design @ weights
    expected_square = sum(
        sum(off[k, i] * off[k, j] for k in range(n)) * r ** abs(i - j) for i in range(n) for j in range(n)
    )
    variance = float(residual @ residual) / expected_square
    slow = sum(weights[1, i] * weights[1, j] * variance * r ** abs(i - j) for i in range(n) for j in range(n))
    assert cov[1, 1] >= slow * (1 - 1e-9)  # the kernel's sum counts where it is larger
    assert cov[1, 1] == pytest.approx(slow, rel=0.5)
    white, _ = line._covariance(design, design, np.sign(residual), 0.0)
    assert white[1, 1] >= float(n / (n - 2) * (weights[1] ** 2).sum()) * (1 - 1e-9)


@pytest.mark.parametrize(("num", "lag1"), [(30, 0.0), (30, 0.5), (200, 0.0), (200, 0.5), (200, 0.9), (3000, 0.9)])
def test_80_percent_intervals_hold_70_to_90_percent(num: int, lag1: float) -> None:
    rng = np.random.default_rng(num)
    x, held = np.arange(float(num)), np.zeros(2)
    runs = 200
    for _ in range(runs):
        found = line.fit(x, autoregressive(rng, num, lag1), x[-1])
        assert found is not None
        held += [abs(found.value) < Z_80 * found.value_error, abs(found.slope) < Z_80 * found.slope_error]
    assert (held / runs >= 0.70).all(), held / runs
    assert (held / runs <= 0.92).all(), held / runs


def test_other_units_and_a_huge_offset_change_nothing_but_the_units() -> None:
    rng = np.random.default_rng(1)
    x, y = np.sort(rng.uniform(0, 100, 500)), autoregressive(rng, 500, 0.5)
    one, other = line.fit(x, y, 100.0), line.fit(1000 * x, 1e6 + 7 * y, 1e5)
    assert one is not None
    assert other is not None
    assert other.slope == pytest.approx(7 / 1000 * one.slope, rel=1e-6)
    assert other.slope_error == pytest.approx(7 / 1000 * one.slope_error, rel=1e-6)
    assert other.value - 1e6 == pytest.approx(7 * one.value, rel=1e-6)


def test_a_spike_does_not_move_the_line() -> None:
    rng = np.random.default_rng(2)
    x, y = np.arange(200.0), 0.01 * rng.standard_normal(200)
    clean = line.fit(x, y, 199.0)
    y[190] += 5.0
    spiked = line.fit(x, y, 199.0)
    assert clean is not None
    assert spiked is not None
    assert abs(spiked.value - clean.value) < clean.value_error


def test_too_few_points_and_one_single_step() -> None:
    assert line.fit(np.empty(0), np.empty(0), 0.0) is None
    assert line.fit(np.arange(3.0), np.arange(3.0), 2.0) is None
    assert line.fit(np.ones(9), np.arange(9.0), 1.0) is None
