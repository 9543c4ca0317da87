"""Stalled or not, and what is said of the pace."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.diagnosis import diagnose
from talweg.report.json import to_json
from talweg.report.terminal import render
from talweg.run import Run, Series


def half(seed: int = 5, **changes: object) -> Run:
    return simulated.healthy(np.random.default_rng(seed), stop_at=5000, eval_every=100, eval_sd=0.005, **changes)  # type: ignore[arg-type]


def stopped(run: Run, num: int, rng: np.random.Generator, rate: float | None = None) -> Run:
    """The run with `num` more evaluations of a level that stays."""
    val, last = run.val_loss, run.val_loss.step[-1]
    step = last + 100.0 * np.arange(1, num + 1)
    value = np.append(val.value, val.value[-8:].mean() + 0.005 * rng.standard_normal(num))
    held = rate if rate is not None else run.learning_rate.value[-1]
    rates = Series.of(np.append(run.learning_rate.step, step), np.append(run.learning_rate.value, np.full(num, held)))
    val = replace(val, step=np.append(val.step, step), value=value)
    return replace(run, val_loss=val, learning_rate=rates, train_loss=Series(), train_eval_loss=Series())


@pytest.mark.parametrize("num", [10, 20, 40])
def test_a_run_that_has_stopped_is_flat_and_one_that_has_not_falls(num: int) -> None:
    rng = np.random.default_rng(num)
    made = [stopped(half(seed), num, rng) for seed in range(10)]
    assert sum(diagnose_state(run) == "flat" for run in made) >= 9
    assert sum(diagnose_state(half(seed)) == "falling" for seed in range(10)) == 10


def diagnose_state(run: Run) -> str:
    found = evidence.standing(run)
    assert found is not None
    return found.state


def test_at_a_rate_of_zero_it_is_flat_by_the_rate() -> None:
    found = evidence.standing(stopped(half(), 5, np.random.default_rng(0), rate=0.0))
    assert found is not None
    assert found.state == "flat"
    assert "learning rate is 0 since step 5,100" in found.because


def test_a_rise_is_no_stop() -> None:
    run = stopped(half(), 30, np.random.default_rng(0))
    value = run.val_loss.value + 0.002 * np.maximum(np.arange(len(run.val_loss)) - len(run.val_loss) + 30, 0)
    assert diagnose_state(replace(run, val_loss=replace(run.val_loss, value=value))) == "rising"


def test_the_next_hundredth_by_hand() -> None:
    step = np.arange(0.0, 10_001, 100)
    value = 4 - 2e-5 * step + 1e-4 * np.random.default_rng(0).standard_normal(step.size)
    run = Run(val_loss=Series.of(step, value), seconds_per_step=Series.of(step, np.full(step.size, 1.8)))
    found = evidence.next_hundredth(replace(run, facts=replace(run.facts, tokens_per_step=1000.0)))
    assert found is not None
    assert found.tokens is not None
    assert found.hours is not None
    assert found.steps.value == pytest.approx(500, rel=0.05)
    assert found.steps.low < found.steps.value < found.steps.high
    assert found.tokens.value == pytest.approx(1000 * found.steps.value)
    assert found.hours.value == pytest.approx(found.steps.value * 1.8 / 3600)
    clock = replace(run, wall_time=Series.of(step, 1e9 + 3.6 * step))  # pauses count
    timed = evidence.next_hundredth(clock)
    assert timed is not None
    assert timed.hours is not None
    assert timed.hours.value == pytest.approx(timed.steps.value * 3.6 / 3600)
    assert evidence.next_hundredth(replace(run, val_loss=Series.of(step, 4 + 1e-4 * step))) is None


def test_the_smallest_change_is_seen_four_times_in_five() -> None:
    """At least: runs that fall by just that slope throughout are called falling."""
    rng, step = np.random.default_rng(3), np.arange(0.0, 4001, 100)
    flat = [evidence.smallest(Run(val_loss=Series.of(step, 4 + 0.01 * rng.standard_normal(41)))) for _ in range(60)]
    slope = float(np.median([f.per_1000_steps for f in flat if f is not None]))
    seen = 0
    for _ in range(100):
        value = 4 - slope * step / 1000 + 0.01 * rng.standard_normal(41)
        seen += diagnose_state(Run(val_loss=Series.of(step, value))) == "falling"
    assert seen / 100 >= 0.8


def test_sampling_noise_stays_and_that_of_the_weights_goes_with_the_rate() -> None:
    held = np.zeros(2)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        step = np.arange(0.0, 10_001, 50)
        share = 1 - step / 10_500
        sd = np.sqrt(0.003**2 + 0.01**2 * share)
        run = Run(
            val_loss=Series.of(step, 3 + 8 * (step + 500) ** -0.3 + sd * rng.standard_normal(step.size)),
            learning_rate=Series.of(step, share * 1e-3),
        )
        found = evidence.noise_split(run)
        assert found is not None
        held += [
            found.sampling.low <= 0.003 <= found.sampling.high,
            found.iterate.low <= 0.01 * math.sqrt(share[-2]) <= found.iterate.high,
        ]
    assert (held >= 20).all()
    assert evidence.noise_split(Run()) is None


def test_the_evidence_stands_in_every_form() -> None:
    answer = diagnose(half())
    now = to_json(answer)["now"]
    assert now["next_hundredth"]["steps"]["value"] > 0
    assert now["smallest_change"]["per_1000_steps"] > 0
    assert now["smallest_change"]["rest_of_plan"] == pytest.approx(5 * now["smallest_change"]["per_1000_steps"])
    assert "the next 0.01 in" in " ".join(render(answer, width=100).split())
    assert answer.why
    flat = diagnose(stopped(half(), 40, np.random.default_rng(1)))
    assert "would have shown" in " ".join(render(flat, width=100).split())
