"""The memories of AdamW, by hand and by a slow mean."""

import numpy as np
import pytest

from talweg.estimate import Estimate
from talweg.laws import memory


def test_the_memory_of_decay_is_that_of_the_mean_of_the_updates() -> None:
    """w <- (1 - eta lambda) w + u: after 1 / (eta lambda) steps an update has 1 / e of its weight."""
    rate, decay, weight = 1e-3, 5.0, 1.0
    for _ in range(round(memory.decay_memory(rate, decay))):
        weight *= 1 - rate * decay
    assert weight == pytest.approx(np.exp(-1), rel=0.01)


@pytest.mark.parametrize(("beta", "steps"), [(0.9, 10.0), (0.95, 20.0), (0.999, 1000.0), (0.0, 1.0)])
def test_the_memory_of_a_mean_is_the_mean_age_of_its_gradients(beta: float, steps: float) -> None:
    age = np.arange(50_000)
    weights = (1 - beta) * np.power(beta, age)
    assert memory.moment_steps(beta) == pytest.approx(steps)
    assert float((weights * (age + 1)).sum()) == pytest.approx(steps)


def test_the_best_share_by_hand_and_held_below_the_fit() -> None:
    """1.084 x exp(-.527 ln 150) = 1.084 x .0713."""
    assert memory.best_share(150.0) == pytest.approx(0.0773, rel=2e-3)
    assert memory.best_share(20.0) == memory.best_share(0.8) == pytest.approx(0.2236, rel=2e-3)


@pytest.mark.parametrize(
    ("share", "lost"), [(12.5 / 256, 0.127), (4.17 / 256, 0.765), (20 / 512, 0.71), (6.67 / 512, 1.35)]
)
def test_the_cost_of_short_memories_holds_what_was_measured(share: float, lost: float) -> None:
    """Two forms of model at 0.8 tokens a parameter (notes/causes_batch.md)."""
    worth = memory.decay_worth(share / memory.best_share(0.8))
    found = memory.cost(worth, 0.33e6, 262_144, loss=5.6 + lost)
    assert found is not None
    assert found.low <= lost <= found.high, found


def test_nothing_is_lost_at_the_best_nor_by_a_longer_memory() -> None:
    assert memory.decay_worth(1.0) == memory.decay_worth(8.0) == Estimate(1.0, 1.0, 1.0)
    assert memory.outlived_worth(0.5) == memory.outlived_worth(2.0) == Estimate(1.0, 1.0, 1.0)
    assert memory.decay_worth(1 / 16).value < memory.decay_worth(1 / 8).value < 1


def test_the_cost_of_moments_that_part_holds_what_was_measured() -> None:
    """beta1 .99 beside beta2 .95: .345 above .9 and .95, and .09 above .99 and .9999."""
    found = memory.cost(memory.outlived_worth(5.0), 0.33e6, 262_144, loss=5.77)
    assert found is not None
    assert found.low <= 0.09 < 0.345 <= found.high
