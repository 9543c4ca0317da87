"""trainer_state.json: everything that the Trainer logged until it saved a checkpoint, in full precision.

Each checkpoint holds the history from the beginning of the run, so that the newest says what counts. An older one says
more where training was taken up again from a checkpoint before it: what ran there first stands in its tail alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from talweg.errors import InputError
from talweg.logs.given import Log
from talweg.readers.hugging_face.rows import Field, Rows, number
from talweg.run import Facts

FILE = "trainer_state.json"
ENDLESS = 1e9  # epochs
ROUNDED = 1e-4  # the digits to which older versions round a training loss


@dataclass(frozen=True)
class State:
    """history: rows in the order in which they were logged."""

    source: str
    history: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    saved: float = 0.0  # seconds since 1970
    notes: tuple[str, ...] = ()


def of_log(log: Log, saved: float = 0.0) -> State:
    """Raises InputError when there is no history in the file. Of a file that is cut off, the rows before the cut."""
    text = log.text
    source = log.source or FILE
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        whole = _before_the_cut(text)
        if not whole:
            raise InputError(f"{source} is damaged or cut off, and no row of its log_history can be read") from None
        told = f"{FILE} is damaged or cut off after {len(whole)} rows; those before were read"
        return State(source, whole, {}, saved, (told,))
    history = document.get("log_history") if isinstance(document, dict) else None
    if not isinstance(history, list):
        raise InputError(f"{source} has no log_history; a trainer_state.json of Hugging Face's Trainer was needed")
    settings = {name: value for name, value in document.items() if name != "log_history"}
    return State(source, [row for row in history if isinstance(row, dict)], settings, saved)


def _before_the_cut(text: str) -> list[dict[str, Any]]:
    decoder = json.JSONDecoder()
    at = text.find("[", text.find('"log_history"'))
    rows: list[dict[str, Any]] = []
    while (at := text.find("{", at)) >= 0:
        try:
            row, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
        if not text[at : at + 20].lstrip().startswith(","):
            break
    return rows


# ---------------------------------------------------------------- folders


def runs_in(names: Sequence[str]) -> dict[str, list[str]]:
    """The states in a folder, by the folder of the run that saved them."""
    found: dict[str, list[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.name == FILE:
            of_checkpoint = path.parent.name.startswith("checkpoint-")
            run = path.parent.parent if of_checkpoint else path.parent
            found.setdefault(run.as_posix(), []).append(name)
    return found


def merged(states: Sequence[State]) -> tuple[State, list[Mapping[str, Any]], tuple[str, ...]]:
    """The newest of several states of one run, all rows in the order in which they were logged, and notes.

    Of a state whose history goes on in another nothing is needed. Where two part, training was taken up again: the rows
    of the older come first, those of the newer from where they part on go over them.
    """
    states = sorted(states, key=lambda state: len(state.history))
    kept: list[State] = []
    for place, state in enumerate(states):
        if not any(_shared(state, longer) == len(state.history) for longer in states[place + 1 :]):
            kept.append(state)
    kept.sort(key=lambda state: (state.saved, number(state.settings.get("global_step")) or 0.0))
    rows: list[Mapping[str, Any]] = list(kept[0].history)
    for before, state in pairwise(kept):
        rows += state.history[_shared(before, state) :]
    notes = tuple(dict.fromkeys(note for state in kept for note in state.notes))
    if len(kept) > 1:
        notes += (f"{len(kept)} checkpoints tell different histories: the run was taken up again; the newest counts",)
    return kept[-1], rows, notes


def _shared(one: State, other: State) -> int:
    """How many rows at their beginning are the same."""
    for place, (mine, theirs) in enumerate(zip(one.history, other.history, strict=False)):
        if mine != theirs and repr(mine) != repr(theirs):  # NaN is not equal to itself
            return place
    return min(len(one.history), len(other.history))


# ---------------------------------------------------------------- rows


def rows_of(history: Sequence[Mapping[str, Any]]) -> Rows:
    """The rows but for the summary at the end of training, whose train_loss is the mean of the whole run."""
    steps: list[float] = []
    places: list[int] = []
    found: dict[str, tuple[list[int], list[float]]] = {}
    last = float("nan")
    for place, row in enumerate(history):
        if "train_loss" in row and "loss" not in row:
            continue
        step = number(row.get("step"))
        last = last if step is None else step
        for name, value in row.items():
            if name == "step":
                continue
            plain = value if type(value) is float else _plain(value)
            if plain is None:
                continue
            if (column := found.get(name)) is None:
                column = found[name] = ([], [])
            column[0].append(len(steps))
            column[1].append(plain)
        steps.append(last)
        places.append(place)
    fields = {
        name: Field(np.array(index, dtype=np.intp), np.array(values), _resolution(name, values))
        for name, (index, values) in found.items()
    }
    return Rows(np.array(steps), np.array(places, dtype=np.int64), fields)


def _plain(value: object) -> float | None:
    """A number; some write those that are not finite as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return number(value)


def _resolution(name: str, values: Sequence[float]) -> float:
    """Of a loss that is rounded, and of epochs that are; 0 where all digits stand."""
    if name == "loss" and all(value != value or round(value, 4) == value for value in values):
        return ROUNDED
    if name == "epoch" and len(values) > 1 and all(value != value or round(value, 2) == value for value in values):
        return 0.01
    return 0.0


def stated(state: State) -> Facts:
    """What the file says beside its rows."""
    settings, source = state.settings, FILE
    found = Facts.stated(f"max_steps ({source})", planned_steps=_count(settings.get("max_steps")))
    batch = _count(settings.get("train_batch_size"))
    return found.over(Facts.stated(f"train_batch_size ({source})", micro_batch=batch))


def logging_steps(state: State) -> int | None:
    return _count(state.settings.get("logging_steps"))


def has_epochs(state: State) -> bool:
    """Whether an epoch is a pass over the text: for a stream the number of epochs is the largest integer."""
    epochs = number(state.settings.get("num_train_epochs"))
    return epochs is not None and epochs < ENDLESS


def _count(value: object) -> int | None:
    plain = number(value)
    return int(plain) if plain is not None and plain >= 1 and plain == int(plain) else None
