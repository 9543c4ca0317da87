"""Records of an event file: where they are, whether their checksums hold, and where it goes on after damage.

    8 bytes length, 4 bytes checksum of that, the message, 4 bytes checksum of the message

The checksum is a masked CRC-32C. It is computed for many records of one length at a time, a byte pair after the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from talweg.textfile import Decompressed

PIECE = 1 << 23  # bytes that are read at a time
HEADER, FRAME = 12, 16  # bytes before a message; before and behind it
LARGEST = 1 << 20  # bytes of a message that is looked at: larger ones are images and the like, and are passed over
MOST_DAMAGE = 1_000  # damaged stretches, after which the rest of a file is left alone
MOST_AT_ONCE = 1 << 18  # places that are looked at together
POLYNOMIAL, MASK = 0x82F63B78, 0xA282EAD8


@dataclass
class Damage:
    """What was met in a file beside sound records."""

    stretches: int = 0  # bytes between two records that are none
    wrong_checksums: int = 0  # records with a checksum that is not that of their message
    not_understood: int = 0  # records with a right checksum that are no event
    cut: bool = False  # the last record is not all there
    records: int = 0

    def notes(self, name: str) -> Iterator[str]:
        if self.stretches:
            rest = "; the rest was left alone" if self.stretches >= MOST_DAMAGE else ""
            yield f"{name}: damaged at {self.stretches} places; what lies there was left out{rest}"
        if self.wrong_checksums:
            yield f"{name}: {self.wrong_checksums} records are damaged (wrong checksum) and were left out"
        if self.not_understood:
            yield f"{name}: {self.not_understood} records are no events and were left out"
        if self.cut:
            yield f"{name}: the last record is cut off in the middle and was left out"


@dataclass(frozen=True, eq=False)
class Batch:
    """Neighbouring records. Their headers are sound; their messages have not been checked."""

    data: bytes
    start: NDArray[np.int64]  # (N,) where in `data` the messages begin
    length: NDArray[np.int64]  # (N,)
    place: NDArray[np.int64]  # (N,) which record of the file it is

    @property
    def bytes(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.data, dtype=np.uint8)


def batches(file: Decompressed, damage: Damage) -> Iterator[Batch]:
    """All records of a file that are not too large, in their order."""
    rest, ended = b"", False
    while not ended:
        piece = file.read(PIECE)
        ended = len(piece) < PIECE
        buffer = rest + piece
        walk = _Walk(buffer, damage)
        begins = walk.all()
        if begins.size:
            length = _lengths(buffer, begins)
            place = damage.records + np.arange(begins.size)
            damage.records += begins.size
            small = length <= LARGEST
            yield Batch(buffer, begins[small] + HEADER, length[small], place[small])
        if damage.stretches >= MOST_DAMAGE:
            return
        rest = buffer[walk.at :]
        if walk.missing > PIECE and not ended:  # a large message: passed over without being held
            ended = not _skipped(file, walk.missing)
            rest, damage.cut = b"", ended
            damage.records += 1
    damage.cut |= walk.missing > 0
    damage.stretches += bool(rest) and walk.missing == 0


def _skipped(file: Decompressed, size: int) -> bool:
    """Whether so many bytes were there to be passed over."""
    while size > 0:
        part = len(file.read(min(size, PIECE)))
        if not part:
            return False
        size -= part
    return True


class _Walk:
    """From record to record through a buffer, over the places at which a header with a right checksum stands."""

    def __init__(self, buffer: bytes, damage: Damage) -> None:
        self.size = len(buffer)
        self.damage = damage
        self.at = 0  # behind the last record that was taken
        self.missing = 0  # bytes of the record that begins there which are not in the buffer
        self.headers = _headers(buffer)
        self.behind = self.headers + _lengths(buffer, self.headers) + FRAME
        follows = self.behind[:-1] == self.headers[1:]
        self.ends = np.append(np.flatnonzero(~follows), self.headers.size - 1)  # of chains of neighbours

    def all(self) -> NDArray[np.int64]:
        """Where the records begin that are there as a whole."""
        found = [np.empty(0, dtype=np.int64)]
        while self.at < self.size:
            first = int(np.searchsorted(self.headers, self.at))
            if first == self.headers.size or self.headers[first] != self.at:
                if self.size - self.at < HEADER:
                    self.missing = HEADER
                    break
                if not self._go_on_behind():
                    break
                continue
            last = int(self.ends[np.searchsorted(self.ends, first)])
            if self.behind[last] > self.size:
                found.append(self.headers[first:last])
                self.at = int(self.headers[last])
                self.missing = int(self.behind[last]) - self.size
                break
            found.append(self.headers[first : last + 1])
            self.at = int(self.behind[last])
        return np.concatenate(found)

    def _go_on_behind(self) -> bool:
        """Find the next header behind bytes that are none; False where there is none in this buffer."""
        place = int(np.searchsorted(self.headers, self.at, side="right"))
        if place < self.headers.size and self.damage.stretches < MOST_DAMAGE:
            self.damage.stretches += 1
            self.at = int(self.headers[place])
            return True
        self.at = max(self.at, self.size - HEADER + 1)  # a header may begin in these last bytes
        return False


def _headers(buffer: bytes) -> NDArray[np.int64]:
    """All places at which a length below 4 GiB stands with its right checksum."""
    zero = np.frombuffer(buffer, dtype=np.uint8) == 0
    if zero.size < HEADER:
        return np.empty(0, dtype=np.int64)
    size = zero.size - HEADER + 1
    may = zero[4 : 4 + size] & zero[5 : 5 + size] & zero[6 : 6 + size] & zero[7 : 7 + size]
    blank = may.copy()
    for place in (0, 1, 2, 3, 8, 9, 10, 11):
        blank &= zero[place : place + size]
    may &= ~blank  # zeros are no header: the checksum of no length is not 0
    window = sliding_window_view(np.frombuffer(buffer, dtype=np.uint8), HEADER)
    places = np.flatnonzero(may)
    found = []
    for start in range(0, places.size, MOST_AT_ONCE):
        some = places[start : start + MOST_AT_ONCE]
        header = window[some]
        found.append(some[checked(header[:, :8], header[:, 8:])])
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, dtype=np.int64)


def _lengths(buffer: bytes, begins: NDArray[np.int64]) -> NDArray[np.int64]:
    if not begins.size:
        return np.empty(0, dtype=np.int64)
    lengths: NDArray[np.int64] = sliding_window_view(np.frombuffer(buffer, dtype=np.uint8), 8)[begins].view("<i8")[:, 0]
    return lengths


# ---------------------------------------------------------------- checksums


@cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """What a byte does to the sum, and what two bytes do."""
    one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        one = np.where(one & 1, (one >> 1) ^ np.uint32(POLYNOMIAL), one >> 1).astype(np.uint32)
    pair = np.arange(65_536, dtype=np.uint32)
    for _ in range(2):
        pair = one[pair & 0xFF] ^ (pair >> 8)
    return one, pair


def crc32c(message: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(N,) checksums, masked as event files do it, of messages (N, L)."""
    one, pair = _tables()
    length = message.shape[1]
    state = np.full(len(message), 0xFFFFFFFF, dtype=np.uint32)
    pairs = np.ascontiguousarray(message[:, : length // 2 * 2]).view("<u2")
    for place in range(length // 2):
        state = pair[(state & 0xFFFF) ^ pairs[:, place]] ^ (state >> 16)
    if length % 2:
        state = one[(state & 0xFF) ^ message[:, -1]] ^ (state >> 8)
    state = ~state
    masked = ((state >> 15) | (state << 17)) + np.uint32(MASK)
    return masked.astype(np.uint32, copy=False)


@cache
def _byte_table() -> list[int]:
    return [int(value) for value in _tables()[0]]


def crc32c_of_one(message: bytes) -> int:
    """The same of one message, without numpy."""
    table, state = _byte_table(), 0xFFFFFFFF
    for byte in message:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    state ^= 0xFFFFFFFF
    return (((state >> 15) | (state << 17)) + MASK) & 0xFFFFFFFF


def checked(message: NDArray[np.uint8], stored: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) whether the stored checksums (N, 4) are those of the messages (N, L)."""
    found = np.ascontiguousarray(stored).view("<u4")[:, 0] == crc32c(message)
    return np.asarray(found, dtype=np.bool_)
