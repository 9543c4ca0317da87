"""From the quantities that a tracker keeps by name to columns: which is what, in which unit, what one value is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from talweg.errors import InputError
from talweg.logs.assemble import Column
from talweg.logs.roles import CONSTANTS, SECONDS, Roles, guess, is_loss, is_running_mean, plain, words
from talweg.run import COLUMN_NAMES, Facts, LossKind

MOST_COLUMNS = 10_000  # are kept; of a run with more, those with the most points. Our choice
LONGEST_NAME = 80  # characters of a name that are shown
RESTARTS = 2  # falls of a count that are taken as restarts; with more of them it counts each row. Our choice
EVEN, MOSTLY = 0.01, 0.9  # tokens per step: so close to the middle one, at so many of the steps
HUGGING_FACE = ("logging_steps", "logging_nan_inf_filter")  # settings that its Trainer alone logs


def most_told(num_points: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """The names of the columns that are kept, by how many points each has; and what a person should know."""
    if len(num_points) <= MOST_COLUMNS:
        return list(num_points), []
    kept = set(sorted(num_points, key=lambda name: -num_points[name])[:MOST_COLUMNS])
    told = f"it has {len(num_points):,} columns; the {MOST_COLUMNS:,} with the most points were read"
    return [name for name in num_points if name in kept], [told]


def with_roles(
    quantities: Sequence[Column], asked: Mapping[str, str], source: str
) -> tuple[list[Column], Facts, tuple[str, ...]]:
    """The same columns, those first that are a column of `Run`; facts that columns state; what a person should know.

    asked: names that a person gave, by column of `Run`; they win over the guess. Raises InputError when one is not
    there.
    """
    by_name = {quantity.name: quantity for quantity in quantities}
    roles = guess(list(by_name))
    named, notes = _named(roles, by_name, asked, source)
    columns: list[Column] = []
    for role, name in named.items():
        column, told = _in_our_unit(role, by_name[name])
        columns.append(column)
        notes += told
    taken = set(named.values())
    columns += [quantity for quantity in quantities if quantity.name not in taken]
    facts, uneven = _facts(roles, by_name)
    return columns, facts, (*notes, *uneven)


def _named(
    roles: Roles, by_name: Mapping[str, Column], asked: Mapping[str, str], source: str
) -> tuple[dict[str, str], list[str]]:
    """Column of Run -> name of the quantity."""
    guessed = {
        "train_loss": roles.train,
        "train_eval_loss": roles.train_eval,
        "val_loss": roles.val,
        "learning_rate": roles.learning_rate,
        "grad_norm": roles.grad_norm,
        "seconds_per_step": roles.seconds,
        **roles.others,
    }
    found: dict[str, str] = {}
    notes: list[str] = []
    for role, wanted in asked.items():
        same = [name for name in by_name if wanted in (name, plain(name))] or [
            name for name in by_name if plain(name) == wanted.lower()
        ]
        if not same:
            raise InputError(f"{source} has no column {wanted}; it has {shown(by_name)}")
        found[role] = same[0]
        notes.append(f"column {same[0]} is the {role.replace('_', ' ')}, as given")
    for role, name in guessed.items():
        if role in COLUMN_NAMES and name is not None and role not in found and name not in found.values():
            found[role] = name
    told = [note for note in roles.because if any(f"column {name} " in note for name in found.values())]
    return found, notes + [note for note in told if not any(f"column {name} " in note for name in asked.values())]


def shown(names: Iterable[str]) -> str:
    """Names for a message, which is one line."""
    names = [one_line(name) for name in names]
    return ", ".join(names[:12]) + (f", ... ({len(names)} columns)" if len(names) > 12 else "")


def one_line(name: str) -> str:
    """A name as it can stand in a message: what people and damage put into names may be long, or several lines."""
    shortened = name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in shortened)


def no_loss(source: str, what: str, names: Iterable[str]) -> InputError:
    """The error for a log none of whose quantities is a loss."""
    has = shown(names)
    return InputError(f"{source} has no {what} that is a loss; it has {has or 'none'}. Name it with --loss-column")


def _in_our_unit(role: str, column: Column) -> tuple[Column, list[str]]:
    column = replace(column, role=role, kind=_kind(role, column))
    finite = column.value[np.isfinite(column.value)]
    if role == "seconds_per_step" and (scale := SECONDS.get(plain(column.name), 1.0)) != 1.0:
        return replace(column, value=column.value * scale, resolution=column.resolution * scale), []
    if role == "mfu" and finite.size and finite.max() > 1:
        told = f"{column.name}: values above 1 were read as percent"
        return replace(column, value=column.value / 100, resolution=column.resolution / 100), [told]
    with np.errstate(over="ignore"):
        falls = np.minimum(np.diff(finite), 0.0)
    if role == "skipped_steps" and falls.any():
        each = np.count_nonzero(falls) > RESTARTS
        how = "were read as counts of each row and added up" if each else "were read as a count that starts over"
        column = column.only(np.isfinite(column.value))
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.cumsum(finite) if each else finite - np.append(0.0, np.cumsum(falls))
        return replace(column, value=total), [f"{column.name}: the values fall again, so they {how}"]
    return column, []


def _kind(role: str, column: Column) -> LossKind:
    """What the name says of one value."""
    if role in ("val_loss", "train_eval_loss", "val_bits_per_byte"):
        return "evaluation"
    if role != "train_loss" or column.kind != "unknown":
        return column.kind
    if is_running_mean(column.name):
        return "running_mean"
    if "epoch" in words(column.name):
        return "interval_mean"
    return "micro_batch" if plain(column.name) == "train_loss_step" else "unknown"  # Lightning's loss of one batch


def _facts(roles: Roles, by_name: Mapping[str, Column]) -> tuple[Facts, tuple[str, ...]]:
    """What constant columns and the count of tokens tell of the run."""
    facts = Facts()
    for fact, spellings in CONSTANTS.items():
        for name, column in by_name.items():
            value = column.value
            if plain(name).rpartition("/")[2] not in spellings or not value.size:
                continue
            if bool((value == value[0]).all()) and 0 < value[0] < 1e300:
                constant = round(float(value[0])) if fact == "planned_steps" else float(value[0])
                facts = facts.over(Facts.stated(f"column {name}", **{fact: constant}))
    if roles.tokens is None or facts.tokens_per_step is not None:
        return facts, ()
    tokens = by_name[roles.tokens]
    with np.errstate(invalid="ignore", over="ignore"):
        more = np.diff(tokens.step)
        rates = np.diff(tokens.value)[more > 0] / more[more > 0]
    rates = rates[np.abs(rates) < 1e300]
    rate = float(np.median(rates)) if rates.size else 0.0
    if 0 < rate < 1e300 and np.mean(np.abs(rates - rate) <= EVEN * rate) >= MOSTLY:
        return facts.over(Facts.stated(f"growth of column {roles.tokens}", tokens_per_step=rate)), ()
    uneven = f"column {roles.tokens} does not grow evenly: the tokens per step are not taken from it"
    return facts, (uneven,) if rates.size else ()


# ---------------------------------------------------------------- trainers that say what they log


def of_its_trainer(
    columns: Sequence[Column], settings: Mapping[str, object], source: str
) -> tuple[list[Column], Facts]:
    """What one value of the training loss is, where the settings are those of a trainer that is known.

    Hugging Face's Trainer logs the mean over logging_steps updates and all ranks; unless told otherwise it puts the
    running mean in the place of a loss that is not finite.
    """
    if not all(name in settings for name in HUGGING_FACE):
        return list(columns), Facts()
    every = settings["logging_steps"]
    steps = isinstance(every, int | float) and every >= 1 and "epoch" not in str(settings.get("logging_strategy", ""))
    columns = [
        replace(column, kind="interval_mean") if column.role == "train_loss" and is_loss(column.name) else column
        for column in columns
    ]
    facts = Facts.stated(
        f"{source} (Hugging Face's Trainer)",
        train_loss_window=round(every) if steps and every < 1 << 31 else None,  # type: ignore[call-overload, operator]
        train_loss_ranks="mean",
        nan_logged_as="the running mean" if settings["logging_nan_inf_filter"] is True else None,
    )
    return columns, facts
