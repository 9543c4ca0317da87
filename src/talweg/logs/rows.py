"""From rows to columns against steps: which column counts the steps, and which rows have both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import Column
from talweg.logs.given import Asked
from talweg.logs.roles import CONSTANTS, EPOCH, STEP, TOKENS, guess, plain
from talweg.logs.stored import run_of
from talweg.logs.tracked import shown
from talweg.run import Facts, Reading, Run

COUNTERS = {"_step"}  # that count calls of a tracker, where the trainer did not give its own step


@dataclass(frozen=True, eq=False)
class Cells:
    """The numbers of one column of a table, and in which rows they stand; rows without one are missing there."""

    row: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # (T,) ascending
    value: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # (T,)
    resolution: float = 0.0


@dataclass(frozen=True, eq=False)
class Steps:
    """What the rows count, by row."""

    name: str
    cells: Cells
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()


def run_of_rows(
    table: Mapping[str, Cells],
    asked: Asked,
    *,
    source: str,
    format: str,
    facts: Facts | None = None,
    reading: Reading | None = None,
    settings: Mapping[str, object] | None = None,
    steps: Steps | None = None,
) -> Run:
    """The run of a table; `steps` where something better is known than the names say.

    Raises InputError when there is no loss, or nothing that counts the steps.
    """
    reading = reading or Reading()
    given = {role: named(name, list(table), source) for role, name in asked.columns.items()}
    losses = _losses(table, given)
    if not losses:
        raise InputError(f"{source} has no loss column; it has {shown(table)}. Name it with --loss-column")
    steps = steps or _steps(table, given, losses, source)
    notes = list(steps.notes)
    columns = [_against(steps, name, cells, notes) for name, cells in table.items() if name != steps.name]
    if not any(column.name in losses and column.step.size for column in columns):
        raise InputError(f"{source}: column {', '.join(losses)} holds no number in a row that has a step")
    roles = {role: name for role, name in given.items() if role != "step"}
    return run_of(
        columns,
        replace(asked, columns=roles),
        source=source,
        format=format,
        facts=(facts or Facts()).over(steps.facts),
        reading=reading,
        settings=settings,
        more=notes,
    )


def named(name: str, names: Sequence[str], source: str) -> str:
    """The column that a person means by this name. Raises InputError when there is none."""
    found = next((each for each in names if each == name), None)
    found = found or next((each for each in names if plain(each) == plain(name)), None)
    if found is None:
        raise InputError(f"{source} has no column {name}; it has {shown(names)}")
    return found


def _losses(table: Mapping[str, Cells], given: Mapping[str, str]) -> list[str]:
    """The columns that are losses: by what a person says, by the names of those that hold numbers, by all names."""
    for names in ([name for name, cells in table.items() if cells.row.size], list(table)):
        roles = guess([name for name in names if name not in given.values()])
        found = (
            given.get("train_loss", roles.train),
            given.get("val_loss", roles.val),
            given.get("val_bits_per_byte", roles.others.get("val_bits_per_byte")),
        )
        if losses := [name for name in found if name is not None]:
            return losses
    return []


def _against(steps: Steps, name: str, cells: Cells, notes: list[str]) -> Column:
    """A column against the steps of its rows.

    Where none of its rows has a step, each belongs to the last step that stands above it.
    """
    row, step = steps.cells.row, steps.cells.value
    if row.size == cells.row.size and bool((row == cells.row).all()):
        return Column(name, step, cells.value, None, "unknown", cells.resolution, cells.row)
    place, has = np.searchsorted(row, cells.row), _in_both(cells.row, row)
    if not has.any() and row.size:
        place = np.searchsorted(row, cells.row) - 1
        has = place >= 0
        if has.any():
            notes.append(f"{name}: its rows name no step; each was put at the last step above it")
    return Column(name, step[place[has]], cells.value[has], None, "unknown", cells.resolution, cells.row[has])


def _steps(table: Mapping[str, Cells], given: Mapping[str, str], losses: Sequence[str], source: str) -> Steps:
    """The column that counts optimizer updates; where there is none, that which counts epochs."""
    if (name := given.get("step")) is not None:
        return Steps(name, _finite(table[name]), notes=(f"column {name} is the step, as given",))
    filled = [name for name, cells in table.items() if cells.row.size and name not in losses]
    by_plain = {plain(name): name for name in reversed(filled)}
    found = [by_plain[spelling] for spelling in STEP if spelling in by_plain]
    with_loss = (name for name in found if _share(table[name], [table[loss] for loss in losses]))
    if found:
        return _counted(table, next(with_loss, found[0]))
    if (tokens := _by_tokens(table, by_plain)) is not None:
        return tokens
    if (epoch := next((by_plain[spelling] for spelling in EPOCH if spelling in by_plain), None)) is not None:
        return _by_epochs(table, epoch, losses, source)
    raise InputError(f"{source} has no step column (step, _step, iteration, ...); it has {shown(table)}")


def _counted(table: Mapping[str, Cells], name: str) -> Steps:
    cells = _finite(table[name])
    notes: tuple[str, ...] = ()
    if plain(name) in COUNTERS:
        told = f"column {name} counts the calls of the tracker, which are steps only where the trainer gave its own"
        return Steps(name, cells, notes=(told,))
    epoch = next((table[each] for each in table if plain(each) in EPOCH), None)
    if epoch is not None and (whole := _over_epochs(cells, epoch)) is not None:
        cells, notes = whole, (f"column {name} starts over in each epoch: it was counted on from one to the next",)
    return Steps(name, cells, notes=notes)


def _over_epochs(steps: Cells, epoch: Cells) -> Cells | None:
    """Steps that count batches of an epoch, counted on over the epochs; None where they do not start over in each."""
    if steps.row.size != epoch.row.size or not bool((steps.row == epoch.row).all()):
        return None
    falls, rises = np.diff(steps.value) < 0, np.diff(epoch.value) > 0
    if not falls.any() or not bool((falls == rises).all()):
        return None
    ends = np.flatnonzero(falls)
    ahead = np.diff(steps.value)
    gap = float(np.median(ahead[ahead > 0])) if (ahead > 0).any() else 1.0
    jump = steps.value[ends] + gap - steps.value[ends + 1]
    offset = np.zeros(steps.value.size)
    offset[ends + 1] = jump
    return replace(steps, value=steps.value + np.cumsum(offset))


def _by_tokens(table: Mapping[str, Cells], by_plain: Mapping[str, str]) -> Steps | None:
    """Updates out of a count of tokens, where a constant column says how many tokens an update takes."""
    for spelling in CONSTANTS["tokens_per_step"]:
        name = by_plain.get(spelling)
        rate = None if name is None else constant(table[name].value)
        tokens = next((by_plain[each] for each in TOKENS if each in by_plain), None)
        if rate is not None and tokens is not None:
            cells = _finite(table[tokens])
            told = f"there is no column of steps: column {tokens} was divided by column {name}"
            return Steps(tokens, replace(cells, value=cells.value / rate), notes=(told,))
    return None


def _by_epochs(table: Mapping[str, Cells], name: str, losses: Sequence[str], source: str) -> Steps:
    """Epochs as steps. Raises InputError where a loss stands more than once in an epoch: nothing orders it then."""
    cells = _finite(table[name])
    for loss in losses:
        step = cells.value[_in_both(cells.row, table[loss].row)]
        if step.size and np.unique(step).size < 0.9 * step.size:
            raise InputError(
                f"{source} has no step column, and column {loss} stands several times in one epoch; it has "
                f"{shown(table)}. Name the steps with --column step=NAME"
            )
    told = f"there is no column of steps: column {name} was taken, so that a step is one epoch"
    return Steps(name, cells, Facts.stated(f"column {name}", step_unit="epoch"), (told,))


def constant(value: NDArray[np.float64]) -> float | None:
    """The one positive number that a column holds in all its rows; None when they differ."""
    first = float(value[0]) if value.size else 0.0
    return first if 0 < first < np.inf and bool((value == first).all()) else None


def _share(step: Cells, losses: Sequence[Cells]) -> bool:
    """Whether some row has both a step and a loss."""
    return any(bool(_in_both(step.row, loss.row).any()) for loss in losses)


def _in_both(row: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(T,) which of the ascending `row` stand in the ascending `other`."""
    place = np.minimum(np.searchsorted(other, row), max(other.size - 1, 0))
    return other[place] == row if other.size else np.zeros(row.size, dtype=np.bool_)


def _finite(cells: Cells) -> Cells:
    keep = np.isfinite(cells.value)
    return cells if bool(keep.all()) else replace(cells, row=cells.row[keep], value=cells.value[keep])
