"""Tables that are not one row a step of one run: one row a value, several runs side by side, one unnamed column."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg.logs.given import Asked
from talweg.logs.roles import STEP, guess, is_loss, plain
from talweg.logs.rows import Cells
from talweg.logs.stored import one_run
from talweg.readers.table.load import Table, Texts

METRIC_NAMES = ("metric", "metric_name", "metricname", "attribute_path", "key", "tag", "variable", "series", "name")
VALUE_NAMES = ("value", "metric_value", "metricvalue", "float_value")
RUN_NAMES = ("run_name", "run name", "runname", "run", "run_id", "run id", "run_uuid", "experiment")
LIMITS = ("__min", "__max")  # of a panel of W&B: the range of the runs or points that were put together
PANEL = "this is the download of a W&B chart, which holds a sample of the points; its history holds all of them"
DOWNLOAD = (
    "this is TensorBoard's download, which holds a sample of 1,000 points of a longer run; its event file holds all"
)
SAMPLE = (
    "an export of W&B's run.history() holds a sample of the rows (500 if it was not told), scan_history() all of them"
)
TAG = re.compile(r"^run-.*-tag-(.+)$")  # the name that TensorBoard gives its downloads


@dataclass(frozen=True)
class Shaped:
    table: Table
    notes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


def shaped(table: Table, asked: Asked, source: str, name: str) -> Shaped:
    """The table with one row a step, of the run that is asked for. Raises InputError where that leaves a choice."""
    notes: list[str] = []
    table = by_the_name(table, name)
    plains = {plain(each) for each in table.names}
    if {"wall_time", "step"} <= plains and len(table.names) == 3:
        notes.append(DOWNLOAD)
    if {"_step", "_runtime", "_timestamp"} <= plains:
        notes.append(SAMPLE)
    if is_long(table):
        table = _wide(table)
    chosen = _of_run(table, asked, source)
    if chosen is not None:
        return replace(chosen, notes=(*notes, *chosen.notes))
    panel = _of_panel(table, asked, source)
    return Shaped(table, tuple(notes)) if panel is None else replace(panel, notes=(*notes, *panel.notes))


def by_the_name(table: Table, name: str) -> Table:
    """TensorBoard's download of one scalar: the name of what it is stands in the file's name alone."""
    plains = {plain(each): each for each in table.names}
    if not {"step", "value"} <= set(plains) or len(plains) > 3 or "value" not in plains:
        return table
    stem = Path(name).stem
    while Path(stem).suffix in (".csv", ".json"):  # of a compressed file
        stem = Path(stem).stem
    match = TAG.match(stem)
    tag = match[1] if match else stem
    if not is_loss(tag):
        return table
    value = plains["value"]
    renamed = {tag if each == value else each: cells for each, cells in table.cells.items()}
    return replace(table, names=tuple(tag if each == value else each for each in table.names), cells=renamed)


# ---------------------------------------------------------------- one row a value


def is_long(table: Table) -> bool:
    """One column holds the names of metrics, one their values."""
    roles = guess(list(table.cells))
    return roles.train is None and roles.val is None and _metric(table) is not None and _value(table) is not None


def _metric(table: Table) -> str | None:
    by_plain = {plain(name): name for name in table.texts}
    found = [by_plain[name] for name in METRIC_NAMES if name in by_plain]
    return next((name for name in found if any(map(is_loss, table.texts[name].names))), None)


def _value(table: Table) -> str | None:
    by_plain = {plain(name): name for name in table.cells}
    return next((by_plain[name] for name in VALUE_NAMES if name in by_plain), None)


def _wide(table: Table) -> Table:
    """A column for each metric; the rows stay what they are."""
    metric, value = _metric(table), _value(table)
    assert metric is not None
    assert value is not None
    texts, cells = table.texts[metric], table.cells[value]
    columns = {name: held for name, held in table.cells.items() if name != value}
    for code, name in enumerate(texts.names):
        held = _in_rows(cells, texts.row[texts.code == code])
        if held.row.size:
            columns[name] = held
    names = tuple(name for name in table.names if name not in (metric, value))
    return replace(table, names=(*names, *texts.names), cells=columns)


def _in_rows(cells: Cells, rows: NDArray[np.int64]) -> Cells:
    keep = np.isin(cells.row, rows)
    return cells if bool(keep.all()) else replace(cells, row=cells.row[keep], value=cells.value[keep])


# ---------------------------------------------------------------- several runs


def _of_run(table: Table, asked: Asked, source: str) -> Shaped | None:
    """The rows of one run, where a column names the run of each."""
    by_plain = {plain(name).replace("_", " "): name for name in table.texts}
    found = [by_plain[key] for name in RUN_NAMES if (key := name.replace("_", " ")) in by_plain]
    several = [name for name in dict.fromkeys(found) if len(table.texts[name].names) > 1]
    if not several:
        return None
    column = next((name for name in several if asked.run in table.texts[name].names), several[0])
    texts = table.texts[column]
    roles = guess(list(table.cells))
    wanted = (asked.columns.get("train_loss"), roles.train, roles.val)
    losses = [name for name in wanted if name is not None and name in table.cells]
    holds = {name: _has_row(table, losses, _rows_of(texts, name)) for name in texts.names}
    name = one_run(holds, asked.run, source)
    rows = _rows_of(texts, name)
    cells = {each: _in_rows(held, rows) for each, held in table.cells.items()}
    told = f"{len(texts.names)} runs stand in it, by column {column}; {name} was read"
    return Shaped(replace(table, cells=cells), (told,), texts.names)


def _rows_of(texts: Texts, name: str) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = texts.row[texts.code == texts.names.index(name)]
    return rows


def _has_row(table: Table, losses: list[str], rows: NDArray[np.int64]) -> bool:
    return any(bool(np.isin(rows, table.cells[name].row).any()) for name in losses)


def _of_panel(table: Table, asked: Asked, source: str) -> Shaped | None:
    """The columns of one run, where their names begin with the run, as in W&B's download of a chart."""
    others = [name for name in table.names if plain(name) not in STEP]
    if not others or not all(" - " in name for name in others):
        return None
    kept = [name for name in others if not name.lower().endswith(LIMITS)]
    runs: dict[str, list[str]] = {}
    for name in kept:
        runs.setdefault(name.rpartition(" - ")[0].strip().strip('"'), []).append(name)
    notes = (PANEL,) if len(kept) < len(others) or len(runs) > 1 else ()
    wanted = asked.columns.get("train_loss")
    named = next((run for run, names in runs.items() if wanted in names), None)
    holds: Mapping[str, bool] = {
        run: any(name in table.cells and is_loss(name) for name in names) for run, names in runs.items()
    }
    run = named if named is not None and asked.run is None else one_run(holds, asked.run, source)
    gone = {name for name in others if name not in runs[run]}
    cells = {name: held for name, held in table.cells.items() if name not in gone}
    shaped = replace(table, names=tuple(name for name in table.names if name not in gone), cells=cells)
    return Shaped(shaped, notes, tuple(runs) if len(runs) > 1 else ())
