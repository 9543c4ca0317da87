"""What a logged loss is, and in which unit: both causes on runs that only look like it, and on the ways of trainers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence
from talweg.diagnosis import diagnose
from talweg.readers import read
from talweg.run import Run, Series
from talweg.simulated import VOCABULARY, Array, healthy, with_losses
from tests.conftest import shared

from .asking import CATALOGUE, examine, example, rng, stated

LOGGED, UNIT = "train_loss_is_not_the_training_loss", "loss_not_comparable"
NEIGHBOURS = (
    "overfitting",
    "dropout_too_strong",
    "evaluation_noise",
    "accumulation_not_normalised",
    "ranks_not_synchronised",
    "tokenizer_mismatch",
    "bad_initialisation",
    "diverged",
    "optimizer_state_lost_on_resume",
    "data_restarted_on_resume",
    "schedule_restarted_on_resume",
)


def falling(slope: float, *, kind: str = "batch", every: int = 10, lag: float = 0.0, sd: float = 0.02) -> Run:
    """3,000 steps of a loss that falls by `slope` a step; what is logged of train is `lag` steps old."""
    step = np.arange(0, 3001, every, dtype=float)
    evaluated = np.arange(0, 3001, 100, dtype=float)
    train = 8 - slope * (step - lag) + sd * rng(1).standard_normal(step.size)
    val = 8 - slope * evaluated + 0.003 * rng(2).standard_normal(evaluated.size)
    run = Run(
        train_loss=Series.of(step, train, kind=kind),  # type: ignore[arg-type]
        val_loss=Series.of(evaluated, val, kind="evaluation"),
    )
    return stated(run, dropout=0.0)


def without_evaluated_train(run: Run) -> Run:
    return replace(run, train_loss=replace(run.train_loss), train_eval_loss=Series())


# train_loss_is_not_the_training_loss


@pytest.mark.parametrize("name", NEIGHBOURS)
@pytest.mark.parametrize("seed", range(3))
def test_no_neighbour_is_a_matter_of_logging(name: str, seed: int) -> None:
    run = example(name, seed)
    for given in (run, without_evaluated_train(run)):
        if not given.facts.dropout:
            assert examine(LOGGED, given).verdict != "present", examine(LOGGED, given).because


def test_a_mean_over_many_steps_of_a_fast_fall_lags() -> None:
    """A mean of 400 updates is 199.5 updates old: at 4e-4 nats an update that is 0.0798 nats."""
    run = stated(falling(4e-4, kind="interval_mean", every=40, lag=199.5), train_loss_window=400)
    found = examine(LOGGED, run)
    assert found.verdict == "present", found.because
    size = evidence.artefact(run).size
    assert size is not None
    assert size.low < 4e-4 * 199.5 < size.high
    assert "lags by 200 updates" in found.because, found.because
    assert "like for like the gap is about -0.00" in found.because or "about +0.00" in found.because, found.because
    assert found.nats is not None
    assert found.nats.high == 0


def test_a_running_mean_lags_by_its_memory() -> None:
    run = stated(falling(4e-4, kind="running_mean", lag=199.0), train_loss_decay=0.995)
    assert examine(LOGGED, run).verdict == "present"
    short = stated(falling(4e-4, kind="running_mean", lag=9.0), train_loss_decay=0.9)
    found = examine(LOGGED, short)
    assert found.verdict == "absent"
    size = evidence.artefact(short).size
    assert size is not None
    assert size.value == pytest.approx(9 * 4e-4, rel=0.1)


@pytest.mark.parametrize("kind", ["interval_mean", "running_mean"])
def test_the_same_window_on_a_flat_curve_makes_nothing(kind: str) -> None:
    run = stated(falling(1e-6, kind=kind, every=40), train_loss_window=400, train_loss_decay=0.995)
    assert examine(LOGGED, run).verdict == "absent"


def test_a_gap_far_wider_than_the_lag_is_a_gap() -> None:
    """Beyond it on the other side: train lies a nat below val, and the lag hides a tenth of it."""
    run = stated(falling(4e-4, kind="interval_mean", every=40, lag=199.5), train_loss_window=400)
    found = examine(LOGGED, with_losses(run, lambda step, value, name: value + (name == "val_loss")))
    assert found.verdict == "absent"


def test_what_one_value_is_must_be_known() -> None:
    run = without_evaluated_train(healthy(rng()))
    found = examine(LOGGED, replace(run, train_loss=replace(run.train_loss, kind="unknown")))
    assert (found.verdict, found.needs) == ("unknown", ("train_eval_loss",))
    found = examine(LOGGED, replace(run, train_loss=replace(run.train_loss, kind="running_mean")))
    assert (found.verdict, found.needs) == ("unknown", ("train_loss_decay",))
    assert examine(LOGGED, stated(run, dropout=None)).needs == ("dropout",)
    assert examine(LOGGED, run).verdict == "absent"


def test_dropout_is_measured_where_training_text_was_evaluated_at_other_steps() -> None:
    run = healthy(rng(), dropout=0.1)
    lifted = with_losses(run, lambda step, value, name: value + 0.2 * (name == "train_loss"))
    beside = replace(lifted.train_eval_loss, step=lifted.train_eval_loss.step + 7)
    found = examine(LOGGED, replace(lifted, train_eval_loss=beside))
    assert found.verdict == "present"
    assert "it lies +0.20" in found.because, found.because
    assert "train_eval_loss" in found.remedies[0].change
    assert examine(LOGGED, replace(run, train_eval_loss=beside)).verdict == "absent"  # dropout, and none of its offset


def test_like_beside_like_is_absent_and_says_what_the_logged_loss_is_off_by() -> None:
    lifted = with_losses(healthy(rng(), dropout=0.1), lambda step, value, name: value + 0.09 * (name == "train_loss"))
    found = examine(LOGGED, lifted)
    assert found.verdict == "absent"
    assert "train_loss lies +0.09" in found.because, found.because
    early = replace(lifted, train_eval_loss=lifted.train_eval_loss.between(0, 4000))  # says nothing of the end
    found = examine(LOGGED, early)
    assert found.verdict == "present"
    assert "dropout 0.1 is on" in found.because  # by the law, not by what was measured before


def test_dropout_within_its_range_of_the_gap_is_not_known() -> None:
    """Val 0.15 below train at p = 0.1: dropout makes 0.06 to 0.115 of it, half would be 0.075."""
    run = without_evaluated_train(healthy(rng(), dropout=0.1))
    found = examine(LOGGED, with_losses(run, lambda step, value, name: value + 0.15 * (name == "train_loss")))
    assert (found.verdict, found.needs) == ("unknown", ("train_eval_loss",))


def test_a_gap_of_units_is_none_of_logging() -> None:
    run = stated(without_evaluated_train(healthy(rng())), dropout=0.2)
    eight = with_losses(run, lambda step, value, name: value * (8 if name == "train_loss" else 1))
    found = examine(LOGGED, eight)
    assert found.verdict == "unknown"
    assert "units" in found.because


def test_epochs_are_averaged_over_an_epoch_and_their_length_in_updates_is_not_needed() -> None:
    """The curve of an epoch's mean is half an epoch old: 0.05 nats of a fall of 0.1 an epoch."""
    step = np.arange(1, 25, dtype=float)
    val = 5 - 0.1 * step
    train = val + 0.05 + 0.001 * rng().standard_normal(step.size)
    run = Run(train_loss=Series.of(step, train, kind="interval_mean"), val_loss=Series.of(step, val, kind="evaluation"))
    found = examine(LOGGED, stated(run, step_unit="epoch", dropout=0.0))
    assert found.verdict == "present", found.because
    assert "lags by 0.5 epochs" in found.because
    assert all("evaluation.every" not in remedy.config for remedy in found.remedies)


def test_validation_in_bits_per_byte_is_converted_or_asked_about() -> None:
    run = without_evaluated_train(healthy(rng()))
    bits = replace(run, val_loss=Series(), val_bits_per_byte=replace(run.val_loss, value=run.val_loss.value / 3.119))
    found = examine(LOGGED, bits)
    assert (found.verdict, found.needs) == ("unknown", ("bytes_per_token",))
    known = stated(bits, bytes_per_token=4.5)
    assert examine(LOGGED, known).verdict == "absent"
    now = diagnose(known).now
    assert now is not None
    assert now.val is not None
    assert now.val.value == pytest.approx(float(run.val_loss.value[-1]), abs=0.05)
    assert "bits per byte" in diagnose(known).run.reading.notes[-1]


def test_a_loss_that_is_nan_behind_another_number_is_no_training_loss() -> None:
    found = examine(LOGGED, hidden(0.0))
    assert found.verdict == "present"
    assert "step 6,020" in found.because or "step 6,000" in found.because, found.because
    sound = stated(healthy(rng()), nan_logged_as="the running mean")
    assert examine(LOGGED, sound).verdict == "absent"
    silent = replace(sound, grad_norm=Series(), val_loss=sound.val_loss.between(0, 7000))
    assert examine(LOGGED, silent).needs == ("grad_norm",)


@pytest.mark.parametrize("name", [LOGGED, UNIT])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_tail_that_is_not_finite_convicts_nobody(name: str, value: float) -> None:
    run = with_losses(healthy(rng()), lambda step, was, column: np.where(step < 7000, was, value))
    assert examine(name, run).verdict == "absent"


def test_a_short_log_is_too_short() -> None:
    run = example(LOGGED)
    few = replace(run, train_loss=run.train_loss.between(0, 200))
    assert examine(LOGGED, few).needs == ("train_loss",)
    assert examine(LOGGED, replace(run, val_loss=run.val_loss.between(0, 250))).needs == ("val_loss",)


def test_the_public_runs_of_nanogpt_evaluate_like_beside_like() -> None:
    """The one with dropout 0.1: the logged losses lie .095 ±.018 (one standard error) above the evaluated ones."""
    found = examine(LOGGED, read(shared("data/curves/seed_run/train.log")))
    assert found.verdict == "absent"
    assert "train_loss lies +0.0" in found.because
    assert examine(LOGGED, read(shared("data/curves/nanogpt_124m/train.log"))).verdict == "absent"


# NaN that is logged as another number: silence is not health


def hidden(stands: float, *, left_out: bool = False, precision: str = "fp16") -> Run:
    """From step 6,000 on loss and gradient are NaN, and the loss is logged as `stands`, or not at all."""
    run = healthy(rng(), precision=precision)
    broken = with_losses(run, lambda step, value, name: np.where(step < 6000, value, stands))
    if left_out:
        broken = with_losses(run, lambda step, value, name: value)
        broken = replace(broken, train_loss=broken.train_loss.between(0, 5999))
    norm = replace(run.grad_norm, value=np.where(run.grad_norm.step < 6000, run.grad_norm.value, math.nan))
    val = broken.val_loss.between(0, 5999)
    silent = replace(broken, grad_norm=norm, val_loss=val, train_eval_loss=Series())
    return stated(silent, nan_logged_as="left out" if left_out else "the running mean")


@pytest.mark.parametrize("run", [hidden(0.0), hidden(3.3), hidden(0.0, left_out=True)], ids=["0", "mean", "left out"])
def test_hidden_nan_is_found_by_the_gradient(run: Run) -> None:
    found = examine("half_precision_overflow", run)
    assert found.verdict == "present", found.because
    assert "NaN is logged as another thing" in found.because
    assert diagnose(run).state == "broken"
    assert examine("half_precision_overflow", stated(run, precision="bf16")).verdict == "absent"
    assert examine("diverged", run).verdict == "absent"  # what was finite had not risen


def test_what_is_logged_in_place_of_nan_is_no_rise() -> None:
    run = replace(hidden(8.0), val_loss=Series())
    assert examine("diverged", run).verdict == "absent"
    assert examine("half_precision_overflow", run).verdict == "present"
    assert (
        examine("diverged", stated(run, nan_logged_as=None)).verdict == "present"
    )  # the same numbers, if they are such


def test_rows_without_a_loss_tell_without_a_gradient() -> None:
    run = replace(hidden(0.0, left_out=True), grad_norm=Series())
    assert examine("half_precision_overflow", run).verdict == "present"


@pytest.mark.parametrize("name", ["half_precision_overflow", "diverged"])
def test_a_log_that_cannot_show_nan_proves_no_health(name: str) -> None:
    """Neither gradients nor a late evaluation: the loss that is logged may be a stand-in."""
    sound = healthy(rng(), precision="fp16", nan_logged_as="the running mean")
    silent = replace(sound, grad_norm=Series(), val_loss=Series(), train_eval_loss=Series())
    found = examine(name, silent)
    assert (found.verdict, found.needs) == ("unknown", ("grad_norm",)), found.because
    assert examine(name, stated(silent, nan_logged_as=None)).verdict == "absent"
    assert examine(name, replace(silent, grad_norm=sound.grad_norm)).verdict == "absent"
    assert examine(name, replace(silent, val_loss=sound.val_loss)).verdict == "absent"


def test_a_scaler_that_skips_for_good_is_told_from_hidden_nan_by_validation() -> None:
    run = stated(example("loss_scale_collapse"), nan_logged_as="the running mean")
    assert examine("loss_scale_collapse", run).verdict == "present"
    blind = replace(run, val_loss=run.val_loss.between(0, 5000), train_eval_loss=Series())
    assert examine("loss_scale_collapse", blind).verdict == "unknown"
    assert examine("half_precision_overflow", blind).verdict == "unknown"


# loss_not_comparable


@pytest.mark.parametrize("name", NEIGHBOURS)
@pytest.mark.parametrize("seed", range(3))
def test_no_neighbour_is_a_matter_of_units(name: str, seed: int) -> None:
    found = examine(UNIT, example(name, seed))
    assert found.verdict != "present", found.because


def in_unit(run: Run, factor: float) -> Run:
    return with_losses(run, lambda step, value, name: value * factor)


def test_bits_are_told_by_the_first_loss_and_the_laws() -> None:
    run = in_unit(healthy(rng()), 1 / math.log(2))
    found = examine(UNIT, run)
    assert found.verdict == "present"
    assert "bits per token" in found.because
    assert examine(UNIT, stated(run, parameters=None)).needs == ("parameters", "tokens_per_step")


def test_a_bad_start_at_the_height_of_bits_is_none() -> None:
    uniform = math.log(VOCABULARY)

    def unsure(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value + uniform * (1 / math.log(2) - 1) * np.exp(-step / 120))

    found = examine(UNIT, with_losses(healthy(rng()), unsure))
    assert found.verdict == "absent"
    assert "nearer to the laws as it is" in found.because


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(1 / 4.5, "nats per byte"), (1 / 4.5 / math.log(2), "bits per byte"), (1024.0, "nats per window")],
)
def test_units_that_the_facts_imply(factor: float, unit: str) -> None:
    found = examine(UNIT, in_unit(healthy(rng(), bytes_per_token=4.5), factor))
    assert found.verdict == "present", found.because
    assert unit in found.because


def test_perplexity() -> None:
    found = examine(UNIT, with_losses(healthy(rng()), lambda step, value, name: np.exp(value)))
    assert found.verdict == "present", found.because
    assert "perplexity" in found.because


@pytest.mark.parametrize("factor", [0.4, 0.9, 1.3, 3.0])
def test_a_first_loss_of_no_known_unit_is_asked_about(factor: float) -> None:
    assert examine(UNIT, in_unit(healthy(rng()), factor)).verdict != "present"


def test_trained_weights_tell_no_unit() -> None:
    """GPT-2 124M taken up: 3.3 nats at first, near ln V in bits per byte."""
    run = with_losses(healthy(rng()), lambda step, value, name: 3.42 - 0.2 * step / 10_000)
    assert examine(UNIT, stated(run, bytes_per_token=4.5)).verdict != "present"
    found = examine(UNIT, stated(run, bytes_per_token=4.5, initialised_from="gpt2"))
    assert found.verdict == "unknown"


def test_val_in_bits_beside_train_in_nats() -> None:
    run = with_losses(healthy(rng()), lambda step, value, name: value / (math.log(2) if name == "val_loss" else 1))
    found = examine(UNIT, run)
    assert found.verdict == "present"
    assert "val in bits per token" in found.because


def test_a_gap_that_grows_through_the_ratio_of_bits_is_a_gap() -> None:
    def growing(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value * (1 + 0.885 * step / 10_000 if name == "val_loss" else 1))  # 1 / ln 2 half way

    assert examine(UNIT, with_losses(healthy(rng()), growing)).verdict != "present"


@pytest.mark.parametrize("size", [-0.6, 0.3, 0.6])
def test_a_level_that_changes_at_a_resume_for_good(size: float) -> None:
    run = healthy(rng(3), resumed_at=(4000.0,))
    found = examine(UNIT, with_losses(run, lambda step, value, name: value + size * (step > 4000)))
    assert found.verdict == "present", found.because
    assert found.steps == (4000.0, 4000.0)
    at_once = with_losses(run, lambda step, value, name: value + size * (step >= 4000))  # evaluated as it is taken up
    assert examine(UNIT, at_once).verdict == "present"
    unstated = stated(run, resumed_at=())
    assert examine(UNIT, with_losses(unstated, lambda s, value, name: value + size * (s > 4000))).verdict == "absent"


@pytest.mark.parametrize("only", ["train_loss", "val_loss"])
def test_a_change_in_one_of_the_two_is_another_matter(only: str) -> None:
    run = healthy(rng(3), resumed_at=(4000.0,))
    changed = with_losses(run, lambda step, value, name: value - 0.6 * (step > 4000) * (name == only))
    assert examine(UNIT, changed).verdict == "absent"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tau", [60, 300, 1000])
def test_a_jump_that_decays_is_no_change_of_unit(seed: int, tau: float) -> None:
    run = healthy(rng(seed), resumed_at=(4000.0,))

    def fading(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value + (step > 4000) * 1.0 / (1 + np.maximum(step - 4000, 0) / tau))

    assert examine(UNIT, with_losses(run, fading)).verdict == "absent"


@pytest.mark.parametrize("length", [300, 1000, 3000])
def test_a_rise_after_a_resume_that_takes_its_time_is_none(length: float) -> None:
    run = healthy(rng(3), resumed_at=(4000.0,))
    risen = with_losses(run, lambda step, value, name: value + 0.6 * np.clip((step - 4000) / length, 0, 1))
    assert examine(UNIT, risen).verdict == "absent"


def test_a_rate_that_changes_there_moves_the_level_by_itself() -> None:
    run = example(UNIT)
    rate = run.learning_rate
    other = replace(rate, value=rate.value * np.where(rate.step >= 4000, 0.1, 1.0))
    assert examine(UNIT, replace(run, learning_rate=other)).verdict == "absent"


def with_term(run: Run, added: float) -> Run:
    """A balance loss that falls from 0.3 to 0.1, of which the share `added` stands in the logged training loss."""
    step = run.train_loss.step
    term = 0.1 + 0.2 * np.exp(-step / 3000)
    train = replace(run.train_loss, value=run.train_loss.value + added * term)
    return replace(run, train_loss=train, others={"train/load_balancing_loss": Series.of(step, term)})


def test_a_term_that_stands_in_train_alone() -> None:
    found = examine(UNIT, with_term(healthy(rng()), 1.0))
    assert found.verdict == "present", found.because
    assert "load_balancing_loss" in found.because
    assert examine(UNIT, with_term(healthy(rng()), 0.0)).verdict == "absent"
    assert examine(UNIT, with_term(healthy(rng()), 0.5)).verdict == "absent"  # added with a weight: not told
    blind = without_evaluated_train(with_term(healthy(rng()), 1.0))
    assert examine(UNIT, blind).verdict == "present"
    assert examine(UNIT, stated(blind, dropout=0.1)).verdict == "absent"  # dropout may be it
    constant = with_losses(with_term(healthy(rng()), 0.0), lambda s, v, name: v + 0.1 * (name == "train_loss"))
    assert examine(UNIT, constant).verdict == "absent"  # its late level, and not its early one


def test_another_tokenizer_compares_in_bits_per_byte_alone() -> None:
    run = healthy(rng(), vocabulary_size=8192, start=math.log(8192))
    found = examine(UNIT, run)
    assert (found.verdict, found.needs) == ("unknown", ("bytes_per_token",))
    known = examine(UNIT, stated(run, bytes_per_token=3.6))
    assert known.verdict == "absent"
    assert "bits per byte at 3.6 bytes a token" in known.because


def test_a_log_of_bits_per_byte_alone_asks_for_the_bytes_of_a_token() -> None:
    val = healthy(rng()).val_loss
    run = Run(val_bits_per_byte=replace(val, value=val.value / 3.119))
    assert examine(UNIT, run).needs == ("bytes_per_token",)


def test_every_cause_holds_on_hidden_nan_and_on_epochs() -> None:
    """No crash, and no cause but those of the fault, where NaN is hidden or steps count epochs."""
    for name in CATALOGUE:
        if name not in ("half_precision_overflow", LOGGED):
            assert examine(name, hidden(0.0)).verdict != "present", name
    told = diagnose(stated(healthy(rng()), step_unit="epoch"))
    assert [cause.name for cause in told.by_verdict("present")] == []
    assert told.forecast is None
    assert told.expected is None
