"""Numerics, speed and updates: each cause on runs that only look like it, and on faults planted in real runs."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.causes import clipping_always_on, throughput_loss
from talweg.estimate import Estimate
from talweg.finding import Finding
from talweg.run import Run, Series
from talweg.simulated import Array, healthy, with_losses

from .asking import examine, example, rng, stated


def nats(found: Finding) -> Estimate:
    assert found.nats is not None
    return found.nats


def broken_from(run: Run, first: float, last: float = math.inf) -> Run:
    return with_losses(run, lambda step, value, name: np.where((step >= first) & (step < last), np.nan, value))


def rising(step: Array, value: Array, name: str) -> Array:
    """Up by two nats from step 5,000 to 6,000, and NaN from there on."""
    return np.where(step < 6000, value + 2 * np.clip((step - 5000) / 900, 0, 1), np.nan)


# half_precision_overflow


def test_nan_in_bf16_is_not_a_matter_of_range() -> None:
    found = examine("half_precision_overflow", broken_from(healthy(rng(), precision="bf16"), 6000))
    assert found.verdict == "absent"
    assert "65,504" in found.because


def test_nan_of_an_unknown_precision_asks_for_it() -> None:
    found = examine("half_precision_overflow", broken_from(healthy(rng(), precision=None), 6000))
    assert (found.verdict, found.needs) == ("unknown", ("precision",))
    assert found.would_narrow_nats is not None


def test_a_scaler_in_the_log_says_fp16() -> None:
    run = stated(example("half_precision_overflow"), precision=None)
    assert examine("half_precision_overflow", run).verdict == "present"
    static = replace(run, loss_scale=replace(run.loss_scale, value=np.ones(len(run.loss_scale))))
    assert examine("half_precision_overflow", static).verdict == "unknown"


def test_a_loss_that_rose_before_it_broke_diverged() -> None:
    found = examine("half_precision_overflow", with_losses(healthy(rng(), precision="fp16"), rising))
    assert found.verdict == "absent"
    assert "diverged" in found.because


def test_a_passing_nan_is_no_break() -> None:
    found = examine("half_precision_overflow", broken_from(healthy(rng(), precision="fp16"), 6000, 6100))
    assert found.verdict == "absent"
    assert "5 values before it are not" in found.because


def test_one_nan_at_the_end_is_waited_for_unless_the_scale_fell() -> None:
    run = broken_from(healthy(rng(), precision="fp16"), 10_000)
    assert examine("half_precision_overflow", run).verdict == "unknown"
    step = run.train_loss.step
    fell = replace(run, loss_scale=Series.of(step, np.where(step < 9900, 65536.0, 4096.0)))
    assert examine("half_precision_overflow", fell).verdict == "present"


def test_zeros_with_a_gradient_of_nan_are_a_nan() -> None:
    run = healthy(rng(), precision="fp16")
    zeros = with_losses(run, lambda step, value, name: np.where(step < 6000, value, 0.0))
    assert examine("half_precision_overflow", zeros).verdict == "absent"
    norm = replace(run.grad_norm, value=np.where(run.grad_norm.step < 6000, run.grad_norm.value, np.nan))
    found = examine("half_precision_overflow", replace(zeros, grad_norm=norm))
    assert found.verdict == "present"
    assert "0 with a gradient of NaN" in found.because


@pytest.mark.parametrize("name", ["half_precision_overflow", "loss_scale_collapse"])
@pytest.mark.parametrize("seed", range(4))
def test_the_cost_of_a_break_is_what_the_rest_would_have_brought(name: str, seed: int) -> None:
    whole = healthy(rng(seed), eval_sd=0.0005).val_loss
    truth = float(np.median(whole.between(5700, 6000).value) - np.median(whole.between(9800, 10_000).value))
    cost = nats(examine(name, example(name, seed)))
    assert cost.low - 0.02 < truth < cost.high + 0.02


# loss_scale_collapse


def scaled(run: Run, scale: Array, skipped: Array | None = None) -> Run:
    step = run.train_loss.step
    return replace(
        run,
        loss_scale=Series.of(step, scale),
        skipped_steps=Series() if skipped is None else Series.of(step, skipped),
    )


def test_a_scaler_at_work_is_sound() -> None:
    run = healthy(rng(), precision="fp16", log_every=1, steps=4000)
    step = run.train_loss.step
    found = examine("loss_scale_collapse", scaled(run, 65536.0 * 2.0 ** (step // 2000), np.floor(step / 2000)))
    assert found.verdict == "absent"
    assert "2 of 4,000 updates were skipped" in found.because


def test_a_scale_that_comes_down_from_a_high_start_is_sound() -> None:
    """Megatron begins at 2^32 and skips until it is in range."""
    run = healthy(rng(), precision="fp16", log_every=1, steps=2000)
    step = run.train_loss.step
    scale, skipped = 2.0 ** np.maximum(32 - step, 14), np.minimum(step, 18)
    assert examine("loss_scale_collapse", scaled(run, scale, skipped)).verdict == "absent"


@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_a_constant_scale_is_none(scale: float) -> None:
    run = healthy(rng(), precision=None)
    assert examine("loss_scale_collapse", scaled(run, np.full(len(run.train_loss), scale))).verdict == "absent"


def test_skipping_that_ends_is_no_collapse() -> None:
    run = example("loss_scale_collapse")
    count = run.skipped_steps
    ended = np.minimum(count.value, 4000.0)
    scale = np.where(count.step > 9950, 65536.0, run.loss_scale.value)
    assert examine("loss_scale_collapse", scaled(run, scale, ended)).verdict == "absent"


@pytest.mark.parametrize("left", ["loss_scale", "skipped_steps"])
def test_either_column_is_enough(left: str) -> None:
    run = example("loss_scale_collapse")
    other = "skipped_steps" if left == "loss_scale" else "loss_scale"
    found = examine("loss_scale_collapse", replace(run, **{other: Series()}))  # type: ignore[arg-type]
    assert found.verdict == "present"
    assert found.steps is not None
    assert found.steps[0] == pytest.approx(6000, abs=20)


@pytest.mark.parametrize(("row", "verdict"), [(30, "absent"), (36, "present")])
def test_more_skipped_in_a_row_than_any_start_needs(row: int, verdict: str) -> None:
    run = healthy(rng(), precision="fp16", log_every=1, steps=2000)
    skipped = Series.of(run.train_loss.step, np.maximum(run.train_loss.step - (2000 - row), 0.0))
    assert examine("loss_scale_collapse", replace(run, skipped_steps=skipped)).verdict == verdict


def test_skipping_after_a_rise_is_a_divergence() -> None:
    run = example("loss_scale_collapse")
    risen = with_losses(run, lambda step, value, name: value + 3 * np.clip((step - 5000) / 800, 0, 1))
    found = examine("loss_scale_collapse", risen)
    assert found.verdict == "absent"
    assert "risen" in found.because


def test_fp16_without_a_scale_in_the_log_is_not_judged() -> None:
    found = examine("loss_scale_collapse", healthy(rng(), precision="fp16"))
    assert (found.verdict, found.needs) == ("unknown", ("loss_scale", "skipped_steps"))


# no_parameter_update


def test_a_learning_rate_of_zero_is_another_cause() -> None:
    run = example("no_parameter_update")
    stuck = replace(run, learning_rate=replace(run.learning_rate, value=np.zeros(len(run.learning_rate))))
    found = examine("no_parameter_update", stuck)
    assert found.verdict == "absent"
    assert "learning rate is 0" in found.because


def test_updates_of_size_zero_say_it_directly_whatever_the_loss() -> None:
    run = healthy(rng())
    still = replace(run, update_ratio=replace(run.update_ratio, value=np.zeros(len(run.update_ratio))))
    assert examine("no_parameter_update", still).verdict == "present"
    assert examine("no_parameter_update", run).verdict == "absent"


def test_skipped_updates_are_the_scalers() -> None:
    run = healthy(rng())
    zero = replace(run.update_ratio, value=np.zeros(len(run.update_ratio)))
    skipped = Series.of(run.train_loss.step, run.train_loss.step)
    assert examine("no_parameter_update", replace(run, update_ratio=zero, skipped_steps=skipped)).verdict == "absent"


def test_a_long_warmup_that_has_hardly_begun_is_waited_for() -> None:
    run = example("no_parameter_update")
    slow = replace(run.learning_rate, value=1e-10 * (1 + run.learning_rate.step))
    assert examine("no_parameter_update", replace(run, learning_rate=slow)).verdict == "unknown"


def test_a_trained_model_that_stands_is_not_judged_by_its_loss() -> None:
    run = with_losses(example("no_parameter_update"), lambda step, value, name: value - 7.5)
    found = examine("no_parameter_update", run)
    assert (found.verdict, found.needs) == ("unknown", ("update_ratio",))


def test_a_loss_that_creeps_is_moving() -> None:
    """As with a softmax applied twice: the third decimal moves, and surely so."""
    run = example("no_parameter_update")
    noise = rng(3)
    creeping = with_losses(
        run, lambda step, value, name: 10.825 - 0.01 * step / 10_000 + 2e-4 * noise.standard_normal(step.size)
    )
    assert examine("no_parameter_update", creeping).verdict == "absent"


# accumulation_not_normalised


def test_a_sum_in_the_evaluations_too_is_told_by_the_laws() -> None:
    run = with_losses(healthy(rng(), accumulation=8), lambda step, value, name: 8 * value)
    alone = replace(run, val_loss=Series(), train_eval_loss=Series())
    assert examine("accumulation_not_normalised", alone).verdict == "present"
    assert examine("bad_initialisation", alone).verdict == "unknown"


def test_a_bad_initialisation_of_twice_the_uniform_level_is_no_sum_of_two() -> None:
    run = example("bad_initialisation")
    first = run.train_loss.value[0] / math.log(simulated.VOCABULARY)
    alone = stated(replace(run, val_loss=Series(), train_eval_loss=Series()), accumulation=round(first))
    assert examine("accumulation_not_normalised", alone).verdict != "present"
    assert examine("accumulation_not_normalised", stated(run, accumulation=round(first))).verdict == "absent"


@pytest.mark.parametrize("accumulation", [None, 8])
@pytest.mark.parametrize("times", [2.0, 8.0])
def test_a_ratio_that_is_known_needs_no_configuration(accumulation: int | None, times: float) -> None:
    """A ratio of two beside eight micro-batches is the sum of something else."""
    run = healthy(rng(), accumulation=accumulation)
    added = with_losses(run, lambda step, value, name: value * (times if name == "train_loss" else 1.0))
    verdict = "unknown" if accumulation == 8 and times == 2.0 else "present"
    assert examine("accumulation_not_normalised", added).verdict == verdict


def test_an_evaluation_that_is_too_low_by_a_half_is_not_the_training_loss_twice() -> None:
    run = with_losses(healthy(rng(), accumulation=2), lambda step, v, name: v * (1.0 if name == "train_loss" else 0.5))
    found = examine("accumulation_not_normalised", run)
    assert found.verdict == "unknown"
    assert "is the evaluation right" in found.because


def test_overfitting_moves_the_ratio_but_keeps_no_constant_one() -> None:
    assert examine("accumulation_not_normalised", stated(example("overfitting"), accumulation=2)).verdict == "absent"


def test_bits_are_no_sum() -> None:
    run = with_losses(healthy(rng(), accumulation=8), lambda step, value, name: value / math.log(2))
    assert examine("accumulation_not_normalised", run).verdict == "absent"


@pytest.mark.parametrize(("optimizer", "clip", "most"), [("adamw", 0.0, 0.02), ("adamw", 1.0, 0.02), ("sgd", 0.0, 1.0)])
def test_the_cost_of_a_sum_depends_on_what_the_optimizer_makes_of_it(optimizer: str, clip: float, most: float) -> None:
    run = stated(example("accumulation_not_normalised"), optimizer=optimizer, grad_clip=clip)
    cost = nats(examine("accumulation_not_normalised", run))
    assert cost.high <= most
    assert (cost.low > 0) == (optimizer == "sgd")


# clipping_always_on


def test_under_adam_a_clip_at_every_step_is_absent_with_its_measured_cost() -> None:
    run = healthy(rng(), optimizer="adamw", grad_clip=0.03)
    found = examine("clipping_always_on", run)
    assert found.verdict == "absent"
    assert nats(found).high <= 0.01
    assert "100%" in found.because


def test_a_clip_that_leaves_adam_nothing_but_epsilon_costs() -> None:
    run = healthy(rng(), optimizer="adamw", grad_clip=1e-4)  # 1e-4 / sqrt(124e6) is 0.9 epsilon
    found = examine("clipping_always_on", run)
    assert found.verdict == "present"
    assert "0.9 times Adam's epsilon" in found.because


def test_the_start_of_a_run_may_be_clipped() -> None:
    run = healthy(rng(), optimizer="sgd", grad_clip=0.6)
    late = run.grad_norm.between(250, 1e9)
    assert 0.0 < np.mean(late.value > 0.6) < clipping_always_on.SHARE
    assert examine("clipping_always_on", run).verdict == "absent"


def test_the_factor_of_the_clip_is_as_good_as_the_norm() -> None:
    run = replace(example("clipping_always_on"), grad_norm=Series())
    assert examine("clipping_always_on", run).verdict == "present"
    assert examine("clipping_always_on", replace(run, clip_scale=Series())).verdict == "unknown"


# throughput_loss


def timed(run: Run, change: Callable[[Array], Array], **facts: object) -> Run:
    series = run.seconds_per_step
    return stated(replace(run, seconds_per_step=replace(series, value=change(series.step) * series.value)), **facts)


def test_evaluations_and_checkpoints_take_their_time() -> None:
    run = healthy(rng(), eval_every=500)
    evaluated = np.isin(run.seconds_per_step.step, run.val_loss.step)
    slow = timed(run, lambda step: np.where(evaluated, 60.0, np.where(step % 1000 == 0, 30.0, 1.0)))
    assert examine("throughput_loss", slow).verdict == "absent"
    hidden = replace(slow, val_loss=Series(), train_eval_loss=Series())  # regular, so they are no stalls
    assert examine("throughput_loss", hidden).verdict == "absent"


def test_stalls_at_no_interval_are_time_lost() -> None:
    run = healthy(rng())
    hit = rng(5).random(len(run.seconds_per_step)) < 0.1
    found = examine("throughput_loss", timed(run, lambda step: np.where(hit, 6.0, 1.0)))
    assert found.verdict == "present"
    assert "stall" in found.because


def test_another_machine_after_a_resume_has_another_pace() -> None:
    run = healthy(rng())
    moved = timed(run, lambda step: np.where(step < 5000, 2.4, 1.0), resumed_at=(5000.0,))
    assert examine("throughput_loss", moved).verdict == "absent"
    assert examine("throughput_loss", stated(moved, resumed_at=())).verdict == "present"


@pytest.mark.parametrize("digits", [0, 1])
def test_times_that_are_printed_too_coarsely_are_not_judged(digits: int) -> None:
    run = example("throughput_loss")
    seconds = run.seconds_per_step
    coarse = replace(seconds, value=seconds.value.round(digits), resolution=10.0**-digits)
    found = examine("throughput_loss", replace(run, seconds_per_step=coarse, tokens_per_second=Series()))
    assert found.verdict == "unknown"


def test_tokens_a_second_tell_as_much() -> None:
    run = example("throughput_loss")
    by_rate = examine("throughput_loss", replace(run, seconds_per_step=Series()))
    assert by_rate.verdict == "present"
    assert nats(by_rate).value == pytest.approx(nats(examine("throughput_loss", run)).value, rel=0.05)


def test_a_loader_that_cannot_keep_up_is_named() -> None:
    run = healthy(rng())
    waiting = replace(run, loader_seconds=replace(run.loader_seconds, value=0.4 * run.seconds_per_step.value))
    found = examine("throughput_loss", waiting)
    assert found.verdict == "present"
    assert "wait for data for 40%" in found.because


def test_the_share_lost_is_the_one_planted() -> None:
    """Two thirds of the steps at twice the time: 1 - 1 / (1/3 + 2/3 x 2) = 0.4."""
    run = timed(healthy(rng()), lambda step: np.where(step < 10_000 / 3, 1.0, 2.0))
    found = examine("throughput_loss", run)
    assert "40% of the time is lost" in found.because
    expected = evidence.more_tokens(run, 1 / 0.6)
    assert expected is not None
    assert nats(found).value == pytest.approx(expected.value, rel=0.05)


def test_a_use_of_the_device_far_below_the_usual_counts_unless_the_peak_is_an_a100s() -> None:
    run = healthy(rng())
    idle = replace(run, mfu=replace(run.mfu, value=0.1 * run.mfu.value))
    assert examine("throughput_loss", idle).verdict == "present"
    assert examine("throughput_loss", replace(idle, format="nanogpt")).verdict == "absent"
    assert examine("throughput_loss", stated(idle, width=128)).verdict == "absent"


def test_regular_means_multiples_of_one_long_interval() -> None:
    assert throughput_loss._regular(np.array([100.0, 200.0, 400.0]))
    assert not throughput_loss._regular(np.array([100.0, 200.0, 350.0]))
    assert not throughput_loss._regular(np.array([10.0, 20.0, 30.0]))
