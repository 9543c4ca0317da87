"""Batches that come again: planted, against a plain double loop, and on curves that only look like it."""

import numpy as np
import pytest

from talweg.curve.replay import _placed, replay

Array = np.ndarray  # type: ignore[type-arg]
SURE = 4.5


def curve(
    seed: int, *, at: int = 600, back: int = 400, share: float = 0.8, num: int = 1000, every: int = 1
) -> tuple[Array, Array]:
    """Batches of their own difficulty; from place `at` on the text is taken up `back` places earlier.

    share: of the variance that is the batch's, so the correlation of a batch with itself
    """
    rng = np.random.default_rng(seed)
    hard = rng.standard_normal(2 * num)
    place = np.arange(num)
    text = np.where(place < at, place, place - back)
    noise = np.sqrt(share) * hard[text] + np.sqrt(1 - share) * rng.standard_normal(num)
    return every * place.astype(float), 3 + 4 * (place + 1.0) ** -0.4 + 0.05 * noise


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("given", [True, False])
def test_a_planted_replay_is_found(every: int, given: bool) -> None:
    found = replay(*curve(0, every=every), 600.0 * every if given else None)
    assert found is not None
    assert found.shift == 400 * every
    assert found.at == pytest.approx(600 * every, abs=30 * every)
    assert found.significance > SURE
    assert found.correlation == pytest.approx(0.8, abs=0.12)


def test_the_text_from_its_beginning() -> None:
    found = replay(*curve(1, back=600), 600.0)
    assert found is not None
    assert found.shift == 600
    assert found.num == 400
    assert found.significance > SURE


def test_against_a_double_loop() -> None:
    step, value = curve(2)
    placed = _placed(step, value)
    assert placed is not None
    sums = {
        shift: sum(placed.score[s] * placed.score[s - shift] for s in range(600, 1000) if s - shift in range(600))
        for shift in (100, 400, 700)
    }
    pairs = {shift: sum(s - shift in range(600) for s in range(600, 1000)) for shift in sums}
    z = {shift: sums[shift] / pairs[shift] ** 0.5 for shift in sums}
    assert max(z, key=lambda shift: z[shift]) == 400
    found = replay(step, value, 600.0)
    assert found is not None
    assert found.num == pairs[400]
    late, early = placed.score[600:1000], placed.score[200:600]
    assert found.correlation == pytest.approx(float((late * early).sum() / np.sqrt((late**2).sum() * (early**2).sum())))


def test_other_batches_are_not_called() -> None:
    found = [replay(*curve(seed, at=10_000), at) for seed in range(60) for at in (None, 500.0)]
    significance = np.array([one.significance for one in found if one is not None])
    assert significance.size == 120
    assert significance.max() < SURE
    assert (significance > 1.6449).mean() < 0.1  # one in twenty, after the correction for all shifts


def test_a_running_mean_is_not_called() -> None:
    for seed in range(10):
        step, value = curve(seed, at=10_000)
        mean = np.convolve(np.pad(value, (29, 0), mode="edge"), np.ones(30) / 30, mode="valid")
        found = replay(step, mean)
        assert found is None or found.significance < SURE


def test_two_spikes_of_one_form_are_not_called() -> None:
    step, value = curve(3, at=10_000)
    for place in (200, 700):
        value[place : place + 4] += [2.0, 1.5, 1.0, 0.5]
    found = replay(step, value)
    assert found is not None
    assert found.significance < SURE


def test_a_text_read_in_one_order_returned_before_the_step_too() -> None:
    """Passes of 200 steps, all alike: asked about step 600, the same shift is found before it."""
    rng = np.random.default_rng(4)
    step = np.arange(1000.0)
    value = 3 + 4 * (step + 1) ** -0.4 + 0.05 * np.tile(rng.standard_normal(200), 5)
    found = replay(step, value, 600.0)
    assert found is not None
    assert found.significance > SURE
    assert found.earlier > SURE


def test_uneven_steps_and_short_logs_tell_nothing() -> None:
    rng = np.random.default_rng(5)
    assert replay(np.sort(rng.uniform(0, 1000, 300)), rng.standard_normal(300)) is None
    assert replay(np.arange(20.0), rng.standard_normal(20)) is None
    assert replay(np.arange(300.0), rng.standard_normal(300), 299.0) is None


def test_a_tenth_of_the_points_missing() -> None:
    step, value = curve(6)
    keep = np.random.default_rng(0).random(step.size) > 0.1
    found = replay(step[keep], value[keep], 600.0)
    assert found is not None
    assert found.shift == 400
    assert found.significance > SURE
