"""Checkpoints that are whole or absent: written beside, flushed, verified, renamed; read only when every hash agrees.

    checkpoints/step_00001000/   model.safetensors, optimizer.safetensors (with the state of the random numbers),
                                 state.json, MANIFEST.json (sha256 of each)
    checkpoints/latest           the name of the newest

The one before is removed only after the new one has been read back and found right.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from talweg.errors import InputError
from talweg.files import sync_folder, write_text

MANIFEST = "MANIFEST.json"
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a training run needs to go on as if it had never stopped."""

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]  # moments by parameter, and the random numbers' states
    state: Mapping[str, Any]  # step, cursor, length of the log, configuration


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write checkpoints/step_N into the run's `folder` and remove all but the newest `keep`.

    Raises InputError when the disk cannot take it; what was there before is left as it was.
    """
    checkpoints = folder / "checkpoints"
    target = checkpoints / f"step_{checkpoint.state['step']:08}"
    partial = checkpoints / f".{target.name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
        _write(partial, checkpoint)
        _verify(partial)
        set_aside(target)
        partial.replace(target)
        sync_folder(checkpoints)
        write_text(checkpoints / "latest", target.name + "\n")
    except OSError as error:
        raise InputError(
            f"{target} could not be written: {error.strerror or error}; free some space and start again: "
            "the run goes on from the checkpoint before"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in _folders(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load(folder: Path) -> Checkpoint:
    """Read one checkpoint folder. Raises InputError when a file is missing or was changed."""
    _verify(folder)
    model = safetensors.torch.load_file(folder / "model.safetensors")
    optimizer = safetensors.torch.load_file(folder / "optimizer.safetensors")
    return Checkpoint(model, optimizer, json.loads((folder / "state.json").read_text(encoding="utf-8")))


def newest(folder: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole; None when the run has none at all.

    tell: hears of each that was refused. Raises InputError when there are some and all are damaged.
    """
    for partial in (folder / "checkpoints").glob(".step_*.partial"):  # of a process that was killed
        shutil.rmtree(partial, ignore_errors=True)
    found = _folders(folder)
    for candidate in found:
        try:
            return load(candidate)
        except InputError as error:
            tell(f"{error}; using the checkpoint before")
    if found:
        raise InputError(f"{folder}: every checkpoint is damaged; move the folder away to begin anew")
    return None


def find(path: Path) -> Path:
    """The checkpoint folder that `path` means: itself, or the newest one of a run folder."""
    if (path / MANIFEST).is_file():
        return path
    found = _folders(path)
    if not found:
        raise InputError(f"{path} holds no checkpoint; give a run folder, or one of its checkpoints/step_... folders")
    return found[0]


def describe_newest(run: Path) -> str:
    """For messages: where the run can go on from."""
    found = _folders(run)
    return f"the last good checkpoint is {found[0]}" if found else "there is no checkpoint yet"


def set_aside(target: Path) -> None:
    """Make room for a new checkpoint where a refused one stands."""
    if target.exists():
        aside = target.with_name(f"{target.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        target.replace(aside)


def _folders(run: Path) -> list[Path]:
    """The complete checkpoints of a run, the newest first. A name is complete only after the rename."""
    names = [path for path in (run / "checkpoints").glob("step_*") if path.name.removeprefix("step_").isdigit()]
    return sorted(names, key=lambda path: int(path.name.removeprefix("step_")), reverse=True)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    """The files and their manifest. The hashes are of what was meant, so that reading back is a test of the disk."""
    contents = {
        "model.safetensors": safetensors.torch.save(dict(checkpoint.model)),
        "optimizer.safetensors": safetensors.torch.save(dict(checkpoint.optimizer)),
        "state.json": json.dumps(checkpoint.state, indent=1).encode(),
    }
    hashes = {}
    for name, content in contents.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        hashes[name] = hashlib.sha256(content).hexdigest()
    write_text(folder / MANIFEST, json.dumps({"format": "talweg-checkpoint-1", "sha256": hashes}, indent=1) + "\n")


def _verify(folder: Path) -> None:
    try:
        hashes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"]
        for name in FILES:
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != hashes[name]:
                    raise InputError(f"{folder / name} is damaged: its sha256 is not the one in {MANIFEST}")
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / MANIFEST} is damaged") from None
