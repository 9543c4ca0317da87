"""What a run loses with steps never made, against the laws themselves and against what its own rest brought."""

import numpy as np
import pytest

from talweg import evidence
from talweg.evidence import lost
from talweg.laws import size, undertrained
from talweg.run import Facts, Run, Series
from talweg.simulated import healthy

STEP = np.arange(0.0, 200.0, 10.0)


def of(values: list[float], **facts: object) -> Run:
    return Run(train_loss=Series.of(STEP[: len(values)], values), facts=Facts.stated("here", **facts))


def test_a_rise_is_the_last_level_above_the_lowest() -> None:
    values = [9.0, 8, 7, 6, 5, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5]
    assert evidence.risen_before(of(values), 140) == pytest.approx(1.0)
    assert evidence.risen_before(of(values), 90) == pytest.approx(0.0)
    assert evidence.risen_before(of(values), 80) is None  # nine values


def test_a_spike_is_no_rise() -> None:
    values = [9.0, 8, 7, 6, 5, 4, 4, 4, 4, 4, 9, 9, 4, 4, 4]
    assert evidence.risen_before(of(values), 140) == pytest.approx(0.0)
    assert evidence.risen_before(of(values), 110) == pytest.approx(0.0)


def test_a_run_cut_short_keeps_its_plan() -> None:
    run = healthy(np.random.default_rng(0))
    cut = evidence.until(run, 4000)
    assert (cut.last_step, evidence.horizon(cut)) == (4000, 10_000)
    unplanned = evidence.until(of([4.0] * 20), 100)
    assert (unplanned.last_step, evidence.horizon(unplanned)) == (100, 190)


@pytest.mark.parametrize("step", [2000.0, 5000.0, 8000.0])
def test_the_rest_of_the_plan_is_what_it_brought(step: float) -> None:
    run = healthy(np.random.default_rng(1), eval_sd=0.001)
    val = run.val_loss
    truth = float(np.median(val.between(step - 300, step).value) - np.median(val.between(9800, 10_000).value))
    found = evidence.rest_of_plan(run, step)
    assert found.value == pytest.approx(truth, abs=0.03)


def test_a_break_at_the_start_is_priced_by_the_size_laws() -> None:
    run = healthy(np.random.default_rng(2))
    law, early = evidence.expected_at_end(run), evidence.train_level(evidence.until(run, 600))
    assert law is not None
    assert early is not None
    assert evidence.rest_of_plan(run, 600).value == pytest.approx(early.value - law.loss.value)


def test_nothing_known_is_a_wide_guess_not_zero() -> None:
    assert evidence.rest_of_plan(Run(), 10) == lost.UNKNOWN


def test_more_tokens_are_worth_what_the_size_laws_say() -> None:
    run = healthy(np.random.default_rng(0))
    tokens = 124e6 * 40
    assert evidence.more_tokens(run, 1.5) == size.difference(124e6, tokens, 124e6, 1.5 * tokens)


def test_more_tokens_of_a_small_model_are_worth_what_its_level_leaves() -> None:
    values = list(np.linspace(9, 5, 15)) + [5.0] * 5
    found = evidence.more_tokens(of(values, parameters=1e6, tokens_per_step=1000.0, bytes_per_token=4.5), 1.5)
    level = evidence.train_level(of(values))
    assert found is not None
    assert level is not None
    assert found == undertrained.fall(level.value, 1.5, 0.19, 4.5)
    assert evidence.more_tokens(Run(), 1.5) is None
