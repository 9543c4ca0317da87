"""What repetition adds to a forecast."""

from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.evidence.repeated import repetition_ahead
from talweg.laws import repetition
from talweg.run import Run


def half_way(**facts: object) -> Run:
    """Near-duplicates were not looked for."""
    return simulated.healthy(np.random.default_rng(3), stop_at=5000, **{"near_unique_tokens": None, **facts})  # type: ignore[arg-type]


def test_fresh_text_adds_nothing() -> None:
    mean, sd = repetition_ahead(half_way(), np.array([5000.0, 10_000.0]))
    assert mean.tolist() == [0, 0]
    assert sd.tolist() == [0, 0]


def test_counted_text_adds_between_nothing_and_the_growth_of_the_cost() -> None:
    run = half_way(unique_tokens=3e8)
    n, tokens = run.facts.parameters, run.facts.tokens_per_step
    assert n is not None
    assert tokens is not None
    growth = repetition.cost(n, 3e8, 10_000 * tokens).value - repetition.cost(n, 3e8, 5000 * tokens).value
    mean, sd = repetition_ahead(run, np.array([10_000.0]))
    assert mean[0] == pytest.approx(growth / 2)
    assert sd[0] == pytest.approx(growth / 12**0.5)  # of a uniform distribution


def test_uncounted_text_is_one_file_of_fineweb_at_the_least_and_else_nothing_known() -> None:
    fineweb = half_way(unique_tokens=None, dataset="fineweb", tokens_per_parameter=100.0)
    assert repetition_ahead(fineweb, np.array([10_000.0]))[0][0] > 0.001
    unknown = half_way(unique_tokens=None, dataset="prose", tokens_per_parameter=100.0)
    assert repetition_ahead(unknown, np.array([10_000.0]))[0][0] == 0


def test_a_forecast_of_repeated_text_is_higher_wider_and_says_so() -> None:
    fresh = half_way()
    again = replace(fresh, facts=replace(fresh.facts, unique_tokens=2e8))
    one, other = evidence.forecast(fresh), evidence.forecast(again)
    assert one is not None
    assert other is not None
    assert other.loss.value > one.loss.value
    assert other.loss.sd > one.loss.sd
    assert other.band[0, 0] == pytest.approx(one.band[0, 0])
    assert "text seen again" in other.because
    assert "text seen again" not in one.because
