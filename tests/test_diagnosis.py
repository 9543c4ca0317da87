"""The diagnosis as a whole: states, ranking, and what a failing cause does to it."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from talweg import causes, diagnosis, simulated
from talweg.causes import context_ignored, diverged, evaluation_noise, learning_rate_decayed_too_early
from talweg.diagnosis import diagnose
from talweg.finding import Finding
from talweg.run import Run, Series
from talweg.schedule import Schedule


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_a_finished_healthy_run_has_no_cause() -> None:
    answer = diagnose(simulated.healthy(rng()))
    assert answer.state == "finished"
    assert answer.by_verdict("present") == ()
    assert "No cause" in answer.headline
    assert answer.forecast is None


def test_a_run_in_flight_falls_and_is_forecast() -> None:
    answer = diagnose(simulated.healthy(rng(), stop_at=5000))
    assert answer.state == "falling"
    assert answer.forecast is not None
    assert answer.forecast.step == 10_000


def test_a_flat_run_is_flat() -> None:
    step = np.arange(0.0, 5001, 50)
    level = 4.0 + 0.01 * rng().standard_normal(step.size)
    assert diagnose(Run(val_loss=Series.of(step, level))).state == "flat"


def test_a_rising_run_rises() -> None:
    step = np.arange(0.0, 5001, 50)
    value = 4.0 + 2e-4 * np.maximum(step - 2000, 0) + 0.005 * rng().standard_normal(step.size)
    assert diagnose(Run(val_loss=Series.of(step, value))).state == "rising"


def test_a_divergence_is_called_one() -> None:
    answer = diagnose(diverged.example(rng()))
    assert answer.state == "diverged"
    assert answer.forecast is None


@pytest.mark.parametrize("points", [0, 1, 2, 7])
def test_too_few_points_are_too_short(points: int) -> None:
    run = Run(val_loss=Series.of(np.arange(points) * 100.0, 9.0 - np.arange(points)))
    answer = diagnose(run)
    assert answer.state == "too_short"
    assert answer.by_verdict("present") == ()


def test_nan_at_the_end_is_broken_and_names_the_step() -> None:
    healthy = simulated.healthy(rng())
    value = np.where(healthy.val_loss.step >= 7000, np.nan, healthy.val_loss.value)
    answer = diagnose(replace(healthy, val_loss=replace(healthy.val_loss, value=value)))
    assert answer.state == "broken"
    assert "7,000" in answer.headline


def test_a_negative_loss_is_no_cross_entropy() -> None:
    run = Run(train_loss=Series.of(np.arange(50), np.linspace(3, -1, 50)))
    assert diagnose(run).state == "broken"


def test_causes_are_ranked_by_nats_then_unknown_then_absent() -> None:
    answer = diagnose(learning_rate_decayed_too_early.example(rng()))
    order = [c.finding.verdict for c in answer.causes]
    assert order == sorted(order, key=["present", "unknown", "absent"].index)
    costs = [c.finding.nats.value for c in answer.by_verdict("present") if c.finding.nats]
    assert costs == sorted(costs, reverse=True)
    assert answer.causes[0].name == "learning_rate_decayed_too_early"
    assert {c.name for c in answer.causes} == set(causes.catalogue())


def test_a_fault_is_not_called_sound() -> None:
    assert "Nothing is broken" not in diagnose(context_ignored.example(rng())).headline
    early = diagnose(simulated.healthy(rng(), schedule=Schedule("constant", 6e-4, 6e-4, 250, 10_000)))
    assert "Nothing is broken" in early.headline


def test_a_cause_that_fails_is_unknown_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(run: Run) -> Finding:
        raise ZeroDivisionError("by nothing")

    broken = ModuleType("broken", "Broken: fails.\n\nRefuted by: nothing.")
    broken.GROUP = "data"  # type: ignore[attr-defined]
    broken.examine = examine  # type: ignore[attr-defined]
    monkeypatch.setattr(diagnosis.catalogue, "catalogue", lambda: {"broken": broken})
    (cause,) = diagnose(simulated.healthy(rng())).causes
    assert cause.finding.verdict == "unknown"
    assert "ZeroDivisionError: by nothing" in cause.finding.because


def test_a_cause_without_cost_does_not_lead() -> None:
    answer = diagnose(evaluation_noise.example(rng()))
    assert [c.name for c in answer.by_verdict("present")] == ["evaluation_noise"]
    assert "leading cost" not in answer.headline
    assert "evaluation noise" in answer.headline
