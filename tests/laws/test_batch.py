"""The law of the batch: by hand, against runs that were no part of its fit, and counted again from the grid."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from talweg.laws import batch
from tests.conftest import shared

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import batch as bench


@pytest.mark.parametrize(("tokens", "best"), [(10e9, 297_000), (10e6, 5_760), (2e6, 2_298)])
def test_the_best_batch_by_hand(tokens: float, best: float) -> None:
    # .58 x exp(.571 ln D): ln 1e10 = 23.026, .571 x 23.026 = 13.148, e^13.148 = 512,900
    found = batch.optimum(tokens)
    assert found.value == pytest.approx(best, rel=0.005)
    assert found.high / found.value == pytest.approx(4)


@pytest.mark.parametrize("steps", [100, 1000, 20_000])
def test_a_run_of_given_steps_gets_the_batch_that_is_best_for_its_tokens(steps: float) -> None:
    found = batch.optimum_of_steps(steps).value
    assert found == pytest.approx(batch.optimum(steps * found).value)
    guess = 1.0
    for _ in range(200):  # the slow way: iterate B <- c (s B)^p
        guess = batch.optimum(steps * guess).value
    assert found == pytest.approx(guess, rel=1e-6)
    assert math.log(found) > 0


def test_the_share_of_the_tokens_by_hand() -> None:
    """1 / (1 + e): e = .23 two octaves off, on either side; .63 and .93 as in the runs that were no part of the fit."""
    for ratio in (4.0, 0.25):
        assert batch.worth(ratio, 1e10).value == pytest.approx(1 / 1.23)
    assert batch.worth(1.0, 1e10).value == 1.0
    # three and a half octaves: half-way between .51 and 1.13
    assert batch.worth(2**3.5, 1e10).value == pytest.approx(1 / (1 + 0.82))
    # one octave beyond the table: 1.13 x 2.2
    assert batch.worth(32.0, 1e10).value == pytest.approx(1 / (1 + 1.13 * 2.2))


@pytest.mark.parametrize(("tokens_per_step", "lost"), [(131_072, 0.024), (524_288, 0.214), (2_097_152, 1.308)])
def test_the_cost_holds_what_30_m_parameters_lost_over_600_m_tokens(tokens_per_step: float, lost: float) -> None:
    """Marek et al. 2025: 3.736, 3.926 and 5.020 against 3.712 where the batch costs nothing."""
    ratio = tokens_per_step / batch.optimum(6e8).value
    found = batch.cost(ratio, 30e6, 6e8)
    assert found is not None
    assert found.low <= lost <= found.high, found


def test_the_interval_widens_below_the_fit_and_is_open_below_the_smallest_batch_measured() -> None:
    inside, below = batch.worth(8.0, 1e10), batch.worth(8.0, 1e7)
    assert inside.value == below.value
    assert below.high - below.low > 2 * (inside.high - inside.low)
    far = batch.worth(1 / 256, 1e10)
    assert far.high >= batch.worth(1 / 16, 1e10).high > batch.worth(256.0, 1e10).high


def test_what_the_size_laws_do_not_reach_needs_the_level() -> None:
    assert batch.cost(16.0, 1e6, 1e6) is None
    found = batch.cost(16.0, 1e6, 1e6, loss=6.0)
    assert found is not None
    assert 0 < found.low < found.value < found.high < 6.0
    assert batch.cost(1.0, 30e6, 6e8) == batch.cost(1.0, 1e6, 1e6, loss=6.0)


def test_half_life_by_halving() -> None:
    weight, steps = 1.0, 0
    while weight > 0.5:  # the slow way
        weight, steps = weight * 0.95, steps + 1
    assert batch.half_life(0.95, 1000) == pytest.approx(1000 * steps, rel=0.05)
    assert batch.half_life(batch.beta2_of(1e7, 4096), 4096) == pytest.approx(1e7)


def test_the_table_is_what_the_grid_says() -> None:
    """Counted again from the public grid: medians over its cells, both sides."""
    shared("data/curves/tables")
    found = [[bench.excess(cell, nats) if math.isfinite(nats) else math.nan for nats in row] for cell, row in costs()]
    medians = np.nanmedian(np.array(found), axis=0)
    for octaves in (1, 2, 3, 4):
        both = medians[4 + octaves], medians[4 - octaves]  # of octaves -4 to 4
        assert np.mean(both) == pytest.approx(batch.EXCESS[octaves], rel=0.03)


def costs() -> "list[tuple[tuple[float, float], list[float]]]":
    return [(cell, [float(x) for x in row]) for cell, row in bench.costs().items()]
