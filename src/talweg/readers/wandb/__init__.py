"""The .wandb files that W&B writes while a run goes on, offline or online: a file, a run folder, a folder wandb/.

The history is read value by value, the configuration states facts. W&B's own step counts the calls of log() unless
the program gave one; where a column tells the step of the trainer (trainer/global_step and its like), that is taken.
Several files of one run id are the starts of one run. Texts, tables and histograms are passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.configs.table import facts_of
from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.roles import STEP, guess, is_loss, plain
from talweg.logs.tracked import most_told, no_loss, of_its_trainer, one_line, with_roles
from talweg.readers.wandb.history import History
from talweg.readers.wandb.records import MAGIC
from talweg.run import Reading, Run
from talweg.textfile import Decompressed

NAME = "wandb"
LOSSES = ("train_loss", "train_eval_loss", "val_loss", "val_bits_per_byte")
OWN_STEP, TIME = "_step", "_timestamp"
MOST_STEPS = 2.0**53  # a larger number is no count
LOOKED_AT = 1 << 16  # bytes of a file in which the run's id and name stand
ENOUGH = 0.5  # of the rows with a loss that a column of steps has to stand in. Our choice
OTHER_LOGS = ("log.jsonl", "trainer_state.json")  # beside which W&B's files are a copy


def sniff(head: Head) -> float:
    """The first bytes are unmistakable; of a folder, it holds such files."""
    if head.names:
        if not any(map(_is_run_file, head.names)):
            return 0.0
        return 0.6 if any(name.endswith(OTHER_LOGS) for name in head.names) else 0.95
    return 1.0 if head.raw.startswith(MAGIC) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run in these files. Raises InputError when there are several runs and none was named, or no loss."""
    found: list[_Files] = []
    paths = [log.path or Path(log.source)]
    if log.is_folder and log.path is not None:
        found = _runs(log)
        paths = _chosen(found, asked.run, log.source).paths
    starts = [_opened(log, path) for path in paths]
    notes = [
        note for path, start in zip(paths, starts, strict=True) for note in start.damage.notes(path.name or log.source)
    ]
    settings: dict[str, Any] = {}
    for start in starts:
        settings |= start.settings
    quantities, why = _quantities(starts, asked)
    timed = [quantity for quantity in quantities if quantity.name == TIME]
    columns, told, more = with_roles(
        [quantity for quantity in quantities if quantity.name not in (OWN_STEP, TIME)], asked.columns, log.source
    )
    if not any(column.role in LOSSES for column in columns):
        raise no_loss(log.source, "column", (column.name for column in columns))
    columns, of_trainer = of_its_trainer(columns, settings, "the config in the log")
    if timed:
        columns.append(_wall_time(columns, timed[0]))
    facts = facts_of(settings, "the config in the log").over(told).over(of_trainer)
    records = sum(start.damage.records for start in starts)
    bad = sum(start.damage.damaged + start.damage.not_understood for start in starts)
    runs = tuple(run.id for run in found) if len(found) > 1 else ()
    reading = Reading(records, bad, tuple(dict.fromkeys([*notes, *why, *more])), runs=runs)
    return assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading)


def _opened(log: Log, path: Path) -> History:
    with Decompressed(
        log.content if log.content is not None else path, log.source if log.content else str(path)
    ) as file:
        return History().read(file)


# ---------------------------------------------------------------- which run


@dataclass
class _Files:
    """The files of one run, in the order of its starts."""

    id: str
    name: str
    paths: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        return one_line(f"{self.id} ({self.name})" if self.name and self.name != self.id else self.id)


def _is_run_file(name: str) -> bool:
    return name.endswith(".wandb")


def _runs(log: Log) -> list[_Files]:
    """The runs in a folder by their id; files that hold no record yet are left aside."""
    assert log.path is not None
    found: dict[str, list[tuple[float, str, Path, str]]] = {}
    for name in filter(_is_run_file, log.names):
        path = log.path / name
        try:
            with Decompressed(path, str(path)) as file:
                head = History().read(file, LOOKED_AT)
        except InputError:
            continue
        if head.damage.records:
            id = head.run_id or path.stem.removeprefix("run-")
            begun = head.started if np.isfinite(head.started) else np.inf
            found.setdefault(id, []).append((begun, name, path, head.name))
    runs = []
    for id, files in found.items():
        files.sort()
        runs.append((files[0][0], _Files(id, files[-1][3], [path for _, _, path, _ in files])))
    return [run for _, run in sorted(runs, key=lambda item: (item[0], item[1].id))]


def _chosen(found: Sequence[_Files], asked: str | None, source: str) -> _Files:
    if not found:
        raise InputError(f"{source} holds files of W&B, but nothing stands in them yet; wait for the first steps")
    shown = ", ".join(map(str, found[:6])) + (", ..." if len(found) > 6 else "")
    if asked is None:
        if len(found) == 1:
            return found[0]
        raise InputError(f"{source} holds {len(found)} runs: {shown}; name one with --which")
    named = [
        run for run in found if asked in (run.id, run.name) or any(asked == path.parent.name for path in run.paths)
    ]
    if not named and asked.isdigit() and 1 <= int(asked) <= len(found):
        named = [found[int(asked) - 1]]
    if len(named) != 1:
        many = "several runs" if named else "no run"
        raise InputError(f"{source} holds {many} of the name {asked}; it holds {shown}")
    return named[0]


# ---------------------------------------------------------------- columns


def _quantities(starts: Sequence[History], asked: Asked) -> tuple[list[Column], list[str]]:
    """The columns of all starts, one behind the other, against the steps of the trainer."""
    pieces: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    own: list[NDArray[np.float64]] = []
    bounds = [0]
    for start in starts:
        for name, row, value in start.columns():
            pieces.setdefault(name, []).append((row + bounds[-1], value))
        own += start.steps
        bounds.append(bounds[-1] + start.rows)
    names, notes = most_told({name: sum(row.size for row, _ in those) for name, those in pieces.items()})
    held = {
        name: (np.concatenate([row for row, _ in pieces[name]]), np.concatenate([value for _, value in pieces[name]]))
        for name in names
    }
    own_step = np.concatenate(own) if own else np.empty(0)
    if OWN_STEP in held:
        row, value = held[OWN_STEP]
        own_step[row] = value
    chosen = _step_column(held, asked)
    if chosen is None:
        notes.append("the steps are W&B's own (_step), which count the calls of log() unless the program gave a step")
    else:
        own_step = _filled(held[chosen], bounds)
        notes.append(f"the steps are those of column {chosen}")
    own_step[~(np.abs(own_step) < MOST_STEPS)] = np.nan
    columns = []
    for name, (row, value) in held.items():
        if name != chosen:
            columns.append(Column(name, own_step[row], value, place=row))
    return columns, notes


def _step_column(held: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]], asked: Asked) -> str | None:
    """The column that tells the trainer's step; None: W&B's own is all there is."""
    roles = guess(list(held))
    losses = [asked.columns.get("train_loss"), roles.train, roles.val, *(name for name in held if is_loss(name))]
    loss = next((name for name in losses if name in held), None)
    by_plain = {plain(name): name for name in reversed(list(held))}
    for name in (by_plain[spelling] for spelling in STEP if spelling in by_plain and spelling != OWN_STEP):
        row, value = held[name]
        if not np.isfinite(value).all() or np.unique(value).size < min(2, value.size):
            continue
        if loss is None or np.isin(held[loss][0], row).mean() >= ENOUGH:
            return name
    return None


def _filled(column: tuple[NDArray[np.int64], NDArray[np.float64]], bounds: Sequence[int]) -> NDArray[np.float64]:
    """(rows,) the step of each row: where it has none, that of the last row before it in the same start."""
    step = np.full(bounds[-1], np.nan)
    step[column[0]] = column[1]
    for begin, end in pairwise(bounds):
        part = step[begin:end]
        known = np.where(np.isnan(part), -1, np.arange(part.size))
        last = np.maximum.accumulate(known) if known.size else known
        step[begin:end] = np.where(last >= 0, part[np.maximum(last, 0)], np.nan)
    return step


def _wall_time(columns: Sequence[Column], timed: Column) -> Column:
    """When the rows of the first loss were logged."""
    loss = next(column for role in LOSSES for column in columns if column.role == role)
    assert timed.place is not None
    assert loss.place is not None
    rows = timed.only(np.isin(timed.place, loss.place) & np.isfinite(timed.value))
    return Column("wall_time", rows.step, rows.value, "wall_time", place=rows.place)
