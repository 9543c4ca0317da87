"""Logs of trainers: `read(path)` finds out which program wrote a log and returns the `Run`.

A file in this folder is a format: `NAME`, `sniff(head) -> float` (how sure it is, 0 to 1) and
`read(text, *, source, config, loss_column) -> Run`. Other packages add formats by the entry point group
`talweg.readers`.
"""

import importlib
import pkgutil
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from talweg.configs import kind_of, read_data
from talweg.errors import InputError
from talweg.run import Facts, Run
from talweg.textfile import HEAD, Text, read_text

COUNTS = ("train_tokens", "unique_tokens")
SAME_TEXT = 0.01  # two counts of one text agree to this share. Our choice: copies may be told by other rules


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
) -> Run:
    """The run that a log tells of.

    path:   a log of any known trainer, a run folder of Talweg, or "-" for standard input.
    config: the trainer's configuration file; what it states wins over what the log states.
    data:   a folder of `talweg prepare`, or token files such as nanoGPT's train.bin; its counts complete the facts.
    tokenizer: gpt2, or the file of the one that made such token files.
    loss_column: the name of the training loss in a table, where the guess would be another.
    Raises InputError when something cannot be read, and always when no loss was understood.
    """
    text = _text(path)
    reader = _reader_of(text)
    config = None if config is None else Path(config)
    run: Run = reader.read(text.text, source=text.source, config=config, loss_column=loss_column)
    if run.last_step is None:
        raise InputError(f"{text.source}: no loss was found in it ({run.format}); nothing can be said about this run")
    if data is not None:
        run = replace(run, facts=run.facts.over(_of_this_run(read_data(data, tokenizer), run, data)))
    if text.notes:
        run = replace(run, reading=replace(run.reading, notes=text.notes + run.reading.notes))
    return run


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


def _text(path: Path | str) -> Text:
    """The log at a path; of a run folder its log.jsonl."""
    if str(path) != "-" and Path(path).is_dir():
        log = Path(path) / "log.jsonl"
        if not log.is_file():
            raise InputError(f"{path} is a folder without a log.jsonl, so no run of Talweg; give the log itself")
        return replace(read_text(log), source=str(path))
    return read_text(path)


def _reader_of(text: Text) -> ModuleType:
    """The reader that is surest of the beginning of the text; failing that, of its end."""
    for part in (text.head, text.text[-HEAD:]):
        sure, best = max(((float(reader.sniff(part)), name) for name, reader in formats().items()), default=(0.0, ""))
        if sure > 0:
            return formats()[best]
    raise InputError(f"{text.source}: no loss was found in its {len(text.text.splitlines()):,} lines; {_advice(text)}")


def _advice(text: Text) -> str:
    """What to do with a text without any loss."""
    try:
        kind = kind_of(text.source).NAME if text.source != "-" else ""
    except InputError:
        kind = ""
    if kind:
        return "it looks like a configuration: give the log of the run first, and this with --config"
    return (
        "give the output of nanoGPT, a run folder of Talweg, or a table (CSV, TSV, JSONL) with a step and a loss column"
    )
