"""Tokens in files, read and written a block at a time, so that a file may be larger than memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError

BLOCK = 1 << 22  # tokens held at once


@dataclass(frozen=True)
class Part:
    """A file of little-endian tokens that begin at a byte `offset`."""

    path: Path
    dtype: str  # uint16 or uint32
    offset: int
    tokens: int

    def blocks(self, size: int | None = None) -> Iterator[NDArray[Any]]:
        """Arrays of `size`, BLOCK where it is not given. Raises InputError where the file has become shorter."""
        size = size or BLOCK
        kind = np.dtype(self.dtype).newbyteorder("<")
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for first in range(0, self.tokens, size):
                wanted = min(size, self.tokens - first)
                raw = file.read(wanted * kind.itemsize)
                if len(raw) != wanted * kind.itemsize:
                    raise InputError(f"{self.path} was cut off while it was read; give it when it is written whole")
                yield np.frombuffer(raw, dtype=kind)

    def at(self, index: int) -> int:
        """One token."""
        kind = np.dtype(self.dtype).newbyteorder("<")
        with self.path.open("rb") as file:
            file.seek(self.offset + index * kind.itemsize)
            return int(np.frombuffer(file.read(kind.itemsize), dtype=kind)[0])


@dataclass(frozen=True)
class Stream:
    """The tokens of one side in another trainer's files, in the order of the files; a document may lie over a seam.

    separator_first: whether each document begins with its separator, as llm.c has it, or ends with it.
    """

    parts: tuple[Part, ...]
    separator_first: bool

    @property
    def tokens(self) -> int:
        return sum(part.tokens for part in self.parts)

    def ended(self, separator: int) -> tuple[Iterator[NDArray[Any]], bool]:
        """The blocks as a data folder has them, each document ended by its separator, and whether one was added.

        A separator that stands before each document moves behind it: the first of the stream is left out and one is
        added at its end, so their number stays.
        """
        first, last = self.parts[0].at(0), self.parts[-1].at(self.parts[-1].tokens - 1)
        moved = self.separator_first and first == separator
        added = not moved and last != separator

        def blocks() -> Iterator[NDArray[Any]]:
            skip = int(moved)
            for part in self.parts:
                for block in part.blocks():
                    if block[skip:].size:
                        yield block[skip:]
                    skip = 0
            if moved or added:
                yield np.array([separator], dtype=np.uint32)

        return blocks(), added


def write(file: IO[bytes], blocks: Iterator[NDArray[Any]], dtype: str) -> int:
    """Write all blocks as little-endian tokens; returns how many. None is ever wrapped."""
    kind, written = np.dtype(dtype).newbyteorder("<"), 0
    for block in blocks:
        assert int(block.max(initial=0)) <= np.iinfo(kind).max, "a token that does not fit"
        file.write(np.ascontiguousarray(block, dtype=kind).data)
        written += block.size
    return written


def cut(blocks: Iterator[NDArray[Any]], size: int) -> Iterator[Iterator[NDArray[Any]]]:
    """The same tokens in stretches of `size`, the last one shorter. Each stretch is read to its end before the next."""
    rest: Sequence[NDArray[Any]] = ()

    def stretch(begin: NDArray[Any]) -> Iterator[NDArray[Any]]:
        nonlocal rest
        room, block = size, begin
        while True:
            yield block[:room]
            if block.size > room:
                rest = (block[room:],)
                return
            room -= block.size
            following = next(blocks, None)
            if following is None:
                rest = ()
                return
            if not room:
                rest = (following,)
                return
            block = following

    first = next(blocks, None)
    rest = () if first is None else (first,)
    while rest:
        yield stretch(rest[0])
