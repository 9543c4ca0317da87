"""The run's log: one JSON record a line, flushed as it is written, cut back to the checkpoint on resume."""

import io
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from talweg.errors import InputError
from talweg.train.sinks import Sinks

Record = dict[str, Any]


class Log:
    """An open log file. JSON knows no NaN or infinity: they are written as words."""

    def __init__(self, path: Path | None, keep_bytes: int, sinks: Sinks | None = None) -> None:
        """Keep the first `keep_bytes` of what is there and go on after them; InputError when fewer are there.

        path: None on the ranks that only help: nothing is written. sinks: get a copy of every record.
        """
        self._sinks, self._news = sinks, list[str]()
        if path is None:
            self._file: io.FileIO | None = None
            return
        there = path.stat().st_size if path.exists() else 0
        if there < keep_bytes:
            raise InputError(
                f"{path} holds {there:,} bytes, but the checkpoint was taken at {keep_bytes:,}: the log was shortened "
                "or replaced; put it back, or start anew with another run.name"
            )
        self._file = io.FileIO(path, "ab")  # not buffered: a record that the disk refused is not tried again on closing
        self._file.truncate(keep_bytes)

    def write(self, record: Record) -> Record:
        """Append the record, and hand it on. Raises InputError when the disk cannot take it."""
        if self._file is None:
            return record
        line = (json.dumps(_plain(record), allow_nan=False) + "\n").encode()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise InputError(
                f"{self._file.name} could not be written: {error.strerror}; free some space and start again"
            ) from None
        if self._sinks is not None:
            self._news += self._sinks.write(record)
        return record

    def news(self) -> list[str]:
        """Lines for the person since the last call: trackers that were let go of."""
        told, self._news = self._news, []
        return told

    def size(self) -> int:
        """Bytes so far, all of them safe on the disk."""
        if self._file is None:
            return 0
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sinks is not None:
            for told in [*self.news(), *self._sinks.close()]:
                print(f"talweg: {told}", file=sys.stderr)
        if self._file is not None:
            self._file.close()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
