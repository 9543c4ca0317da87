"""The range of normal values against drawn ones."""

import numpy as np
import pytest

from talweg.curve.spread import expected_range, relative_spread


@pytest.mark.parametrize(("num", "d2"), [(2, 1.128), (3, 1.693), (5, 2.326), (8, 2.847)])
def test_range_of_normal_values_against_the_table_of_quality_control(num: int, d2: float) -> None:
    assert expected_range(num) == pytest.approx(d2, abs=1e-3)


def test_batches_of_their_own_lie_at_one_in_any_unit() -> None:
    losses = np.random.default_rng(0).standard_normal((4000, 4)) * 0.1
    for unit in (1.0, 1 / np.log(2)):
        scaled = unit * losses
        found = relative_spread(np.ptp(scaled, axis=1), 4, float(scaled.mean(axis=1).std()))
        assert 0.85 < found < 1.0  # the median of a range lies a little below its mean
