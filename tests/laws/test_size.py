"""The size laws against hand calculation, and the anchor against itself."""

import math

import pytest

from talweg.laws import size


def test_besiroglu_by_hand() -> None:
    # 482.01 / 40.56e6^0.3478 = 482.01 / 442.9 = 1.0884; 2085.43 / 10.49e9^0.3658 = 2085.43 / 4631 = 0.4503
    assert size.BESIROGLU.capacity(40.56e6) == pytest.approx(1.0884, abs=1e-3)
    assert size.BESIROGLU.data(10.49e9) == pytest.approx(0.4503, abs=1e-3)
    assert size.BESIROGLU.loss(40.56e6, 10.49e9) == pytest.approx(1.8172 + 1.0884 + 0.4503, abs=2e-3)


def test_a_difference_is_the_mean_of_three_laws_with_their_spread() -> None:
    first, second = (40.56e6, 10.49e9), (81e6, 10.49e9)
    each = [law.loss(*first) - law.loss(*second) for law in (size.HOFFMANN, size.BESIROGLU, size.MUENNIGHOFF)]
    got = size.difference(*first, *second)
    mean = sum(each) / 3
    sd = math.sqrt(sum((x - mean) ** 2 for x in each) / 2 + (0.1 * mean) ** 2)
    assert got.value == pytest.approx(mean)
    assert got.high - got.low == pytest.approx(2 * 1.28155 * sd, rel=1e-4)


def test_the_anchor_is_its_own_loss() -> None:
    anchor = size.anchored_loss(123.6e6, 10.25e9)
    assert (anchor.value, anchor.low, anchor.high) == pytest.approx((3.273, 3.223, 3.323))


def test_the_anchored_interval_widens_with_distance() -> None:
    near, far = size.anchored_loss(60e6, 5e9), size.anchored_loss(12e6, 5e9)
    assert near.high - near.low == pytest.approx(0.10)
    assert far.high - far.low > 0.15


def test_costs_are_zero_at_twenty_tokens_a_parameter_and_opposed_beyond() -> None:
    assert size.capacity_cost(1e8, 2e9).value == pytest.approx(0.0, abs=1e-12)
    assert size.token_cost(1e8, 2e9).value == pytest.approx(0.0, abs=1e-12)
    assert size.capacity_cost(1e8, 4e10).value > 0.1
    assert size.token_cost(1e8, 4e10).value == 0.0
    assert size.token_cost(1e8, 5e8).value > 0.1
    assert size.capacity_cost(1e8, 5e8).value == 0.0


def test_the_range_names_what_is_outside() -> None:
    assert size.in_range(1e8, 2e9) == ""
    assert "1.5 M" in size.in_range(1.5e6, 2e9)
    assert "0.01 B" in size.in_range(1e8, 1e7)
