"""Records of a .wandb file: a header, then blocks of 32 KiB in the manner of LevelDB's log.

    ":W&B", 2 bytes magic, 1 byte version
    4 bytes CRC-32 of type and data, 2 bytes length, 1 byte type, data        again and again; none crosses a block

A record that does not fit its block is cut into a first, middle and last piece.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.textfile import Decompressed

MAGIC = b":W&B\xe1\xbe"
START, HEADER, BLOCK = 7, 7, 1 << 15
PIECE = 128 * BLOCK  # bytes that are read at a time
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
LARGEST = 1 << 26  # bytes of a record that is put together: larger ones are no history


@dataclass
class Damage:
    """What was met in a file beside sound records."""

    records: int = 0
    damaged: int = 0  # stretches that are left out, up to the end of their block
    not_understood: int = 0  # records with a right checksum that are no message
    cut: bool = False

    def notes(self, name: str) -> Iterator[str]:
        if self.damaged:
            yield f"{name}: {self.damaged} records or blocks are damaged and were left out"
        if self.not_understood:
            yield f"{name}: {self.not_understood} records were not understood and were left out"
        if self.cut:
            yield f"{name}: the last record is cut off in the middle (not written yet?) and was left out"


@dataclass(frozen=True, eq=False)
class Batch:
    """Neighbouring records, one behind the other."""

    data: bytes
    start: NDArray[np.int64]  # (N,)
    end: NDArray[np.int64]  # (N,)


def batches(file: Decompressed, damage: Damage, most: int | None = None) -> Iterator[Batch]:
    """The records of a file in their order; `most`: bytes of it that are looked at.

    Raises InputError when it is no such file.
    """
    head = file.read(PIECE if most is None else most)
    if not head.startswith(MAGIC):
        raise InputError(f"{file.source} is no run file of W&B: it does not begin with :W&B")
    joiner = _Joiner(damage)
    at, piece = START, head
    while piece:
        behind = file.read(PIECE) if most is None else b""
        records = joiner.take(piece, at, last=not behind)
        at = 0
        if records:
            ends = np.cumsum([len(record) for record in records], dtype=np.int64)
            damage.records += len(records)
            yield Batch(b"".join(records), np.append(0, ends[:-1]), ends)
        piece = behind
    if joiner.parts:
        damage.cut = True


@dataclass
class _Joiner:
    """Puts records together of the pieces in blocks."""

    damage: Damage
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def take(self, piece: bytes, at: int, last: bool) -> list[bytes]:
        """The records that end in a piece of whole blocks; `last`: the file ends with it."""
        unpack, crc32, end = struct.Struct("<IHB").unpack_from, zlib.crc32, len(piece)
        found: list[bytes] = []
        while at < end:
            rest = BLOCK - at % BLOCK
            if rest < HEADER:
                at += rest
                continue
            if at + HEADER > end:
                self.damage.cut = True
                break
            checksum, length, kind = unpack(piece, at)
            stop = at + HEADER + length
            if stop > end and last and length + HEADER <= rest:
                self.damage.cut = True
                break
            data = piece[at + 6 : stop]
            if length + HEADER > rest or crc32(data) != checksum:
                self.parts = []
                if last and not kind and not piece[at:].strip(b"\0"):  # room that was not written yet
                    self.damage.cut = True
                    break
                self.damage.damaged += 1
                at += rest
                continue
            at = stop
            if kind == FULL:
                self._drop()
                found.append(data[1:])
            elif kind == FIRST:
                self._drop()
                self.parts, self.size = [data[1:]], length
            elif kind in (MIDDLE, LAST) and self.parts:
                self.parts.append(data[1:])
                self.size += length
                if kind == LAST:
                    found.append(b"".join(self.parts))
                    self.parts = []
                elif self.size > LARGEST:
                    self._drop()
            else:
                self.damage.damaged += 1
        return found

    def _drop(self) -> None:
        """A record whose end did not come."""
        if self.parts:
            self.damage.damaged += 1
            self.parts = []
