"""The schedule and the peak rate: each cause on runs that only look like it, and on its neighbours."""

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
        return np.asarray(value + 3.0 * (step == 100))

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
