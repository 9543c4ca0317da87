"""A jump at a given step against its planted size, against plain least squares, and on what only looks like one."""

import math

import numpy as np
import pytest

from talweg.curve.seam import seam

Array = np.ndarray  # type: ignore[type-arg]


def curve(
    seed: int, *, jump: float = 0.0, tau: float = 40.0, offset: float = 0.0, num: int = 2000, sd: float = 0.05
) -> tuple[Array, Array]:
    """A power law with white noise; at step 1000 a transient begins and an offset."""
    rng = np.random.default_rng(seed)
    step = np.arange(1, num + 1, dtype=float)
    value = 3 + 4 * step**-0.4 + sd * rng.standard_normal(num)
    late = step > 1000
    return step, value + late * (jump * np.exp(-(step - 1000) / tau) + offset)


@pytest.mark.parametrize(("jump", "tau"), [(0.3, 10.0), (0.3, 40.0), (0.2, 100.0), (-0.3, 40.0)])
def test_a_planted_jump_is_found_within_its_error(jump: float, tau: float) -> None:
    misses = []
    for seed in range(20):
        found = seam(*curve(seed, jump=jump, tau=tau), 1000.0)
        assert found is not None
        assert found.sigma > 3.5
        misses.append((found.jump - jump) / abs(jump))
        assert tau / 2.5 < found.decay_steps < 2.5 * tau
    assert abs(np.mean(misses)) < 0.15
    assert np.std(misses) < 0.25


def test_no_jump_is_seldom_significant() -> None:
    found = [seam(*curve(seed), 1000.0) for seed in range(100)]
    assert max(s.sigma for s in found if s is not None) < 3.5


def test_against_plain_least_squares() -> None:
    """The coefficient and its error by the normal equations of the same window, written out."""
    step, value = curve(3, jump=0.3, tau=40.0)
    found = seam(step, value, 1000.0)
    assert found is not None
    part = np.abs(step - 1000) <= 8 * found.decay_steps
    x, y = step[part], value[part]
    u = np.log(x / 1000)
    design = np.stack([np.ones_like(u), u, u**2, np.where(x > 1000, np.exp(-(x - 1000) / found.decay_steps), 0)], 1)
    beta, rest, _, _ = np.linalg.lstsq(design, y, rcond=None)
    variance = float(rest[0]) / (len(y) - 4) * np.linalg.inv(design.T @ design)[3, 3]
    assert found.jump == pytest.approx(beta[3], rel=1e-6)
    assert math.sqrt(variance) <= found.error <= 1.4 * math.sqrt(variance)  # wider by the neighbours' correlation


def test_what_stays_after_the_jump() -> None:
    with_offset = seam(*curve(1, jump=0.3, tau=20.0, offset=0.1), 1000.0)
    without = seam(*curve(1, jump=0.3, tau=20.0), 1000.0)
    assert with_offset is not None
    assert without is not None
    assert with_offset.stays == pytest.approx(0.1, abs=3 * with_offset.stays_error)
    assert with_offset.stays > 3 * with_offset.stays_error
    assert without.stays == pytest.approx(0.0, abs=3 * without.stays_error)


def test_in_other_units() -> None:
    step, value = curve(2, jump=0.3)
    one, other = seam(step, value, 1000.0), seam(10 * step, 1.4427 * value, 10_000.0)
    assert one is not None
    assert other is not None
    assert other.jump == pytest.approx(1.4427 * one.jump)
    assert other.decay_steps == pytest.approx(10 * one.decay_steps)
    assert other.sigma == pytest.approx(one.sigma, rel=1e-6)
    assert other.area == pytest.approx(14.427 * one.area)


def test_one_wild_batch_is_no_jump() -> None:
    step, value = curve(4)
    value[1000] += 1.0
    found = seam(step, value, 1000.0)
    assert found is not None
    assert found.sigma < 3.5


def test_a_bend_is_no_jump() -> None:
    """A decay of the learning rate that begins there, and a fall that ends there."""
    step, value = curve(5)
    for sign in (-1.0, 1.0):
        found = seam(step, value + sign * 0.3 * np.clip((step - 1000) / 1000, 0, 1), 1000.0)
        assert found is not None
        assert found.sigma < 3.5


def test_too_few_points_on_a_side() -> None:
    step, value = curve(6)
    assert seam(step[:1005], value[:1005], 1000.0) is None
    assert seam(step[995:], value[995:], 1000.0) is None
    assert seam(step, value, 0.0) is None
    assert seam(step[:0], value[:0], 1000.0) is None


def test_a_bound_on_long_transients_is_tighter_and_holds_the_jump() -> None:
    step, value = curve(8, jump=0.05, tau=60.0)
    any_length, long = seam(step, value, 1000.0), seam(step, value, 1000.0, lasting=20.0)
    assert any_length is not None
    assert long is not None
    assert 0.05 < long.bound < any_length.bound


def test_until_leaves_out_what_follows() -> None:
    step, value = curve(7, jump=0.3)
    value[1500:] += 5.0
    found = seam(step, value, 1000.0, until=1500.0)
    assert found is not None
    assert found.jump == pytest.approx(0.3, abs=0.08)
