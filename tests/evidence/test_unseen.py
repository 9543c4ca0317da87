"""NaN behind another number: what tells it, what refutes it, and when the log says nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg import simulated
from talweg.evidence import unseen
from talweg.run import Run, Series

STEP = np.arange(0, 1000, 10, dtype=float)


def run(train: float | None, norm: float | None, val_until: float, says: str | None = "the running mean") -> Run:
    """From step 500 on train is logged as `train` (None: not at all) and the gradient as `norm` (None: never was)."""
    healthy = simulated.healthy(np.random.default_rng(0), steps=1000, log_every=10, eval_every=50)
    late = healthy.train_loss.step >= 500
    loss = healthy.train_loss
    if train is None:
        loss = loss.between(0, 499)
    elif not math.isnan(train):
        loss = replace(loss, value=np.where(late, train, loss.value))
    gradient = Series() if norm is None else Series.of(STEP, np.where(STEP < 500, 0.3, norm))
    return replace(
        healthy,
        train_loss=loss,
        grad_norm=gradient,
        val_loss=healthy.val_loss.between(0, val_until),
        train_eval_loss=Series(),
        facts=replace(healthy.facts, nan_logged_as=says),
    )


@pytest.mark.parametrize(
    ("train", "norm", "val_until", "since", "known"),
    [
        (0.0, math.nan, 499, 500, True),  # both say it
        (None, math.nan, 499, 500, True),
        (0.0, None, 499, 500, True),  # no cross-entropy is exactly 0 again and again
        (None, 0.3, 499, 500, True),  # rows go on without a loss
        (math.nan, 0.3, 499, None, True),  # train as it was; the gradient is finite
        (math.nan, None, 1000, None, True),  # validation is finite at the end
        (math.nan, None, 499, None, False),  # nothing tells
        (math.nan, math.inf, 499, None, False),  # a scaler that skips, or NaN
        (math.nan, math.inf, 1000, None, True),  # validation says: a scaler that skips
    ],
)
def test_what_tells(
    train: float | None, norm: float | None, val_until: float, since: float | None, known: bool
) -> None:
    found = unseen(run(train, norm, val_until))
    assert (found.since, found.known) == (since, known), found.because


def test_where_nan_is_logged_as_nan_nothing_is_unseen() -> None:
    assert unseen(run(0.0, math.nan, 499, says=None)).known
    assert unseen(Run()).known


def test_two_gradients_that_overflow_at_the_end_are_no_end() -> None:
    whole = run(math.nan, 0.3, 1000)
    norm = whole.grad_norm.value.copy()
    norm[-2:] = math.inf
    found = unseen(replace(whole, grad_norm=replace(whole.grad_norm, value=norm)))
    assert found.since is None
    loss = whole.train_loss.value.copy()
    loss[-2:] = 0.0
    assert unseen(replace(whole, train_loss=replace(whole.train_loss, value=loss))).since is None


def test_a_loss_whose_reader_knows_where_nan_was_hides_nothing() -> None:
    """Megatron leaves NaN out of its lines; its reader puts it back where a line has no loss."""
    run = simulated.healthy(np.random.default_rng(0))
    value = run.train_loss.value.copy()
    value[-5:] = math.nan
    facts = replace(run.facts, nan_logged_as="left out")
    norm = replace(run.train_loss, value=value)
    found = unseen(replace(run, train_loss=norm, grad_norm=norm, facts=facts))
    assert (found.since, found.known, found.because) == (None, True, "")
