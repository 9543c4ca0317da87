"""What every file in causes/ is held to, on arrival."""

import inspect
import itertools
import re
from dataclasses import fields, replace
from functools import lru_cache
from types import ModuleType

import numpy as np
import pytest

from talweg import causes, evidence, simulated
from talweg.finding import Finding
from talweg.run import FACT_NAMES, Facts, Run, Series
from talweg.train import config

CATALOGUE = causes.catalogue()
LOSSES = ("train_loss", "train_eval_loss", "val_loss")
COLUMNS = tuple(f.name for f in fields(Run) if f.type in (Series, "Series"))
OF_UNITS = "loss_not_comparable"  # the cause that is there to find another unit than nats
INPUTS = ("data", "checkpoint")  # what a person may give beside the log

every_cause = pytest.mark.parametrize("name", list(CATALOGUE))


@lru_cache(maxsize=64)
def example(name: str, seed: int) -> Run:
    run = CATALOGUE[name].example(np.random.default_rng(seed))
    assert isinstance(run, Run)
    return run


@lru_cache(maxsize=8)
def healthy(seed: int) -> Run:
    return simulated.healthy(np.random.default_rng(seed))


def examine(module: ModuleType, run: Run) -> Finding:
    found = module.examine(run)
    assert isinstance(found, Finding)
    assert found.because, "a verdict without its evidence"
    if found.verdict == "present":
        assert found.nats is not None
        assert found.nats.finite
        assert found.nats.low >= 0
    if found.verdict == "unknown":
        assert found.needs, found.because
        assert set(found.needs) <= {*FACT_NAMES, *COLUMNS, *INPUTS}
    return found


def test_the_catalogue_holds_every_file_of_the_folder() -> None:
    assert set(CATALOGUE) >= {"overfitting", "diverged", "model_too_small", "learning_rate_not_decayed"}


@every_cause
def test_the_docstring_is_a_page(name: str) -> None:
    page = causes.page(name)
    first, _, rest = page.partition("\n")
    assert re.fullmatch(r"[A-Z][^:]+: .+\.", first), first
    places = [rest.find(f"\n{title}:") for title in causes.SECTIONS]
    assert all(place >= 0 for place in places), f"sections of {name}: {causes.SECTIONS} at {places}"
    assert places == sorted(places)
    assert all(causes.section(CATALOGUE[name], title) for title in causes.SECTIONS)
    assert first.partition(":")[0].lower().replace(" ", "_") == name


@every_cause
def test_group_and_needs_are_words_of_the_house(name: str) -> None:
    module = CATALOGUE[name]
    assert module.GROUP in causes.GROUPS
    assert module.NEEDS
    assert set(module.NEEDS) <= {*FACT_NAMES, *COLUMNS}


@every_cause
def test_every_threshold_says_where_it_comes_from(name: str) -> None:
    lines = ["", *inspect.getsource(CATALOGUE[name]).splitlines()]
    for before, line in itertools.pairwise(lines):
        if re.match(r"[A-Z][A-Z0-9_, ]* = ", line) and not line.startswith(("GROUP", "NEEDS")):
            assert "#" in line or before.startswith("#"), f"no source: {line}"


@every_cause
@pytest.mark.parametrize("seed", range(4))
def test_present_in_its_own_example(name: str, seed: int) -> None:
    found = examine(CATALOGUE[name], example(name, seed))
    assert found.verdict == "present", found.because


@every_cause
@pytest.mark.parametrize("other", list(CATALOGUE))
@pytest.mark.parametrize("seed", range(2))
def test_not_present_in_the_example_of_another(name: str, other: str, seed: int) -> None:
    if name != other:
        found = examine(CATALOGUE[name], example(other, seed))
        assert found.verdict != "present", found.because


@every_cause
def test_not_present_in_a_healthy_run(name: str) -> None:
    for seed in range(4):
        found = examine(CATALOGUE[name], healthy(seed))
        assert found.verdict == "absent", found.because


@every_cause
def test_unknown_on_an_empty_run_with_what_is_missing_named(name: str) -> None:
    found = examine(CATALOGUE[name], Run())
    assert found.verdict == "unknown"
    assert found.needs
    stated = examine(CATALOGUE[name], replace(example(name, 0), facts=Facts()))
    assert stated.verdict in ("unknown", "present", "absent")


@every_cause
@pytest.mark.parametrize("num", [0, 1, 2, 7])
def test_no_accusation_on_a_few_points(name: str, num: int) -> None:
    for run in (example(name, 0), healthy(0)):
        cut = {c: replace(s, step=s.step[:num], value=s.value[:num]) for c in COLUMNS if (s := getattr(run, c))}
        found = examine(CATALOGUE[name], replace(run, **cut))
        assert found.verdict != "present", found.because


@every_cause
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_accusation_on_values_that_are_no_numbers(name: str, value: float) -> None:
    run = example(name, 0)
    filled = {c: replace(getattr(run, c), value=np.full(len(getattr(run, c)), value)) for c in LOSSES}
    found = examine(CATALOGUE[name], replace(run, **filled))
    assert found.verdict == "unknown", found.because


@every_cause
def test_a_healthy_run_with_holes_is_not_accused(name: str) -> None:
    rng = np.random.default_rng(1)

    def holed(step: simulated.Array, value: simulated.Array, column: str) -> simulated.Array:
        hole = rng.random(step.size)
        return np.where(hole < 0.2, np.nan, np.where(hole < 0.3, np.inf, value))

    found = examine(CATALOGUE[name], simulated.with_losses(healthy(1), holed))
    assert found.verdict != "present", found.because


@every_cause
@pytest.mark.parametrize("factor", [1 / np.log(2), 1 / np.log(2) / 4.5], ids=["bits", "bits per byte"])
def test_no_accusation_on_a_healthy_log_in_other_units(name: str, factor: float) -> None:
    scaled = simulated.with_losses(healthy(2), lambda step, value, column: value * factor)
    found = examine(CATALOGUE[name], scaled)
    assert found.verdict != "present" or name == OF_UNITS, found.because


@every_cause
@pytest.mark.parametrize("unit", ["epoch", "micro-batch"])
def test_no_accusation_by_a_count_of_updates_where_steps_are_none(name: str, unit: str) -> None:
    """Its own example in a log of epochs: what counts updates has no answer there, and no healthy run is accused."""
    for run in (example(name, 0), healthy(0)):
        asked = evidence.by_step(replace(run, facts=replace(run.facts, step_unit=unit)))
        found = examine(CATALOGUE[name], asked)
        for remedy in found.remedies:
            assert remedy.config
            assert "run.steps" not in remedy.config, remedy
        assert found.verdict != "present" or run is not healthy(0), found.because
        if {"tokens_per_step", "planned_steps"} & set(CATALOGUE[name].NEEDS):
            assert found.verdict != "present", found.because


@every_cause
def test_every_remedy_changes_a_key_of_the_configuration(name: str) -> None:
    found = examine(CATALOGUE[name], example(name, 0))
    assert found.remedies
    for remedy in found.remedies:
        assert remedy.config, remedy
        assert set(remedy.config) <= config.known_keys(), remedy
        assert re.fullmatch(r"[a-z][a-z0-9_]*", remedy.name)


@every_cause
def test_a_fact_that_is_missing_is_never_a_crash(name: str) -> None:
    run = example(name, 1)
    for fact in FACT_NAMES:
        examine(CATALOGUE[name], replace(run, facts=replace(run.facts, **{fact: None})))
    for column in COLUMNS:
        examine(CATALOGUE[name], replace(run, **{column: Series()}))
