"""What neptune-exporter made of a Neptune project: parquet files RUN_part_N.parquet, one row a value.

A row is a run, the path of an attribute, its type, and for a series a step, a time and a value. The parts of a run lie
side by side; the attributes that are no series are its configuration.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.configs.table import facts_of
from talweg.errors import InputError
from talweg.logs.assemble import Column
from talweg.logs.given import Asked, Head, Log
from talweg.logs.roles import guess
from talweg.logs.stored import one_run, run_of
from talweg.run import Reading, Run

NAME = "neptune"
MAGIC = b"PAR1"
PART = re.compile(r"^(?:.*/)?(?P<run>[^/]+)_part_(?P<part>[0-9]+)\.parquet$")
SERIES = ("float_series", "int_series")
TEXTS = ("run_id", "attribute_path", "attribute_type")
SETTINGS = ("string_value", "bool_value", "int_value", "float_value")  # of an attribute that is no series
NEEDED = {*TEXTS, "step", "float_value"}


def sniff(head: Head) -> float:
    """By the names that the exporter gives its files, or the types of attributes near the beginning of one."""
    if head.names:
        return 0.9 if any(map(PART.match, head.names)) else 0.0
    if not head.raw.startswith(MAGIC):
        return 0.0
    return 0.95 if PART.match(head.name) or b"float_series" in head.raw else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that is asked for, or the only one that logged a loss.

    Raises InputError when that leaves a choice, when none has a loss, or when a file cannot be read.
    """
    parts = [_part(path, name) for name, path in _files(log)]
    ids = list(dict.fromkeys(id for part in parts for id in part.texts["run_id"].names))
    chosen = one_run({id: any(part.has_loss(id, asked) for part in parts) for id in ids}, asked.run, log.source)
    columns = _columns(parts, chosen)
    settings = {name: value for part in parts for name, value in part.settings(chosen).items()}
    notes = (f"{len(parts)} parts were read",) if len(parts) > 1 else ()
    rows = sum(part.step.size for part in parts)
    reading = Reading(rows, notes=notes, runs=tuple(ids) if len(ids) > 1 else ())
    run = run_of(
        columns,
        asked,
        source=log.source,
        format=NAME,
        what="series",
        facts=facts_of(settings, "Neptune's attributes"),
        reading=reading,
        settings=settings,
    )
    return replace(run, source=log.source)


def _files(log: Log) -> list[tuple[str, Path | None]]:
    """The parts in their order; of a single file those that lie beside it too."""
    if not log.is_folder:
        match = PART.match(log.path.name) if log.path is not None else None
        if match is None or log.path is None:
            return [(log.source, log.path)]
        beside = [
            path for path in log.path.parent.iterdir() if (m := PART.match(path.name)) and m["run"] == match["run"]
        ]
        return [(str(path), path) for path in sorted(beside, key=lambda path: _order(path.name))]
    assert log.path is not None
    return [(name, log.path / name) for name in sorted(filter(PART.match, log.names), key=_order)]


def _order(name: str) -> tuple[str, int]:
    match = PART.match(name)
    return (match["run"], int(match["part"])) if match else (name, 0)


# ---------------------------------------------------------------- one file


@dataclass(frozen=True, eq=False)
class _Texts:
    code: NDArray[np.int64]
    names: list[str]

    def of(self, name: str) -> NDArray[np.bool_]:
        if name not in self.names:
            return np.zeros(self.code.size, dtype=np.bool_)
        found: NDArray[np.bool_] = self.code == self.names.index(name)
        return found


@dataclass(frozen=True, eq=False)
class _Part:
    table: Any  # a pyarrow.Table
    texts: dict[str, _Texts]
    step: NDArray[np.float64]
    time: NDArray[np.float64]  # seconds since 1970, NaN unknown
    value: NDArray[np.float64]
    is_series: NDArray[np.bool_]

    def has_loss(self, run: str, asked: Asked) -> bool:
        mine = self.texts["run_id"].of(run) & self.is_series
        paths = [
            self.texts["attribute_path"].names[code] for code in np.unique(self.texts["attribute_path"].code[mine])
        ]
        roles = guess(paths)
        return asked.columns.get("train_loss") in paths or any((roles.train, roles.val, roles.train_eval))

    def settings(self, run: str) -> dict[str, object]:
        """The attributes that are no series."""
        rows = np.flatnonzero(self.texts["run_id"].of(run) & ~self.is_series)
        paths = self.texts["attribute_path"]
        found: dict[str, object] = {}
        for name in SETTINGS:
            if name in self.table.column_names:
                for row, value in zip(rows, self.table[name].take(rows).to_pylist(), strict=True):
                    if value is not None:
                        found[paths.names[paths.code[row]]] = value
        return found


def _part(path: Path | None, source: str) -> _Part:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise InputError(f'{source} is a parquet file, which needs pyarrow: pip install "talweg[data]"') from None
    try:
        file = pq.ParquetFile(path)
        names = set(file.schema_arrow.names)
        if not names >= NEEDED:
            raise InputError(f"{source} lacks {', '.join(sorted(NEEDED - names))}: neptune-exporter's files have it")
        held = [name for name in (*TEXTS, "step", "timestamp", *SETTINGS) if name in names]
        table = pq.read_table(path, columns=held, read_dictionary=[name for name in TEXTS if name in names])
    except (pa.ArrowException, OSError) as error:
        told = str(error).partition("\n")[0][:200]
        raise InputError(f"{source} cannot be read as parquet ({told}); copy it again") from None
    texts = {name: _encoded(table[name]) for name in TEXTS}
    value = _numbers(pa, table["float_value"])
    if "int_value" in names:
        value = np.where(np.isnan(value), _numbers(pa, table["int_value"]), value)
    time = np.full(value.size, np.nan)
    if "timestamp" in names:
        whole = table["timestamp"].cast(pa.timestamp("ms", table["timestamp"].type.tz)).cast(pa.int64())
        time = _numbers(pa, whole) / 1000
    types = texts["attribute_type"]
    is_series = np.isin(types.code, [at for at, name in enumerate(types.names) if name in SERIES])
    return _Part(table, texts, _numbers(pa, table["step"]), time, value, is_series)


def _encoded(column: Any) -> _Texts:
    joined = column.unify_dictionaries().combine_chunks()
    array = joined.chunk(0) if hasattr(joined, "chunk") and joined.num_chunks else joined
    names = [str(name) for name in array.dictionary.to_pylist()]
    return _Texts(np.asarray(array.indices.fill_null(-1), dtype=np.int64), names)


def _numbers(pa: Any, column: Any) -> NDArray[np.float64]:
    """NaN where nothing stands."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


# ---------------------------------------------------------------- one run


def _columns(parts: Sequence[_Part], run: str) -> list[Column]:
    """The series of a run over all parts, in the order of their times."""
    pieces: dict[str, list[tuple[NDArray[np.float64], ...]]] = {}
    first = 0
    for part in parts:
        paths = part.texts["attribute_path"]
        rows = np.flatnonzero(part.texts["run_id"].of(run) & part.is_series & np.isfinite(part.step))
        rows = rows[np.argsort(paths.code[rows], kind="stable")]
        cuts = np.flatnonzero(np.diff(paths.code[rows])) + 1
        for mine in np.split(rows, cuts):
            if mine.size:
                held = (part.step[mine], part.value[mine], part.time[mine], first + mine.astype(np.float64))
                pieces.setdefault(paths.names[paths.code[mine[0]]], []).append(held)
        first += part.step.size
    joined = {name: [np.concatenate(each) for each in zip(*held, strict=True)] for name, held in pieces.items()}
    if not joined:
        return []
    times = np.concatenate([time for _, _, time, _ in joined.values()])
    order = np.lexsort((np.concatenate([row for *_, row in joined.values()]), times))
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    found: list[Column] = []
    longest: tuple[int, Column] | None = None
    roles = guess(list(joined))
    start = 0
    for name, (step, value, time, _) in joined.items():
        places = place[start : start + step.size]
        start += step.size
        rows = np.argsort(places)
        found.append(Column(name, step[rows], value[rows], place=places[rows]))
        if name in (roles.train, roles.val) and np.isfinite(time).all() and (not longest or step.size > longest[0]):
            longest = (step.size, Column("wall_time", step[rows], time[rows], place=places[rows], resolution=1e-3))
    return found if longest is None else [*found, longest[1]]
