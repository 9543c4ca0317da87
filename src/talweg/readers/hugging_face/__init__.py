"""Hugging Face's Trainer, and what is built on it (axolotl, TRL): `trainer_state.json`, or the rows that it prints.

    {"epoch": 0.5, "grad_norm": 1.1, "learning_rate": 4e-05, "loss": 3.2, "step": 150}     in log_history
    {'loss': '3.2', 'grad_norm': '1.1', 'learning_rate': '4e-05', 'epoch': '0.5'}         on standard output
    {'eval_loss': '3.3', 'eval_runtime': '0.1', ..., 'epoch': '0.5'}

A loss is the mean over the updates since the one before, and over all processes. A file is read by what is in it; of a
folder with checkpoints the newest state counts. A printed row does not say its step: see steps.py.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talweg.configs.hugging_face import facts_of_arguments
from talweg.errors import InputError
from talweg.logs.assemble import assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.readers.hugging_face import state, steps
from talweg.readers.hugging_face.printed import SIGNIFICANT, Printed, coarse, distinct
from talweg.readers.hugging_face.rows import Field, Rows, about_losses, derived, steps_per_epoch, without_hidden_nan
from talweg.run import Facts, Reading, Run

NAME = "hugging_face"
HISTORY = re.compile(r"\"log_history\"\s*:\s*\[")
BESIDE = re.compile(r"\"(?:global_step|best_metric|best_model_checkpoint|is_hyper_param_search)\"\s*:")
ENDS = re.compile(r"\}\s*(?:[0-9]{1,3}%.*)?$")  # a progress bar may stand there too
SURE = ("learning_rate", "grad_norm", "eval_runtime", "train_runtime")  # in a row beside its loss


def sniff(head: Head) -> float:
    """A history with the names that only this file has; a printed row with a loss and what stands beside it."""
    if head.names:
        return 0.95 if state.runs_in(head.names) and "log.jsonl" not in head.names else 0.0
    text = head.text
    if text.lstrip()[:1] == "{" and HISTORY.search(text) and BESIDE.search(text):
        return 0.97
    if "loss'" not in text:
        return 0.0
    return 0.95 if any(_is_sure(line) for line in text.split("\n") if "loss'" in line) else 0.0


def _is_sure(line: str) -> bool:
    """A row that is told in prose goes on behind its dict."""
    if not ENDS.search(line[-500:]):
        return False
    fields = Printed().parse(line) or {}
    names = {name[1:] for name in fields if name.startswith(":")}
    if "epoch" not in names and not names & {"eval_runtime", "train_runtime"}:
        return False  # the Trainer always says the epoch; others print a dict too
    return bool(names & {"loss", "eval_loss", "train_loss"}) and bool(names & set(SURE))


def read(log: Log, asked: Asked) -> Run:
    """Raises InputError when no row with a loss stands in it."""
    if log.is_folder:
        return _of_folder(log, asked)
    if log.head.text.lstrip()[:1] == "{" and HISTORY.search(log.head.text):
        return _of_states([state.of_log(log)], log, asked)
    return _of_lines(log, asked)


# ---------------------------------------------------------------- trainer_state.json


def _of_folder(log: Log, asked: Asked) -> Run:
    """The run whose checkpoints are in the folder; of several the one asked for, else the one saved last."""
    assert log.path is not None
    found = {}
    for name, files in state.runs_in(log.names).items():
        logs = [Log(f"{log.source.rstrip('/')}/{file}", log.path / file) for file in files]
        found[name] = [
            state.of_log(one, (log.path / file).stat().st_mtime) for one, file in zip(logs, files, strict=True)
        ]
    if not found:
        raise InputError(f"{log.source} holds no {state.FILE}; give the output folder of the Trainer, or a log")
    names = sorted(found)
    if asked.run is not None and len(names) > 1:
        place = int(asked.run) - 1 if asked.run.isdigit() else -1
        chosen = asked.run if asked.run in found else names[place] if 0 <= place < len(names) else None
        if chosen is None:
            raise InputError(f"{log.source} holds the runs {', '.join(names[:6])}; there is no {asked.run}")
    else:
        chosen = max(names, key=lambda name: max(one.saved for one in found[name]))
    result = _of_states(found[chosen], log, asked)
    if len(names) < 2:
        return result
    note = f"the folder holds {len(names)} runs; {chosen} was read"
    return replace(result, reading=replace(result.reading, runs=tuple(names), notes=(note, *result.reading.notes)))


def _of_states(states: list[state.State], log: Log, asked: Asked) -> Run:
    newest, history, notes = state.merged(states)
    rows, hidden = without_hidden_nan(state.rows_of(history))
    every = state.logging_steps(newest)
    facts = (
        state.stated(newest)
        .over(derived(rows, every, state.FILE, has_epochs=state.has_epochs(newest)))
        .over(about_losses(rows, None))
    )
    reading = Reading(lines=len(history), notes=(*notes, *hidden, *rows.notes()))
    return _run(rows, facts, log, asked, reading)


def _run(rows: Rows, facts: Facts, log: Log, asked: Asked, reading: Reading) -> Run:
    """A loss of single updates is the mean of a batch."""
    columns = [
        replace(column, kind="batch") if column.role == "train_loss" and facts.train_loss_window == 1 else column
        for column in rows.columns(asked.columns)
    ]
    return assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading)


# ---------------------------------------------------------------- printed rows


def _of_lines(log: Log, asked: Asked) -> Run:
    printed = Printed()
    lines = Lines(printed.parse, printed.take).read(log.chunks())
    points = lines.points()
    fields, row, num_repeated = distinct(_of_first_rank(points))
    if not row.size:
        raise InputError(f"{log.source or 'this log'}: no row of Hugging Face's Trainer ({{'loss': ...}}) was found")
    digits = {name: coarse(found) if name in printed.texts else 10.0**-found.decimals for name, found in fields.items()}
    settings = facts_of_arguments(printed.settings, "printed in the log")
    summary = _summary(fields, row)
    rows, found = _with_steps(fields, row, points, digits, summary, printed)
    rows, hidden = without_hidden_nan(rows)
    facts = settings
    filtered = {"True": True, "False": False}.get(printed.settings.get("logging_nan_inf_filter", ""))
    if not found.unit:
        once = found.planned is not None and found.planned == steps_per_epoch(rows)  # a stream counts so too
        facts = derived(rows, None, "", has_epochs=not once)
        facts = facts.over(Facts.stated(found.planned_told, planned_steps=found.planned))
        facts = _at_the_start(printed).over(facts).over(settings)
    else:
        told = "no row says its step, and nothing in the log tells it"
        facts = replace(settings, planned_steps=None, warmup_steps=None, decay_end_step=None, decay_start_step=None)
        facts = Facts.stated(told, step_unit=found.unit).over(facts)
    facts = facts.over(about_losses(rows, filtered))
    reading = lines.reading()
    notes = (*reading.notes, *_told(found, num_repeated), *hidden, *rows.notes())
    return _run(rows, facts, log, asked, replace(reading, notes=notes))


def _told(found: steps.Steps, num_repeated: int) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if found.unit:
        notes += (
            "the rows do not say their step, and nothing in the log tells it: steps count the logged rows; give the "
            "trainer_state.json of the last checkpoint, or the log with the progress bars in it",
        )
    elif found.told != "the rows":
        notes += (f"the rows do not say their step; it was taken from {found.told}",)
    if num_repeated:
        notes += (f"rows that are printed more than once were counted once ({num_repeated} left out)",)
    return notes


def _of_first_rank(points: dict[str, Points]) -> dict[str, Points]:
    """The rows of one process, where several print theirs."""
    loss = points.get(":loss", points.get(":eval_loss"))
    if loss is None or loss.rank is None or np.unique(loss.rank).size < 2:
        return points
    first = int(np.min(loss.rank))
    if 2 * np.count_nonzero(loss.rank == first) * np.unique(loss.rank).size < loss.rank.size:
        return points  # these numbers before the lines are no ranks
    kept = {}
    for name, found in points.items():
        if found.rank is None or not name.startswith(":"):
            kept[name] = found
            continue
        keep = found.rank == first
        kept[name] = replace(
            found, line=found.line[keep], step=found.step[keep], value=found.value[keep], rank=found.rank[keep]
        )
    return kept


def _summary(fields: Mapping[str, Points], row: NDArray[np.int64]) -> dict[str, float]:
    """The last row of a finished run, in which train_loss is the mean of all of it."""
    losses, mean = fields.get("loss"), fields.get("train_loss")
    if mean is None:
        return {}
    lines = mean.line if losses is None else mean.line[~np.isin(mean.line, losses.line)]
    if not lines.size:
        return {}
    found: dict[str, float] = {"line": float(lines[-1])}
    for name, points in fields.items():
        place = np.flatnonzero(points.line == lines[-1])
        if place.size:
            found[name] = float(points.value[place[0]])
    return found


def _with_steps(
    fields: Mapping[str, Points],
    row: NDArray[np.int64],
    points: Mapping[str, Points],
    digits: Mapping[str, float],
    summary: Mapping[str, float],
    printed: Printed,
) -> tuple[Rows, steps.Steps]:
    """The rows but for summaries, with the steps that they do not say."""
    if "train_loss" in fields and summary:
        own = fields["loss"].line if "loss" in fields else np.empty(0)
        row = row[~np.isin(row, fields["train_loss"].line) | np.isin(row, own)]
    empty = Points(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
    main = np.isin(row, fields.get("loss", fields.get("eval_loss", empty)).line)
    epoch, numbered = (_aligned(fields.get(name, empty), row) for name in ("epoch", "step"))
    text = "epoch" in printed.texts
    with np.errstate(divide="ignore"):
        last = (
            10.0 ** (np.floor(np.log10(np.abs(epoch))) + 1 - SIGNIFICANT)
            if text
            else np.full(row.size, digits.get("epoch", 0.0))
        )
    bars = points.get("bar", empty)
    found = steps.steps_of(
        steps.Lines(row, epoch, last, main, bars.line, bars.value, points.get("total", empty).value, numbered),
        _stated(printed, summary, text),
    )
    kept = {}
    for name, one in fields.items():
        keep = np.isin(one.line, row)
        if keep.any() and name != "step":
            kept[name] = Field(np.searchsorted(row, one.line[keep]), one.value[keep], digits[name])
    return Rows(found.step, row, kept), found


def _aligned(points: Points, row: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.full(row.size, np.nan)
    keep = np.isin(points.line, row)
    values[np.searchsorted(row, points.line[keep])] = points.value[keep]
    return values


def _stated(printed: Printed, summary: Mapping[str, float], text: bool) -> dict[str, float]:
    """What the log says of steps and epochs beside its rows."""
    stated: dict[str, float] = {}
    start = printed.start
    for name in ("steps", "steps_per_epoch"):
        if name in start:
            stated[name] = start[name]
    if "steps_per_epoch" not in start and start.get("examples") and start.get("batch"):
        stated["steps_per_epoch"] = start["examples"] / start["batch"]
    runtime, rate = summary.get("train_runtime"), summary.get("train_steps_per_second")
    if runtime and rate:
        off_runtime, off_rate = (_last_digit(runtime), _last_digit(rate)) if text else (1e-4, 1e-3)
        stated["steps_low"] = (runtime - off_runtime / 2) * (rate - off_rate / 2)
        stated["steps_high"] = (runtime + off_runtime / 2) * (rate + off_rate / 2)
    if (last := summary.get("epoch")) is not None and last > 0:
        stated["last_epoch"], stated["last_digit"] = last, _last_digit(last) if text else 0.01
    every = printed.settings.get("logging_steps", "")
    by_steps = "epoch" not in printed.settings.get("logging_strategy", "steps").lower()
    if by_steps and every.replace(".0", "").isdigit() and float(every) >= 1:
        stated["logging_steps"] = float(every)
    return stated


def _last_digit(value: float) -> float:
    return float(10.0 ** (np.floor(np.log10(abs(value))) + 1 - SIGNIFICANT)) if value else 0.0


def _at_the_start(printed: Printed) -> Facts:
    """The batch and the length, as they are listed before the first row."""
    start = printed.start
    batch, whole, each = start.get("micro_batch"), start.get("batch"), start.get("accumulation")
    updates = round(whole / batch) if batch and whole and whole % batch == 0 else None
    ranks = round(updates / each) if updates and each and updates % each == 0 else None
    return Facts.stated(
        "what is listed at the start, in the log",
        planned_steps=_whole(start.get("steps")),
        micro_batch=_whole(batch),
        accumulation=updates,
        ranks=ranks,
        trainable_parameters=start.get("trainable"),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
