"""The size and the pace of the learning rate: each cause on runs that only look like it, and on its neighbours."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg.run import Run, Series
from talweg.schedule import Schedule
from talweg.simulated import Array, healthy, with_losses

from .asking import examine, example, rng, stated
from .test_schedule_lookalikes import FINAL, LONG, decaying, nats

# learning_rate_too_low

LOW = "learning_rate_too_low"


def at_peak(peak: float, n: float = 124e6, **more: object) -> Run:
    return healthy(rng(), schedule=Schedule("cosine", peak, 0.0, 250, 10_000), parameters=n, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "peak"), [(124e6, 6e-4), (350e6, 3e-4), (760e6, 2.5e-4), (1.3e9, 2e-4), (30e6, 1e-3)])
def test_published_recipes_are_not_too_low(n: float, peak: float) -> None:
    """The rates of GPT-3's table at its sizes, on 40 tokens a parameter."""
    assert examine(LOW, at_peak(peak, n, optimizer="adamw")).verdict == "absent"


@pytest.mark.parametrize("optimizer", ["adamw", "muon", None])
def test_a_hundredth_of_the_best_is_too_low(optimizer: str | None) -> None:
    found = examine(LOW, at_peak(1.5e-5, above=0.1, optimizer=optimizer))
    assert found.verdict == "present"
    cost = nats(found)
    assert 0.03 < cost.low < cost.value < cost.high
    assert float(str(found.remedies[0].config["optimizer.peak_lr"])) > 3e-4


def test_too_high_is_not_too_low_and_the_other_way_round() -> None:
    high, low = example("learning_rate_too_high"), example(LOW)
    assert examine(LOW, high).verdict == "absent"
    assert examine("learning_rate_too_high", low).verdict == "absent"


def test_a_small_batch_wants_a_low_rate() -> None:
    """Of 5 B tokens in steps of 4,960, a hundredth of before, the best rate is lower by as much."""
    run = stated(at_peak(4e-5, above=0.1), tokens_per_step=4960.0, planned_steps=1_000_000)
    assert examine(LOW, run).verdict == "absent"


def test_trained_weights_want_a_low_rate() -> None:
    found = examine(LOW, stated(example(LOW), initialised_from="gpt2"))
    assert found.verdict == "absent"
    tuned = with_losses(example(LOW), lambda step, value, name: 3.0 + 0.3 * np.exp(-step / 2000) + 0 * value)
    assert examine(LOW, tuned).verdict == "absent"


def test_an_unknown_scale_or_size_is_unknown() -> None:
    assert examine(LOW, stated(example(LOW), optimizer="lion")).verdict == "unknown"
    assert examine(LOW, stated(example(LOW), parameters=None)).verdict == "unknown"


def test_a_warmup_in_flight_is_judged_by_its_plan() -> None:
    assert examine(LOW, at_peak(6e-4, stop_at=100, log_every=1)).verdict != "present"


def test_a_rate_that_does_not_follow_its_plan_is_another_cause() -> None:
    run = at_peak(6e-4, above=0.1)
    low = replace(run, learning_rate=replace(run.learning_rate, value=run.learning_rate.value / 100))
    assert examine(LOW, low).verdict != "present"


def test_muon_has_its_own_law_in_both_causes() -> None:
    """Beyond twice AdamW's reach where updates are scaled; ten times that may be right where they are not."""
    far = at_peak(0.04, above=1.2, batch_sd=0.15, optimizer="muon")
    own = replace(far, format="talweg")
    assert examine("learning_rate_too_high", own).verdict == "present"
    assert examine("learning_rate_too_high", far).verdict != "present"
    sound = replace(at_peak(1e-3, optimizer="muon"), format="talweg")
    assert examine("learning_rate_too_high", sound).verdict == "absent"
    assert examine(LOW, sound).verdict == "absent"


# learning_rate_stuck_at_zero

ZERO = "learning_rate_stuck_at_zero"


def with_rate(run: Run, value: Array, resolution: float = 0.0) -> Run:
    return replace(run, learning_rate=Series.of(run.learning_rate.step, value, resolution=resolution))


def fresh(run: Run) -> Run:
    noise = np.random.default_rng(1)
    return with_losses(run, lambda step, value, name: math.log(50_257) + 0.02 * noise.standard_normal(step.size))


def test_a_rate_of_zero_throughout_and_a_loss_that_stays() -> None:
    run = healthy(rng())
    found = examine(ZERO, fresh(with_rate(run, np.zeros(len(run.learning_rate)), 1e-6)))
    assert found.verdict == "present"
    assert "5e-07" not in found.because  # the plan says that it is not a matter of digits
    assert examine("no_parameter_update", fresh(with_rate(run, np.zeros(len(run.learning_rate))))).verdict == "absent"


def test_small_rates_print_as_zero_and_the_loss_tells() -> None:
    run = stated(healthy(rng()), peak_learning_rate=None, schedule=None)
    found = examine(ZERO, with_rate(run, np.zeros(len(run.learning_rate)), 1e-6))
    assert found.verdict == "absent"
    assert "5e-07" in found.because


def test_a_plan_below_the_printed_digits_is_as_planned() -> None:
    tiny = stated(healthy(rng()), peak_learning_rate=4e-7, min_learning_rate=0.0)
    assert examine(ZERO, fresh(with_rate(tiny, np.zeros(len(tiny.learning_rate)), 1e-6))).verdict == "absent"


def test_the_first_lines_of_a_long_warmup_are_no_fault() -> None:
    schedule = Schedule("cosine", 6e-4, 0.0, 5000, 100_000)
    run = fresh(healthy(rng(), steps=100_000, schedule=schedule, stop_at=60, log_every=1, eval_every=10))
    small = with_rate(run, np.round(run.learning_rate.value, 4), 1e-4)
    assert examine(ZERO, small).verdict == "absent"
    assert examine(ZERO, stated(small, schedule=None, peak_learning_rate=None, planned_steps=None)).verdict == "unknown"


def test_a_constant_rate_that_was_meant_is_absent() -> None:
    assert examine(ZERO, decaying("constant")).verdict == "absent"
    unknown = stated(decaying("constant"), schedule=None, peak_learning_rate=None, planned_steps=None)
    assert examine(ZERO, unknown).verdict == "absent"


def test_a_rate_that_came_down_to_zero_was_above_it_before() -> None:
    assert examine(ZERO, example("learning_rate_decayed_too_early")).verdict == "absent"
    late = example("learning_rate_decayed_too_early")
    tail = replace(
        late, learning_rate=late.learning_rate.between(6000, 10_000), train_loss=late.train_loss.between(6000, 10_000)
    )
    assert examine(ZERO, tail).verdict != "present"


def test_another_groups_rate_is_no_stuck_one() -> None:
    run = healthy(rng())
    constant = with_rate(run, np.full(len(run.learning_rate), 2e-5))
    found = examine(ZERO, constant)
    assert found.verdict == "unknown"
    assert "yet the loss fell" in found.because


def test_weights_that_do_not_move_at_a_rate_above_zero_are_another_cause() -> None:
    assert examine(ZERO, example("no_parameter_update")).verdict == "absent"
    assert examine("no_parameter_update", example(ZERO)).verdict != "present"


# schedule_in_wrong_units

UNITS = "schedule_in_wrong_units"


def paced(k: float, plan: Schedule, **facts: object) -> Run:
    """A run whose rate goes through `plan` k times as fast, losses by that rate."""
    actual = replace(
        plan,
        warmup_steps=max(1, round(plan.warmup_steps / k)),
        end_step=round(plan.end_step / k),
        decay_start=round(plan.decay_start / k),
    )
    run = healthy(rng(), schedule=actual, ranks=1)
    return stated(run, **{"warmup_steps": plan.warmup_steps, "decay_end_step": plan.end_step, **facts})


@pytest.mark.parametrize(
    ("k", "neighbour"), [(8.0, "learning_rate_decayed_too_early"), (0.125, "learning_rate_not_decayed")]
)
def test_one_cause_for_one_fault(k: float, neighbour: str) -> None:
    run = paced(k, Schedule("cosine", 6e-4, 0.0, 400, 10_000), accumulation=8)
    found = examine(UNITS, run)
    assert found.verdict == "present"
    assert "micro-batches" in found.because
    assert nats(found).low > 0.01
    assert examine(neighbour, run).verdict == "absent"
    without = stated(run, accumulation=None, ranks=None)
    assert examine(UNITS, without).verdict == "unknown"
    assert examine(neighbour, without).verdict == "present"


def test_a_run_that_is_still_warming_at_its_end() -> None:
    plan = Schedule("cosine", 6e-4, 0.0, 400, 10_000)
    run = paced(1 / 32, plan, accumulation=32)
    assert examine(UNITS, run).verdict == "present"
    assert examine(LONG, run).verdict == "absent"
    assert examine(FINAL, run).verdict == "absent"


def test_a_decay_that_was_planned_to_end_early_is_no_matter_of_units() -> None:
    run = stated(example("learning_rate_decayed_too_early"), accumulation=4)
    assert examine(UNITS, run).verdict == "absent"
    assert examine("learning_rate_decayed_too_early", run).verdict == "present"


def test_a_factor_that_fits_no_number_of_the_run_convicts_nobody() -> None:
    found = examine(UNITS, paced(3.0, Schedule("cosine", 6e-4, 0.0, 400, 10_000), accumulation=8))
    assert found.verdict == "unknown"


def test_a_log_that_itself_counts_micro_batches_is_not_accused() -> None:
    run = healthy(rng(), accumulation=8, ranks=1)
    by_eight = {
        name: replace(s, step=8 * s.step)
        for name in ("train_loss", "train_eval_loss", "val_loss", "learning_rate")
        if (s := getattr(run, name))
    }
    assert examine(UNITS, replace(run, **by_eight)).verdict == "unknown"


def test_a_pace_that_costs_nothing_is_absent() -> None:
    """A warm-up of 30 for 240 steps."""
    run = stated(
        healthy(rng(), schedule=Schedule("wsd", 6e-4, 0.0, 2000, 10_000, 8000), ranks=1, accumulation=2),
        warmup_steps=1000,
    )
    found = examine(UNITS, run)
    assert found.verdict == "absent"
    assert nats(found).value < 0.01


def test_few_rates_no_plan_no_log_of_the_rate() -> None:
    run = example(UNITS)
    assert examine(UNITS, replace(run, learning_rate=Series())).verdict == "unknown"
    assert examine(UNITS, stated(run, schedule=None)).verdict == "unknown"
    assert examine(UNITS, stated(run, step_unit="epoch")).verdict == "unknown"
