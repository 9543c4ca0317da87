"""Tables: CSV, TSV, JSONL, JSON, parquet. One row a step, columns by name; blank cells are missing, not NaN.

Among them Lightning's and litgpt's metrics.csv, what W&B, TensorBoard, MLflow and Comet export, and the JSON lines that
many trainers write. What a column is, its name says; `Reading.notes` tell what was guessed.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.logs.roles import EPOCH, STEP, guess, plain
from talweg.logs.rows import run_of_rows
from talweg.logs.stored import one_run
from talweg.readers.table import litgpt, parquet, shapes
from talweg.readers.table.delimited import read_delimited
from talweg.readers.table.document import read_document
from talweg.readers.table.jsonl import read_jsonl
from talweg.readers.table.load import Table
from talweg.run import Reading, Run

NAME = "table"
VERSION = re.compile(r"(?:^|/)version_[0-9]+/metrics\.csv$")  # of Lightning's CSVLogger, one folder a run
MIXED = re.compile(r'"([^"\\]{1,80})"\s*:\s*(?=[\[\d{-])')


def sniff(head: Head) -> float:
    """Surest when a step and a loss are among the columns. The head of a long file may end within a row."""
    if head.names:
        return 0.9 if any(VERSION.search(name) for name in head.names) else 0.0
    if head.raw.startswith(parquet.MAGIC):
        return 0.4
    text = head.text
    if not text or text.isspace():
        return 0.0
    whole = text if len(text) < 1000 else text[: text.rfind("\n") + 1] or text
    table = load(lambda: [whole.encode("utf-8", "replace")])
    if table is None:
        return 0.5 if len(text) > 60_000 and _is_of_runs(tuple(MIXED.findall(text))) else 0.0
    if table.num_rows < 2 and len(table.names) < 2:
        return 0.0
    table = shapes.by_the_name(table, head.name)
    if shapes.is_long(table):
        return 0.5
    has_loss, has_step = _has_loss(table.names), any(plain(name) in STEP for name in table.names)
    if has_loss and has_step:
        return 0.7
    if has_loss and any(plain(name) in EPOCH for name in table.names):
        return 0.5
    return 0.1 if has_loss or (has_step and table.is_numeric) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run in a table; `asked.columns` tells what the names do not, `asked.run` which of several.

    Raises InputError when there is no step or no loss.
    """
    if log.is_folder:
        return _of_folder(log, asked)
    source = log.source or "this table"
    table = parquet.read_parquet(log) if log.raw.startswith(parquet.MAGIC) else load(log.chunks)
    if table is None:
        raise InputError(
            f"{log.source or 'this text'} is no table: a header and rows (CSV, TSV), JSONL or JSON were needed"
        )
    shaped = shapes.shaped(table, asked, source, log.path.name if log.path is not None else "")
    table = shaped.table
    notes = (*table.notes, *shaped.notes)
    reading = Reading(table.lines, table.lines_not_understood, notes, table.unknown, runs=shaped.runs)
    steps = litgpt.steps(table, asked) if litgpt.wrote(table) else None
    run = run_of_rows(table.cells, asked, source=source, format=NAME, reading=reading, steps=steps)
    run = replace(run, source=log.source)
    return litgpt.completed(run) if steps is not None else run


def load(chunks: Callable[[], Iterable[bytes]]) -> Table | None:
    """The table that this text is, whole lines a piece; None when it is none."""
    first = next((piece for piece in chunks() if not piece.isspace()), b"").lstrip()
    if first[:1] not in (b"{", b"["):
        return read_delimited(chunks()) or (read_jsonl(chunks) if b"{" in first else None)
    line, _, rest = first.partition(b"\n")
    if first[:1] == b"{" and rest.lstrip()[:1] == b"{" and _is_object(line):
        return read_jsonl(chunks)
    return read_document(b"".join(chunks()).decode("utf-8", "replace")) or read_jsonl(chunks)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _has_loss(names: tuple[str, ...]) -> bool:
    roles = guess(list(names))
    return any((roles.train, roles.val, "val_bits_per_byte" in roles.others))


def _is_of_runs(names: tuple[str, ...]) -> bool:
    return _has_loss(names) and any(plain(name) in STEP for name in names)


def _of_folder(folder: Log, asked: Asked) -> Run:
    """Of Lightning's versions the one that is asked for, or the only one that logged a loss."""
    assert folder.path is not None
    found = {name.split("/")[-2]: name for name in folder.names if VERSION.search(name)}
    if not found:
        raise InputError(f"{folder.source} is a folder without a version_N/metrics.csv; give the table itself")
    ordered = sorted(found, key=lambda version: int(version.rpartition("_")[2]))
    logs = {
        version: Log(f"{folder.source.rstrip('/')}/{found[version]}", folder.path / found[version])
        for version in ordered
    }
    version = one_run({version: _holds_loss(log) for version, log in logs.items()}, asked.run, folder.source)
    run = read(logs[version], replace(asked, run=None))
    return replace(run, reading=replace(run.reading, runs=tuple(ordered)))


def _holds_loss(log: Log) -> bool:
    return bool(log.raw.strip()) and sniff(log.head) >= 0.5
