"""From columns that have names to a `Run`: what each is, in which unit, and what they tell of the whole run.

A table, a tracker's database and an export all name what they hold, in the spellings of many programs. What a person
says (`Asked.columns`) wins over what the names say; what was guessed is told in the notes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import LOSSES, Column, assemble
from talweg.logs.given import Asked
from talweg.logs.roles import CONSTANTS, SECONDS, Roles, guess, is_running_mean, plain, words
from talweg.run import Facts, LossKind, Reading, Run, Series

RESTARTS = 2  # falls of a count that are taken as restarts; with more of them it counts each row. Our choice
SHOWN = 12  # names in a message


def run_of(
    columns: Sequence[Column],
    asked: Asked,
    *,
    source: str,
    format: str,
    facts: Facts | None = None,
    reading: Reading | None = None,
    roles: Roles | None = None,
) -> Run:
    """The run of columns that have names and no roles yet; `roles` where something better is known than the names say.

    Raises InputError when none of them is a loss, or when a column that a person named is not there.
    """
    columns = [column for column in columns if column.step.size]
    names = [column.name for column in columns]
    facts, reading = facts or Facts(), reading or Reading()
    notes: list[str] = []
    roles = roles or roles_of(names, asked, source)
    by_role = _by_role(roles)
    role_of = {name: role for role, name in by_role.items()}
    if not any(role in by_role for role in (*LOSSES, "val_bits_per_byte")):
        raise InputError(f"{source} has no loss column; it has {listed(names)}. Name it with --loss-column")
    made = [_with_role(column, role_of.get(column.name), notes) for column in columns]
    # first those with a role: of two columns with one name the first counts
    made = [column for column in made if column.role is not None] + [column for column in made if column.role is None]
    told = replace(reading, notes=(*reading.notes, *roles.because, *notes))
    run = assemble(made, source=source, format=format, facts=facts, reading=told)
    changed, more = _in_our_units(run)
    facts, told_too = _facts_of(columns, run, roles)
    reading = replace(run.reading, notes=tuple(dict.fromkeys([*run.reading.notes, *more, *told_too])))
    return replace(run, facts=run.facts.over(facts), reading=reading, **changed)  # type: ignore[arg-type]


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", ... ({len(names)} of them)" if len(names) > SHOWN else "")


def named(name: str, names: Sequence[str], source: str) -> str:
    """The column that a person means by this name. Raises InputError when there is none."""
    found = next((each for each in names if each == name), None)
    found = found or next((each for each in names if plain(each) == plain(name)), None)
    if found is None:
        raise InputError(f"{source} has no column {name}; it has {listed(names)}")
    return found


def roles_of(names: Sequence[str], asked: Asked, source: str) -> Roles:
    """The guess by the names, with what the person says over it."""
    given = {role: named(name, names, source) for role, name in asked.columns.items()}
    roles = guess([name for name in names if name not in given.values()])
    because = list(roles.because)
    fields = {"train_loss": "train", "train_eval_loss": "train_eval", "val_loss": "val", "seconds_per_step": "seconds"}
    others = dict(roles.others)
    for role, name in given.items():
        what = TOLD.get(role, role.replace("_", " "))
        because = [f"column {name} is the {what}, as given", *(note for note in because if f"the {what}" not in note)]
        if (field := fields.get(role, role)) in ("step", "train", "train_eval", "val", "seconds", *DIRECT):
            roles = replace(roles, **{field: name})
        else:
            others[role] = name
    return replace(roles, others=others, because=tuple(because))


DIRECT = ("learning_rate", "grad_norm")
TOLD = {"train_loss": "training loss", "val_loss": "validation loss", "grad_norm": "gradient norm"}


def _by_role(roles: Roles) -> dict[str, str]:
    """The name of each column of Run that is there."""
    found = {
        "train_loss": roles.train,
        "train_eval_loss": roles.train_eval,
        "val_loss": roles.val,
        "learning_rate": roles.learning_rate,
        "grad_norm": roles.grad_norm,
        "seconds_per_step": roles.seconds,
        **roles.others,
    }
    return {role: name for role, name in found.items() if name is not None}


def _with_role(column: Column, role: str | None, notes: list[str]) -> Column:
    """The column in the unit that its role has, without blanks that were written as NaN."""
    kept = logged(column.value)
    if not kept.all():
        column = column.only(kept)
        if role is not None:
            notes.append(f"{column.name}: NaN in the rows between its values was read as blank")
    if role == "wall_time":
        scale = _to_seconds(column.value)
        if scale is None:
            return column
        return replace(column, role=role, value=column.value * scale, resolution=column.resolution * scale)
    if role == "seconds_per_step" and (scale := SECONDS.get(plain(column.name), 1.0)) != 1.0:
        column = replace(column, value=column.value * scale, resolution=column.resolution * scale)
    return replace(column, role=role, kind=kind_of(role, column.name))


def kind_of(role: str | None, name: str) -> LossKind:
    """What one value of a column is, as far as its role and its name tell."""
    if role in ("val_loss", "train_eval_loss", "val_bits_per_byte"):
        return "evaluation"
    if role != "train_loss":
        return "unknown"
    if is_running_mean(name):
        return "running_mean"
    if "epoch" in words(name):
        return "interval_mean"
    return "micro_batch" if plain(name) == "train_loss_step" else "unknown"  # Lightning's name for the loss of a batch


def logged(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(T,) which values were really logged: some programs write NaN for a blank cell.

    It is a blank where most of a column is NaN and finite values go on to the end of it; a run that broke stays NaN.
    """
    blank = np.isnan(values)
    if not blank.any():
        return ~blank
    finite = np.flatnonzero(~blank)
    if finite.size < 3 or blank[: finite[-1]].mean() < 0.5:
        return np.ones(values.size, dtype=np.bool_)
    gap = float(np.max(np.diff(finite)))
    return ~blank if values.size - 1 - finite[-1] <= 2 * gap else np.ones(values.size, dtype=np.bool_)


def _to_seconds(value: NDArray[np.float64]) -> float | None:
    """What times are multiplied by to be seconds since 1970; None where they count from somewhere else."""
    middle = float(np.median(value)) if value.size else 0.0
    scales: tuple[float, ...] = (1.0, 1e-3, 1e-6, 1e-9)
    return next((scale for scale in scales if 6e8 < middle * scale < 6e9), None)


# ---------------------------------------------------------------- what the whole of a column tells


def _in_our_units(run: Run) -> tuple[dict[str, Series], list[str]]:
    """Utilisation as a share of one, and skipped updates as a count so far: tables hold both in two ways."""
    changed: dict[str, Series] = {}
    notes: list[str] = []
    mfu, skipped = run.mfu, run.skipped_steps
    if len(mfu.finite) and mfu.finite.value.max() > 1:
        notes.append(f"{mfu.name}: values above 1 were read as percent")
        changed["mfu"] = replace(mfu, value=mfu.value / 100, resolution=mfu.resolution / 100)
    finite = skipped.finite.value
    if (falls := np.minimum(np.diff(finite), 0.0)).any():
        each_row = np.count_nonzero(falls) > RESTARTS
        told = "were read as counts of each row and added up" if each_row else "were read as a count that starts over"
        notes.append(f"{skipped.name}: the values fall again, so they {told}")
        total = np.cumsum(finite) if each_row else finite - np.append(0.0, np.cumsum(falls))
        changed["skipped_steps"] = replace(skipped.finite, value=total)
    return changed, notes


def _facts_of(columns: Sequence[Column], run: Run, roles: Roles) -> tuple[Facts, tuple[str, ...]]:
    """What constant columns and the count of tokens tell of the run."""
    facts = run.facts
    for fact, spellings in CONSTANTS.items():
        for column in columns:
            if plain(column.name).rpartition("/")[2] in spellings and (value := constant(column.value)) is not None:
                given = round(value) if fact == "planned_steps" else value
                facts = facts.over(Facts.stated(f"column {column.name}", **{fact: given}))
    tokens = run.others.get(roles.tokens or "", Series()).finite
    if len(tokens) < 2 or facts.tokens_per_step is not None or facts.step_unit is not None:
        return facts, ()
    rates = np.diff(tokens.value) / np.diff(tokens.step)
    rate = float(np.median(rates))
    if rate > 0 and np.mean(np.abs(rates - rate) <= 0.01 * rate) >= 0.9:
        return facts.over(Facts.stated(f"growth of column {roles.tokens}", tokens_per_step=rate)), ()
    return facts, (f"column {roles.tokens} does not grow evenly: the tokens per step are not taken from it",)


def constant(value: NDArray[np.float64]) -> float | None:
    """The one positive number that a column holds in all its rows; None when they differ."""
    first = float(value[0]) if value.size else 0.0
    return first if 0 < first < np.inf and bool((value == first).all()) else None


def one_run(losses: Mapping[str, bool], asked: str | None, source: str) -> str:
    """Of several runs by name the one that is asked for, by its name or its number; else the one that logs a loss.

    losses: whether a run logs a loss, in the order in which they are shown. Raises InputError where that leaves a
    choice.
    """
    names = list(losses)
    if asked is not None:
        if asked in losses:
            return asked
        if asked.isdigit() and 1 <= int(asked) <= len(names):
            return names[int(asked) - 1]
        raise InputError(f"{source} holds no run {asked}; there are {listed(names)}")
    found = [name for name in names if losses[name]]
    if len(found) == 1 or len(names) == 1:
        return (found or names)[0]
    held = found or names
    raise InputError(f"{source} holds {len(held)} runs: {listed(held)}. Choose one with --run NAME")
