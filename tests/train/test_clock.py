"""A run given in minutes, by a clock that a test turns: where its rate stands, and when it ends."""

import time

import numpy as np
import pytest

from talweg.schedule import Schedule
from talweg.train.clock import Clock, is_over, places, position, rate_at

STEPS = 100  # planned
SCHEDULES = [
    Schedule("cosine", 1.0, 0.0, 10, STEPS),
    Schedule("linear", 1.0, 0.0, 10, STEPS),
    Schedule("wsd", 1.0, 0.0, 10, STEPS, 80),
    Schedule("wsd", 1.0, 0.0, 10, STEPS, 80, "sqrt"),
]


def lived(schedule: Schedule, seconds_per_step: float, planned: float = 600.0) -> tuple[list[float], float]:
    """The rates of a run whose steps take so long, give or take a half; and the seconds it took."""
    rng, clock, seconds, rates = np.random.default_rng(0), Clock(planned), 0.0, list[float]()
    while not is_over(clock, len(rates), STEPS, seconds):
        rates.append(rate_at(schedule, clock, len(rates), STEPS, seconds))
        seconds += seconds_per_step * rng.uniform(0.5, 1.5)
    return rates, seconds


@pytest.mark.parametrize("pace", [0.5, 1.0, 4.0])  # against the pace that the plan was made with
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s.kind}-{s.decay_shape}")
def test_a_slow_or_fast_run_decays_to_the_end_and_ends_on_time(schedule: Schedule, pace: float) -> None:
    rates, seconds = lived(schedule, 6.0 * pace)
    assert 600.0 <= seconds < 600.0 + 1.5 * 6.0 * pace  # the last step began in time
    assert max(rates) > 0.9
    # of the last step: what the schedule has one step of this pace before its end, at most
    assert rates[-1] <= schedule.at(STEPS - 1.5 * pace) + 1e-12
    assert len(rates) == pytest.approx(STEPS / pace, rel=0.15)


def test_half_the_time_is_half_the_plan_however_many_steps_were_done() -> None:
    clock = Clock(600.0)
    assert position(clock, 3, STEPS, 300.0) == 50.0
    assert rate_at(SCHEDULES[1], clock, 3, STEPS, 300.0) == float(SCHEDULES[1].at(50))
    assert rate_at(SCHEDULES[1], clock, 9000, STEPS, 600.0) == 0.0


def test_a_run_in_steps_pays_no_heed_to_the_time() -> None:
    clock = Clock(None)
    assert rate_at(SCHEDULES[0], clock, 37, STEPS, 1e9) == float(SCHEDULES[0].at(37))
    assert not is_over(clock, 99, STEPS, 1e9)
    assert is_over(clock, 100, STEPS, 0.0)
    clock.reserve(50.0)
    assert clock.reserved == 0.0


def test_the_last_evaluation_is_within_the_time() -> None:
    clock = Clock(600.0)
    clock.reserve(20.0)
    clock.reserve(30.0)
    clock.reserve(10.0)
    assert not is_over(clock, 5, STEPS, 569.0)
    assert is_over(clock, 5, STEPS, 570.0)
    clock.reserve(1000.0)  # longer than the run: half of it is left for steps
    assert not is_over(clock, 5, STEPS, 299.0)
    assert is_over(clock, 5, STEPS, 300.0)


def test_the_sessions_add_up_without_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    first = Clock(600.0)
    now[0] += 200.0
    assert first.seconds() == 200.0
    saved = first.seconds()
    now[0] += 5000.0  # switched off
    second = Clock(600.0, before=saved)
    now[0] += 100.0
    assert second.seconds() == 300.0
    assert second.share(second.seconds()) == 0.5


def test_the_plan_in_steps_follows_the_pace() -> None:
    facts = {"planned_steps": 100, "warmup_steps": 10, "decay_start_step": 80, "decay_end_step": 100, "width": 8}
    clock = Clock(600.0)
    half = {"planned_steps": 50, "warmup_steps": 5, "decay_start_step": 40, "decay_end_step": 50}
    assert places(facts, clock, 10, 120.0) == half  # a fifth of the time made 10 steps
    assert places(facts, clock, 47, 600.0)["planned_steps"] == 47  # over
    assert places(facts, clock, 0, 3.0) == {}  # nothing to go by
    assert places(facts, Clock(None), 10, 120.0) == {}
