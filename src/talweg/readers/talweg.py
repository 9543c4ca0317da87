"""Talweg's own log.jsonl: one record a line, losses as means over whole updates, facts at each start."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from talweg.errors import InputError
from talweg.logs.columns import decimals, standing
from talweg.logs.given import Asked, Head, Log
from talweg.run import FACT_NAMES, Facts, LossKind, Reading, Run, Series

NAME = "talweg"
STATES_ALL = True  # a run folder holds its configuration
PLACES = ("planned_steps", "warmup_steps", "decay_start_step", "decay_end_step")  # what a record's plan may tell
FEWEST_UPDATES = 3  # records with an update from which on a group that never moved is said to be still
# column of Run <- field of a record, what a person calls it, kind
COLUMNS: tuple[tuple[str, str, LossKind], ...] = (
    ("train_loss", "loss", "batch"),
    ("train_eval_loss", "train_eval_loss", "evaluation"),
    ("val_loss", "val_loss", "evaluation"),
    ("val_standard_error", "val_standard_error", "unknown"),
    ("val_loss_clean", "val_loss_clean", "evaluation"),
    ("learning_rate", "lr", "unknown"),
    ("grad_norm", "grad_norm", "unknown"),
    ("clip_scale", "clip_scale", "unknown"),
    ("update_ratio", "update_ratio", "unknown"),
    ("max_logit", "max_logit", "unknown"),
    ("loss_scale", "loss_scale", "unknown"),
    ("skipped_steps", "skipped_steps", "unknown"),
    ("seconds_per_step", "seconds_per_step", "unknown"),
    ("loader_seconds", "loader_seconds", "unknown"),
    ("tokens_per_second", "tokens_per_second", "unknown"),
    ("mfu", "mfu", "unknown"),
    ("rank_loss_spread", "rank_losses", "unknown"),
    ("rank_weight_spread", "rank_weight_spread", "unknown"),
)


def sniff(head: Head) -> float:
    """The first complete record names this program; of a folder, it is a run folder that holds log.jsonl."""
    if head.names:
        return 1.0 if "log.jsonl" in head.names else 0.0
    for line in head.text.split("\n")[:20]:
        if line.startswith("{") and '"talweg"' in line and ('"facts"' in line or '"step"' in line):
            return 1.0
    return 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this log tells of. Raises InputError when no loss was logged yet."""
    source = log.source
    if asked.columns:
        name = next(iter(asked.columns.values()))
        raise InputError(f"--loss-column {name}: {source} is a log of Talweg, whose columns are known")
    text = (Log.at(log.path / "log.jsonl") if log.is_folder and log.path is not None else log).text
    records, num_bad, cut = _records(text)
    notes: list[str] = ["the last line is cut off in the middle and was left out"] if cut else []
    columns = {column: _series(records, field, kind, notes) for column, field, kind in COLUMNS}
    facts = _facts(records, notes)
    run = Run(source=source, format=NAME, facts=facts, **columns)  # type: ignore[arg-type]  # fields of Run by name
    if run.last_step is None:
        raise InputError(f"{source}: the log has {len(records)} records but no loss yet; wait for the first steps")
    lines = text.count("\n") + (not text.endswith("\n"))
    return replace(run, reading=Reading(lines, num_bad, tuple(notes)))


def _records(text: str) -> tuple[list[dict[str, Any]], int, bool]:
    """The records, how many lines are none, and whether the last line is a cut one."""
    records: list[dict[str, Any]] = []
    lines = text.split("\n")
    num_bad = 0
    for line in lines:
        try:
            record = json.loads(line) if line.startswith("{") else None
        except (json.JSONDecodeError, RecursionError):
            record = None
        if isinstance(record, dict) and _number(record.get("step")) is not None:
            records.append(record)
        elif line.strip():
            num_bad += 1
    cut = lines[-1].startswith("{") and not lines[-1].rstrip().endswith("}")
    return records, num_bad, cut


def _number(value: object) -> float | None:
    """A value of a record; NaN and the infinities are written as text. None where it is absent."""
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _value(record: dict[str, Any], field: str) -> float | None:
    """What a record says of a field: of a ratio by group that of all weights, of losses by rank their spread."""
    value = record.get(field)
    if isinstance(value, dict):
        return _number(value.get("all"))
    if isinstance(value, list):
        numbers = [number for item in value if (number := _number(item)) is not None]
        finite = len(numbers) == len(value) and all(map(math.isfinite, numbers))
        return (max(numbers) - min(numbers) if finite else math.nan) if numbers else None
    return _number(value)


def _series(records: Iterable[dict[str, Any]], field: str, kind: LossKind, notes: list[str]) -> Series:
    points = [(float(record["step"]), value) for record in records if (value := _value(record, field)) is not None]
    if not points:
        return Series()
    step, value = np.array(points).T
    stands = standing(step, value)
    notes.extend(stands.notes(field))
    finite = value[np.isfinite(value)][:1000]
    resolution = 10.0 ** -decimals(repr(float(x)) for x in finite) if finite.size else 0.0
    return Series.of(step[stands.keep], value[stands.keep], kind=kind, resolution=resolution, name=field)


def _facts(records: Sequence[dict[str, Any]], notes: list[str]) -> Facts:
    """The facts of the last start, completed by those of the starts before it; a start after step 0 is a resume."""
    facts = Facts()
    starts = [_number(record["step"]) for record in records if isinstance(record.get("facts"), dict)]
    for record in records:
        stated = record.get("facts")
        if isinstance(stated, dict):
            known = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in stated.items()
                if name in FACT_NAMES
            }
            latest = Facts.stated(f"log.jsonl, start at step {record['step']:,}", **known).over(facts)
            if changed := sorted(name for name in latest.conflicts if name not in facts.conflicts):
                notes.append(f"since the start at step {record['step']:,} other values hold for {', '.join(changed)}")
            facts = latest
        if isinstance(record.get("plan"), dict):
            facts = _replanned(facts, record)
    resumed = tuple(step for step in starts if step)
    facts = Facts.stated("update_ratio in log.jsonl", unmoved_groups=_unmoved(records)).over(facts)
    return Facts.stated("starts in log.jsonl", resumed_at=resumed if starts else None).over(facts)


def _replanned(facts: Facts, record: dict[str, Any]) -> Facts:
    """A run in minutes tells at each evaluation how many steps the time makes by its pace: the last word holds."""
    known = {name: int(value) for name in PLACES if (value := _number(record["plan"].get(name))) is not None}
    open_ones = replace(facts, **dict.fromkeys(known))  # type: ignore[arg-type]  # None: not a contradiction
    return Facts.stated(f"log.jsonl, step {record['step']:,}", **known).over(open_ones)


def _unmoved(records: Sequence[dict[str, Any]]) -> tuple[str, ...] | None:
    """Groups of weights whose updates are 0 in every record, while others move. None where too few tell."""
    ratios = [ratio for record in records if isinstance(ratio := record.get("update_ratio"), dict)]
    moving = [ratio for ratio in ratios if any(_number(value) for value in ratio.values())]
    if len(moving) < FEWEST_UPDATES:
        return None
    groups = sorted({group for ratio in moving for group in ratio if group != "all"})
    return tuple(group for group in groups if not any(_number(ratio.get(group)) for ratio in moving))
