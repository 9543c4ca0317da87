"""Trackio's database, one for each project (PROJECT.db), or the folder that holds it.

A row is one call of log: the run, a step, a time, and the metrics as JSON, in which NaN and infinity are texts. Names
of runs are not unique, their ids are. The configuration states facts; alerts become notes. Nothing is written.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from talweg.configs.table import facts_of
from talweg.errors import InputError
from talweg.logs import sqlite
from talweg.logs.given import Asked, Head, Log
from talweg.logs.records import Records
from talweg.logs.roles import guess
from talweg.logs.rows import Cells, Steps, run_of_rows
from talweg.logs.stored import one_run
from talweg.run import Reading, Run

NAME = "trackio"
NEEDED = {"timestamp", "run_name", "step", "metrics"}  # columns of its table metrics
STEP = "step (Trackio's)"  # its own count, beside which a metric may be called step
BLOCK = 10_000  # rows that are parsed at a time
MOST_ALERTS = 5  # that are told
MOST_ROWS = 200  # of a run are looked at to tell whether it logs a loss


def sniff(head: Head) -> float:
    """A database with Trackio's tables; a folder with a database and the lock that Trackio puts beside it."""
    if head.names:
        held = set(head.names)
        return 0.9 if any(name.endswith(".db") and f"{name[:-3]}.lock" in held for name in head.names) else 0.0
    return 0.95 if set(head.tables.get("metrics", ())) >= NEEDED else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that is asked for by its name or its id, or the only one that logged a loss.

    Raises InputError when that leaves a choice, when none has a loss, or when the database is locked or another's.
    """
    log = _database(log)
    with sqlite.opened(log) as connection:
        tables = sqlite.tables(connection)
        if not set(tables.get("metrics", ())) >= NEEDED:
            raise InputError(
                f"{log.source} is no database of Trackio: its tables are {sqlite.listed(tables)}, and "
                "metrics(run_name, step, timestamp, metrics) was needed"
            )
        project = _Project(connection, tables)
        runs = project.runs()
        if not runs:
            raise InputError(f"{log.source} holds no metric yet: nothing was logged to this project")
        chosen = _chosen(project, runs, asked, log.source)
        records, steps, num_bad = project.records(chosen)
        settings = project.settings(chosen)
        notes = project.alerts(chosen)
    cells = records.cells()
    reading = Reading(records.num_records + num_bad, num_bad, notes, runs=tuple(_labels(runs)) if len(runs) > 1 else ())
    return run_of_rows(
        {STEP: steps, **cells},
        asked,
        source=log.source,
        format=NAME,
        facts=facts_of(settings, "Trackio's config"),
        reading=reading,
        settings=settings,
        steps=None if "step" in asked.columns else Steps(STEP, steps),
    )


def _database(log: Log) -> Log:
    """The one database in a folder."""
    if not log.is_folder or log.path is None:
        return log
    names = [name for name in log.names if name.endswith(".db")]
    if len(names) != 1:
        held = ", ".join(names[:6])
        raise InputError(f"{log.source} is a folder with {len(names)} databases ({held}); give one of them")
    return Log(f"{log.source.rstrip('/')}/{names[0]}", log.path / names[0])


# ---------------------------------------------------------------- runs


@dataclass(frozen=True)
class _Stored:
    id: str
    name: str


def _labels(runs: Sequence[_Stored]) -> dict[str, _Stored]:
    """The runs by name; with the beginning of the id where several have one name."""
    names = [run.name for run in runs]
    return {run.name if names.count(run.name) == 1 else f"{run.name} ({run.id[:8]})": run for run in runs}


def _chosen(project: "_Project", runs: Sequence[_Stored], asked: Asked, source: str) -> _Stored:
    if len(runs) == 1 and asked.run is None:
        return runs[0]
    by_id = next((run for run in runs if asked.run is not None and run.id == asked.run), None)
    labels = _labels(runs)
    losses = {label: project.has_loss(run) for label, run in labels.items()} if by_id is None else {}
    return by_id or labels[one_run(losses, asked.run, source)]


class _Project:
    def __init__(self, connection: sqlite3.Connection, tables: Mapping[str, Sequence[str]]) -> None:
        self.connection = connection
        self.tables = tables

    def runs(self) -> list[_Stored]:
        """In the order in which they were begun; before there were ids a run was its name."""
        id = self._id("metrics")
        rows = self.connection.execute(f"SELECT {id}, run_name, MIN(rowid) FROM metrics GROUP BY 1 ORDER BY 3")
        return [_Stored(str(key), str(name)) for key, name, _ in rows]

    def has_loss(self, run: _Stored) -> bool:
        rows = self.connection.execute(
            f"SELECT metrics FROM metrics WHERE {self._id('metrics')} = ? LIMIT {MOST_ROWS}", (run.id,)
        )
        names = {name: None for (text,) in rows for name in _metrics(text) or {}}
        roles = guess(list(names))
        return any((roles.train, roles.val, roles.train_eval))

    def records(self, run: _Stored) -> tuple[Records, Cells, int]:
        """The rows of a run in the order in which they were logged, their steps, and how many were not understood."""
        rows = self.connection.execute(
            f"SELECT step, timestamp, metrics FROM metrics WHERE {self._id('metrics')} = ? ORDER BY rowid", (run.id,)
        )
        found = Records()
        at: list[int] = []
        steps: list[float] = []
        num_bad = row = 0
        while block := rows.fetchmany(BLOCK):
            for (step, time, _), metrics in zip(block, _all_metrics([text for _, _, text in block]), strict=True):
                row += 1
                if metrics is None or not isinstance(step, int | float):
                    num_bad += 1
                    continue
                found.add(metrics, row)
                at.append(row)
                steps.append(float(step))
                if (seconds := _seconds(time)) is not None:
                    found.add_cell("wall_time", seconds, row)
        return found, Cells(np.array(at, dtype=np.int64), np.array(steps)), num_bad

    def settings(self, run: _Stored) -> dict[str, Any]:
        """The configuration; Trackio's own entries begin with an underscore."""
        if "config" not in self.tables.get("configs", ()):
            return {}
        row = self.connection.execute(
            f"SELECT config FROM configs WHERE {self._id('configs')} = ? ORDER BY rowid DESC", (run.id,)
        ).fetchone()
        found = None if row is None else _metrics(row[0])
        return {name: value for name, value in (found or {}).items() if not name.startswith("_")}

    def alerts(self, run: _Stored) -> tuple[str, ...]:
        if not set(self.tables.get("alerts", ())) >= {"title", "text", "level", "step"}:
            return ()
        rows = self.connection.execute(
            f"SELECT step, level, title, text FROM alerts WHERE {self._id('alerts')} = ? ORDER BY rowid", (run.id,)
        ).fetchall()
        told = [
            f"alert of Trackio ({level}){'' if step is None else f' at step {step}'}: {title}"
            + (f": {text}" if text else "")
            for step, level, title, text in rows[:MOST_ALERTS]
        ]
        more = len(rows) - len(told)
        return (*told, f"{more} more alerts of Trackio") if more > 0 else tuple(told)

    def _id(self, table: str) -> str:
        return "run_id" if "run_id" in self.tables[table] else "run_name"


# ---------------------------------------------------------------- rows


def _all_metrics(texts: Sequence[object]) -> list[dict[str, Any] | None]:
    """The metrics of many rows: as one list first, which is quicker, then row by row where one of them is damaged."""
    try:
        joined = json.loads(
            b"[" + b",".join(text if isinstance(text, bytes) else str(text).encode() for text in texts) + b"]"
        )
    except (ValueError, RecursionError):
        joined = []
    if len(joined) == len(texts) and all(isinstance(record, dict) for record in joined):
        return [_without_media(record) for record in joined]
    return [_metrics(text) for text in texts]


def _metrics(text: object) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        return None
    return _without_media(found) if isinstance(found, dict) else None


def _without_media(record: dict[str, Any]) -> dict[str, Any]:
    """Images, tables and the like are objects with a type of Trackio's."""
    if not any(isinstance(value, dict) for value in record.values()):
        return record
    return {name: value for name, value in record.items() if not (isinstance(value, dict) and "_type" in value)}


def _seconds(time: object) -> float | None:
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return None
