"""The wire format of protocol buffers, as far as event files need it: fields of a message, no schema."""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10  # bytes of a number of 64 bits


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
