"""TensorBoard's event files (events.out.tfevents...), of one run: a file, or its folder.

Several files in one folder are restarts of the run in the order of their first events; folders train/ and validation/
below it are the halves of one run (Keras), other folders are other runs. Scalars are read, as simple values and as
tensors; texts that are JSON and the hyperparameters of add_hparams state facts; images, histograms and the like are
passed over. The checksum of every record that is used is compared.
"""

from collections.abc import Iterator
from pathlib import Path

from talweg.configs.table import facts_of
from talweg.logs.assemble import assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.tracked import no_loss, of_its_trainer, with_roles
from talweg.readers.tensorboard.columns import in_one_unit, joined, wall_time
from talweg.readers.tensorboard.folder import EventFile, RunFiles, chosen, in_order, is_event_file, runs
from talweg.readers.tensorboard.records import crc32c_of_one
from talweg.readers.tensorboard.scalars import Scalars
from talweg.run import Facts, Reading, Run
from talweg.textfile import Decompressed

NAME = "tensorboard"
VERSION = b"brain.Event:"
LOSSES = ("train_loss", "train_eval_loss", "val_loss", "val_bits_per_byte")
OTHER_LOGS = (".wandb", "log.jsonl", "trainer_state.json", "metrics.csv")  # beside which event files are a copy


def sniff(head: Head) -> float:
    """The first record has a right checksum and names the version; of a folder, it holds event files."""
    if head.names:
        if not any(map(is_event_file, head.names)):
            return 0.0
        return 0.5 if any(name.endswith(OTHER_LOGS) for name in head.names) else 0.9
    raw = head.raw
    if len(raw) < 16 or crc32c_of_one(raw[:8]) != int.from_bytes(raw[8:12], "little"):
        return 1.0 if VERSION in raw[:64] and not head.text else 0.0
    return 1.0 if VERSION in raw[:64] else 0.9


def read(log: Log, asked: Asked) -> Run:
    """The run in these files. Values are float32 as they were stored, or what a tensor holds.

    Raises InputError when there are several runs and none was named, or when no tag is a loss.
    """
    found: list[RunFiles] = []
    if log.is_folder and log.path is not None:
        found = runs(log.path, log.names)
        files = chosen(found, asked.run, log.source)
    else:
        path = log.path or Path(log.source)
        files = RunFiles("", [EventFile(path, path.name)])
    parts = _read(log, files)
    notes = list(_beside(log)) + [note for file, part in parts for note in part.damage.notes(file.path.name)]
    settings: dict[str, object] = {}
    for _, part in parts:
        settings |= part.settings
    for file in files.settings:
        settings |= _opened(log, file).settings
    quantities, wall, more = joined([(files.part(file), part) for file, part in parts])
    steps = in_one_unit(quantities)
    columns, told, why = with_roles(steps.quantities, asked.columns, log.source)
    if not any(column.role in LOSSES for column in columns):
        raise no_loss(log.source, "tag", (quantity.name for quantity in quantities))
    columns, of_trainer = of_its_trainer([steps.with_kind(column) for column in columns], settings, "its arguments")
    columns += [*steps.others, *wall_time(columns, wall)]
    facts = facts_of(settings, "hyperparameters in the log").over(told).over(of_trainer)
    starts = tuple(sorted({float(step) for _, part in parts for step in part.session_starts if step > 0}))
    facts = Facts.stated("a session that starts in the log", resumed_at=starts or None).over(facts)
    facts = facts.over(Facts.stated("the tags of Keras", step_unit=steps.unit))
    num = sum(part.damage.records for _, part in parts)
    bad = sum(part.damage.wrong_checksums + part.damage.not_understood for _, part in parts)
    reading = Reading(
        num,
        bad,
        tuple(dict.fromkeys([*notes, *more, *steps.notes, *why])),
        runs=tuple(run.name or "." for run in found if len(found) > 1),
    )
    return assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading)


def _opened(log: Log, file: EventFile) -> Scalars:
    with Decompressed(log.content if log.content is not None else file.path, str(file.path)) as opened:
        return Scalars().read(opened)


def _read(log: Log, files: RunFiles) -> list[tuple[EventFile, Scalars]]:
    """The files in the order in which they were begun."""
    held = [_opened(log, file) for file in files.files]
    return [(files.files[at], held[at]) for at in in_order(files.files, [part.times[0] for part in held])]


def _beside(log: Log) -> Iterator[str]:
    """Other event files in the folder of the one that was given."""
    if log.path is None or log.is_folder:
        return
    try:
        num = sum(is_event_file(path.name) and path.is_file() for path in log.path.resolve().parent.iterdir()) - 1
    except OSError:
        return
    if num > 0:
        more = "1 more event file lies" if num == 1 else f"{num} more event files lie"
        yield f"{more} beside this one; give their folder to read them as restarts of the run"
