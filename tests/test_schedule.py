"""Schedules against values computed by hand."""

import math

import numpy as np
import pytest

from talweg.run import Facts, Run
from talweg.schedule import Schedule

WARM = [1 / 5, 2 / 5, 3 / 5, 4 / 5]  # of four steps of warm-up


@pytest.mark.parametrize(
    ("schedule", "decay"),
    [
        (Schedule("constant", 1.0, 0.0, 4, 8), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        (Schedule("linear", 1.0, 0.0, 4, 8), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        (Schedule("linear", 1.0, 0.2, 4, 8), [1.0, 0.8, 0.6, 0.4, 0.2, 0.2]),
        (Schedule("cosine", 1.0, 0.0, 4, 8), [1.0, 0.5 + math.sqrt(2) / 4, 0.5, 0.5 - math.sqrt(2) / 4, 0.0, 0.0]),
        (Schedule("wsd", 1.0, 0.0, 4, 9, 5), [1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
        (
            Schedule("wsd", 1.0, 0.0, 4, 9, 5, "sqrt"),
            [1.0, 1.0, 1 - math.sqrt(0.25), 1 - math.sqrt(0.5), 1 - math.sqrt(0.75), 0.0],
        ),
        (Schedule("linear", 1.0, 0.0, 4, 8, 0, "sqrt"), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),  # the shape is wsd's alone
    ],
)
def test_the_rate_of_each_step(schedule: Schedule, decay: list[float]) -> None:
    np.testing.assert_allclose(schedule.at(np.arange(10)), WARM + decay, atol=1e-12)


def test_between_two_steps_the_rate_lies_between_theirs() -> None:
    schedule = Schedule("wsd", 1.0, 0.0, 4, 20, 10, "sqrt")
    grid = np.linspace(0, 25, 500)
    assert np.all(np.diff(schedule.at(grid[grid < 4])) > 0)
    assert np.all(np.diff(schedule.at(grid[grid >= 10])) <= 0)
    assert float(schedule.at(20.0)) == 0.0


@pytest.mark.parametrize("shape", ["linear", "sqrt"])
def test_the_stated_facts_give_the_planned_schedule_back(shape: str) -> None:
    plan = Schedule("wsd", 1e-3, 1e-5, 10, 100, 80, shape)  # type: ignore[arg-type]
    facts = Facts.stated(
        "config", schedule="wsd", peak_learning_rate=1e-3, min_learning_rate=1e-5, warmup_steps=10,
        decay_end_step=100, decay_start_step=80, decay_shape=shape,
    )  # fmt: skip
    assert Run(facts=facts).planned_schedule == plan
