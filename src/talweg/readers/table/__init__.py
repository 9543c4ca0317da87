"""Tables: CSV, TSV, JSONL, JSON. One row a step, columns by name; blank cells are missing, not NaN."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from talweg.errors import InputError
from talweg.logs.columns import decimals, standing
from talweg.logs.given import Asked, Head, Log
from talweg.logs.roles import CONSTANTS, SECONDS, Roles, guess, is_loss, is_running_mean, plain
from talweg.readers.table.load import Table, load, number
from talweg.run import Facts, LossKind, Reading, Run, Series

NAME = "table"
RESTARTS = 2  # falls of a count that are taken as restarts; with more of them it counts each row. Our choice


def sniff(head: Head) -> float:
    """Surer when a step and a loss are among the columns. The head of a long file may end within a row."""
    text = head.text
    whole = text if len(text) < 1000 else text[: text.rfind("\n") + 1] or text
    table = load(whole)
    if table is None or (table.num_rows < 2 and len(table.columns) < 2):
        return 0.0
    roles = guess(list(table.columns))
    if roles.step and (roles.train or roles.val):
        return 0.7
    numeric = sum(number(cell) is not None for cells in table.columns.values() for cell in cells[:20] if cell != "")
    cells = sum(cell not in ("", None) for cells in table.columns.values() for cell in cells[:20])
    return 0.3 if roles.step or roles.train or roles.val else 0.1 if cells and numeric > cells / 2 else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run in a table; `asked.columns` tells what the names do not.

    Raises InputError when there is no step or no loss.
    """
    source, loss_column = log.source, asked.columns.get("train_loss")
    table = load(log.text)
    if table is None:
        raise InputError(
            f"{source or 'this text'} is no table: a header and rows (CSV, TSV), JSONL or JSON were needed"
        )
    roles = _roles(table, source or "this table", loss_column)
    notes = list(table.notes) + list(roles.because)

    def series(name: str | None, what: str, kind: LossKind = "unknown") -> Series:
        return _series(table, roles.step, name, what, kind, notes)

    train_kind: LossKind = "running_mean" if roles.train and is_running_mean(roles.train) else "unknown"
    seconds = series(roles.seconds, "seconds per step")
    facts, more = _facts(table, roles)
    others = {column: series(name, column.replace("_", " ")) for column, name in roles.others.items()}
    run = Run(
        source=source,
        format=NAME,
        train_loss=series(roles.train, "training loss", train_kind),
        train_eval_loss=series(roles.train_eval, "training text in evaluation", "evaluation"),
        val_loss=series(roles.val, "validation loss", "evaluation"),
        learning_rate=series(roles.learning_rate, "learning rate"),
        grad_norm=series(roles.grad_norm, "gradient norm"),
        seconds_per_step=replace(seconds, value=seconds.value * SECONDS.get(plain(roles.seconds or ""), 1.0)),
        facts=facts,
        **{column: _in_our_unit(column, found, notes) for column, found in others.items()},  # type: ignore[arg-type]
    )
    if run.last_step is None:
        losses = ", ".join(name for name in (roles.train, roles.val) if name)
        raise InputError(f"{source}: column {losses} holds no number in a row that has a step")
    return replace(run, reading=Reading(table.lines, table.lines_not_understood, tuple(dict.fromkeys([*notes, *more]))))


def _roles(table: Table, source: str, loss_column: str | None) -> Roles:
    """The guess, with what the person says over it."""
    names = list(table.columns)
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} columns)" if len(names) > 12 else "")
    roles = guess(names)
    if loss_column is not None:
        found = next((name for name in names if name == loss_column), None)
        found = found or next((name for name in names if plain(name) == loss_column.lower()), None)
        if found is None:
            raise InputError(f"{source} has no column {loss_column}; it has {shown}")
        kept = tuple(note for note in roles.because if "training loss" not in note)
        val = None if roles.val == found else roles.val
        roles = replace(roles, train=found, val=val, because=(f"column {found} is the training loss, as given", *kept))
    elif roles.train is None and roles.val is None and _is_download(names, source):
        value = next(name for name in names if plain(name) == "value")
        roles = replace(roles, train=value, because=(f"column {value} was taken as a loss: the file's name says so",))
    if roles.train is None and roles.val is None:
        raise InputError(f"{source} has no loss column; it has {shown}. Name it with --loss-column")
    if roles.step is None:
        raise InputError(f"{source} has no step column (step, _step, iteration, ...); it has {shown}")
    return roles


def _is_download(names: Sequence[str], source: str) -> bool:
    """TensorBoard's download of one scalar: the name of what it is stands in the file name alone."""
    return {"step", "value"} <= {plain(name) for name in names} and is_loss(Path(source).stem)


def _series(table: Table, step: str | None, name: str | None, what: str, kind: LossKind, notes: list[str]) -> Series:
    """One column against the steps, where both are there; later rows win over those that they go back behind."""
    if step is None or name is None:
        return Series()
    cells = table.columns[name]
    pairs = [(number(s), number(v), i) for i, (s, v) in enumerate(zip(table.columns[step], cells, strict=True))]
    points = [(s, v, i) for s, v, i in pairs if s is not None and v is not None and np.isfinite(s)]
    if not points:
        return Series()
    steps, values = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    given = _given(values)
    if not given.all():
        notes.append(f"{name}: NaN in the rows between its values was read as blank")
        points = [point for point, there in zip(points, given, strict=True) if there]
        steps, values = steps[given], values[given]
    stands = standing(steps, values)
    notes.extend(stands.notes(what))
    resolution = 10.0 ** -decimals(_printed(cells[i]) for _, v, i in points[:1000] if np.isfinite(v))
    return Series.of(steps[stands.keep], values[stands.keep], kind=kind, resolution=resolution, name=name)


def _in_our_unit(column: str, series: Series, notes: list[str]) -> Series:
    """Utilisation as a share of one, and skipped updates as a count so far: tables hold both in two ways."""
    finite = series.finite.value
    if column == "mfu" and finite.size and finite.max() > 1:
        notes.append(f"{series.name}: values above 1 were read as percent")
        return replace(series, value=series.value / 100, resolution=series.resolution / 100)
    if column == "skipped_steps" and (falls := np.minimum(np.diff(finite), 0.0)).any():
        each_row = np.count_nonzero(falls) > RESTARTS
        told = "were read as counts of each row and added up" if each_row else "were read as a count that starts over"
        notes.append(f"{series.name}: the values fall again, so they {told}")
        total = np.cumsum(finite) if each_row else finite - np.append(0.0, np.cumsum(falls))
        return replace(series.finite, value=total)
    return series


def _resumed(table: Table, roles: Roles) -> tuple[float, ...] | None:
    """The steps to which the losses go back after some step: the run was taken up again there. None: nowhere."""
    steps: set[float] = set()
    for name in filter(None, (roles.train, roles.val)):
        pairs = [
            (step, value)
            for step, value in zip(
                map(number, table.columns[roles.step or ""]), map(number, table.columns[name]), strict=True
            )
            if step is not None and value is not None and np.isfinite(step)
        ]
        if pairs:
            steps |= {step for step in standing(*np.array(pairs).T).went_back_to if step > 0}
    return tuple(sorted(steps)) or None


def _printed(cell: object) -> str:
    return cell.strip() if isinstance(cell, str) else repr(cell)


def _given(values: np.ndarray) -> np.ndarray:
    """Which values were really logged: some programs write NaN for a blank cell.

    It is a blank where most of a column is NaN and finite values go on to the end of it; a run that broke stays NaN.
    """
    blank = np.isnan(values)
    finite = np.flatnonzero(~blank)
    if finite.size < 3 or blank[: finite[-1]].mean() < 0.5:
        return np.ones(values.size, dtype=np.bool_)
    gap = float(np.max(np.diff(finite)))
    return ~blank if values.size - 1 - finite[-1] <= 2 * gap else np.ones(values.size, dtype=np.bool_)


def _facts(table: Table, roles: Roles) -> tuple[Facts, tuple[str, ...]]:
    """What constant columns and the count of tokens tell of the run."""
    facts = Facts()
    for fact, spellings in CONSTANTS.items():
        for name, cells in table.columns.items():
            constant = _constant(cells) if plain(name).rpartition("/")[2] in spellings else None
            if constant is not None:
                value = round(constant) if fact == "planned_steps" else constant
                facts = facts.over(Facts.stated(f"column {name}", **{fact: value}))
    tokens = _series(table, roles.step, roles.tokens, "tokens", "unknown", [])
    facts = Facts.stated("rows that go back", resumed_at=_resumed(table, roles)).over(facts)
    if len(tokens) < 2 or facts.tokens_per_step is not None:
        return facts, ()
    rates = np.diff(tokens.value) / np.diff(tokens.step)
    rate = float(np.median(rates))
    if rate > 0 and np.mean(np.abs(rates - rate) <= 0.01 * rate) >= 0.9:
        return facts.over(Facts.stated(f"growth of column {roles.tokens}", tokens_per_step=rate)), ()
    return facts, (f"column {roles.tokens} does not grow evenly: the tokens per step are not taken from it",)


def _constant(cells: Sequence[object]) -> float | None:
    """The one positive number that every filled cell holds; None when they differ."""
    values = {value for cell in cells if (value := number(cell)) is not None}
    return values.pop() if len(values) == 1 and 0 < min(values) < np.inf else None
