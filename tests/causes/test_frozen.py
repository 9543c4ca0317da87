"""Frozen weights: by count and by group, by design and by mistake."""

from dataclasses import replace

import numpy as np
import pytest

from talweg.causes import frozen_parameters
from talweg.laws import size
from talweg.run import Run
from talweg.simulated import PARAMETERS, healthy


def run(**facts: object) -> Run:
    return healthy(np.random.default_rng(0), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_weights_that_the_optimizer_does_not_hold(share: float) -> None:
    found = frozen_parameters.examine(run(trainable_parameters=share * PARAMETERS))
    assert found.verdict == "present"
    assert f"{1 - share:.0%} stay as they were drawn" in found.because
    assert found.nats is not None
    assert found.nats.low == 0
    assert found.nats.value > 0


def test_norm_gains_that_some_do_not_count_are_no_frozen_weights() -> None:
    for held in (0.995 * PARAMETERS, PARAMETERS, 1.05 * PARAMETERS):  # position embeddings are held, and not counted
        assert frozen_parameters.examine(run(trainable_parameters=held)).verdict == "absent"


def test_the_cost_is_a_part_of_what_the_smaller_model_would_lose() -> None:
    found = frozen_parameters.examine(run(trainable_parameters=PARAMETERS / 2))
    tokens = 40.0 * PARAMETERS
    smaller = size.difference(PARAMETERS / 2, tokens, PARAMETERS, tokens)
    assert found.nats is not None
    assert 0 < found.nats.value < smaller.value
    assert found.nats.high == pytest.approx(frozen_parameters.WORTH[2] * smaller.high)


def test_a_fine_tune_with_adapters_is_so_by_design() -> None:
    tuned = healthy(np.random.default_rng(0), start=3.6, trainable_parameters=0.01 * PARAMETERS)
    found = frozen_parameters.examine(tuned)
    assert found.verdict == "absent"
    assert "by design" in found.because


def test_weights_that_were_given_are_frozen_by_design() -> None:
    found = frozen_parameters.examine(run(trainable_parameters=0.1 * PARAMETERS, initialised_from="gpt2"))
    assert found.verdict == "absent"
    assert "gpt2" in found.because


def test_without_the_first_loss_it_is_not_known_which_it_is() -> None:
    whole = run(trainable_parameters=PARAMETERS / 2)
    cut = {name: getattr(whole, name).between(2000, np.inf) for name in ("train_loss", "train_eval_loss", "val_loss")}
    found = frozen_parameters.examine(replace(whole, **cut))
    assert found.verdict == "unknown"
    assert found.needs == ("train_loss",)


def test_groups_that_never_moved() -> None:
    embedding = 50_257 * 768
    found = frozen_parameters.examine(run(unmoved_groups=("embedding",)))
    assert found.verdict == "present"
    assert f"{embedding / PARAMETERS:.0%} stay" in found.because
    vectors = frozen_parameters.examine(run(unmoved_groups=("vectors",)))
    assert vectors.nats == frozen_parameters.VECTORS
    matrices = frozen_parameters.examine(run(unmoved_groups=("matrices",)))
    assert matrices.nats is not None
    assert found.nats is not None
    assert matrices.nats.value > found.nats.value


def test_what_is_known_of_groups_alone_is_enough() -> None:
    assert frozen_parameters.examine(run(trainable_parameters=None)).verdict == "absent"
    nothing = frozen_parameters.examine(run(trainable_parameters=None, unmoved_groups=None))
    assert nothing.verdict == "unknown"
    assert nothing.needs == ("trainable_parameters",)


def test_a_small_model_beyond_the_laws_still_gets_an_interval() -> None:
    small = healthy(np.random.default_rng(0), parameters=1e6, trainable_parameters=3e5)
    found = frozen_parameters.examine(small)
    assert found.verdict == "present"
    assert found.nats is not None
    now = float(small.val_loss.value[-1])
    assert found.nats.high < now - 1.5  # never more than what stands above the entropy of text
