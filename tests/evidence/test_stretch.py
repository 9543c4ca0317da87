"""The pace at which a logged rate runs through its stated schedule."""

from dataclasses import replace

import numpy as np
import pytest

from talweg import simulated
from talweg.evidence import Stretch, stretched
from talweg.run import Run, Series
from talweg.schedule import Schedule

PLAN = Schedule("cosine", 6e-4, 6e-5, 250, 10_000)


def run(rate: object, plan: Schedule = PLAN, digits: int | None = None, **facts: object) -> Run:
    """A run whose logged rate is `rate(step)`, with a plan that may say something else."""
    base = simulated.healthy(np.random.default_rng(0), schedule=plan, log_every=20)
    value = np.asarray(rate(base.learning_rate.step))  # type: ignore[operator]
    resolution = 0.0 if digits is None else 10.0**-digits
    value = value if digits is None else value.round(digits)
    return replace(
        base,
        learning_rate=Series.of(base.learning_rate.step, value, resolution=resolution),
        facts=replace(base.facts, **{"ranks": 1, **facts}),  # type: ignore[arg-type]
    )


def found(*args: object, **facts: object) -> Stretch:
    answer = stretched(run(*args, **facts))  # type: ignore[arg-type]
    assert answer is not None
    assert answer.low <= answer.factor <= answer.high
    return answer


@pytest.mark.parametrize("k", [2.0, 4.0, 8.0, 32.0, 0.5, 0.125, 1 / 32])
def test_the_factor_is_measured_and_its_unit_named(k: float) -> None:
    answer = found(lambda s: PLAN.at(k * s), accumulation=round(max(k, 1 / k)))
    assert answer.factor == pytest.approx(k, rel=0.01)
    assert answer.low <= k <= answer.high
    assert answer.unit == "micro-batches"
    step = np.linspace(0, 10_000, 50)
    assert np.abs(answer.at(step) - PLAN.at(k * step)).max() < 0.02 * PLAN.peak_lr


@pytest.mark.parametrize("kind", ["linear", "wsd", "constant"])
def test_other_schedules(kind: str) -> None:
    plan = Schedule(kind, 6e-4, 0.0, 500, 10_000, 8000)  # type: ignore[arg-type]
    answer = found(lambda s: plan.at(s / 8), plan, accumulation=8)
    assert answer.unit == "micro-batches"
    assert answer.factor == pytest.approx(1 / 8, rel=0.02)


def test_a_warmup_alone_and_a_decay_alone() -> None:
    warmup = found(lambda s: replace(PLAN, warmup_steps=2000).at(s), accumulation=8)
    assert warmup.part == "warm-up"
    assert warmup.factor == pytest.approx(1 / 8, rel=0.02)
    decay = found(lambda s: replace(PLAN, end_step=1250).at(s), accumulation=8)
    assert decay.factor == pytest.approx(8, rel=0.03)
    assert decay.unit == "micro-batches"


def test_a_cosine_that_swings_on() -> None:
    def rate(step: simulated.Array) -> simulated.Array:
        s = 8 * step
        swing = 6e-5 + 0.5 * (1 + np.cos(np.pi * (s - 250) / 9750)) * 5.4e-4
        return np.where(s < 250, PLAN.at(s), swing)

    answer = found(rate, accumulation=8)
    assert answer.cyclic
    assert answer.factor == pytest.approx(8, rel=0.01)


def test_the_units_that_are_tried() -> None:
    two = found(lambda s: PLAN.at(4 * s), accumulation=32, ranks=4)
    assert two.unit == "the updates of all ranks"
    both = found(lambda s: PLAN.at(s / 128), accumulation=32, ranks=4)
    assert both.unit == "micro-batches times ranks"
    samples = found(lambda s: PLAN.at(s / 480), accumulation=30, tokens_per_step=480 * 1024.0)
    assert samples.unit == "samples"
    epochs = found(lambda s: PLAN.at(s / 50), tokens_per_step=5e5, train_tokens=2.5e7)
    assert epochs.unit == "epochs"


def test_a_factor_that_is_no_number_of_the_run_has_no_unit() -> None:
    answer = found(lambda s: PLAN.at(3 * s), accumulation=8)
    assert answer.unit == ""
    assert answer.factor == pytest.approx(3, rel=0.01)


def test_few_digits_are_no_obstacle() -> None:
    answer = found(lambda s: PLAN.at(8 * s), PLAN, 6, accumulation=8)
    assert answer.unit == "micro-batches"


def test_none_where_the_rate_follows_its_plan_or_another_shape() -> None:
    assert stretched(run(PLAN.at, accumulation=8)) is None
    assert stretched(run(lambda s: PLAN.at(np.maximum(s - 1, 0)), accumulation=8)) is None
    assert stretched(run(lambda s: 0.1 * PLAN.at(s), accumulation=8)) is None
    assert stretched(run(lambda s: np.full_like(s, 6e-4), accumulation=8)) is None
    assert stretched(run(lambda s: 6e-4 * np.abs(np.sin(s / 777.0)), accumulation=8)) is None
    assert stretched(run(lambda s: np.zeros_like(s), accumulation=8)) is None


def test_none_without_a_plan_or_a_log() -> None:
    odd = run(lambda s: PLAN.at(8 * s), accumulation=8)
    assert stretched(replace(odd, facts=replace(odd.facts, schedule=None))) is None
    assert stretched(replace(odd, facts=replace(odd.facts, step_unit="micro-batch"))) is None
    assert stretched(replace(odd, learning_rate=odd.learning_rate.between(0, 300))) is None
