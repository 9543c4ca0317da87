"""The law of the batch, by hand."""

import math

import pytest

from talweg.laws import batch


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
