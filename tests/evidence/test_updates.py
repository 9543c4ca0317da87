"""Runs whose steps count something else than updates."""

from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.diagnosis import diagnose
from talweg.run import Run


def run(unit: str | None) -> Run:
    found = simulated.healthy(np.random.default_rng(0))
    return replace(found, facts=replace(found.facts, step_unit=unit))


@pytest.mark.parametrize("unit", ["epoch", "micro-batch", "logged row"])
def test_nothing_is_counted_in_updates(unit: str) -> None:
    assert run(None).tokens_seen is not None
    other = run(unit)
    assert other.tokens_seen is None
    assert other.planned_schedule is None
    assert evidence.horizon(other) is None
    assert evidence.expected(other) is None
    assert evidence.expected_at_end(other) is None
    assert evidence.forecast(other) is None
    assert evidence.first_loss(other) is None


def test_facts_stay_as_they_were_read_and_the_causes_do_without_them() -> None:
    other = run("epoch")
    assert other.facts.tokens_per_step is not None
    asked = evidence.by_step(other)
    assert asked.facts.tokens_per_step is None
    assert asked.facts.planned_steps is None
    assert evidence.by_step(run(None)).facts.tokens_per_step is not None
    told = diagnose(other)
    assert told.run.facts.tokens_per_step is not None
    unknown = {cause.name for cause in told.by_verdict("unknown")}
    assert {"model_too_small", "too_few_tokens", "repeated_data", "bad_initialisation"} <= unknown


def test_what_a_broken_run_lost_does_not_depend_on_what_its_steps_count() -> None:
    broken = simulated.with_losses(run(None), lambda step, value, name: np.where(step < 6000, value, np.nan))
    other = replace(broken, facts=replace(broken.facts, step_unit="epoch"))
    lost, same = evidence.rest_of_plan(broken, 6000), evidence.rest_of_plan(evidence.by_step(other), 6000)
    assert lost.value > 0.05
    assert same.value == pytest.approx(lost.value, rel=0.3)


def test_the_length_of_a_run_is_set_in_the_unit_of_its_log() -> None:
    assert evidence.length(run(None), 3.0) == {"run.steps": 3}
    assert evidence.length(run("epoch"), 3.0) == {"run.epochs": 3}
    assert evidence.length(run("logged row"), 3.0) == {}
