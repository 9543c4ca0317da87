"""A folder that is filled as a whole: written beside its place, flushed to the disk, then moved there."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from talweg.errors import InputError
from talweg.files import sync_folder

Progress = Callable[[str, float, float], None]  # stage, done, total
PARTIAL = ".partial-"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def filling(out: Path, replaced: re.Pattern[str] | None = None, last: str = "") -> Iterator[Path]:
    """A folder to write into, whose files appear in `out` when all is done, or not at all; `last` after all others.

    Nothing of a person's is written over: raises InputError where `out` holds a file already whose name is not one of
    those to be `replaced`.
    """
    fresh = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        earlier = sorted(path for path in out.iterdir() if not path.name.startswith("."))
        others = [path.name for path in earlier if replaced is None or not replaced.fullmatch(path.name)]
        if others:
            raise InputError(f"{out} holds other files ({others[0]}); give a folder that is empty or not there yet")
        for left in out.glob(f"{PARTIAL}*"):
            shutil.rmtree(left)
        stage = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=out))
        try:
            yield stage
            _flush(stage)
            for path in sorted(earlier, key=lambda path: path.name != last):
                path.unlink()
            sync_folder(out)
            for path in sorted(stage.iterdir(), key=lambda path: (path.name == last, path.name)):
                path.replace(out / path.name)
            sync_folder(out)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            if fresh and not any(out.iterdir()):
                out.rmdir()
    except OSError as error:
        if error.errno in FULL:
            raise InputError(f"{out}: {os.strerror(error.errno or 0)}; make room or give another --out") from None
        if isinstance(error, PermissionError | FileExistsError | NotADirectoryError):
            raise InputError(f"{out} cannot be written: {error.strerror}; give another --out") from None
        raise


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
