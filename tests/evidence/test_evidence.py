"""The glue between a run and the laws, on simulated runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.evidence import norm as expected_loss
from talweg.run import Facts, Run, Series
from talweg.schedule import Schedule


def healthy(**changes: object) -> Run:
    return simulated.healthy(np.random.default_rng(5), **changes)  # type: ignore[arg-type]


def test_validation_is_judged_by_before_training() -> None:
    run = healthy()
    found = evidence.judged(run)
    assert found is not None
    assert found.name == "val"
    few = replace(run, val_loss=Series.of([0, 1], [9.0, 8.0]), train_eval_loss=Series())
    found = evidence.judged(few)
    assert found is not None
    assert found.name == "train"
    assert evidence.judged(Run()) is None


def test_the_logged_rate_wins_and_the_plan_carries_it_on() -> None:
    run = healthy(stop_at=4000)
    logged = replace(run, learning_rate=Series.of([0, 4000], [5e-4, 5e-4]))
    rates = evidence.rate_at(logged, [0, 2000, 9000])
    assert rates is not None
    assert rates[:2] == pytest.approx([5e-4, 5e-4])
    assert run.planned_schedule is not None
    assert rates[2] == pytest.approx(float(run.planned_schedule.at(9000)))
    other = evidence.rate_at(logged, [2000, 9000], Schedule("constant", 1e-5, 1e-5, 0, 10_000))
    assert other == pytest.approx([5e-4, 1e-5])


def test_without_any_rate_there_is_none() -> None:
    run = replace(healthy(), learning_rate=Series(), facts=Facts())
    assert evidence.rate_at(run, [1.0]) is None
    assert evidence.rate_share(run) is None
    assert evidence.forecast(run) is None


def test_the_plan_never_ends_before_the_log() -> None:
    run = healthy()
    assert evidence.horizon(run) == 10_000
    short = replace(run, facts=replace(run.facts, planned_steps=500))
    assert evidence.horizon(short) == 10_000
    assert evidence.horizon(replace(run, facts=Facts())) is None


def test_the_forecast_holds_what_then_happened() -> None:
    held = 0
    for seed in range(30):
        whole = simulated.healthy(np.random.default_rng(seed), eval_sd=0.006)
        cut = replace(
            whole,
            val_loss=whole.val_loss.between(0, 5500),
            train_loss=whole.train_loss.between(0, 5500),
            train_eval_loss=whole.train_eval_loss.between(0, 5500),
            learning_rate=whole.learning_rate.between(0, 5500),
        )
        forecast = evidence.forecast(cut)
        assert forecast is not None
        assert forecast.step == 10_000
        held += forecast.loss.low <= whole.val_loss.value[-1] <= forecast.loss.high
    assert held >= 24


def test_another_schedule_changes_the_future_alone() -> None:
    run = healthy(stop_at=5000)
    plain = evidence.forecast(run)
    assert run.planned_schedule is not None
    constant = evidence.forecast(run, schedule=replace(run.planned_schedule, kind="constant"))
    assert plain is not None
    assert constant is not None
    assert plain.band[0, 0] == pytest.approx(constant.band[0, 0], abs=0.004)
    assert constant.loss.value > plain.loss.high


def test_longer_runs_end_lower() -> None:
    run = healthy(stop_at=5000)
    assert run.planned_schedule is not None
    longer = evidence.forecast(run, schedule=replace(run.planned_schedule, end_step=20_000), steps=20_000)
    plain = evidence.forecast(run)
    assert longer is not None
    assert plain is not None
    assert longer.loss.value < plain.loss.value


def test_the_gap_is_like_for_like_when_both_were_evaluated() -> None:
    run = healthy()
    found = evidence.gap(run)
    assert found is not None
    assert found.like_for_like
    shifted = replace(run, val_loss=replace(run.val_loss, value=run.val_loss.value + 0.3))
    moved = evidence.gap(shifted)
    assert moved is not None
    assert moved.value.value == pytest.approx(found.value.value + 0.3, abs=1e-9)
    single = evidence.gap(replace(run, train_eval_loss=Series()))
    assert single is not None
    assert not single.like_for_like


def test_evaluation_noise_is_measured_about_the_trend() -> None:
    sds = []
    for seed in range(8):
        run = simulated.healthy(np.random.default_rng(seed), eval_sd=0.02)
        found = evidence.eval_noise(run)
        assert found is not None
        sds.append(found.sd)
    assert np.mean(sds) == pytest.approx(0.02, rel=0.3)


def test_the_expected_loss_of_the_anchor_is_the_anchor() -> None:
    """124 M parameters, 10.25 B tokens, a cosine to a tenth that is done: 3.273, with the corpus in the interval."""
    run = simulated.healthy(
        np.random.default_rng(1),
        parameters=123.6e6,
        tokens_per_parameter=10.25e9 / 123.6e6,
        schedule=Schedule("cosine", 6e-4, 6e-5, 250, 10_000),
        dataset="fineweb",
    )
    found = expected_loss.expected(replace(run, format="nanogpt"))
    assert found is not None
    assert found.loss.value == pytest.approx(3.273, abs=0.01)
    assert 0.08 < found.loss.high - found.loss.value < 0.14


def test_an_unknown_recipe_may_lie_lower() -> None:
    run = healthy(dataset="fineweb")
    classic, any_recipe = (expected_loss.expected(replace(run, format=f)) for f in ("nanogpt", "table"))
    assert classic is not None
    assert any_recipe is not None
    assert any_recipe.loss.low < classic.loss.low - 0.1
    assert any_recipe.loss.value < classic.loss.value


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"parameters": None}, "parameters"),
        ({"parameters": 5e4}, "0.05 M"),
        ({"vocabulary_size": 4096, "bytes_per_token": None}, "bytes_per_token"),
    ],
)
def test_why_there_is_no_expected_loss(facts: dict[str, object], reason: str) -> None:
    run = healthy()
    without = replace(run, facts=replace(run.facts, **facts))  # type: ignore[arg-type]
    assert expected_loss.expected(without) is None
    assert reason in expected_loss.why_not(without)


def test_below_ten_million_parameters_the_interval_widens_and_says_so() -> None:
    run = simulated.healthy(np.random.default_rng(2), parameters=5e6)
    found = expected_loss.expected(run)
    assert found is not None
    assert "wide because" in found.because
    assert found.loss.high - found.loss.low > 0.8
    assert expected_loss.far_above(run) is None
    assert expected_loss.far_below(run) is None


def test_no_run_is_expected_to_be_worse_than_token_frequencies() -> None:
    run = healthy(parameters=1e6, tokens_per_parameter=1.0, unigram_nats=5.0)
    found = expected_loss.expected(run)
    assert found is not None
    assert found.loss.value <= 5.0
    assert "token frequencies" in found.because


def test_events_of_a_healthy_run_are_no_more_than_spikes() -> None:
    kinds = {e.kind for e in evidence.events(healthy())}
    assert kinds <= {"spike"}


def test_a_fixed_validation_text_is_as_uncertain_as_the_trainer_says() -> None:
    run = healthy(eval_sd=0.001)
    stated = replace(run, val_standard_error=replace(run.val_loss, value=np.full(len(run.val_loss), 0.02)))
    plain, wide = evidence.val_level(run), evidence.val_level(stated)
    assert plain is not None
    assert wide is not None
    assert wide.value == plain.value
    assert wide.sd == pytest.approx(np.hypot(plain.sd, 0.02))


def test_the_level_of_a_short_steep_curve_is_its_last_value_and_not_an_extrapolation() -> None:
    val = Series.of(np.arange(7) * 500.0, [10.873, 5.533, 4.459, 4.138, 4.063, 3.963, 3.888])
    level = evidence.val_level(Run(val_loss=val))
    assert level is not None
    assert level.value == 3.888
    assert 0.05 < level.high - level.value < 0.5
    steady = evidence.val_level(healthy())
    assert steady is not None
    assert steady.high - steady.value < 0.03
