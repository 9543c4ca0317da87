"""The path of a learning rate against a slow sum over single steps."""

import itertools
import math

import numpy as np
import pytest

from talweg.laws import annealing
from talweg.schedule import Schedule


def slow_path(rate: list[float], complete: float) -> tuple[float, float]:
    """S1 and D at the last step, from the definition."""
    peak = max(rate)
    top = rate.index(peak)
    gathered = [0.0, *itertools.accumulate((a + b) / 2 / peak for a, b in itertools.pairwise(rate))]
    decayed = 0.0
    for k in range(top + 1, len(rate)):
        left = max(rate[k] / peak, 1e-3)
        x = (gathered[-1] - gathered[k]) / (complete * left)
        decayed += (rate[k - 1] - rate[k]) / peak * (1 - 1 / math.sqrt(1 + 200 * x))
    return gathered[-1], decayed


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant", "wsd"])
def test_area_and_decay_equal_the_sum_over_steps(kind: str) -> None:
    steps = np.arange(0.0, 401.0)
    schedule = Schedule(kind, 3e-4, 3e-5, 40, 400, decay_start=300)  # type: ignore[arg-type]
    rate = schedule.at(steps)
    path = annealing.path(steps, rate, 400.0)
    area, decayed = slow_path(rate.tolist(), 400.0)
    assert path.area[-1] == pytest.approx(area, rel=1e-12)
    assert path.decayed[-1] == pytest.approx(decayed, abs=1e-12)


def test_the_unit_of_the_rate_does_not_matter() -> None:
    steps = np.arange(0.0, 301.0)
    rate = Schedule("cosine", 1.0, 0.1, 10, 300).at(steps)
    one, other = annealing.path(steps, rate, 25.0), annealing.path(steps, 3e-4 * rate, 25.0)
    np.testing.assert_allclose(one.area, other.area)
    np.testing.assert_allclose(one.decayed, other.decayed)


def test_a_constant_rate_anneals_nothing_and_a_finished_decay_tends_to_one() -> None:
    steps = np.arange(0.0, 2001.0)
    flat = annealing.path(steps, np.full(2001, 2e-4), 100.0)
    assert flat.decayed.max() == 0.0
    assert flat.area[-1] == pytest.approx(2000)
    early = annealing.path(steps, Schedule("linear", 1.0, 0.01, 0, 500).at(steps), 500.0)
    assert 0.8 < early.decayed[-1] < 0.99  # at a hundredth of the rate the rest comes slowly
    frozen = annealing.path(steps, Schedule("linear", 1.0, 0.0, 0, 500).at(steps), 500.0)
    assert frozen.decayed[-1] == frozen.decayed[600] < 1  # at a rate of nothing, nothing more is digested


def test_half_of_a_drops_gain_is_there_after_a_sixty_seventh_of_the_run() -> None:
    """G(x) = 1/2 at 1 + 2 K x = 4: x = 3/200, a share 1/66.7 of T spent at the lower rate."""
    steps = np.arange(0.0, 10_001.0)
    rate = np.where(steps < 8000, 1.0, 0.25)
    path = annealing.path(steps, rate, 8000.0)
    assert path.decayed[8000 + 120] == pytest.approx(0.75 / 2, abs=0.01)


def test_a_rate_that_rises_again_takes_back_what_its_fall_gave() -> None:
    steps = np.arange(0.0, 4001.0)
    rate = np.select([steps < 2000, steps < 3000], [1.0, 0.5], 1.0)
    path = annealing.path(steps, rate, 4000.0)
    assert path.decayed[2999] > 0.4
    assert abs(path.decayed[-1]) < 0.1


def test_a_grid_of_a_long_run_agrees_with_every_step() -> None:
    schedule = Schedule("cosine", 1.0, 0.1, 700, 60_000)
    fine, coarse = np.arange(0.0, 60_001.0), annealing.grid(60_000)
    one, other = (annealing.path(s, schedule.at(s), 60_000.0).at(45_000.0) for s in (fine, coarse))
    assert other[0] == pytest.approx(one[0], rel=1e-4)
    assert other[1] == pytest.approx(one[1], abs=1e-3)


def test_the_step_at_which_a_decay_is_complete() -> None:
    steps = np.arange(0.0, 1201.0)
    cosine = annealing.complete(steps, Schedule("cosine", 1.0, 0.1, 10, 1200).at(steps))
    assert cosine == pytest.approx(1092, abs=12)  # 0.9 (1 + cos) / 2 < .02
    assert annealing.complete(steps, Schedule("linear", 1.0, 0.0, 10, 300).at(steps)) == pytest.approx(294, abs=1.5)
    assert annealing.complete(steps, np.ones(1201)) == pytest.approx(1200)
    dropped = np.where(steps < 600, 3e-4, 3e-5)
    assert annealing.complete(steps, dropped) == pytest.approx(600)
