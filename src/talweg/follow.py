"""A log that grows: `follow(path)` yields the run again whenever more of it was written."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from talweg.errors import InputError
from talweg.logs.given import Log
from talweg.readers import read
from talweg.run import Run
from talweg.textfile import is_pipe

SHARE = 0.2  # of the time that goes into reading, at most: a long log is read less often. Our choice
BESIDE = ("", "-wal")  # an SQLite database writes into a file of its own first


def follow(path: Path | str, *, every: float = 1.0, **asked: Any) -> Iterator[Run]:
    """The run at first, and anew after each change; ends only when the caller stops asking.

    every: seconds between two looks; more where reading takes long.
    asked: what `talweg.readers.read` takes.
    Raises InputError when the log cannot be read at first; a log that is still empty, or holds no loss yet, is waited
    for. A last line that may be cut off is held back until it is whole.
    """
    if str(path) == "-":
        raise InputError("standard input cannot be followed; give the file that the trainer writes")
    if is_pipe(Path(path)):
        raise InputError(f"{path} is a pipe, which cannot be followed; give the file that the trainer writes")
    seen: object = None
    told = False
    while True:
        now = _state(path)
        took = 0.0
        if now != seen:
            start = time.monotonic()
            try:
                run = read(path, **asked)
            except InputError:
                if told or not _may_come(path):
                    raise
            else:
                seen, told = now, True
                yield run
            took = time.monotonic() - start
        time.sleep(max(every, took * (1 / SHARE - 1)))


def _may_come(path: Path | str) -> bool:
    """Whether there is a file or folder into which something may still be written."""
    return Path(path).exists()


def _state(path: Path | str) -> object:
    """What changes when something was written: sizes and times of the files."""
    place = Path(path)
    files = [place / name for name in Log(str(path), place).names] if place.is_dir() else [place]
    stats = []
    for file in files:
        for suffix in BESIDE:
            try:
                found = file.with_name(file.name + suffix).stat()
            except OSError:
                continue
            stats.append((file.name + suffix, found.st_size, found.st_mtime_ns))
    return tuple(stats)
