"""The forecast under the run's own plan and under another one."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.errors import InputError
from talweg.evidence import Forecast
from talweg.evidence.what_if import KEYS, changed
from talweg.run import Run
from talweg.schedule import Schedule


def healthy(seed: int = 0, **options: object) -> Run:
    return simulated.healthy(np.random.default_rng(seed), **{"stop_at": 6000, **options})  # type: ignore[arg-type]


def forecast(run: Run, **changes: str | float) -> Forecast:
    found = evidence.forecast(run, what_if={key.replace("__", "."): value for key, value in changes.items()})
    assert found is not None
    return found


def test_intervals_of_more_certainty_lie_around_those_of_less() -> None:
    found = evidence.forecast(healthy())
    assert found is not None
    assert found.val is not None
    bounds = [found.val.interval(level) for level in (0.95, 0.8, 0.5)]
    for (wide_low, wide_high), (low, high) in itertools.pairwise(bounds):
        assert (wide_low < low).all()
        assert (wide_high > high).all()
    low, high = found.val.interval()
    np.testing.assert_allclose(found.band[:, 1], low)
    np.testing.assert_allclose(found.band[:, 2], high)


def test_train_falls_with_validation_from_where_it_stands() -> None:
    run = healthy()
    found = evidence.forecast(run)
    gap = evidence.gap(run)
    assert found is not None
    assert gap is not None
    assert found.val is not None
    assert found.train is not None
    fresh = evidence.forecast(replace(run, facts=replace(run.facts, unique_tokens=None, train_tokens=None)))
    assert fresh is not None
    assert fresh.val is not None
    assert fresh.train is not None
    np.testing.assert_allclose(fresh.val.mean - fresh.train.mean, gap.value.value, atol=1e-9)


def test_repeated_text_costs_validation_and_not_train() -> None:
    once, often = healthy(), healthy()
    often = replace(often, facts=replace(often.facts, unique_tokens=2e8, train_tokens=2e8, near_unique_tokens=2e8))
    one, many = evidence.forecast(once), evidence.forecast(often)
    assert one is not None
    assert many is not None
    assert one.train is not None
    assert many.train is not None
    assert many.loss.value > one.loss.value + 0.01
    np.testing.assert_allclose(many.train.mean, one.train.mean, atol=1e-9)


def test_a_higher_end_of_the_rate_and_a_constant_rate_are_worse() -> None:
    run = healthy(schedule=Schedule("cosine", 6e-4, 6e-5, 250, 10_000))
    higher = forecast(run, schedule__min_lr=3e-4)
    constant = forecast(run, schedule__kind="constant")
    assert higher.change is not None
    assert constant.change is not None
    assert 0 < higher.change.low < constant.change.low
    assert higher.name == "schedule.min_lr = 0.0003"


def test_the_change_is_the_difference_of_the_two_curves() -> None:
    run = healthy()
    plain, longer = evidence.forecast(run), forecast(run, run__steps=20_000)
    assert plain is not None
    assert longer.change is not None
    assert longer.step == 20_000
    assert longer.change.value == pytest.approx(longer.loss.value - plain.loss.value, abs=1e-6)


def test_what_another_schedule_gives_is_what_the_law_then_gives() -> None:
    """Against the generator: the same run carried on with a decay from here on."""
    constant = Schedule("constant", 6e-4, 6e-4, 250, 10_000)
    run = healthy(3, schedule=constant, eval_sd=0.004, eval_every=100)
    cooled = Schedule("wsd", 6e-4, 0.0, 250, 10_000, 7000)
    truth = simulated.healthy(np.random.default_rng(3), schedule=cooled, eval_sd=0.0, eval_every=100).val_loss.value[-1]
    flat = simulated.healthy(np.random.default_rng(3), schedule=constant, eval_sd=0.0, eval_every=100).val_loss
    found = forecast(run, schedule__kind="wsd", schedule__min_lr=0, schedule__decay_share=0.3)
    assert found.change is not None
    # the generator scales its amplitude by the area of each schedule: compare the gain, not the level
    assert found.change.low - 0.03 < truth - flat.value[-1] < found.change.high + 0.03
    assert any("no decay of the rate has been seen yet" in note for note in found.notes)


def test_another_peak_rate_is_judged_by_its_measured_cost_alone() -> None:
    run = healthy()
    plain = evidence.forecast(run)
    high = forecast(run, optimizer__peak_lr=6e-2)
    assert plain is not None
    assert high.change is not None
    assert high.change.value > 0.05  # the area law would call it better
    assert any("measured cost of a wrong rate" in note for note in high.notes)
    assert high.loss.high - high.loss.low > plain.loss.high - plain.loss.low


def test_a_jump_of_the_rate_is_told() -> None:
    run = healthy(schedule=Schedule("cosine", 6e-4, 6e-5, 250, 10_000))
    assert any("the rate goes from" in note for note in forecast(run, schedule__kind="constant").notes)
    assert not forecast(run, run__steps=10_000).notes


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model.width", "512", "Measure it with a trial"),
        ("run.steps", "100", "a later whole step"),
        ("run.steps", "many", "a number is needed"),
        ("schedule.kind", "square", "one of cosine"),
        ("schedule.min_lr", "1", "between 0 and the peak"),
        ("schedule.decay_share", "2", "a share above 0"),
        ("schedule.decay_shape", "round", "one of linear, sqrt"),
        ("optimizer.peak_lr", "-1", "a rate above 0"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(key: str, value: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        evidence.forecast(healthy(), what_if={key: value})
    assert "\n" not in str(error.value)


def test_the_keys_are_keys_of_the_configuration() -> None:
    from talweg.train.config import Config, OptimizerConfig, RunConfig, ScheduleConfig

    del Config
    sections = {"run": RunConfig, "schedule": ScheduleConfig, "optimizer": OptimizerConfig}
    for key in KEYS:
        section, name = key.split(".")
        assert name in sections[section].__dataclass_fields__


def test_a_run_whose_schedule_nobody_stated_is_changed_from_the_rate_it_logged() -> None:
    run = healthy(schedule=Schedule("constant", 6e-4, 6e-4, 0, 10_000))
    run = replace(run, facts=replace(run.facts, schedule=None))
    plan = changed(run, {"schedule.kind": "linear", "run.steps": 12_000})
    assert plan.schedule.peak_lr == pytest.approx(6e-4)
    assert (plan.schedule.kind, plan.schedule.min_lr, plan.steps) == ("linear", 0.0, 12_000)
