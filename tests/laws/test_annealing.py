"""The path of a learning rate against a slow sum over single steps."""

import itertools
import math

import numpy as np
import pytest

from talweg.laws import annealing
from talweg.schedule import Schedule


def slow_path(rate: list[float], memory: float) -> tuple[float, float]:
    """S1 and D at the last step, from the definition."""
    peak = max(rate)
    top = rate.index(peak)
    area = sum((a + b) / 2 for a, b in itertools.pairwise(rate)) / peak
    last = len(rate) - 1
    decayed = sum(
        (rate[k - 1] - rate[k]) / peak * (1 - math.exp(-(last - k) / memory)) for k in range(top + 1, len(rate))
    )
    return area, decayed


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant", "wsd"])
def test_area_and_decay_equal_the_sum_over_steps(kind: str) -> None:
    steps = np.arange(0.0, 601.0)
    schedule = Schedule(kind, 3e-4, 3e-5, 40, 600, decay_start=450)  # type: ignore[arg-type]
    rate = schedule.at(steps)
    path = annealing.path(steps, rate, memory=50.0)
    area, decayed = slow_path(rate.tolist(), 50.0)
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
    early = annealing.path(steps, Schedule("linear", 1.0, 0.0, 0, 500).at(steps), 100.0)
    assert early.decayed[-1] == pytest.approx(1.0, abs=1e-4)


def test_a_short_memory_over_a_long_run_stays_finite() -> None:
    steps = np.arange(0.0, 5001.0)
    path = annealing.path(steps, Schedule("linear", 1.0, 0.0, 0, 5000).at(steps), 1.0)
    assert np.isfinite(path.decayed).all()
    assert path.decayed[2500] == pytest.approx(0.5, abs=1e-3)


def test_a_grid_of_a_long_run_agrees_with_every_step() -> None:
    schedule = Schedule("cosine", 1.0, 0.1, 700, 60_000)
    fine, coarse = np.arange(0.0, 60_001.0), annealing.grid(60_000)
    memory = 5000.0
    one, other = (annealing.path(s, schedule.at(s), memory).at(45_000.0) for s in (fine, coarse))
    assert other[0] == pytest.approx(one[0], rel=1e-4)
    assert other[1] == pytest.approx(one[1], abs=2e-3)


def test_the_memory_is_a_twelfth_of_the_completed_decay() -> None:
    steps = np.arange(0.0, 1201.0)
    assert annealing.memory(steps, Schedule("cosine", 1.0, 0.1, 10, 1200).at(steps)) == pytest.approx(
        91, abs=1
    )  # 0.9 (1 + cos) / 2 < .02

    assert annealing.memory(steps, Schedule("linear", 1.0, 0.0, 10, 300).at(steps)) == pytest.approx(24.5, abs=0.1)
    assert annealing.memory(steps, np.ones(1201)) == pytest.approx(100)
    dropped = np.where(steps < 600, 3e-4, 3e-5)
    assert annealing.memory(steps, dropped) == pytest.approx(50)
