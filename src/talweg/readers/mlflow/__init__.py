"""MLflow's store: a database (mlflow.db), or a folder of files (mlruns/, one of its experiments, one of their runs).

A point is a key, a value, a step and a time. Where a program gave no steps all of them are 0: then the points of the
loss are counted in the order of their times. Parameters state facts; deleted runs are left out. Nothing is written.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talweg.configs.table import facts_of
from talweg.errors import InputError
from talweg.logs.assemble import Column
from talweg.logs.given import SQLITE, Asked, Head, Log
from talweg.logs.roles import guess
from talweg.logs.stored import one_run, run_of
from talweg.readers.mlflow import database, files
from talweg.readers.mlflow.logged import Metric, Stored
from talweg.run import Facts, Reading, Run

NAME = "mlflow"
NAMES = re.compile(r"^(?:mlruns/)?(?:[^/]+/){0,2}meta\.yaml$")
IN_STORE = re.compile(r"^mlruns/[^/]+/[^/]+/meta\.yaml$")
OF_RUN = re.compile(r"(?:^|/)(?:tags/mlflow\.|metrics/|params/)")


def sniff(head: Head) -> float:
    """A database with MLflow's tables; a folder with its meta.yaml and metrics."""
    if head.names:
        is_store = any(map(NAMES.match, head.names)) and any(map(OF_RUN.search, head.names))
        if is_store or "mlflow.db" in head.names:
            return 0.9 if is_store else 0.8
        return 0.5 if any(map(IN_STORE.match, head.names)) else 0.0  # the folder in which a script ran, and its store
    if database.is_one(head.tables):
        return 0.95
    return 0.1 if head.raw.startswith(SQLITE) else 0.0  # of a database that nobody knows it names the tables


def read(log: Log, asked: Asked) -> Run:
    """The run that is asked for by its name or its id, or the only one that logged a loss.

    Raises InputError when that leaves a choice, when none has a loss, or when the database is locked or another's.
    """
    if log.is_folder and log.path is not None and not any(map(NAMES.match, log.names)) and "mlflow.db" in log.names:
        log = Log(f"{log.source.rstrip('/')}/mlflow.db", log.path / "mlflow.db")
    store = files if log.is_folder else database
    with store.opened(log) as held:
        runs = [run for run in held.runs() if not run.is_deleted]
        if not runs:
            raise InputError(f"{log.source} holds no run of MLflow that is not deleted; give another store")
        stored = runs[0] if len(runs) == 1 and asked.run is None else _chosen(runs, held.keys(), asked, log.source)
        metrics, damage = held.metrics(stored)
        parameters = held.parameters(stored)
    columns, facts, notes = _columns(metrics)
    facts = facts.over(facts_of(parameters, "MLflow's parameters"))
    reading = Reading(sum(metric.value.size for metric in metrics) + damage, damage, tuple(notes))
    run = run_of(
        columns,
        asked,
        source=log.source,
        format=NAME,
        what="metric",
        facts=facts,
        reading=reading,
        settings=parameters,
    )
    labels = tuple(_labels(runs)) if len(runs) > 1 else ()
    return replace(run, reading=replace(run.reading, runs=labels))


# ---------------------------------------------------------------- which run


def _chosen(runs: Sequence[Stored], keys: dict[str, list[str]], asked: Asked, source: str) -> Stored:
    by_id = next((run for run in runs if asked.run is not None and run.id == asked.run), None)
    if by_id is not None:
        return by_id
    labels = _labels(runs)
    losses = {label: _has_loss(keys.get(run.id, []), asked) for label, run in labels.items()}
    return labels[one_run(losses, asked.run, source)]


def _labels(runs: Sequence[Stored]) -> dict[str, Stored]:
    """The runs by name; with the beginning of the id where several have one name."""
    names = [run.name for run in runs]
    return {run.name if names.count(run.name) == 1 else f"{run.name} ({run.id[:8]})": run for run in runs}


def _has_loss(keys: list[str], asked: Asked) -> bool:
    roles = guess(keys)
    return asked.columns.get("train_loss") in keys or any((roles.train, roles.val, roles.train_eval))


# ---------------------------------------------------------------- its metrics


def _columns(metrics: Sequence[Metric]) -> tuple[list[Column], Facts, list[str]]:
    """Columns in the order in which the points were logged, over all metrics."""
    if not metrics:
        return [], Facts(), []
    order = np.lexsort((np.concatenate([m.order for m in metrics]), np.concatenate([m.time for m in metrics])))
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    ends = np.cumsum([metric.value.size for metric in metrics])
    columns, times = [], []
    for metric, places in zip(metrics, np.split(place, ends[:-1]), strict=True):
        rows = np.argsort(places)
        columns.append(Column(metric.key, metric.step[rows], metric.value[rows], place=places[rows]))
        times.append(metric.time[rows])
    base = _longest_loss(columns)
    if base is None:
        return columns, Facts(), []
    lacking = [column for column in columns if column.step.size > 1 and not column.step.any()]
    facts, notes = Facts(), []
    if columns[base] in lacking:
        told = f"the steps of {columns[base].name} are all 0: its points were counted in the order of their times"
        columns[base] = replace(columns[base], step=np.arange(columns[base].step.size, dtype=np.float64))
        facts = Facts.stated("MLflow's steps, which are all 0", step_unit="logged row")
        notes.append(told)
    elif lacking:
        names = ", ".join(column.name for column in lacking[:4])
        notes.append(f"the steps of {names} are all 0: each point was put at the last step logged before it")
    columns = [_at_steps_of(column, columns[base]) if column in lacking else column for column in columns]
    wall = Column("wall_time", columns[base].step, times[base], place=columns[base].place, resolution=1.0)
    return [*columns, wall], facts, notes


def _longest_loss(columns: Sequence[Column]) -> int | None:
    roles = guess([column.name for column in columns])
    found = [at for at, column in enumerate(columns) if column.name in (roles.train, roles.val, roles.train_eval)]
    return max(found, key=lambda at: columns[at].step.size, default=None)


def _at_steps_of(column: Column, base: Column) -> Column:
    """The points of a metric without steps at those of one that has them, by the order in which both were logged."""
    assert column.place is not None
    assert base.place is not None
    at: NDArray[np.intp] = np.searchsorted(base.place, column.place, side="right") - 1
    return replace(column, step=base.step[np.maximum(at, 0)])
