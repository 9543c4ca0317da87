"""Each cause on runs that only look like it: passing through the symptom, beyond it on the other side, or sound."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.causes import learning_rate_decayed_too_early, learning_rate_too_high, repeated_data
from talweg.laws import repetition
from talweg.run import Run, Series
from talweg.schedule import Schedule
from talweg.simulated import Array, healthy, with_losses

from .asking import examine, example, rng, stated

PEAK = 6e-4


def with_val(run: Run, value: Array) -> Run:
    return replace(run, val_loss=replace(run.val_loss, value=value))


# learning_rate_not_decayed


def test_a_plan_that_will_decay_is_told_to_wait() -> None:
    run = healthy(rng(), stop_at=6000, schedule=Schedule("cosine", PEAK, PEAK / 10, 250, 10_000))
    found = examine("learning_rate_not_decayed", run)
    assert found.verdict == "present"
    assert found.nats is not None
    assert [r.name for r in found.remedies] == ["wait", "decay_to_zero"]
    wait, further = (r.gain for r in found.remedies)
    assert wait is not None
    assert further is not None
    assert found.remedies[0].config == {"run.steps": 10_000}
    assert wait.value + further.value == pytest.approx(found.nats.value, abs=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_finished_decay_has_nothing_left(kind: str, share: float) -> None:
    schedule = Schedule(kind, PEAK, share * PEAK, 250, 10_000, 8000)  # type: ignore[arg-type]
    assert examine("learning_rate_not_decayed", healthy(rng(), schedule=schedule)).verdict == "absent"


@pytest.mark.parametrize("name", ["schedule_free", "AdamWScheduleFree"])
def test_an_average_in_the_place_of_a_decay_has_nothing_left_to_decay(name: str) -> None:
    run = example("learning_rate_not_decayed", 0)
    assert examine("learning_rate_not_decayed", run).verdict == "present"
    averaged = replace(run, facts=replace(run.facts, optimizer=name))
    assert examine("learning_rate_not_decayed", averaged).verdict == "absent"


def test_a_rate_that_still_rises_is_too_early_to_judge() -> None:
    schedule = Schedule("constant", PEAK, PEAK, 6000, 10_000)
    found = examine("learning_rate_not_decayed", healthy(rng(), schedule=schedule, stop_at=4000))
    assert found.verdict == "unknown"
    assert "rising" in found.because


@pytest.mark.parametrize("seed", range(5))
def test_the_cost_of_a_constant_rate_holds_what_a_decay_in_the_same_steps_gives(seed: int) -> None:
    """The generator's own difference between the two schedules, noise apart."""
    found = examine("learning_rate_not_decayed", example("learning_rate_not_decayed", seed))
    truth = _end_level(Schedule("constant", PEAK, PEAK, 250, 10_000)) - _end_level(
        Schedule("wsd", PEAK, 0.0, 250, 10_000, 8000)
    )
    assert found.nats is not None
    assert found.nats.low <= truth <= found.nats.high


def _end_level(schedule: Schedule) -> float:
    """The level that the simulated law ends at under this schedule, all but free of noise."""
    run = healthy(rng(), schedule=schedule, eval_sd=0.0, eval_every=50)
    return float(run.val_loss.value[-5:].mean())


# learning_rate_decayed_too_early


@pytest.mark.parametrize("quarter", [0.2, 0.25, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_cost_of_an_early_end_holds_the_difference_to_the_twin(quarter: float, seed: int) -> None:
    end = int(10_000 * quarter)
    schedule = Schedule("cosine", PEAK, 0.0, 100, end)
    run = healthy(rng(seed), schedule=schedule, eval_every=end // 25, tokens_per_parameter=90)
    truth = _end_level(Schedule("cosine", PEAK, 0.0, 100, end)) - _end_level(Schedule("cosine", PEAK, 0.0, 100, 10_000))
    found = examine("learning_rate_decayed_too_early", run)
    assert found.verdict == "present"
    assert found.nats is not None
    assert found.nats.low <= truth <= found.nats.high, (truth, found.nats)


def test_a_log_that_stops_soon_after_the_rate_is_gone_knows_what_was_planned() -> None:
    run = healthy(rng(), schedule=Schedule("linear", PEAK, 0.0, 100, 4000), stop_at=4200, eval_every=100)
    assert examine("learning_rate_decayed_too_early", run).verdict == "present"


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("cosine", PEAK, 0.0, 100, 10_000),
        Schedule("linear", PEAK, 0.0, 100, 9500),
        Schedule("cosine", PEAK, PEAK / 10, 100, 2500),  # early, but not to zero
        Schedule("constant", PEAK, PEAK, 100, 10_000),
    ],
)
def test_a_rate_that_ends_with_the_run_or_above_zero_is_not_early(schedule: Schedule) -> None:
    assert examine("learning_rate_decayed_too_early", healthy(rng(), schedule=schedule)).verdict == "absent"


def test_a_rate_that_passes_through_zero_and_returns_is_not_early() -> None:
    run = healthy(rng())
    rate = run.learning_rate.value.copy()
    rate[(run.learning_rate.step > 3000) & (run.learning_rate.step < 3400)] = 0.0
    rate[-1] = 0.3 * PEAK
    assert examine(
        "learning_rate_decayed_too_early", replace(run, learning_rate=replace(run.learning_rate, value=rate))
    ).verdict == ("absent")


def test_a_loss_that_goes_on_falling_refutes_the_stated_rate() -> None:
    """The log of a cosine over the whole run beside a configuration that decays to zero at a quarter of it."""
    run = healthy(rng())
    wrong = stated(replace(run, learning_rate=Series()), decay_end_step=2500, min_learning_rate=0.0)
    found = examine("learning_rate_decayed_too_early", wrong)
    assert found.verdict == "unknown"
    assert "yet the loss fell" in found.because


def test_the_lower_end_of_the_cost_is_never_negative() -> None:
    run = example("learning_rate_decayed_too_early")
    judged = evidence.judged(run)
    assert judged is not None
    cost = learning_rate_decayed_too_early._cost(run, judged, 2500.0, 10_000.0)
    assert cost is not None
    assert cost.low >= 0


# learning_rate_too_high


def test_a_high_rate_alone_convicts_nobody() -> None:
    schedule = Schedule("cosine", 0.04, 4e-4, 250, 10_000)
    found = examine("learning_rate_too_high", healthy(rng(), schedule=schedule))
    assert found.verdict == "absent"
    assert "does not lie above" in found.because


def test_a_loss_above_the_laws_alone_convicts_nobody() -> None:
    assert examine("learning_rate_too_high", healthy(rng(), above=0.8)).verdict == "absent"


def test_the_rate_of_another_optimizer_is_not_judged() -> None:
    run = stated(example("learning_rate_too_high"), optimizer="Muon")
    assert examine("learning_rate_too_high", run).verdict == "unknown"


def test_a_turn_within_the_warmup_is_a_sign() -> None:
    schedule = Schedule("cosine", 0.04, 4e-4, 1500, 10_000)

    def turned(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value + 3 * np.exp(-(((step - 1200) / 200) ** 2)))

    run = with_losses(healthy(rng(), schedule=schedule), turned)
    found = examine("learning_rate_too_high", run)
    assert found.verdict == "present"
    assert "within the warm-up" in found.because


# diverged


def test_a_spike_that_is_forgotten_is_no_divergence() -> None:
    def spiked(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value + 3.5 * np.exp(-np.maximum(step - 4000, 0) / 300) * (step >= 4000))

    assert examine("diverged", with_losses(healthy(rng()), spiked)).verdict == "absent"


def test_a_rise_that_is_falling_back_is_told_to_wait() -> None:
    def falling(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value + 3.5 * np.clip((step - 7000) / 100, 0, 1) * np.exp(-np.maximum(step - 7100, 0) / 3000))

    assert examine("diverged", with_losses(healthy(rng()), falling)).verdict == "unknown"


def test_a_small_rise_and_a_start_that_never_fell_are_no_divergence() -> None:
    small = with_losses(healthy(rng()), lambda step, value, name: value + 0.2 * (step > 6000))
    assert examine("diverged", small).verdict == "absent"
    assert examine("diverged", example("context_ignored")).verdict == "absent"


def test_beyond_the_unigram_level_is_diverged_too() -> None:
    high = with_losses(healthy(rng()), lambda step, value, name: np.where(step > 5000, 9.5 + 0 * value, value))
    assert examine("diverged", high).verdict == "present"


# overfitting


def test_val_above_train_from_the_start_is_not_overfitting() -> None:
    run = healthy(rng(), unique_tokens=None)
    found = examine("overfitting", with_val(run, run.val_loss.value + 0.4))
    assert found.verdict == "absent"
    assert "val - train is +0.4" in found.because


def test_a_rise_of_train_and_val_together_is_not_overfitting() -> None:
    run = with_losses(healthy(rng(), unique_tokens=None), lambda s, v, name: v + 0.3 * np.clip((s - 6000) / 4000, 0, 1))
    assert examine("overfitting", run).verdict != "present"


def test_one_pass_cannot_overfit() -> None:
    run = example("overfitting")
    assert run.tokens_seen is not None
    found = examine("overfitting", stated(run, unique_tokens=1.01 * run.tokens_seen))
    assert found.verdict == "unknown"
    assert "one pass" in found.because


def test_a_rise_that_came_and_went_is_not_overfitting() -> None:
    run = healthy(rng(), unique_tokens=None)
    hump = 0.2 * np.exp(-(((run.val_loss.step - 5000) / 800) ** 2))
    assert examine("overfitting", with_val(run, run.val_loss.value + hump)).verdict == "absent"


def test_a_rise_of_val_without_train_is_unknown() -> None:
    run = replace(example("overfitting"), train_eval_loss=Series(), train_loss=Series())
    found = examine("overfitting", run)
    assert found.verdict == "unknown"
    assert "train_eval_loss" in found.needs


# model_too_small, too_few_tokens


def test_capacity_is_no_limit_for_a_run_far_above_its_level() -> None:
    run = healthy(rng(), parameters=20e6, tokens_per_parameter=400, above=1.0)
    found = examine("model_too_small", run)
    assert found.verdict == "unknown"
    assert "something else comes first" in found.because
    assert found.would_narrow_nats is not None


def test_below_the_range_of_the_laws_capacity_is_unknown() -> None:
    run = stated(healthy(rng(), parameters=20e6, tokens_per_parameter=400), parameters=2e6)
    found = examine("model_too_small", run)
    assert found.verdict == "unknown"
    assert "10 M" in found.because


def test_wider_models_are_counted_right() -> None:
    """GPT-2's own shape: 12 x 12 x 768^2 + 50,257 x 768 = 123.5 M; twice the width has 417 M."""
    found = examine("model_too_small", healthy(rng(), tokens_per_parameter=150))
    wider = {r.config["model.width"]: r for r in found.remedies}
    assert set(wider) == {1024, 1536}
    expected = (124e6 + 12 * 12 * (1536**2 - 768**2) + 50_257 * 768) / 124e6
    assert wider[1536].compute_factor == pytest.approx(expected)


def test_a_flat_curve_does_not_ask_for_tokens() -> None:
    flat = with_losses(example("too_few_tokens"), lambda s, v, name: np.where(s > 3000, 4.5 + 0.01 * np.sin(s), v))
    found = examine("too_few_tokens", flat)
    assert found.verdict == "unknown"
    assert "does not fall any more" in found.because


def test_a_tiny_model_gets_its_own_law_and_no_verdict() -> None:
    run = stated(healthy(rng(), tokens_per_parameter=6.0), parameters=2e6, tokens_per_step=800.0)
    found = examine("too_few_tokens", run)
    assert found.verdict == "unknown"
    assert found.would_narrow_nats is not None
    assert 0.02 < found.would_narrow_nats < 0.3


# repeated_data, dropout_too_strong


def test_four_passes_are_nearly_free() -> None:
    tokens = simulated.PARAMETERS * simulated.TOKENS_PER_PARAMETER
    assert examine("repeated_data", healthy(rng(), unique_tokens=tokens / 3.9)).verdict == "absent"


def test_a_text_that_nobody_counted_is_unknown_and_says_from_where_on_it_matters() -> None:
    found = examine("repeated_data", healthy(rng(), unique_tokens=None))
    assert found.verdict == "unknown"
    assert set(found.needs) == {"unique_tokens", "data"}
    assert found.would_narrow_nats is not None
    assert found.would_narrow_nats > 0
    assert "no matter from" in found.because


def test_the_count_from_which_repetition_matters_is_where_its_cost_is_material() -> None:
    n, seen = 124e6, 5e9
    enough = repeated_data._unique_enough(n, seen)
    assert repetition.cost(n, enough, seen).value == pytest.approx(repeated_data.MATERIAL, rel=0.01)
    assert repetition.cost(n, 1.1 * enough, seen).value < repeated_data.MATERIAL


def test_dropout_that_may_protect_is_left_alone() -> None:
    many = stated(example("dropout_too_strong"), unique_tokens=1e9)
    assert examine("dropout_too_strong", many).verdict == "unknown"
    assert examine("dropout_too_strong", stated(example("overfitting"), dropout=0.2)).verdict == "unknown"
    assert examine("dropout_too_strong", healthy(rng(), dropout=0.0)).verdict == "absent"


# bad_initialisation


def test_a_first_loss_in_bits_is_a_question_of_units() -> None:
    bits = with_losses(healthy(rng()), lambda step, value, name: value / math.log(2))
    found = examine("bad_initialisation", bits)
    assert found.verdict == "unknown"
    assert "bits" in found.because


def test_the_cost_of_a_bad_start_is_not_all_that_the_run_is_above_the_laws_by_chance() -> None:
    run = with_losses(healthy(rng(), above=0.1), lambda step, value, name: value + 1.5 * np.exp(-step / 100))
    found = examine("bad_initialisation", run)
    assert found.nats is not None
    assert found.nats.high < 0.05


def test_an_excess_undone_in_a_step_or_two_costs_nothing() -> None:
    quick = with_losses(
        healthy(rng(), log_every=1), lambda step, value, name: value + 6 * np.exp(-step / 2) * (step < 100)
    )
    assert examine("bad_initialisation", quick).verdict == "absent"


def test_a_start_from_trained_weights_is_no_bad_start() -> None:
    run = with_losses(healthy(rng()), lambda step, value, name: np.minimum(value, 3.9))
    assert examine("bad_initialisation", run).verdict == "absent"


def test_a_log_without_its_beginning_is_unknown() -> None:
    run = healthy(rng())
    late = replace(
        run,
        **{name: getattr(run, name).between(100, 1e9) for name in ("train_loss", "train_eval_loss", "val_loss")},
    )
    assert examine("bad_initialisation", late).verdict == "unknown"


# context_ignored


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_runs_that_only_fall_through_the_unigram_level_are_not_called(speed: float) -> None:
    """200 runs, each cut off somewhere about H1."""
    called = 0
    for seed in range(100):
        run = healthy(rng(seed), eval_every=20, log_every=5)
        slow = with_losses(run, lambda step, value, name: value + 4 * np.exp(-step / (400 * speed)))
        crossing = float(slow.val_loss.step[int(np.argmax(slow.val_loss.value < simulated.UNIGRAM))])
        stop = crossing * float(rng(seed).uniform(0.8, 1.6)) + 100
        columns = ("train_loss", "train_eval_loss", "val_loss", "learning_rate")
        cut = replace(slow, **{name: getattr(slow, name).between(0, stop) for name in columns})
        called += examine("context_ignored", cut).verdict == "present"
    assert called == 0


def test_stuck_above_the_unigram_level_is_something_else() -> None:
    run = with_losses(example("context_ignored"), lambda step, value, name: value + 1.5)
    found = examine("context_ignored", run)
    assert found.verdict == "unknown"
    assert "not even token frequencies" in found.because


def test_a_tail_that_moves_within_the_band_is_only_passing_through() -> None:
    """From 0.3 nats above H1 to 0.1 below over the last half: a fifth of the way from H1 to H2."""

    def passing(step: Array, value: Array, name: str) -> Array:
        return np.where(step < 4800, value + 9, simulated.UNIGRAM + 0.3 - 0.4 * (step - 5000) / 5000)

    quiet = with_losses(healthy(rng()), passing)
    found = examine("context_ignored", quiet)
    assert found.verdict == "unknown"
    assert "still moving" in found.because


def test_a_run_that_came_back_to_the_unigram_level_has_used_its_context() -> None:
    assert examine("context_ignored", example("diverged")).verdict == "absent"


def test_without_a_count_of_the_text_and_an_expected_loss_a_run_at_that_level_is_unknown() -> None:
    run = stated(example("context_ignored"), unigram_nats=None, bigram_nats=None, tokens_per_step=None)
    found = examine("context_ignored", run)
    assert found.verdict == "unknown"
    assert found.would_narrow_nats is not None


def test_without_a_count_a_run_that_should_be_far_below_that_level_is_called() -> None:
    facts = {"unigram_nats": None, "bigram_nats": None, "vocabulary_size": 50_257}
    run = stated(example("context_ignored"), **facts)
    assert examine("context_ignored", run).verdict == "present"


# learning_rate_not_decayed


def test_a_decay_cannot_win_more_than_a_part_of_the_loss() -> None:
    run = with_losses(healthy(rng(), stop_at=5000), lambda step, value, name: 0.05 + 0.01 * (value - value.min()))
    assert examine("learning_rate_not_decayed", run).verdict == "unknown"


# repeated_data


def test_a_plan_shorter_than_one_file_is_not_said_to_read_all_of_it() -> None:
    run = stated(healthy(rng(), unique_tokens=None), dataset="fineweb", tokens_per_step=50_000.0)
    found = examine("repeated_data", run)  # 0.5 B tokens, of a file that holds 0.73 B
    assert "parquet" not in found.because
    assert "a sixteenth" in found.because


# evaluation_noise, evaluation_set_too_small


def test_a_plain_trend_excuses_noisy_evaluations() -> None:
    run = healthy(rng(), eval_sd=0.05, eval_every=10)
    found = examine("evaluation_noise", run)
    assert found.verdict == "absent"
    assert "probability" in found.because


def test_scatter_that_the_windows_do_not_explain_is_not_sampling() -> None:
    run = stated(example("evaluation_noise"), eval_windows=4000)
    assert examine("evaluation_noise", run).verdict == "unknown"


def test_the_stated_error_of_a_whole_file_wins_over_the_law() -> None:
    run = healthy(rng())
    stated_error = Series.of(run.val_loss.step, np.full(len(run.val_loss), 0.05))
    measured = replace(stated(run, eval_is_fixed=True), val_standard_error=stated_error)
    assert examine("evaluation_set_too_small", run).verdict == "absent"
    read = (run.facts.eval_windows or 0) * (run.facts.context or 0)
    found = examine("evaluation_set_too_small", stated(measured, val_tokens=float(read)))
    assert found.verdict == "present"
    assert "0.050" in found.because
    part = examine("evaluation_set_too_small", measured)  # the file holds four times what was read: read more of it
    assert part.verdict == "absent"
    assert "talweg eval reads all of it" in part.because


def test_a_rate_within_the_law_is_not_cleared_of_a_run_in_trouble() -> None:
    rng = np.random.default_rng(4)
    schedule = Schedule("cosine", 6e-3, 6e-5, 250, 10_000)  # 2.4 times the law's best: the law alone cannot tell
    sound = learning_rate_too_high.examine(simulated.healthy(rng, schedule=schedule))
    trouble = learning_rate_too_high.examine(simulated.healthy(rng, schedule=schedule, above=1.2))
    assert sound.verdict == "absent"
    assert trouble.verdict == "unknown"
    assert "above what the laws expect" in trouble.because
    assert trouble.would_narrow_nats is not None


def test_a_run_too_short_for_pairs_of_tokens_does_not_ignore_its_context() -> None:
    """60 steps of 256 tokens and 2,048 kinds of token: flat at single frequencies, and sound."""
    stuck = example("context_ignored")
    steps = float(stuck.last_step or 0)
    seen = {n: stated(stuck, tokens_per_step=n * 50_257 / steps, vocabulary_size=50_257) for n in (7.6, 99.0, 101.0)}
    assert examine("context_ignored", seen[7.6]).verdict == "unknown"
    assert "8 tokens for each of the vocabulary are too few" in examine("context_ignored", seen[7.6]).because
    assert [examine("context_ignored", seen[n]).verdict for n in (99.0, 101.0)] == ["unknown", "present"]


def test_schedule_free_has_no_decay_to_make_up() -> None:
    run = example("learning_rate_not_decayed")
    assert examine("learning_rate_not_decayed", run).verdict == "present"
    found = examine("learning_rate_not_decayed", stated(run, optimizer="schedule_free"))
    assert found.verdict == "absent"
    assert "an average" in found.because


def test_a_part_of_a_validation_file_that_is_too_small_has_the_rest_to_read() -> None:
    run = healthy(rng(), val_tokens=112_000.0, eval_windows=32, context=256, eval_is_fixed=True)
    steps = run.val_loss.step
    run = replace(run, val_standard_error=Series.of(steps, np.full(len(steps), 0.05)))
    found = examine("evaluation_set_too_small", run)  # all of it: 0.05 sqrt(8,192 / 112,000) = 0.014
    assert found.verdict == "absent"
    assert found.because.startswith("evaluations read 8,192 of the file's 112,000 tokens: uncertain by 0.050 nats")
    whole = examine("evaluation_set_too_small", stated(run, eval_windows=437))
    assert whole.verdict == "present"
    assert whole.because.startswith("the validation file holds 0.112 M tokens")


def test_a_loss_that_ends_in_nan_is_not_called_free_of_divergence() -> None:
    """Its best level is its last finite one: what it rose to was not logged."""
    run = healthy(rng(), stop_at=6000)
    value = run.train_loss.value.copy()
    value[-20:] = np.nan
    broken = replace(run, train_loss=replace(run.train_loss, value=value))
    found = examine("diverged", broken)
    assert found.verdict == "unknown"
    assert "not finite" in found.because
    value = run.train_loss.value.copy()
    value[-1] = np.nan
    assert examine("diverged", replace(run, train_loss=replace(run.train_loss, value=value))).verdict == "absent"
