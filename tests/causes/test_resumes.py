"""The three faults of a resume on runs that only look like them, and their costs against what was planted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talweg import evidence, readers
from talweg.causes import data_restarted_on_resume as data
from talweg.causes import learning_rate_not_decayed
from talweg.causes import optimizer_state_lost_on_resume as moments
from talweg.causes import schedule_restarted_on_resume as schedules
from talweg.curve.replay import Replay
from talweg.laws import synthetic
from talweg.run import Run, Series
from talweg.schedule import Schedule
from talweg.simulated import Array, healthy, with_losses

from .asking import rng, stated

THREE = (moments, schedules, data)
AT = 5000.0


def jumped(run: Run, size: float = 0.3, tau: float = 60.0, at: float = AT) -> Run:
    def change(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value + size * np.exp(-np.maximum(step - at, 0) / tau) * (step > at))

    return with_losses(run, change)


def taken_up(seed: int = 0, **given: object) -> Run:
    return healthy(rng(seed), **{"log_every": 10, "batch_sd": 0.03, "resumed_at": (AT,), **given})  # type: ignore[arg-type]


# sound resumes


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_resume_has_none_of_the_three(seed: int) -> None:
    run = taken_up(seed)
    for cause in THREE:
        found = cause.examine(run)
        assert found.verdict == "absent", found.because
    assert "go unseen" in moments.examine(run).because


def test_a_run_that_was_never_taken_up_is_not_even_looked_at() -> None:
    run = jumped(stated(taken_up(), resumed_at=()))
    for cause in THREE:
        found = cause.examine(run)
        assert found.verdict == "absent"
        assert "never" in found.because


def test_a_log_that_nobody_spoke_of_and_that_shows_nothing() -> None:
    run = stated(taken_up(), resumed_at=None)
    assert evidence.resumes(run) is None
    for cause in THREE:
        assert cause.examine(run).verdict == "absent"


def test_where_too_little_is_logged_around_the_resume_nothing_is_known() -> None:
    late = stated(taken_up(), resumed_at=(9990.0,))
    for cause in (moments, data):
        found = cause.examine(late)
        assert found.verdict == "unknown"
        assert found.needs[0] == "train_loss"


def test_a_change_of_the_batch_at_the_resume_is_no_fault() -> None:
    """Half the noise and a level that does not jump."""

    def quieter(step: Array, value: Array, name: str) -> Array:
        middle = np.interp(step, step[::20], np.convolve(value, np.ones(21) / 21, mode="same")[::20])
        return np.where(step > AT, middle + 0.5 * (value - middle), value)

    run = taken_up()
    run = replace(run, train_loss=with_losses(run, quieter).train_loss)
    for cause in THREE:
        assert cause.examine(run).verdict == "absent"


# where it was taken up


def with_times(run: Run, slow: tuple[float, ...]) -> Run:
    step = run.train_loss.step
    seconds = 0.5 + 0.01 * rng(1).standard_normal(step.size)
    seconds[np.isin(step, slow)] = 20.0
    return replace(run, seconds_per_step=Series.of(step, seconds))


def test_a_slow_step_is_a_start() -> None:
    run = with_times(stated(taken_up(), resumed_at=None), (0.0, AT))
    places = evidence.resumes(run)
    assert places is not None
    assert [place.step for place in places] == [AT]
    assert not places[0].stated
    assert moments.examine(run).verdict == "absent"
    found = moments.examine(jumped(run))
    assert found.verdict == "present"
    assert "took 40 times as long" in found.because


def test_steps_that_are_slow_again_and_again_are_evaluations() -> None:
    run = with_times(stated(taken_up(), resumed_at=None), tuple(range(0, 10_000, 500)))
    assert evidence.resumes(run) is None


# optimizer_state_lost_on_resume


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tau", [40.0, 60.0, 300.0])
def test_a_jump_right_after_the_resume_is_found(seed: int, tau: float) -> None:
    found = moments.examine(jumped(taken_up(seed), tau=tau))
    assert found.verdict == "present", found.because
    assert "goes on as before" in found.because


def test_a_spike_elsewhere_is_no_lost_state() -> None:
    assert moments.examine(jumped(taken_up(), at=7000.0)).verdict == "absent"


def test_a_spike_of_a_run_that_nobody_spoke_of_asks_where_it_was_taken_up() -> None:
    found = moments.examine(jumped(stated(taken_up(), resumed_at=None), size=1.0))
    assert found.verdict == "unknown"
    assert found.needs == ("resumed_at",)
    assert "a spike, or a resume" in found.because


def test_a_drop_and_a_rise_that_builds_up_are_no_jump() -> None:
    assert moments.examine(jumped(taken_up(), size=-0.3)).verdict == "absent"

    def slowly(step: Array, value: Array, name: str) -> Array:
        return np.asarray(value + 0.3 * np.clip((step - AT) / 1000, 0, 1))

    assert moments.examine(with_losses(taken_up(), slowly)).verdict == "absent"


def test_a_jump_with_another_rate_is_not_charged_to_the_moments() -> None:
    restarted = schedules.Restarted("cosine", 6e-4, 6e-6, 0, 10_000, restart=int(AT))
    found = moments.examine(jumped(taken_up(schedule=restarted)))
    assert found.verdict == "unknown"
    assert "the rate changes" in found.because


def test_a_scatter_that_would_hide_the_jump_is_no_acquittal() -> None:
    found = moments.examine(taken_up(batch_sd=0.5))
    assert found.verdict == "unknown"
    assert found.needs == ("checkpoint",)
    assert "would go unseen" in found.because


# schedule_restarted_on_resume

PLAN = Schedule("cosine", 6e-4, 6e-6, 250, 10_000)


def level(schedule: Schedule, plan_area: float | None = None) -> float:
    """The generator's level at the end, noise apart."""
    made = synthetic.curve(
        rng(),
        steps=10_000,
        schedule=schedule,
        floor=3.0,
        amplitude=0.8,
        iterate_sd=0.0,
        eval_sd=0.0,
        batch_sd=0.0,
        heavy_tail=0.0,
    )
    return float(made.val[-1])


@pytest.mark.parametrize("restart", [5000, 6000, 8000])
def test_the_cost_of_a_restart_holds_what_was_planted(restart: int) -> None:
    """The generator scales its power law to the area of its own schedule: here both have that of the plan."""
    restarted = schedules.Restarted("cosine", 6e-4, 6e-6, 250, 10_000, restart=restart)
    area = float(restarted.at(np.arange(10_000)).sum()) / float(PLAN.at(np.arange(10_000)).sum())
    truth = level(restarted) - level(PLAN)
    truth += 0.8 * 10**-0.47 * (area**-0.47 - 1)  # S1 beyond the plan's is worth that much
    hits = 0
    for seed in range(5):
        run = healthy(rng(seed), schedule=restarted, resumed_at=(float(restart),))
        found = schedules.examine(run)
        assert found.verdict == "present", found.because
        assert found.nats is not None
        assert found.steps == (restart, 10_000)
        hits += found.nats.low <= truth <= found.nats.high
    assert hits >= 3, truth


def test_in_flight_the_rest_of_the_plan_is_that_of_the_restarted_schedule() -> None:
    restarted = schedules.Restarted("cosine", 6e-4, 6e-6, 250, 10_000, restart=6000)
    whole = schedules.examine(healthy(rng(1), schedule=restarted, resumed_at=(6000.0,)))
    cut = schedules.examine(healthy(rng(1), schedule=restarted, resumed_at=(6000.0,), stop_at=7500))
    assert whole.nats is not None
    assert cut.nats is not None
    assert cut.nats.value == pytest.approx(whole.nats.value, rel=0.5)


def test_a_rate_that_is_raised_a_little_is_no_restart() -> None:
    run = taken_up()
    rate = run.learning_rate
    raised = replace(rate, value=rate.value + 0.05 * 6e-4 * (rate.step >= AT))
    assert evidence.restart(replace(run, learning_rate=raised)) is None
    raised = replace(rate, value=rate.value + 0.3 * 6e-4 * (rate.step >= AT))
    assert evidence.restart(replace(run, learning_rate=raised)) is not None


def test_the_decay_that_is_missing_is_charged_once() -> None:
    run = schedules.example(rng())
    assert learning_rate_not_decayed.examine(run).verdict == "absent"
    assert "has its own cost" in learning_rate_not_decayed.examine(run).because


def test_an_early_restart_costs_nothing_and_is_said_to() -> None:
    restarted = schedules.Restarted("cosine", 6e-4, 6e-6, 250, 10_000, restart=2500)
    found = schedules.examine(healthy(rng(), schedule=restarted, resumed_at=(2500.0,)))
    assert found.verdict == "absent"
    assert found.nats is not None
    assert "at the end of the plan" in found.because


def test_a_warm_up_that_is_repeated_is_a_restart_though_nobody_spoke_of_a_resume() -> None:
    restarted = schedules.Restarted("cosine", 6e-4, 6e-6, 250, 10_000, restart=6000)
    found = schedules.examine(healthy(rng(), schedule=restarted, resumed_at=None))
    assert found.verdict == "present", found.because


def test_a_warm_restart_of_an_unknown_plan_is_asked_about() -> None:
    cycles = schedules.Restarted("cosine", 6e-4, 6e-6, 0, 10_000, restart=6000)
    run = healthy(rng(), schedule=cycles, resumed_at=None)
    found = schedules.examine(stated(run, schedule=None))
    assert found.verdict == "unknown"
    assert "by design" in found.because
    assert found.needs == ("resumed_at",)


def test_a_restart_away_from_every_resume_is_by_design() -> None:
    cycles = schedules.Restarted("cosine", 6e-4, 6e-6, 0, 10_000, restart=6000)
    assert schedules.examine(healthy(rng(), schedule=cycles, resumed_at=(3000.0,))).verdict == "absent"


def test_a_new_phase_after_a_finished_decay_is_no_fault() -> None:
    phases = schedules.Restarted("cosine", 6e-4, 6e-6, 250, 5000, restart=5000)
    run = healthy(rng(), schedule=phases, resumed_at=(5000.0,))
    found = schedules.examine(run)
    assert found.verdict == "absent"
    assert "new phase" in found.because


def test_without_the_plan_the_cost_is_not_known() -> None:
    run = stated(schedules.example(rng()), schedule=None)
    found = schedules.examine(run)
    assert found.verdict == "unknown"
    assert found.needs == ("schedule", "planned_steps")


def test_without_a_logged_rate_nothing_is_known() -> None:
    run = replace(schedules.example(rng()), learning_rate=Series())
    assert schedules.examine(run).needs == ("learning_rate",)


# data_restarted_on_resume


def replayed(seed: int, *, at: int, back: int, every: int = 10, **given: object) -> Run:
    """From step `at` on the text is that of `back` steps before."""
    draw = rng(seed)
    run = healthy(draw, log_every=every, batch_sd=0.01, resumed_at=(float(at),), **given)  # type: ignore[arg-type]
    step = run.train_loss.step.astype(np.int64)
    hard = 0.05 * draw.standard_normal(step.size)
    place = np.where(step < at, step, step - back) // every
    return replace(run, train_loss=replace(run.train_loss, value=run.train_loss.value + hard[place]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("at", "back"), [(4000, 4000), (5000, 1500), (9000, 9000)])
def test_batches_that_come_again_are_found(seed: int, at: int, back: int) -> None:
    found = data.examine(replayed(seed, at=at, back=back))
    assert found.verdict == "present", found.because
    assert f"those of {back:,} steps before" in found.because


def test_they_are_found_where_nobody_spoke_of_a_resume() -> None:
    found = data.examine(stated(replayed(0, at=5000, back=3000), resumed_at=None))
    assert found.verdict == "present", found.because
    assert found.steps is not None
    assert found.steps[0] == pytest.approx(5000, abs=200)


def test_passes_in_one_order_are_the_texts_own() -> None:
    """A text of 2,000 steps, read five times in one order; taken up in the middle of a pass."""
    draw = rng(1)
    size = 124e6 * 40.0 / 5
    run = healthy(draw, log_every=10, batch_sd=0.01, resumed_at=(5000.0,), train_tokens=size, unique_tokens=size)
    hard = np.tile(0.05 * draw.standard_normal(200), 6)[: len(run.train_loss)]
    run = replace(run, train_loss=replace(run.train_loss, value=run.train_loss.value + hard))
    uncounted = stated(run, train_tokens=None, unique_tokens=None)
    for given in (run, stated(run, resumed_at=None), uncounted, stated(uncounted, resumed_at=None)):
        found = data.examine(given)
        assert found.verdict == "absent", found.because
        assert "order" in found.because


def test_one_return_of_a_text_that_nobody_counted_is_asked_about() -> None:
    run = replayed(0, at=5000, back=3000)
    found = data.examine(stated(run, resumed_at=None, train_tokens=None, unique_tokens=None))
    assert found.verdict == "unknown"
    assert found.needs == ("resumed_at", "train_tokens")


def test_steps_that_are_read_again_counted_by_hand() -> None:
    def at(step: float, shift: float) -> Replay:
        return Replay(shift, step, 0.9, 100, 9.0, 0.0)

    assert data._repeated([at(400, 400)], 1000) == 400  # 0-400 again, then 200 new ones
    assert data._repeated([at(900, 900)], 1000) == 100
    assert data._repeated([at(500, 100)], 1000) == 100
    assert data._repeated([at(300, 300), at(600, 300), at(900, 300)], 1000) == 700  # the first 300 again and again


def test_many_restarts_of_one_stretch_cost_what_so_few_tokens_cost() -> None:
    once = data._cost(healthy(rng()), 0.5 * 5e9, 5e9)
    often = data._cost(healthy(rng()), 0.95 * 5e9, 5e9)
    assert once is not None
    assert often is not None
    assert once.value < 0.01
    assert often.value > 5 * once.value
    assert once.low == 0
    assert once.high >= 0.01


# from the log of another trainer


def test_a_nanogpt_log_that_says_where_it_was_taken_up(tmp_path: Path) -> None:
    """nanoGPT seeds its draws anew at each start: the batches after the resume are those of the first steps."""
    draw = rng(5)
    hard = 0.08 * draw.standard_normal(400)
    lines = []
    for k in range(400):
        step, batch = 10 * k, k if k < 200 else k - 200
        if k == 200:
            lines.append("Resuming training from out")
        loss = 3.3 + 4.0 * (step / 50 + 1) ** -0.5 + hard[batch] + 0.02 * draw.standard_normal()
        lines.append(f"iter {step}: loss {loss:.4f}, time 400.00ms, mfu 30.00%")
    log = tmp_path / "train.log"
    log.write_text("\n".join(lines) + "\n")
    run = readers.read(log)
    assert run.facts.resumed_at == (2000.0,)
    found = data.examine(run)
    assert "those of 2,000 steps before" in found.because
    assert found.needs == ("tokens_per_step",)
    assert data.examine(stated(run, tokens_per_step=5e5, parameters=124e6, planned_steps=10_000)).verdict == "present"
