"""What there is to read, as plain data: a source is a file, a piece what a worker reads of it, a batch what it gets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError

TEXT_COLUMNS = ("text", "content")
BATCH_BYTES, BATCH_ROWS = 4_000_000, 10_000  # read at once: about so much text, and no more documents than this
STRETCH = 64_000_000  # bytes of an uncompressed jsonl or text file that are a piece of their own


@dataclass(frozen=True)
class Piece:
    """What can be read by itself, and gives the same documents wherever that is done.

    A row group of a parquet file; the whole of a compressed file; a stretch of an uncompressed jsonl or text file.
    """

    number: int  # from 0 on, within its source
    begin: int  # parquet: first row; else first byte. A line belongs to the stretch in which it begins
    end: int  # parquet: the row after the last; else the byte after the last
    bytes: int  # of its text, uncompressed, as well as can be known: for progress and for packing tasks


@dataclass(frozen=True)
class Source:
    """One file, as plain data: it survives JSON and pickling, and means the same on another machine."""

    url: str  # a local path as it was given, or an fsspec URL
    kind: str  # "parquet", "jsonl" or "text"
    compression: str | None  # of a jsonl or text file: "gzip", "zstd", "bz2", "xz"
    bytes: int  # as stored; 0 where a server does not say
    stamp: str  # changes when the file does: size and time of a local one, ETag or date of a remote one
    text_column: str | None  # None for plain text
    columns: tuple[str, ...]  # of a jsonl file: those of its first lines
    rows: int | None  # None where it is not known before all is read
    pieces: tuple[Piece, ...]

    @staticmethod
    def from_dict(facts: dict[str, Any]) -> "Source":
        """The source that dataclasses.asdict made a dictionary of, also by way of JSON."""
        pieces = tuple(Piece(**piece) for piece in facts["pieces"])
        return Source(**{**facts, "columns": tuple(facts["columns"]), "pieces": pieces})


@dataclass(frozen=True, eq=False)
class Batch:
    """About 4 MB of text, at most 10,000 documents."""

    strings: Any  # (documents,) Arrow large_string, no nulls; may hold bytes that are no UTF-8 (strings.repaired)
    columns: dict[str, Any]  # the other columns asked for, in the same form; those that are absent are left out
    # (documents,) parquet: row of the file. jsonl: line, counted from 0 at the piece's first line, blank and damaged
    # lines included. text: document, counted from 0 in the piece.
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Damage:
    """What is done about damage: it ends the reading, or it is told and passed over."""

    fatal: bool = True
    lost: Callable[[str], None] = field(default=lambda message: None)

    def found(self, message: str) -> None:
        """Raises InputError where damage is fatal."""
        if self.fatal:
            raise InputError(f"{message}. Fetch or write the file again, or pass over such parts with --on-damage skip")
        self.lost(message)


class DamageError(Exception):
    """What a file cannot give; its message says why. It is told, or becomes an InputError, where the file is read."""
