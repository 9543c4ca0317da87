"""MLflow's database: the tables runs, metrics and params of an SQLite file, read with SQL."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from talweg.errors import InputError
from talweg.logs import sqlite
from talweg.logs.given import Log
from talweg.readers.mlflow.logged import Metric, Stored, setting

NEEDED = {"runs": "run_uuid", "metrics": "run_uuid", "params": "run_uuid"}  # table -> a column that MLflow's has
BLOCK = 50_000  # rows that are held as Python's objects at a time
LARGEST = np.finfo(np.float64).max  # what MLflow stores for infinity


@contextmanager
def opened(log: Log) -> Iterator["Database"]:
    """Raises InputError when it is no database of MLflow."""
    with sqlite.opened(log) as connection:
        tables = sqlite.tables(connection)
        if not is_one(tables):
            raise InputError(
                f"{log.source} is an SQLite database that is not known (tables: {sqlite.listed(tables)}); those of "
                "MLflow and of Trackio are read. Export its metrics as CSV or JSONL"
            )
        yield Database(connection, tables)


def is_one(tables: Mapping[str, tuple[str, ...]]) -> bool:
    return all(column in tables.get(table, ()) for table, column in NEEDED.items())


class Database:
    def __init__(self, connection: sqlite3.Connection, tables: dict[str, tuple[str, ...]]) -> None:
        self.connection = connection
        self.tables = tables

    def runs(self) -> list[Stored]:
        """In the order in which they were started."""
        name = "name" if "name" in self.tables["runs"] else "run_uuid"
        rows = self.connection.execute(
            f"SELECT run_uuid, {name}, lifecycle_stage, start_time FROM runs ORDER BY start_time, rowid"
        )
        tagged: dict[str, str] = {}
        if "tags" in self.tables:
            tagged = dict(
                self.connection.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.runName'").fetchall()
            )
        return [Stored(str(id), str(name or tagged.get(id) or id), stage == "deleted") for id, name, stage, _ in rows]

    def keys(self) -> dict[str, list[str]]:
        """By run the names of its metrics."""
        table = "latest_metrics" if "latest_metrics" in self.tables else "metrics"
        found: dict[str, list[str]] = {}
        for id, key in self.connection.execute(f"SELECT DISTINCT run_uuid, key FROM {table}"):
            found.setdefault(str(id), []).append(str(key))
        return found

    def metrics(self, run: Stored) -> tuple[list[Metric], int]:
        """The metrics of a run, in the order of their first points; no line of a database is damaged."""
        nan = "is_nan" if "is_nan" in self.tables["metrics"] else "0"
        rows = self.connection.execute(
            f"SELECT key, rowid, timestamp, value, step, {nan} FROM metrics WHERE run_uuid = ?", (run.id,)
        )
        codes: dict[str, int] = {}
        parts: list[tuple[np.ndarray, ...]] = []
        while block := rows.fetchmany(BLOCK):
            keys, order, time, value, step, is_nan = zip(*block, strict=True)
            for key in set(keys) - set(codes):
                codes[key] = len(codes)
            code = np.fromiter(map(codes.__getitem__, keys), np.int64, len(keys))
            numbers = _numbers(value)
            numbers[_numbers(is_nan) > 0] = np.nan
            infinite = np.abs(numbers) == LARGEST
            numbers[infinite] = np.copysign(np.inf, numbers[infinite])
            parts.append(
                (
                    code,
                    np.array(order, dtype=np.int64),
                    _numbers(time),
                    numbers,
                    _numbers(step),
                )
            )
        if not parts:
            return [], 0
        of_key, row, when, number, step_of = (np.concatenate(part) for part in zip(*parts, strict=True))
        by_code = np.argsort(of_key, kind="stable")
        bounds = np.searchsorted(of_key[by_code], np.arange(len(codes) + 1))
        found = []
        for key, at in codes.items():
            mine = by_code[bounds[at] : bounds[at + 1]]
            found.append(Metric(str(key), when[mine], number[mine], step_of[mine], row[mine]))
        return sorted(found, key=lambda metric: int(metric.order.min())), 0

    def parameters(self, run: Stored) -> dict[str, object]:
        rows = self.connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run.id,))
        return {str(key): setting(str(value)) for key, value in rows}


def _numbers(cells: Sequence[object]) -> np.ndarray:
    """A column of numbers; NaN for what is none, as in a damaged database."""
    try:
        return np.array(cells, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([float(cell) if isinstance(cell, int | float) else np.nan for cell in cells])
