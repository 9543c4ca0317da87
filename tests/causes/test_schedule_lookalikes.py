"""The schedule and the peak rate: each cause on runs that only look like it, and on its neighbours."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence
from talweg.estimate import Estimate
from talweg.finding import Finding
from talweg.run import Facts, Run, Series
from talweg.schedule import Schedule
from talweg.simulated import Array, healthy, with_losses

from .asking import examine, example, rng, stated


def nats(found: Finding) -> Estimate:
    assert found.nats is not None
    return found.nats


def decaying(kind: str = "cosine", end: float = 0.0, warmup: int = 250, seed: int = 0, **more: object) -> Run:
    schedule = Schedule(kind, 6e-4, end * 6e-4, warmup, 10_000, max(8000, warmup))  # type: ignore[arg-type]
    return healthy(rng(seed), schedule=schedule, **more)  # type: ignore[arg-type]


# final_learning_rate_too_high

FINAL = "final_learning_rate_too_high"


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
@pytest.mark.parametrize("end", [0.0, 0.01, 0.1])
def test_an_end_at_a_tenth_is_what_recipes_have(kind: str, end: float) -> None:
    found = examine(FINAL, decaying(kind, end))
    assert found.verdict == "absent"
    assert nats(found).value < 0.012


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
def test_an_end_at_two_fifths_is_too_high(kind: str) -> None:
    found = examine(FINAL, decaying(kind, 0.4))
    assert found.verdict == "present"
    assert 0.025 < nats(found).value < 0.055
    assert {"schedule.min_lr": 0.0}.items() <= found.remedies[1].config.items()
    gains = [remedy.gain for remedy in found.remedies]
    assert gains[0] is not None
    assert gains[1] is not None
    assert gains[1].value < gains[0].value  # the lower schedule also spends rate before


def test_the_cost_is_that_of_the_law_the_run_was_made_from() -> None:
    """The same law evaluated without any fit: area and decay of both paths, amplitude and gain as simulated."""
    from talweg import simulated
    from talweg.laws import annealing, gain, schedule

    run = decaying("cosine", 0.4)
    steps = annealing.grid(10_000)
    rate = run.planned_schedule.at(steps)  # type: ignore[union-attr]
    own, other = (schedule.path(steps, r) for r in (rate, schedule.with_last_decay(steps, rate)))
    g = gain.prior(simulated.PARAMETERS, 6e-4, simulated.PARAMETERS * 40 / 10_000)[0]
    usual = schedule.path(steps, Schedule("cosine", 6e-4, 6e-6, 250, 10_000).at(steps)).area[-1]
    fall = [0.8 * (p.area[-1] / (usual / 10)) ** -0.506 for p in (own, other)]
    true = fall[0] - fall[1] + g * (other.decayed[-1] - own.decayed[-1])
    found = nats(examine(FINAL, run))
    assert found.low < true < found.high


def test_a_constant_rate_and_a_small_step_down_are_another_cause() -> None:
    for run in (decaying("constant"), decaying("cosine", 0.7)):
        assert examine(FINAL, run).verdict == "absent"


@pytest.mark.parametrize("end", [0.2, 0.3, 0.45, 0.55, 0.7, 1.0])
def test_the_same_nats_are_never_counted_twice(end: float) -> None:
    run = decaying("cosine", end)
    both = [examine(name, run).verdict for name in (FINAL, "learning_rate_not_decayed")]
    assert both.count("present") <= 1
    assert end == 0.2 or "present" in both  # 0.2 costs 0.017: not enough


@pytest.mark.parametrize("stop", [3000, 6000, 8000])
def test_a_decay_still_to_come_is_not_a_matter_of_its_end(stop: int) -> None:
    run = decaying("cosine", 0.3, stop_at=stop)
    assert examine(FINAL, run).verdict == "absent"
    assert examine("learning_rate_not_decayed", run).verdict == "present"


def test_a_log_that_ends_before_its_plan_does_not_show_the_end() -> None:
    run = stated(decaying("cosine", 0.0, stop_at=6000), schedule=None)
    assert examine(FINAL, run).verdict == "unknown"
    assert examine(FINAL, stated(run, planned_steps=None, decay_end_step=None)).verdict == "unknown"


def test_schedule_free_and_an_empty_or_short_log() -> None:
    assert examine(FINAL, stated(example(FINAL), optimizer="schedule_free")).verdict == "absent"
    assert examine(FINAL, Run()).verdict == "unknown"


# warmup_too_long

LONG = "warmup_too_long"


@pytest.mark.parametrize("kind", ["constant", "wsd"])
def test_half_of_the_plan_below_the_peak_costs_under_a_flat_rate(kind: str) -> None:
    found = examine(LONG, decaying(kind, 0.0, 5000))
    assert found.verdict == "present"
    assert nats(found).low > 0.015
    assert found.remedies[0].config["schedule.warmup_steps"] == 300


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_a_third_of_a_line_to_zero_costs_next_to_nothing(kind: str) -> None:
    found = examine(LONG, decaying(kind, 0.0, 3300))
    assert found.verdict == "absent"
    assert nats(found).value < 0.012


@pytest.mark.parametrize("warmup", [10, 250, 500, 900])
def test_usual_warmups_are_absent(warmup: int) -> None:
    assert examine(LONG, decaying("wsd", 0.0, warmup)).verdict == "absent"


def test_a_short_run_at_a_high_rate_is_not_told_to_warm_up_less() -> None:
    """240 of 800 updates were 0.17 nats better than 80 where that was measured."""
    schedule = Schedule("wsd", 3e-3, 3e-4, 240, 800, 640)
    run = healthy(rng(), steps=800, schedule=schedule, parameters=5e5, tokens_per_parameter=1.6, log_every=1)
    assert examine(LONG, run).verdict != "present"


def test_a_second_rise_of_the_rate_is_no_warmup() -> None:
    run = example("schedule_restarted_on_resume")
    later = replace(
        run.learning_rate, value=run.learning_rate.value * np.where(run.learning_rate.step > 6000, 1.3, 1.0)
    )
    assert examine(LONG, replace(run, learning_rate=later)).verdict != "present"


def test_a_warmup_stated_in_micro_batches_is_the_other_cause() -> None:
    slow = Schedule("wsd", 6e-4, 0.0, 5000, 10_000, 8000)
    run = healthy(rng(), schedule=slow, accumulation=10, warmup_steps=500, ranks=1)
    assert examine(LONG, run).verdict == "absent"
    assert examine("schedule_in_wrong_units", run).verdict == "present"


def test_a_log_that_begins_late_follows_its_plan_before() -> None:
    run = decaying("cosine")
    columns = ("train_loss", "train_eval_loss", "val_loss", "learning_rate")
    late = replace(run, **{name: getattr(run, name).between(8000, 10_000) for name in columns})
    for name in (LONG, FINAL):
        assert examine(name, late).verdict == "absent"
        assert examine(name, stated(late, schedule=None)).verdict == "unknown"
    assert evidence.peak_rate(late) == 6e-4


def test_epochs_for_steps_and_nothing_known() -> None:
    assert examine(LONG, evidence.by_step(stated(example(LONG), step_unit="epoch"))).verdict == "unknown"
    assert examine(LONG, replace(example(LONG), learning_rate=Series(), facts=Facts())).verdict == "unknown"


# warmup_too_short

SHORT = "warmup_too_short"


def bumped(run: Run, at: float, size: float, lasts: float) -> Run:
    def thrown(step: Array, value: Array, name: str) -> Array:
        return np.asarray(
            value + size * np.clip((step - at) / 20, 0, 1) * np.exp(-np.maximum(step - at - 20, 0) / lasts)
        )

    return with_losses(run, thrown)


def brief(seed: int = 0, warmup: int = 20, **more: object) -> Run:
    schedule = Schedule("cosine", 1e-3, 1e-5, warmup, 2500)
    return healthy(rng(seed), steps=2500, schedule=schedule, log_every=5, **more)  # type: ignore[arg-type]


def test_without_a_bump_a_long_run_is_absent() -> None:
    assert examine(SHORT, brief()).verdict == "absent"


def test_the_same_bump_after_a_long_warmup_is_not_its_fault() -> None:
    found = examine(SHORT, bumped(brief(warmup=250), 60, 2.5, 250))
    assert found.verdict == "absent"


def test_a_bump_that_is_forgotten_costs_nothing() -> None:
    run = bumped(decaying("cosine", 0.01, 20, log_every=5), 60, 2.0, 60)
    found = examine(SHORT, run)
    assert found.verdict == "absent"
    assert nats(found).value < 0.01


def test_spikes_late_in_the_run_are_no_matter_of_the_warmup() -> None:
    assert examine(SHORT, bumped(brief(), 1500, 2.5, 250)).verdict == "absent"
    assert examine(SHORT, bumped(bumped(brief(), 60, 2.5, 250), 1500, 2.5, 250)).verdict == "absent"


def test_a_loss_that_does_not_come_back_is_more_than_a_warmup() -> None:
    assert examine(SHORT, bumped(brief(), 60, 4.0, 1e9)).verdict == "unknown"


def test_a_peak_beyond_the_law_is_the_other_cause() -> None:
    found = examine(SHORT, stated(example(SHORT), parameters=2e10))
    assert found.verdict == "absent"
    assert "another cause" in found.because


def test_a_single_spike_and_a_noisy_log_are_no_bump() -> None:
    def spike(step: Array, value: Array, name: str) -> Array:
        return value + 3.0 * (step == 100)

    assert examine(SHORT, with_losses(brief(), spike)).verdict == "absent"
    for seed in range(5):
        assert examine(SHORT, brief(seed, batch_sd=0.25)).verdict == "absent"


def test_a_short_run_without_a_bump_is_unknown_and_says_how_much_may_hide() -> None:
    schedule = Schedule("cosine", 3e-3, 3e-4, 40, 800)
    run = healthy(rng(), steps=800, schedule=schedule, parameters=5e5, tokens_per_parameter=1.6, log_every=1)
    found = examine(SHORT, run)
    assert (found.verdict, found.would_narrow_nats) == ("unknown", 0.56)
    assert examine(SHORT, stated(run, warmup_steps=240)).verdict == "absent"


def test_a_log_without_the_first_steps_is_unknown() -> None:
    sparse = example(SHORT)
    few = replace(
        sparse,
        train_loss=replace(sparse.train_loss, step=sparse.train_loss.step[::100], value=sparse.train_loss.value[::100]),
    )
    assert examine(SHORT, few).verdict == "unknown"


def test_the_steps_lost_are_counted_by_hand() -> None:
    """From the foot to the step at which the median of five is back: their area over the whole, above 1.8 nats."""
    found = nats(examine(SHORT, example(SHORT)))
    run = example(SHORT)
    level = evidence.val_level(run)
    assert level is not None
    lost, whole = 330.0, 0.5 * 2500  # steps at the peak rate, about
    hand = (level.value - 1.8) * (1 - ((whole + lost) / whole) ** -(0.115 * 40**-0.11))
    assert found.value == pytest.approx(hand, rel=0.25)


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
