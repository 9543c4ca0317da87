"""A text in pieces that stay in the cache, and the lines of one piece."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 20  # bytes at a time: the arrays made of them should stay in the cache


class LineText:
    """The lines of a chunk, found when the first is asked for. Decoded as Latin-1, so that characters are bytes."""

    def __init__(self, chunk: bytes) -> None:
        self.chunk = chunk
        self.ends: NDArray[np.intp] | None = None

    def _bytes(self, row: int) -> bytes:
        if self.ends is None:
            self.ends = np.flatnonzero(np.frombuffer(self.chunk, dtype=np.uint8) == ord("\n"))
        start = int(self.ends[row - 1]) + 1 if row else 0
        return self.chunk[start : int(self.ends[row])]

    def __getitem__(self, row: int) -> str:
        return self._bytes(row).decode("latin-1")

    def decoded(self, row: int) -> str:
        return self._bytes(row).decode("utf-8", errors="replace")


def pieces(chunk: bytes, size: int = CHUNK) -> Iterator[bytes]:
    """A large chunk in pieces of about `size` bytes that end at the end of a line."""
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", start + size) + 1 or len(chunk)
        yield chunk[start:end]
        start = end
