"""What the tests of the causes ask: a cause about a run, its own example, facts that are stated otherwise."""

from dataclasses import replace

import numpy as np

from talweg import causes
from talweg.finding import Finding
from talweg.run import Run

CATALOGUE = causes.catalogue()


def examine(name: str, run: Run) -> Finding:
    found = CATALOGUE[name].examine(run)
    assert isinstance(found, Finding)
    return found


def example(name: str, seed: int = 0) -> Run:
    run = CATALOGUE[name].example(rng(seed))
    assert isinstance(run, Run)
    return run


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def stated(run: Run, **facts: object) -> Run:
    return replace(run, facts=replace(run.facts, **facts))  # type: ignore[arg-type]
