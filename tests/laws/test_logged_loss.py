"""The age of averaged losses and the offset of dropout, against sums by hand and simulated means."""

import numpy as np
import pytest

from talweg.laws.logged_loss import dropout_offset, mean_age


def test_ages_by_hand() -> None:
    assert mean_age(window=1) == 0
    assert mean_age(window=10) == 4.5  # 0, 1, ..., 9 updates old
    assert mean_age(decay=0.0) == 0
    assert mean_age(decay=0.9) == pytest.approx(9.0)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99])
def test_a_running_mean_of_a_falling_line_lags_by_its_age(decay: float) -> None:
    loss = 10 - 0.001 * np.arange(5000)
    mean = loss[0]
    for value in loss:
        mean = decay * mean + (1 - decay) * value
    assert mean - loss[-1] == pytest.approx(0.001 * mean_age(decay=decay), rel=1e-6)


def test_dropout_lifts_in_proportion_and_less_surely_where_the_size_is_not_known() -> None:
    assert dropout_offset(0.0, 4e7).high == 0
    large, small, unknown = dropout_offset(0.1, 4e7), dropout_offset(0.1, 4e5), dropout_offset(0.1, None)
    assert large.low <= 0.07 <= 0.10 <= large.high  # what nanoGPT's logs show
    assert small.low <= 0.029 <= small.high
    assert unknown.low <= min(small.low, large.low)
    assert unknown.high >= max(small.high, large.high)
