"""Files that are complete or absent: written under a temporary name, flushed to the disk, then renamed."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from talweg.errors import InputError


@contextmanager
def replacing(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open `path` for writing so that a reader sees the old file or the whole new one, never a part.

    The temporary name stands in the same folder (a rename is atomic only within a file system). On any error
    the temporary file is removed and `path` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, otherwise: str) -> Iterator[None]:
    """Hold the lock that this file stands for; the system lets go of it when the process ends, however it ends.

    Raises InputError(otherwise) where another process holds it. Windows has no such lock.
    """
    with path.open("ab") as file:
        with contextlib.suppress(ModuleNotFoundError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(otherwise) from None
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise InputError(otherwise)  # its holder ended, and another began, between the opening and the lock
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, complete or not at all."""
    with replacing(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename within it survives a power cut. Windows has no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
