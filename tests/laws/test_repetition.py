"""Repetition: the paper's formula by hand and its limits."""

import math

import pytest

from talweg.laws import repetition


def test_five_epochs_by_hand() -> None:
    # R = 4: U (1 + 15.388 (1 - exp(-4 / 15.388))) = U (1 + 15.388 x 0.228904) = 4.52238 U
    assert repetition.effective_tokens(1e9, 5e9) == pytest.approx(4.52238e9, rel=1e-5)


def test_a_single_epoch_is_fresh_and_free() -> None:
    assert repetition.effective_tokens(1e9, 0.7e9) == 0.7e9
    assert repetition.cost(1e8, 1e9, 1e9).high == 0.0


def test_endless_repetition_is_worth_sixteen_epochs_and_a_bit() -> None:
    assert repetition.effective_tokens(1.0, 1e6) == pytest.approx(1 + 15.388, rel=1e-9)


def test_four_epochs_cost_almost_nothing_and_forty_a_lot() -> None:
    four, forty = (repetition.cost(4e7, 10e9 / k, 10e9) for k in (4, 40))
    assert 0 < four.low < four.value < 0.02
    assert forty.value > 0.1


def test_the_cost_grows_with_each_epoch() -> None:
    costs = [repetition.cost(4e7, 10e9 / k, 10e9).value for k in (2, 4, 8, 14, 20, 40)]
    assert costs == sorted(costs)
    assert all(math.isfinite(c) for c in costs)
