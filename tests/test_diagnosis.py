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


def shifted(run: Run, by: float) -> Run:
    names = ("train_loss", "train_eval_loss", "val_loss")
    return replace(run, **{n: replace(getattr(run, n), value=getattr(run, n).value + by) for n in names})


def test_a_loss_that_no_cause_explains_is_said_to_be_high() -> None:
    answer = diagnose(simulated.healthy(rng(), above=1.2))
    assert "nats above what is expected of this size, and no cause found explains it" in answer.headline
    assert "Nothing is broken" not in answer.headline
    assert "above" not in diagnose(simulated.healthy(rng())).headline
    explained = diagnose(learning_rate_decayed_too_early.example(rng()))
    assert "no cause found" not in explained.headline


def test_a_loss_too_good_to_be_true_is_no_sound_run() -> None:
    answer = diagnose(shifted(simulated.healthy(rng()), -2.0))
    assert "nats below what a sound run of this size can reach" in answer.headline
    assert "as_expected_for_its_size" not in {reading.name for reading in answer.readings}


def test_a_run_stuck_at_ln_v_gets_no_forecast_and_no_word_of_its_decay() -> None:
    step = np.arange(0.0, 5001, 100)
    run = simulated.healthy(rng(), stop_at=5000)
    stuck = Series.of(step, 10.82 + 0.003 * rng().standard_normal(step.size))
    answer = diagnose(replace(run, train_loss=stuck, train_eval_loss=Series(), val_loss=stuck))
    assert answer.state == "flat"
    assert answer.forecast is None
    assert answer.by_verdict("present") == ()
    assert "decay_still_to_come" not in {reading.name for reading in answer.readings}
    assert "above what is expected" in answer.headline


def test_a_run_in_its_warm_up_is_too_short() -> None:
    run = simulated.healthy(rng(), schedule=Schedule("cosine", 6e-4, 6e-6, 2000, 10_000), stop_at=400)
    step = np.arange(0.0, 401, 20)
    value = 10.82 + 0.05 * rng().standard_normal(step.size)
    fresh = Series.of(step, value, kind="micro_batch")
    answer = diagnose(replace(run, train_loss=fresh, train_eval_loss=Series(), val_loss=Series()))
    assert (answer.state, answer.forecast) == ("too_short", None)
    assert "still rising" in answer.headline


def test_a_power_law_under_noise_falls_though_its_last_stretch_cannot_tell() -> None:
    step = np.arange(10.0, 10_001, 10)
    value = 2.9 + 0.8 * (step / 1e4) ** -0.3
    for seed in range(5):
        noise = 0.05 * np.random.default_rng(seed).standard_normal(step.size)
        assert diagnose(Run(train_loss=Series.of(step, value + noise))).state == "falling"
        stalled = np.where(step < 6000, value, value[step == 6000])  # the fall before a plateau is none
        assert diagnose(Run(train_loss=Series.of(step, stalled + noise))).state == "flat"


def test_what_is_said_of_sound_curves_is_not_said_of_lost_ones() -> None:
    answer = diagnose(diverged.example(rng()))
    claims = " ".join(myth.claim for myth in answer.myths)
    assert "overfits" not in claims
    assert "learning rate is too high" not in claims
    assert {reading.name for reading in answer.readings} <= {"initial_loss_is_ln_vocab"}


def test_a_log_too_short_is_told_how_many_values_it_has() -> None:
    run = Run(train_loss=Series.of([0.0, 10.0], [10.0, 9.0]))
    assert "2 values" in diagnose(run).headline


def test_a_log_in_bits_is_asked_for_nats() -> None:
    run = simulated.healthy(rng())
    names = ("train_loss", "train_eval_loss", "val_loss")
    bits = replace(run, **{n: replace(getattr(run, n), value=getattr(run, n).value / np.log(2)) for n in names})
    assert "ln V in bits" in diagnose(bits).headline
    assert "bits" not in diagnose(run).headline


def test_an_event_without_a_size_is_told_without_one() -> None:
    run = causes.catalogue()["half_precision_overflow"].example(np.random.default_rng(0))
    told = [event.because for event in diagnose(run).events if event.kind == "not_finite"]
    assert "not finite in train_loss at step 6,000 to 10,000" in told
    assert not any("nan" in because for because in told)
