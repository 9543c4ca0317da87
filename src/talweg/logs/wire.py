"""The wire format of protocol buffers, as far as event files need it: fields of a message, no schema."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10  # bytes of a number of 64 bits
FEW = 8  # messages are walked through one by one. Our choice


class MessageError(ValueError):
    """Bytes that are no message."""


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number that begins at a place, as 64 bits without sign, and the place behind it."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift >= 7 * LONGEST_VARINT:
            break
    raise MessageError("a number without an end")


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, and the place of the value of each field: first byte, and the one behind the last.

    Raises MessageError where the bytes cannot be a message; groups, which nobody writes any more, are none.
    """
    at = start
    while at < end:
        key, at = varint(data, at, end)
        number, kind = key >> 3, key & 7
        begin = at
        if kind == VARINT:
            _, at = varint(data, at, end)
        elif kind == BYTES:
            length, begin = varint(data, at, end)
            at = begin + length
        elif kind == FIXED64:
            at += 8
        elif kind == FIXED32:
            at += 4
        else:
            raise MessageError(f"wire type {kind}")
        if at > end or number == 0:
            raise MessageError("a field beyond the end of its message")
        yield number, kind, begin, at


def signed(value: int) -> int:
    """The same 64 bits with a sign."""
    return value - (1 << 64) if value >> 63 else value


def text(data: bytes, start: int, end: int) -> str:
    return data[start:end].decode("utf-8", errors="replace")


# ---------------------------------------------------------------- many messages at once


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields of many messages. whole: whether each message was one; the fields before its fault are there too."""

    owner: NDArray[np.int64]  # (F,) which message
    number: NDArray[np.int64]  # (F,)
    kind: NDArray[np.int64]  # (F,) wire type
    key: NDArray[np.int64]  # (F,) where the field begins
    start: NDArray[np.int64]  # (F,) where its value begins
    end: NDArray[np.int64]  # (F,) and ends
    whole: NDArray[np.bool_]  # (N,)

    def only(self, number: int, kind: int) -> "Fields":
        keep = (self.number == number) & (self.kind == kind)
        owner, key, start, end = self.owner[keep], self.key[keep], self.start[keep], self.end[keep]
        return Fields(owner, self.number[keep], self.kind[keep], key, start, end, self.whole)


def fields_of_all(data: bytes, start: NDArray[np.int64], end: NDArray[np.int64]) -> Fields:
    """The fields of messages (N,) that stand in `data`, ordered by message and place.

    The first fields of all messages are looked at together, then the second ones, until few messages are left.
    """
    padded = np.frombuffer(data + bytes(2 * LONGEST_VARINT), dtype=np.uint8)
    rows, at = np.arange(start.size), start.astype(np.int64)
    whole = np.ones(start.size, dtype=np.bool_)
    found: list[tuple[NDArray[np.int64], ...]] = []
    rows, at = rows[at < end], at[at < end]
    while rows.size >= FEW:
        last = end[rows]
        key, behind = _varints(padded, at)
        number, kind = key >> 3, key & 7
        value, after = _varints(padded, np.minimum(behind, last))  # the number, or the length of what follows
        is_bytes = kind == BYTES
        begin = np.where(is_bytes, after, behind)
        size = np.where(is_bytes, np.clip(value, -1, len(data) + 1), np.where(kind == FIXED64, 8, 4))
        stop = np.where(kind == VARINT, after, begin + size)
        sound = (number > 0) & (stop <= last) & (begin <= last) & (size >= 0)
        sound &= (kind == VARINT) | is_bytes | (kind == FIXED64) | (kind == FIXED32)
        sound &= (after - np.minimum(behind, last) <= LONGEST_VARINT) | (kind == FIXED64) | (kind == FIXED32)
        sound &= behind - at <= LONGEST_VARINT
        whole[rows[~sound]] = False
        found.append(tuple(part[sound] for part in (rows, number, kind, at, begin, stop)))
        going = sound & (stop < last)
        rows, at = rows[going], stop[going]
    found += [
        _of_one(data, row, place, int(end[row]), whole) for row, place in zip(rows.tolist(), at.tolist(), strict=True)
    ]
    if not found:
        found = [(np.empty(0, dtype=np.int64),) * 6]
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    order = np.lexsort((parts[3], parts[0]))
    owner, numbers, kinds, places, begins, stops = (part[order] for part in parts)
    return Fields(owner, numbers, kinds, places, begins, stops, whole)


def _of_one(data: bytes, row: int, at: int, end: int, whole: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """The fields of one message from a place on."""
    found = []
    try:
        for number, kind, begin, stop in fields(data, at, end):
            found.append((row, number, kind, at, begin, stop))
            at = stop
    except MessageError:
        whole[row] = False
    return tuple(np.array(found, dtype=np.int64).reshape(-1, 6).T)


def numbers_at(data: bytes, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the numbers of 64 bits that begin at these places."""
    return _varints(np.frombuffer(data + bytes(2 * LONGEST_VARINT), dtype=np.uint8), at)[0]


def _varints(data: NDArray[np.uint8], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) the numbers that begin at these places, and the places behind them; 11 bytes on where one has no end."""
    byte = data[at]
    value, behind = (byte & 0x7F).astype(np.int64), at + 1
    more = np.flatnonzero(byte >= 0x80)
    for place in range(1, LONGEST_VARINT + 1):
        if not more.size:
            break
        byte = data[at[more] + place]
        if place < LONGEST_VARINT:
            value[more] |= (byte & 0x7F).astype(np.int64) << np.int64(7 * place)
        behind[more] += 1
        more = more[byte >= 0x80]
    return value, behind


@dataclass
class Names:
    """Texts that occur many times, each with a number."""

    numbers: dict[bytes, int] = field(default_factory=dict)

    def of(self, name: bytes) -> int:
        return self.numbers.setdefault(name, len(self.numbers))

    def of_all(self, names: NDArray[np.uint8]) -> NDArray[np.int32]:
        """(N,) the numbers of texts (N, W)."""
        if not names.size or bool((names == names[0]).all()):
            return np.full(len(names), self.of(names[0].tobytes() if len(names) else b""), dtype=np.int32)
        weights = np.random.default_rng(0).integers(1, 1 << 63, names.shape[1], dtype=np.uint64) | np.uint64(1)
        sums = names.astype(np.uint64) @ weights
        _, first, which = np.unique(sums, return_index=True, return_inverse=True)
        numbers = np.array([self.of(names[row].tobytes()) for row in first], dtype=np.int32)[which]
        for row in np.flatnonzero((names != names[first][which]).any(axis=1)):  # another text with the same sum
            numbers[row] = self.of(names[row].tobytes())
        return numbers
