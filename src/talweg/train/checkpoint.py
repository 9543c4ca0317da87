"""Checkpoints that are whole or absent: written beside, flushed, verified, renamed; read only when every hash agrees.

    checkpoints/step_00001000/   model.safetensors, optimizer.safetensors, state.json, MANIFEST.json (sha256 of each)
    checkpoints/latest           the name of the newest

The same files whatever wrote them: one process, or several ranks of which the first writes. Tensors that the ranks hold
in parts are put together one at a time, so none ever holds them all; it is one folder with one manifest, renamed once,
and no number of ranks is needed to read it. What stays of the older ones is `retention`'s.
"""

import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch
from torch import Tensor

from talweg.errors import InputError
from talweg.files import sync_folder, write_text
from talweg.train import retention as retentions
from talweg.train.parallel import whole
from talweg.train.ranks import Ranks
from talweg.train.retention import Retention

MANIFEST = "MANIFEST.json"
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
POINTERS = ("best", "latest")  # files that name a checkpoint beside them
DTYPES = {  # as safetensors calls them
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
PIECE = 2**20  # bytes hashed and written at a time: small enough to lie in the cache for both
SHARE = 0.01  # our choice: of the wall time that saving takes where nobody said how often to save


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a training run needs to go on as if it had never stopped."""

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]  # moments by parameter
    state: Mapping[str, Any]  # step, cursor, length of the log, configuration


@dataclass
class Pace:
    """How long the last save took, and when it was done."""

    seconds: float = 0.0
    done: float = field(default_factory=time.monotonic)

    def affords_another(self) -> bool:
        """Whether a save as slow as the last keeps all of them below `SHARE` of the time."""
        return self.seconds <= SHARE * (time.monotonic() - self.done)


def save(folder: Path, checkpoint: Checkpoint, retention: Retention, ranks: Ranks | None = None) -> Path:
    """Write checkpoints/step_N into the run's `folder`, then remove what need not stay. All ranks call it.

    Raises InputError, on every rank, when the disk cannot take it; what was there before is left as it was.
    """
    ranks = ranks or Ranks()
    target = folder / "checkpoints" / f"step_{checkpoint.state['step']:08}"
    parts = (checkpoint.model, checkpoint.optimizer)
    pieces = (whole(tensors[name]) for tensors in parts for name in _ordered(tensors))

    def write() -> None:
        try:
            if ranks.first:
                _save(target, checkpoint, pieces, retention)
        finally:  # the other ranks wait for each piece, also when the disk is full
            for _ in pieces:
                pass

    ranks.together(write)
    return target


def _save(target: Path, checkpoint: Checkpoint, pieces: Iterator[Tensor], retention: Retention) -> None:
    checkpoints = target.parent
    partial = checkpoints / f".{target.name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
        _write(partial, checkpoint, pieces)
        _verify(partial)
        set_aside(target)
        partial.replace(target)
        sync_folder(checkpoints)
        write_text(checkpoints / "latest", target.name + "\n")
        retentions.apply(_folders(checkpoints.parent), target, retention)
    except OSError as error:
        raise InputError(
            f"{target} could not be written: {error.strerror or error}; free some space and start again: "
            "the run goes on from the checkpoint before"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load(folder: Path) -> Checkpoint:
    """Read one checkpoint folder. Raises InputError when a file is missing or was changed."""
    _verify(folder)
    model = safetensors.torch.load_file(folder / "model.safetensors")
    optimizer = safetensors.torch.load_file(folder / "optimizer.safetensors")
    return Checkpoint(model, optimizer, json.loads((folder / "state.json").read_text(encoding="utf-8")))


def newest(folder: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole; None when the run has none at all.

    tell: hears of each that was refused, which is set aside, so that it is not counted among those that stay. Raises
    InputError when there are some and all are damaged.
    """
    for partial in (folder / "checkpoints").glob(".step_*.partial"):  # of a process that was killed
        shutil.rmtree(partial, ignore_errors=True)
    found, refused = _folders(folder), list[Path]()
    for candidate in found:
        try:
            saved = load(candidate)
        except InputError as error:
            tell(f"{error}; using the checkpoint before")
            refused.append(candidate)
            continue
        for damaged in refused:
            with suppress(OSError):
                set_aside(damaged)
        return saved
    if found:
        raise InputError(f"{folder}: every checkpoint is damaged; move the folder away to begin anew")
    return None


def best(folder: Path) -> Checkpoint | None:
    """The whole checkpoint of the lowest validation loss among those of a run that are still there."""
    found = _folders(folder)
    while (lowest := retentions.lowest(found)) is not None:
        try:
            return load(lowest)
        except InputError:
            found.remove(lowest)
    return None


def leave_behind(folder: Path, step: int) -> None:
    """Remove the checkpoints after this step: the run has gone back to it, and takes another course from there."""
    later = [path for path in _folders(folder) if int(path.name.removeprefix("step_")) > step]
    for path in later:
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        if later and (found := _folders(folder)):
            write_text(folder / "checkpoints" / "latest", found[0].name + "\n")


def find(path: Path) -> Path:
    """The checkpoint folder that `path` means: itself, the one that a file `best` or `latest` names, or the newest one
    of a run folder."""
    if path.is_file() and path.name in POINTERS:
        path = path.parent / path.read_text(encoding="utf-8").strip()
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


def _write(folder: Path, checkpoint: Checkpoint, pieces: Iterator[Tensor]) -> None:
    """The files and their manifest. The hashes are of what was meant, so that reading back is a test of the disk."""
    hashes = {}
    for name, tensors in (("model.safetensors", checkpoint.model), ("optimizer.safetensors", checkpoint.optimizer)):
        with _flushed(folder / name) as file:
            hashes[name] = _write_tensors(file, tensors, pieces)
    content = json.dumps(checkpoint.state, indent=1).encode()
    with _flushed(folder / "state.json") as file:
        file.write(content)
    hashes["state.json"] = hashlib.sha256(content).hexdigest()
    write_text(folder / MANIFEST, json.dumps({"format": "talweg-checkpoint-1", "sha256": hashes}, indent=1) + "\n")


@contextmanager
def _flushed(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _ordered(tensors: Mapping[str, Tensor]) -> list[str]:
    """Their names in the order of the file: the widest numbers first, so that each lies at a multiple of its size."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _write_tensors(file: IO[bytes], tensors: Mapping[str, Tensor], pieces: Iterator[Tensor]) -> str:
    """The safetensors format: 8 bytes with the length of a JSON header, the header, the numbers. Returns the sha256.

    safetensors' own function would first make a copy of everything in memory, and the hash would be another pass.
    """
    header, at = dict[str, Any](), 0
    for name in _ordered(tensors):
        tensor = tensors[name]
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    sha256 = hashlib.sha256()
    ahead = memoryview(struct.pack("<Q", len(text)) + text)
    for content in chain((ahead,), (_bytes(next(pieces)) for _ in header)):
        for begin in range(0, len(content), PIECE):
            piece = content[begin : begin + PIECE]
            sha256.update(piece)
            file.write(piece)
    return sha256.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


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
