"""Logs of trainers: `read(path)` finds out which program wrote a log and returns the `Run`.

A file in this folder is a format: `NAME`, `sniff(head) -> float` (how sure it is, 0 to 1) and
`read(log, asked) -> Run`. Other packages add formats by the entry point group `talweg.readers`.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from talweg.configs import beside, kind_of, read_data, read_facts
from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.run import COLUMN_NAMES, Facts, Run
from talweg.textfile import what_it_is

COUNTS = ("train_tokens", "unique_tokens")
SAME_TEXT = 0.01  # two counts of one text agree to this share. Our choice: copies may be told by other rules
LOG_SUFFIXES = (
    ".log",
    ".txt",
    ".out",
    ".err",
    ".csv",
    ".tsv",
    ".jsonl",
    ".json",
    ".parquet",
    ".db",
    ".gz",
    ".zst",
    ".xz",
)
MOST_LOGS = 50  # of a folder that no reader knows are looked at


@cache
def formats() -> dict[str, ModuleType]:
    """The readers by name: the modules of this folder, then those that other packages bring."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    found = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    for entry in entry_points(group="talweg.readers"):
        found.setdefault(entry.name, entry.load())
    return found


def read(
    path: Path | str,
    *,
    config: Path | str | None = None,
    data: Path | str | None = None,
    tokenizer: str | None = None,
    loss_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    which: str | None = None,
) -> Run:
    """The run that a log tells of.

    path:   a log of any known trainer, a folder of one, a run folder of Talweg, or "-" for standard input.
    config: the trainer's configuration file; what it states wins over what the log states. Files beside the log that
            are its configuration are found without being named; what they state counts least.
    data:   a folder of `talweg prepare`, or token files such as nanoGPT's train.bin; its counts complete the facts.
    tokenizer: gpt2, or the file of the one that made such token files.
    loss_column: the name of the training loss in a table, where the guess would be another.
    columns: the names of other columns, by the column of `Run` that they are, such as {"val_loss": "dev/nll"}; "step"
        names the one that counts the steps of a table.
    format: the name of a reader, where the guess would be another.
    which: of several runs in one place, this one: its name, or its number from 1.
    Raises InputError when something cannot be read, and always when no loss was understood.
    """
    named = {**(columns or {}), **({} if loss_column is None else {"train_loss": loss_column})}
    if unknown := sorted(set(named) - {"step", *COLUMN_NAMES}):
        raise InputError(f"{unknown[0]} is no column of a run; the columns are step, {', '.join(COLUMN_NAMES)}")
    log = Log.at(path)
    reader, log = _reader_of(log) if format is None else (_format(format), log)
    given = None if config is None else Path(config)
    whole = getattr(reader, "STATES_ALL", False)
    near = beside.Near() if whole or log.path is None else beside.near(log.path, given)
    found = _read(reader, log, Asked(given, near.files, named, which))
    if found.last_step is None and not found.val_bits_per_byte:
        raise InputError(f"{log.source}: no loss was found in it ({found.format}); nothing can be said about this run")
    if not getattr(reader, "TAKES_CONFIG", False):
        found = _configured(found, "" if whole or not log.is_text else log.head.text, given, near.files)
    if log.path is not None:
        found = _told(found, log.path, near.notes)
    if data is not None:
        found = replace(found, facts=found.facts.over(_of_this_run(read_data(data, tokenizer), found, data)))
    if log.notes:
        notes = tuple(dict.fromkeys([*log.notes, *found.reading.notes]))
        found = replace(found, reading=replace(found.reading, notes=notes))
    return found


def _format(name: str) -> ModuleType:
    if name not in formats():
        raise InputError(f"--format {name}: no such format; there are {', '.join(formats())}")
    return formats()[name]


def _read(reader: ModuleType, log: Log, asked: Asked) -> Run:
    """The run; of several in one text the one that is asked for, the last one otherwise."""
    found: Run = reader.read(log, asked)
    starts = found.reading.run_starts
    numbered = found.reading.runs == tuple(map(str, range(1, len(starts) + 1)))  # else the reader knows them by name
    if asked.run is not None and not starts and not found.reading.runs and asked.run != "1":
        raise InputError(f"{log.source} holds one run; there is no {asked.run}: leave --which out")
    if asked.run is None or not starts or not numbered:
        return found
    if not asked.run.isdigit() or not 1 <= int(asked.run) <= len(starts):
        raise InputError(f"{log.source} holds {len(starts)} runs, which are numbered from 1; there is no {asked.run}")
    place = int(asked.run)
    part = log.lines(starts[place - 1], starts[place] if place < len(starts) else None)
    found = reader.read(part, replace(asked, run=None))
    return replace(found, reading=replace(found.reading, runs=tuple(map(str, range(1, len(starts) + 1)))))


def _configured(found: Run, head: str, config: Path | None, near: Sequence[Path]) -> Run:
    """The run with its configuration: the one that was given, over what the log states, over those beside the log."""
    facts = beside.under(found.facts, beside.in_log(head, found.facts))
    if config is not None:
        facts = read_facts(config, facts).over(facts)
    rates = found.learning_rate.finite.value
    peak = float(rates.max()) if rates.size else None
    chosen = beside.choose(near, facts, last_step=found.last_step, peak=peak)
    reading = replace(
        found.reading,
        notes=(*found.reading.notes, *chosen.notes),
        configurations=(*found.reading.configurations, *map(str, chosen.files)),
    )
    return replace(found, facts=beside.under(facts, chosen.facts), reading=reading)


def _told(found: Run, log: Path, notes: Sequence[str]) -> Run:
    """The run with notes of the files beside its log that were used, and of those that were not."""
    used = found.reading.configurations
    notes = (*found.reading.notes, *([beside.told(used, log)] if used else []), *notes)
    return replace(found, reading=replace(found.reading, notes=notes))


def _of_this_run(found: Facts, run: Run, data: Path | str) -> Facts:
    """What was found in the data, unless it is another text than the run was trained on by the log's own count."""
    for name in COUNTS:
        logged, held = getattr(run.facts, name), getattr(found, name)
        if logged and held and abs(held / logged - 1) > SAME_TEXT:
            raise InputError(
                f"{data} is not the text of this run: the log counts {logged:,.0f} {name.replace('_', ' ')}, the data "
                f"hold {held:,.0f}; give the data that it was trained on, or leave --data out"
            )
    return found


# ---------------------------------------------------------------- which format


def _reader_of(log: Log) -> tuple[ModuleType, Log]:
    """The reader that is surest of the beginning of a log, failing that of its end or of places in between."""
    for head in log.windows():
        if (name := _surest(head)) is not None:
            return formats()[name], log
    if log.is_folder:
        return _within(log)
    raise InputError(_advice(log))


def _surest(head: Head) -> str | None:
    sure, best = max(((float(reader.sniff(head)), name) for name, reader in formats().items()), default=(0.0, ""))
    return best if sure > 0 else None


def _within(folder: Log) -> tuple[ModuleType, Log]:
    """The one log in a folder that no reader knows as its own."""
    assert folder.path is not None
    names = [name for name in folder.names if name.endswith(LOG_SUFFIXES) and name.count("/") < 2][:MOST_LOGS]
    found: list[tuple[ModuleType, Log]] = []
    for name in names:
        log = Log(f"{folder.source.rstrip('/')}/{name}", folder.path / name)
        if log.raw and (format := next(filter(None, map(_surest, log.windows())), None)) is not None:
            found.append((formats()[format], log))
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            f"{folder.source} is a folder without a log.jsonl and without another log that is known; {GIVE}"
        )
    logs = ", ".join(log.source for _, log in found[:4])
    raise InputError(f"{folder.source} is a folder with {len(found)} logs ({logs}); give one of them")


GIVE = (
    "give the output of a trainer (docs/formats.md lists them), a run folder of Talweg, or a table (CSV, TSV, JSONL) "
    "with a step and a loss column"
)


def _advice(log: Log) -> str:
    """What to do with something that no reader knows."""
    if not log.is_text:
        return f"{log.source} {what_it_is(log.raw)}"
    try:
        kind = kind_of(log.path).NAME if log.path is not None else ""
    except InputError:
        kind = ""
    num = log.text.count("\n") + (not log.text.endswith("\n")) if len(log.raw) < 65_536 else 0
    lines = f"its {num:,} lines" if num else "it"
    if kind:
        found = "it looks like a configuration: give the log of the run first, and this with --config"
        return f"{log.source}: no loss was found in {lines}; {found}"
    return f"{log.source}: no loss was found in {lines}; {GIVE}"
