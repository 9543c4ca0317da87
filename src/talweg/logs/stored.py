"""From columns that have names to a `Run`: a table's, a tracker's database, an export.

What a column is, `tracked` says; here stands what such stores have in common beyond that: blanks written as NaN, times
in several units, several runs in one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import LOSSES, Column, assemble
from talweg.logs.given import Asked
from talweg.logs.tracked import no_loss, of_its_trainer, shown, with_roles
from talweg.run import Facts, Reading, Run

TIME_SCALES = (1.0, 1e-3, 1e-6, 1e-9)  # seconds, and what trackers count instead
LOSS_COLUMNS = (*LOSSES, "val_bits_per_byte")


def run_of(
    columns: Sequence[Column],
    asked: Asked,
    *,
    source: str,
    format: str,
    what: str = "column",
    facts: Facts | None = None,
    reading: Reading | None = None,
    settings: Mapping[str, object] | None = None,
    more: Sequence[str] = (),
) -> Run:
    """The run of columns that have names and no roles yet.

    what: the store's word for a column. settings: what the run was started with, as the store keeps it. more: notes.
    Raises InputError when none of them is a loss, or when a column that a person named is not there.
    """
    facts, reading, notes = facts or Facts(), reading or Reading(), []
    columns = [column for column in columns if column.step.size]
    names = [column.name for column in columns]
    filled = [_without_blanks(column) for column in columns]
    made, told, why = with_roles(filled, asked.columns, source)
    if not any(column.role in LOSS_COLUMNS for column in made):
        raise no_loss(source, what, names)
    shorter = {old.name for old, new in zip(columns, filled, strict=True) if new is not old}
    notes += [f"{column.name}: {BLANK}" for column in made if column.role is not None and column.name in shorter]
    made = [_in_seconds(column) for column in made]
    made, of_trainer = of_its_trainer(made, settings or {}, "its settings")
    if facts.step_unit is not None and told.sources.get("tokens_per_step", "").startswith("growth"):
        told = replace(told, tokens_per_step=None)  # it grew over a step of theirs, which is no update
    reading = replace(reading, notes=(*reading.notes, *why, *notes, *more))
    return assemble(made, source=source, format=format, facts=facts.over(told).over(of_trainer), reading=reading)


BLANK = "NaN in the rows between its values was read as blank"


def _without_blanks(column: Column) -> Column:
    return column.only(logged(column.value))


def _in_seconds(column: Column) -> Column:
    """A time on the wall in seconds since 1970; where it counts from somewhere else, a column without a role."""
    if column.role != "wall_time":
        return column
    middle = float(np.median(column.value))
    scale = next((scale for scale in TIME_SCALES if 6e8 < middle * scale < 6e9), None)
    if scale is None:
        return replace(column, role=None)
    return replace(column, value=column.value * scale, resolution=column.resolution * scale)


def logged(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(T,) which values were really logged: some programs write NaN for a blank cell.

    It is a blank where most of a column is NaN and finite values go on to the end of it; a run that broke stays NaN.
    """
    blank = np.isnan(values)
    everything = np.ones(values.size, dtype=np.bool_)
    finite = np.flatnonzero(~blank) if blank.any() else np.empty(0, dtype=np.intp)
    if finite.size < 3 or blank[: finite[-1]].mean() < 0.5:
        return everything
    gap = float(np.max(np.diff(finite)))
    return ~blank if values.size - 1 - finite[-1] <= 2 * gap else everything


def one_run(losses: Mapping[str, bool], asked: str | None, source: str) -> str:
    """Of several runs by name the one that is asked for, by its name or its number; else the one that logs a loss.

    losses: whether a run logs a loss, in the order in which they are numbered. Raises InputError where that leaves a
    choice.
    """
    names = list(losses)
    if asked is not None:
        if asked in losses:
            return asked
        if asked.isdigit() and 1 <= int(asked) <= len(names):
            return names[int(asked) - 1]
        raise InputError(f"{source} holds no run {asked}; there are {shown(names)}")
    found = [name for name in names if losses[name]]
    if len(found) == 1 or len(names) == 1:
        return (found or names)[0]
    held = found or names
    raise InputError(f"{source} holds {len(held)} runs: {shown(held)}. Choose one with --which NAME")
