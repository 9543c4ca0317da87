"""A change of level at a given step, against its planted size, and on changes that decay or take their time."""

import math

import numpy as np
import pytest

from talweg.curve.offset import offset

Array = np.ndarray  # type: ignore[type-arg]


def curve(seed: int, *, num: int = 2000, every: int = 1, sd: float = 0.05) -> tuple[Array, Array]:
    """A power law with white noise."""
    step = np.arange(every, num + 1, every, dtype=float)
    return step, 3 + 4 * step**-0.4 + sd * np.random.default_rng(seed).standard_normal(step.size)


@pytest.mark.parametrize("size", [-0.5, -0.1, 0.0, 0.1, 0.5])
@pytest.mark.parametrize("every", [1, 20, 100])
def test_a_planted_offset_is_found_within_its_error(size: float, every: int) -> None:
    misses = []
    for seed in range(30):
        step, value = curve(seed, every=every)
        found = offset(step, value + size * (step > 1000), 1000.0)
        assert found is not None
        misses.append((found.size - size) / found.error)
    assert abs(np.mean(misses)) < 0.6
    assert 0.6 < np.std(misses) < 1.5


def test_it_agrees_with_plain_least_squares_by_hand() -> None:
    """Without noise, a line in log(step) and an offset of 0.25 are recovered exactly."""
    step = np.array([700.0, 800, 900, 950, 1050, 1100, 1200, 1300])
    value = 2 - 0.3 * np.log(step) + 0.25 * (step > 1000)
    found = offset(step, value, 1000.0)
    assert found is not None
    assert found.size == pytest.approx(0.25, abs=1e-9)
    assert found.num_after == 4


def test_the_point_at_the_step_itself_belongs_to_neither_side() -> None:
    step, value = curve(0, every=100, sd=0.001)
    changed = value + 0.5 * (step > 1000)
    moved = np.where(step == 1000, value + 9, changed)
    one, other = offset(step, changed, 1000.0), offset(step, moved, 1000.0)
    assert one == other


@pytest.mark.parametrize("seed", range(10))
def test_what_decays_or_takes_its_time_is_not_steady(seed: int) -> None:
    step, value = curve(seed)
    after = np.maximum(step - 1000, 0)
    late = step > 1000
    slow = late * np.exp(-after / 150)  # half of it is left when a quarter of the window has passed
    for change in (slow, late * np.exp(-after / 60), late / (1 + after / 60), np.clip(after / 100, 0, 1)):
        found = offset(step, value + change, 1000.0)
        assert found is not None
        assert not found.steady or abs(found.size) < 0.1
    stays = offset(step, value + late, 1000.0)
    assert stays is not None
    assert stays.steady


def test_too_few_points_on_a_side_and_what_is_not_finite() -> None:
    step, value = curve(0, every=100)
    assert offset(step, value, 1900.0) is None
    assert offset(step, value, 0.0) is None
    assert offset([], [], 1000.0) is None
    assert offset(step, np.full(step.size, math.nan), 1000.0) is None
    step, value = curve(0, every=50)
    holed = np.where(np.arange(step.size) % 5 == 0, math.inf, value)
    found = offset(step, holed + 0.5 * (step > 1000), 1000.0, until=2000.0)
    assert found is not None
    assert math.isfinite(found.size)
