"""Keras: its standard output, the training.csv of CSVLogger, and the `history` of History as JSON.

    Epoch 3/6
    71/71 ━━━━━━━━━━━━━━━━━━━━ 9s 133ms/step - accuracy: 0.4376 - loss: 2.2181 - val_accuracy: 0.5360 - val_loss: 1.8753

A training loss is the mean over its epoch; what a bar shows before the epoch's end is a mean of less and is not taken.
Where the output says how many updates an epoch has, steps are updates; otherwise they are epochs.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble
from talweg.logs.columns import decimals
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.prefix import core
from talweg.logs.recipes import NUMBER, Fields, Span
from talweg.run import Facts, LossKind, Reading, Run

NAME = "keras"

EPOCH = re.compile(r"Epoch (?P<step>[0-9]+)/(?P<planned>[0-9]+)\s*$")
BAR = re.compile(r"(?P<done>[0-9]+)/(?P<of>[0-9]+)\s(?P<rest>.*?[0-9](?:ms|us|s|min|h)\b.* - .*)$")
WITHOUT_BAR = re.compile(r"- (?P<rest>[0-9]+s .*)$")  # verbose=2 of the first versions
METRIC = re.compile(rf" - (?P<key>[A-Za-z_][\w/.@-]*): (?P<value>{NUMBER})(?=\s|$)")
PACE = re.compile(r"\b(?P<pace>[0-9]+)(?P<unit>us|ms|s)/(?P<of>step|sample|epoch)\b")
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
SAMPLES = re.compile(r"^\s*Train on [0-9]+ samples")
PLANNED, DONE, OF, PACE_FIELD = "planned epochs", "done", "of", "pace"
OWN_FIELDS = (PLANNED, DONE, OF, PACE_FIELD, "seconds per sample")
ROLES = {"loss": "train_loss", "val_loss": "val_loss", "learning_rate": "learning_rate", "lr": "learning_rate"}
# what no metric of Keras is called: a table that has one of these counts its own steps
NOT_METRICS = re.compile(
    r"(?:.*[_/ ])?(?:step|iter|iteration|batch|update|tokens?|samples?|time|seconds|epoch)s?$", re.I
)


def sniff(head: Head) -> float:
    """Bars below a line that counts epochs, or a table of metrics by epoch as CSVLogger and History write them."""
    text = head.text
    start = text.lstrip()[:1]
    if start == "{":
        return 0.9 if _history(text) is not None else 0.0
    if text.startswith("epoch"):
        return 0.9 if _is_csv(text) else 0.0
    if "Epoch " not in text or "loss: " not in text or head.is_source:
        return 0.0
    lines = text.split("\n")
    epochs = any(core(EPOCH, line) for line in lines if "Epoch " in line)
    return 0.9 if epochs and any("loss: " in line and parse(line) for line in lines) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output or table tells of. Raises InputError when no loss stands in it."""
    asked.refuse_columns(f"{log.source or 'this log'} is of Keras")
    text = log.head.text
    if text.lstrip()[:1] == "{":
        return _of_history(log)
    if text.startswith("epoch"):
        return _of_csv(log)
    return _of_output(log)


# ---------------------------------------------------------------- standard output


def parse(line: str) -> Fields | None:
    """Where the count of epochs stands, or the metrics of a bar."""
    if (match := core(EPOCH, line)) is not None:
        return {"step": Span(*match.span("step")), PLANNED: Span(*match.span("planned"))}
    if "loss: " not in line:
        return None
    fields: dict[str, Span] = {}
    if (match := core(BAR, line)) is not None:
        fields = {DONE: Span(*match.span("done")), OF: Span(*match.span("of"))}
    elif (match := core(WITHOUT_BAR, line)) is None:
        return None
    start = match.start("rest")
    if (pace := PACE.search(line, start)) is not None and pace["of"] != "epoch":
        name = PACE_FIELD if pace["of"] == "step" else "seconds per sample"
        fields[name] = Span(*pace.span("pace"), SECONDS[pace["unit"]])
    for found in METRIC.finditer(line, start):
        fields.setdefault(found["key"], Span(*found.span("value")))
    return fields if "loss" in fields else None


def _of_output(log: Log) -> Run:
    samples: list[bool] = []

    def other(line: str, number: int, above: int) -> bool:
        found = SAMPLES.search(line) is not None
        samples.append(found)
        return found

    lines = Lines(parse, other).read(log.chunks())
    points = lines.points()
    if "loss" not in points:
        raise InputError(f"{log.source or 'this log'}: no bar of Keras with a loss was found (71/71 ... - loss: 1.4)")
    last = _last_of_epochs(points)
    if not last.size:
        raise InputError(
            f"{log.source or 'this log'} is of a first epoch that is not over: Keras tells the loss of an epoch at its "
            "end; give the log again then"
        )
    by_sample = any(samples) or "seconds per sample" in points
    size = None if by_sample else _updates(points, last)
    facts = _facts(size, "the bars count to it", int(points[PLANNED].value[-1]) if PLANNED in points else None)
    columns = [_column(name, _at(found, last), size) for name, found in points.items() if name not in OWN_FIELDS]
    if size is not None and PACE_FIELD in points:
        pace = _at(points[PACE_FIELD], last)
        columns.append(replace(Column.of("ms/step", pace, "seconds_per_step"), step=pace.step * size))
    reading = lines.reading()
    notes = (f"an epoch has {size:,} updates: steps are updates",) if size else (BY_EPOCH,)
    reading = replace(reading, notes=(*reading.notes, *notes))
    return assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading)


BY_EPOCH = "how many updates an epoch has is not told: steps are epochs"


def _last_of_epochs(points: dict[str, Points]) -> NDArray[np.int64]:
    """(E,) the line that tells the whole of each epoch that has come to its end.

    A bar may be drawn twice when it is full, and `evaluate` draws one below it that looks alike but for val_loss.
    """
    loss = points["loss"]
    of = np.zeros(len(loss))
    whole = np.isfinite(loss.step)
    if DONE in points:
        with_bar = np.isin(loss.line, points[DONE].line)
        of[with_bar] = points[OF].value[np.isin(points[OF].line, loss.line)]
        whole[with_bar] &= (points[DONE].value == points[OF].value)[np.isin(points[DONE].line, loss.line)]
    line, value, of = loss.line[whole], loss.value[whole], of[whole]
    starts = points[PLANNED].line if PLANNED in points else np.empty(0)
    epoch = np.searchsorted(starts, line)  # counts the lines "Epoch 3/6" above: two fits may have the same epochs
    valid = np.isin(line, points["val_loss"].line) if "val_loss" in points else np.zeros(line.size, dtype=np.bool_)
    found = []
    for bars in np.split(np.arange(line.size), np.flatnonzero(np.diff(epoch)) + 1) if line.size else ():
        alike = bars[of[bars] == of[bars[0]]]
        told = alike[valid[alike]]
        found.append(line[told[0] if told.size else alike[value[alike] == value[bars[0]]][-1]])
    return np.array(found, dtype=np.int64)


def _at(points: Points, lines: NDArray[np.int64]) -> Points:
    """The points that stand in these lines."""
    keep = np.isin(points.line, lines)
    return replace(points, line=points.line[keep], step=points.step[keep], value=points.value[keep], rank=None)


def _updates(points: dict[str, Points], last: NDArray[np.int64]) -> int | None:
    """Updates in an epoch, where all epochs have as many."""
    if OF not in points:
        return None
    of = _at(points[OF], last).value
    return int(of[0]) if of.size and bool(np.all(of == of[0])) else None


def _column(name: str, points: Points, size: int | None) -> Column:
    column = Column.of(name, points, ROLES.get(name), _kind(name, size))
    return column if size is None else replace(column, step=column.step * size)


def _kind(name: str, size: int | None) -> LossKind:
    if name.startswith("val_"):
        return "evaluation"
    return ("batch" if size == 1 else "interval_mean") if name == "loss" else "unknown"


def _facts(size: int | None, source: str, epochs: int | None = None) -> Facts:
    if size is None:
        return Facts.stated("Keras logs once an epoch", step_unit="epoch")
    window = None if size == 1 else size
    planned = None if epochs is None else epochs * size
    return Facts.stated(source, train_loss_window=window, planned_steps=planned)


# ---------------------------------------------------------------- tables


def _is_csv(text: str) -> bool:
    """Whether the header is one of CSVLogger's: epoch, then the metrics in alphabetical order, loss among them.

    A table of epoch and loss alone may be anybody's.
    """
    header, _, rows = text.partition("\n")
    delimiter = next((sign for sign in (",", ";", "\t") if sign in header), None)
    if delimiter is None:
        return False
    first, *names = header.strip().split(delimiter)
    if (
        first != "epoch"
        or "loss" not in names
        or len(names) < 2
        or names != sorted(names)
        or any(map(NOT_METRICS.match, names))
    ):
        return False
    row = rows.split("\n")[0].strip().split(delimiter) if rows else []
    return bool(row) and row[0].isdigit()


def _of_csv(log: Log) -> Run:
    """training.csv: epochs are counted from 0, so a row of epoch 0 is one epoch done."""
    text = log.text
    header, _, body = text.partition("\n")
    delimiter = next((sign for sign in (",", ";", "\t") if sign in header), ",")
    names = header.strip().split(delimiter)
    rows: list[list[str]] = []
    num_bad = 0
    lines = body.split("\n")
    notes: tuple[str, ...] = (BY_EPOCH,)
    if lines.pop():  # CSVLogger ends every row with a line end
        num_bad, notes = 1, ("the last line is cut off in the middle and was left out", BY_EPOCH)
    for row in csv.reader(lines, delimiter=delimiter):
        if len(row) == len(names) and row[0].strip().isdigit():
            rows.append(row)
        elif any(cell.strip() for cell in row) and row != names:
            num_bad += 1
    epoch = np.array([float(row[0]) for row in rows])
    epoch += epoch.size > 0 and epoch[0] != 1  # a table that begins with epoch 1 is no CSVLogger's, and counts from it
    columns = [_cells(name, epoch, [row[place] for row in rows]) for place, name in enumerate(names) if place]
    reading = Reading(1 + len(lines) + (not text.endswith("\n")), num_bad, notes)
    return assemble(
        [column for column in columns if column.step.size],
        source=log.source,
        format=NAME,
        facts=_facts(None, ""),
        reading=reading,
    )


def _cells(name: str, epoch: NDArray[np.float64], cells: Sequence[str]) -> Column:
    """One column of the table, without what is no number (NA: a key that this epoch did not have)."""
    values = [_number(cell) for cell in cells]
    there = np.array([value is not None for value in values], dtype=np.bool_)
    value = np.array([value for value in values if value is not None])
    resolution = 10.0 ** -decimals(cells[:100])
    place = np.flatnonzero(there) + 1
    return Column(name, epoch[there], value, ROLES.get(name), _kind(name, None), resolution, place)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _history(text: str) -> Mapping[str, Sequence[float]] | None:
    """The lists of a History, by metric; None where this is something else, or where it is cut off."""
    try:
        document: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(document, dict) or "loss" not in document or any(map(NOT_METRICS.match, document)):
        return None
    if not all(isinstance(values, list) and values for values in document.values()):
        return None
    numeric = all(isinstance(value, int | float) for values in document.values() for value in values)
    paired = any(name.startswith("val_") and name.removeprefix("val_") in document for name in document)
    return document if numeric and paired else None


def _of_history(log: Log) -> Run:
    """The lists of History.history: one value an epoch; of a list that is shorter, one every so many epochs."""
    history = _history(log.text)
    if history is None:
        raise InputError(f"{log.source or 'this log'} is no history of Keras: lists of numbers by metric were needed")
    epochs = len(history["loss"])
    columns, notes = [], [BY_EPOCH]
    for name, values in history.items():
        if epochs % len(values):
            notes.append(f"{name} has {len(values)} values in {epochs} epochs and was left out: which ones is not told")
            continue
        every = epochs // len(values)
        step = np.arange(1, len(values) + 1, dtype=np.float64) * every
        resolution = 10.0 ** -decimals(map(repr, values[:100]))
        columns.append(
            Column(name, step, np.array(values, dtype=np.float64), ROLES.get(name), _kind(name, None), resolution)
        )
    reading = Reading(log.text.count("\n") + 1, 0, tuple(notes))
    return assemble(columns, source=log.source, format=NAME, facts=_facts(None, ""), reading=reading)
