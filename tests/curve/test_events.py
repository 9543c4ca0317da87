"""Events: planted ones are named, placed and measured; healthy public logs and noise have none."""

import csv
import math
from collections.abc import Iterator

import numpy as np
import pytest

from talweg.curve.events import CurveEvent, events
from talweg.curve.stretches import constant
from tests.conftest import shared
from tests.curve.simulate import Array, autoregressive, power_law, steps

SD = 0.03


def healthy(seed: int = 0, num: int = 1000) -> tuple[Array, Array]:
    step = 10.0 * np.arange(num)
    return step, power_law(step) + SD * np.random.default_rng(seed).standard_normal(num)


def only(step: Array, value: Array) -> CurveEvent:
    found = events(step, value)
    assert len(found) == 1, found
    return found[0]


def test_a_spike_of_one_point() -> None:
    step, value = healthy()
    value[400] += 1.0
    found = only(step, value)
    assert (found.kind, found.first_step, found.last_step) == ("spike", 4000.0, 4000.0)
    assert found.size == pytest.approx(1.0, abs=3 * SD)
    assert found.significance > 4


def test_a_spike_that_comes_back_slowly() -> None:
    step, value = healthy()
    value[400:] += 2 * np.exp(-np.arange(600) / 30)
    found = only(step, value)
    assert found.kind == "spike"
    assert 3900 <= found.first_step <= 4100
    assert 4200 <= found.last_step <= 4900


@pytest.mark.parametrize("decay", [0.5, 10.0])
def test_a_spike_after_which_the_curve_stays_higher(decay: float) -> None:
    step, value = healthy(1)
    value[400:] += 0.25 + 2 * np.exp(-np.arange(600) / decay)
    found = only(step, value)
    assert found.kind == "spike_not_recovered"
    assert found.first_step == pytest.approx(4000, abs=60)


@pytest.mark.parametrize(("size", "kind"), [(0.3, "rise"), (-0.3, "drop")])
def test_a_jump_that_stays(size: float, kind: str) -> None:
    step, value = healthy(2)
    value[400:] += size
    found = only(step, value)
    assert found.kind == kind
    assert found.first_step - 80 <= 4000 <= found.last_step + 80
    assert found.size == pytest.approx(size, abs=0.1)


def test_the_slope_is_no_part_of_a_jump() -> None:
    step = np.arange(400.0)
    value = -0.02 * step + 0.01 * np.random.default_rng(12).standard_normal(400)
    value[200:] += 0.3
    assert only(step, value).size == pytest.approx(0.3, abs=0.04)


def test_diverged_from_where_it_left() -> None:
    step, value = healthy(3)
    risen = np.clip((step - 4000) / 300, 0, 1)
    found = only(step, (1 - risen) * value + risen * (7.5 + 0.02 * np.random.default_rng(0).standard_normal(1000)))
    assert found.kind == "diverged_from"
    assert found.first_step == pytest.approx(4050, abs=60)
    assert found.last_step == step[-1]
    assert found.size == pytest.approx(7.5 - 3.48, abs=0.3)


def test_what_is_not_finite_is_named_wherever_it_stands() -> None:
    step, value = healthy(4)
    value[500] = np.nan
    found = only(step, value)
    assert (found.kind, found.first_step, found.last_step, found.significance) == ("not_finite", 5000, 5000, math.inf)
    value[500], value[800:] = 3.5, math.inf
    assert [(e.kind, e.first_step, e.last_step) for e in events(step, value)] == [("not_finite", 8000, 9990)]
    assert [e.kind for e in events(np.arange(20.0), np.full(20, np.nan))] == ["not_finite"]


def test_a_dead_tail_and_a_dead_stretch() -> None:
    step, value = healthy(5)
    value[700:] = value[700]
    found = only(step, value)
    assert (found.kind, found.first_step, found.last_step, found.size) == ("constant_stretch", 7000, 9990, 0.0)
    step, value = healthy(5)
    value[700:712] = value[700]
    assert only(step, value).kind == "constant_stretch"
    assert [e.kind for e in events(np.arange(100.0), np.full(100, 3.0))] == ["constant_stretch"]


@pytest.mark.parametrize("resolution", [0.005, 0.02, 0.1])
def test_rounded_values_are_alike_by_chance(resolution: float) -> None:
    """Nanotron prints three digits: a late plateau is full of equal neighbours."""
    for seed in range(10):
        step, value = healthy(seed)
        assert events(step, np.round(value / resolution) * resolution) == ()


def test_significance_of_a_constant_stretch_by_hand() -> None:
    """1,000 values, none of 100 pairs around equal: p = 1/102 + 2 sqrt(1/102 101/102 / 102) = 0.0293; six equal:
    1000 * 0.0293^5 = 2.15e-5, 4.09 sd."""
    value = np.arange(1000.0)
    value[500:506] = 500.0
    ((first, last, significance),) = constant(value)
    assert (first, last) == (500, 505)
    assert significance == pytest.approx(4.09, abs=0.01)


def test_units_and_a_huge_offset() -> None:
    step, value = healthy(6)
    value[300] += 1.0
    value[600:] += 0.3
    one, other = events(step, value), events(512 * step, 1e6 + value / math.log(2))
    assert [e.kind for e in one] == ["spike", "rise"]
    assert [(e.kind, e.first_step) for e in other] == [(e.kind, 512 * e.first_step) for e in one]
    for a, b in zip(one, other, strict=True):
        assert b.size == pytest.approx(a.size / math.log(2), rel=1e-4)
        assert b.significance == pytest.approx(a.significance, rel=1e-3)


@pytest.mark.parametrize("num", [0, 1, 2, 7, 15])
def test_too_few_points(num: int) -> None:
    step, value = healthy(7, num)
    assert events(step, value) == ()


def test_two_interleaved_levels_and_a_hole_in_the_log_are_no_events() -> None:
    step, value = healthy(8)
    value[::2] += 0.5
    assert events(step, value) == ()
    step, value = healthy(9)
    keep = np.concatenate([np.arange(60), np.arange(400, 1000)])
    assert events(step[keep], value[keep]) == ()


def test_a_fast_but_continuous_fall_is_no_drop() -> None:
    """The rate decays within ten, then within four logged points: half a nat and more, each time."""
    rng = np.random.default_rng(10)
    step = np.arange(300.0)
    for length in (4, 10, 30):
        fall = 0.5 * np.clip((step - 200) / length, 0, 1)
        relaxed = 0.5 * (1 - np.exp(-np.clip(step - 200, 0, None) / length))
        for lost in (fall, relaxed):
            value = power_law(100 * step) - lost + 0.003 * rng.standard_normal(300)
            assert [e for e in events(step, value) if e.kind != "spike"] == []


@pytest.mark.parametrize(("num", "size"), [(200, 12), (1000, 8), (5000, 6)])
def test_power(num: int, size: float) -> None:
    """A jump of so many sd of a single value is found nine times of ten, with its place, kind and size."""
    rng, step = np.random.default_rng(num), steps(num, 1e4)
    at, seen = num // 2, 0
    for i in range(20):
        sign = 1 if i % 2 else -1
        value = power_law(step) + 0.01 * rng.standard_normal(num)
        value[at:] += 0.01 * sign * size
        for e in events(step, value):
            right = e.kind == ("rise" if sign > 0 else "drop") and step[at - 5] <= e.first_step < e.last_step
            seen += right and e.last_step <= step[at + 5] and abs(e.size - 0.01 * sign * size) < 0.03
    assert seen >= 18


@pytest.mark.parametrize("lag1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("num", [30, 200, 1000])
def test_healthy_noise_is_silent(num: int, lag1: float) -> None:
    rng = np.random.default_rng(num)
    step, alarms = steps(num, 1e4), 0
    for _ in range(40):
        alarms += bool(events(step, power_law(step) + SD * autoregressive(rng, num, lag1)))
    assert alarms <= 1


def test_heavy_tails_are_marked_as_spikes_at_most() -> None:
    rng = np.random.default_rng(11)
    step, marked, others = steps(1000, 1e4), 0, 0
    for _ in range(40):
        kinds = {e.kind for e in events(step, power_law(step) + SD * rng.standard_t(4, 1000))}
        marked += "spike" in kinds
        others += bool(kinds - {"spike"})
    assert marked <= 6
    assert others <= 1


def columns(folder: str, step: str, names: tuple[str, ...]) -> Iterator[tuple[str, str, Array, Array]]:
    for file in sorted(shared(f"data/curves/{folder}").glob("*.csv")):
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        for name in names:
            kept = [row for row in rows if row.get(name)]
            if kept:
                xs, ys = (np.array([float(row[key]) for row in kept]) for key in (step, name))
                yield file.name, name, xs, ys


@pytest.mark.parametrize(
    ("folder", "step", "names", "least"),
    [
        ("multipowerlaw", "step", ("loss",), 27),
        ("olmo_ladder", "_step", ("eval/c4_en-validation/CrossEntropyLoss",), 15),
        ("modded_nanogpt", "step", ("train_loss", "val_loss"), 40),
        ("parameter_golf", "step", ("train_loss", "val_loss"), 20),
    ],
)
def test_healthy_public_logs(folder: str, step: str, names: tuple[str, ...], least: int) -> None:
    num = 0
    for file, name, xs, ys in columns(folder, step, names):
        num += 1
        assert events(xs, ys) == (), (file, name)
    assert num >= least
