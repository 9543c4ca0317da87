"""Which event files of a folder are one run: restarts, the halves of training and validation, hyperparameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from talweg.errors import InputError
from talweg.logs.roles import TRAIN_WORDS, VAL_WORDS
from talweg.logs.tracked import one_line
from talweg.readers.tensorboard.scalars import Scalars
from talweg.textfile import Decompressed

SMALL = 1 << 16  # bytes of a file that may hold hyperparameters alone, or nothing
EVENTS = "tfevents"


@dataclass(frozen=True)
class EventFile:
    """name: with slashes, relative to what the person gave."""

    path: Path
    name: str

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]


@dataclass
class RunFiles:
    """The files of one run. parts: the folder of each file, below that of the run."""

    name: str
    files: list[EventFile] = field(default_factory=list)
    settings: list[EventFile] = field(default_factory=list)  # hold hyperparameters and no curve

    def part(self, file: EventFile) -> str:
        return file.folder.removeprefix(self.name).strip("/")


def is_event_file(name: str) -> bool:
    return EVENTS in name.rpartition("/")[2] and not name.endswith(".profile-empty")


def runs(folder: Path, names: Sequence[str]) -> list[RunFiles]:
    """The runs below a folder, by their own folders."""
    found: dict[str, RunFiles] = {}
    settings: list[EventFile] = []
    by_folder: dict[str, list[EventFile]] = {}
    for name in names:
        if is_event_file(name):
            file = EventFile(folder / name, name)
            by_folder.setdefault(file.folder, []).append(file)
    for name, files in list(by_folder.items()):
        kinds = [_kind(file) for file in files]
        settings += [file for file, kind in zip(files, kinds, strict=True) if kind == "settings"]
        by_folder[name] = [file for file, kind in zip(files, kinds, strict=True) if kind == "curves"]
        if not by_folder[name]:
            del by_folder[name]
    halves = _halves(list(by_folder), by_folder)
    for name, files in by_folder.items():
        run = halves.get(name, name)
        found.setdefault(run, RunFiles(run)).files.extend(files)
    for file in settings:
        above = [file.folder, *map(str, Path(file.folder).parents)]
        owner = next((place for place in (a.strip(".") for a in above) if place in found), None)
        if owner is not None:
            found[owner].settings.append(file)
    return sorted(found.values(), key=lambda run: _natural(run.name))


def chosen(found: Sequence[RunFiles], asked: str | None, source: str) -> RunFiles:
    """The run that is asked for, or the only one. Raises InputError where that leaves none or several."""
    if not found:
        raise InputError(
            f"{source} holds event files of TensorBoard, but no scalar stands in them; give another folder"
        )
    shown = ", ".join(one_line(run.name or ".") for run in found[:6]) + (", ..." if len(found) > 6 else "")
    if asked is None:
        if len(found) == 1:
            return found[0]
        raise InputError(f"{source} holds {len(found)} runs ({shown}); name one with --which")
    named = [run for run in found if asked.strip("/") in (run.name or ".", run.name.rpartition("/")[2])]
    if len(named) != 1 and asked.isdigit() and 1 <= int(asked) <= len(found):
        named = [found[int(asked) - 1]]
    if len(named) != 1:
        many = "several runs" if named else "no run"
        raise InputError(f"{source} holds {many} of the name {asked}; it holds {shown}")
    return named[0]


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"([0-9]+)", name)]


def _kind(file: EventFile) -> str:
    """Whether a file holds "curves", "settings" (and at most one value of each tag) or "nothing"."""
    try:
        if file.path.stat().st_size > SMALL:
            return "curves"
        with Decompressed(file.path, str(file.path)) as opened:
            scalars = Scalars().read(opened)
    except (InputError, OSError):
        return "nothing"
    points = [step.size for _, (_, step, *_) in scalars.columns()]
    if scalars.has_hyperparameters and max(points, default=0) <= 1:
        return "settings"
    return "curves" if points else "nothing"


def _halves(folders: Sequence[str], files: dict[str, list[EventFile]]) -> dict[str, str]:
    """Folder -> the folder of its run, for those whose names say that they hold the training or the validation part.

    A lone one is a run of its own, which is called so. PyTorch's add_scalars("loss", ...) makes loss_train, loss_val.
    """
    parts: dict[str, list[str]] = {}
    for folder in folders:
        above, _, name = folder.rpartition("/")
        if name and _part_words(name):
            parts.setdefault(above, []).append(folder)
    return {folder: above for above, those in parts.items() if len(those) > 1 or above in files for folder in those}


def _part_words(name: str) -> bool:
    """Whether a folder's name says training or validation, alone or behind the name of one quantity."""
    found = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    sides = TRAIN_WORDS | VAL_WORDS
    return bool(found) and (set(found) <= sides or (found[-1] in sides and found[0] in ("loss", "accuracy", "ppl")))


def in_order(files: Sequence[EventFile], firsts: Sequence[float]) -> list[int]:
    """The files in the order in which they were begun: by their first event, then by name."""
    keys = [
        (first if np.isfinite(first) else np.inf, _natural(file.name))
        for file, first in zip(files, firsts, strict=True)
    ]
    return sorted(range(len(files)), key=lambda at: keys[at])
