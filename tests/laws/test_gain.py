"""The prior of a decay's gain."""

import math

import pytest

from talweg.laws import gain


def test_the_formula_by_hand() -> None:
    """nu = 5.15e-4 / 1.23e6 = 4.19e-10: 0.193 x 0.419^0.23 x 5^0.1 = 0.193 x 0.8186 x 1.1746."""
    median, sd = gain.prior(1e9, 5.15e-4, 1.23e6)
    assert median == pytest.approx(0.1856, abs=2e-4)
    assert sd == pytest.approx(0.08)


def test_what_is_not_known_leaves_the_scatter_over_all_runs() -> None:
    for known in ((None, 1e-3, 1e6), (1e8, None, 1e6), (1e8, 1e-3, None), (1e8, 0.0, 1e6)):
        assert gain.prior(*known) == (0.178, 0.20)


def test_outside_the_range_of_the_fit_it_is_less_sure() -> None:
    inside = gain.prior(1e8, 6e-4, 5e5)[1]
    small = gain.prior(1e6, 6e-4, 5e5)[1]
    hot = gain.prior(1e8, 6e-4, 5e3)[1]
    assert inside == gain.SD < small < 0.3
    assert hot == pytest.approx(math.hypot(0.08, 0.12 * math.log(1.2e-7 / 1.9e-9)))


def test_the_rate_of_another_optimizer_says_little() -> None:
    assert gain.prior(1e8, 2e-2, 5e5, "muon") == (0.178, 0.4)
    assert gain.prior(1e8, 6e-4, 5e5, "adamw") == gain.prior(1e8, 6e-4, 5e5, "AdamW") == gain.prior(1e8, 6e-4, 5e5)
