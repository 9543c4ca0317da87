"""A pickle, read and not executed.

A pickle is a program for a small stack machine, which may name any function and have it called. This machine knows the
instructions, but has nothing that it could call: what a function would have been called with stands in a `Made`, what
an object would have been filled with in its `state`. So that a file made to harm does not even take long, there are
bounds on its instructions, and nothing but plain keys is ever hashed: a tuple of tuples that share their parts is small
in memory, and takes for ever to be hashed.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from talweg.errors import InputError

MOST_INSTRUCTIONS = 4_000_000  # 50,000 tensors take 3 million
LONGEST_INTEGER = 1024  # bytes
LONGEST_NUMBER = 4_000  # characters of one that is printed
MARK = object()


@dataclass(frozen=True)
class Name:
    """Something that the pickle names and does not hold: a class, a function, torch.float32."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Made:
    """What a call or a new object would have been."""

    of: Any  # what would have been called: a Name, mostly
    args: Any = ()
    state: Any = None
    items: dict[Any, Any] | None = None
    elements: list[Any] | None = None


@dataclass(frozen=True, eq=False)
class Stored:
    """A reference to something outside the pickle: of torch, a storage."""

    key: Any


class _BrokenError(Exception):
    """The bytes are no pickle."""


def unpickled(raw: bytes, source: str, start: int = 0) -> tuple[Any, int]:
    """What a pickle holds, with stand-ins for all that would have been made, and where it ends.

    Raises InputError, and nothing else, when it is damaged or asks for too much.
    """
    try:
        return _Machine(raw, start, source).run()
    except InputError:
        raise
    except (_BrokenError, IndexError, KeyError, ValueError, TypeError, struct.error, OverflowError):
        raise InputError(f"{source} is damaged: its pickle breaks off or makes no sense; save it anew") from None
    except (MemoryError, RecursionError):
        raise InputError(f"{source} holds a pickle that needs too much memory; it was not read") from None


class _Machine:
    def __init__(self, raw: bytes, start: int, source: str) -> None:
        self.raw, self.at, self.source = raw, start, source
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> tuple[Any, int]:
        for _ in range(MOST_INSTRUCTIONS):
            code = self.raw[self.at]
            self.at += 1
            if code == STOP:
                return self.stack.pop(), self.at
            INSTRUCTIONS[code](self)
        raise InputError(
            f"{self.source} holds a pickle of more than {MOST_INSTRUCTIONS:,} instructions; it was not read"
        )

    # ------------------------------------------------------------ what stands behind an instruction

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.raw):
            raise _BrokenError
        self.at += size
        return self.raw[self.at - size : self.at]

    def integer(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def line(self, encoding: str = "utf-8") -> str:
        end = self.raw.find(b"\n", self.at)
        if end < 0:
            raise _BrokenError
        text = self.raw[self.at : end].decode(encoding)
        self.at = end + 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def to_mark(self) -> list[Any]:
        """What was pushed since the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                above = self.stack[place + 1 :]
                del self.stack[place:]
                return above
        raise _BrokenError

    # ------------------------------------------------------------ what would have been executed

    def call(self) -> None:
        args, of = self.stack.pop(), self.stack.pop()
        self.push(Made(of, args))

    def call_with_names(self) -> None:
        names, args, of = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.push(Made(of, args, items=names if isinstance(names, dict) else None))

    def call_since_mark(self) -> None:
        of, *args = self.to_mark()
        self.push(Made(of, tuple(args)))

    def call_named(self) -> None:
        name = Name(self.line(), self.line())
        self.push(Made(name, tuple(self.to_mark())))

    def named_on_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push(Name(_text(module), _text(name)))

    def build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, Made):
            made.state = state

    def set_items(self, pairs: list[Any]) -> None:
        place = self.stack[-1]
        if isinstance(place, Made) and place.items is None:
            place.items = {}
        items = place.items if isinstance(place, Made) else place
        if not isinstance(items, dict) or len(pairs) % 2:
            raise _BrokenError
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            items[_key(key)] = value

    def append(self, values: list[Any]) -> None:
        place = self.stack[-1]
        if isinstance(place, Made) and place.elements is None:
            place.elements = []
        elements = place.elements if isinstance(place, Made) else place
        if not isinstance(elements, list):
            raise _BrokenError
        elements.extend(values)

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "?"


def _key(value: Any) -> Any:
    """A key whose hash costs nothing and cannot be made to collide; of any other only that it was one is kept."""
    if isinstance(value, str | bytes | None) or (isinstance(value, int) and value.bit_length() < 60):
        return value
    return f"<{type(value).__name__} {id(value)}>"


def _dict_of(pairs: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(pairs[::2], pairs[1::2], strict=True)}


def _long(raw: bytes) -> int:
    if len(raw) > LONGEST_INTEGER:
        raise _BrokenError
    return int.from_bytes(raw, "little", signed=True)


def _printed(text: str) -> Any:
    if len(text) > LONGEST_NUMBER:
        raise _BrokenError
    return text == "01" if text in ("00", "01") else int(text.rstrip("L"))


def _quoted(text: str) -> str:
    """Of a pickle of protocol 0, as far as it is plain."""
    return text.strip()[1:-1]


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", errors="surrogatepass")


def _latin(raw: bytes) -> str:
    """A text of Python 2, and bytes as protocol 2 writes them."""
    return raw.decode("latin-1")


def _nothing(machine: _Machine) -> None:
    pass


STOP = ord(".")
# by the byte that stands for it
_BY_BYTE: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.take(1),  # protocol
    b"\x95": lambda m: m.take(8),  # frame: a hint for reading
    b"(": lambda m: m.push(MARK),
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m.to_mark(),
    b"2": lambda m: m.push(m.stack[-1]),
    # plain values
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_printed(m.line())),
    b"L": lambda m: m.push(_printed(m.line())),
    b"J": lambda m: m.push(m.integer("<i")),
    b"K": lambda m: m.push(m.integer("<B")),
    b"M": lambda m: m.push(m.integer("<H")),
    b"\x8a": lambda m: m.push(_long(m.take(m.integer("<B")))),
    b"\x8b": lambda m: m.push(_long(m.take(m.integer("<i")))),
    b"F": lambda m: m.push(float(m.line()[:LONGEST_NUMBER])),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"S": lambda m: m.push(_quoted(m.line())),
    b"T": lambda m: m.push(_latin(m.take(m.integer("<i")))),
    b"U": lambda m: m.push(_latin(m.take(m.integer("<B")))),
    b"V": lambda m: m.push(m.line("raw-unicode-escape")),
    b"X": lambda m: m.push(_decoded(m.take(m.integer("<I")))),
    b"\x8c": lambda m: m.push(_decoded(m.take(m.integer("<B")))),
    b"\x8d": lambda m: m.push(_decoded(m.take(m.integer("<Q")))),
    b"B": lambda m: m.push(m.take(m.integer("<I"))),
    b"C": lambda m: m.push(m.take(m.integer("<B"))),
    b"\x8e": lambda m: m.push(m.take(m.integer("<Q"))),
    b"\x96": lambda m: m.push(m.take(m.integer("<Q"))),
    b"\x98": _nothing,
    # collections
    b")": lambda m: m.push(()),
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b"\x8f": lambda m: m.push([]),  # a set, whose elements are not hashed
    b"t": lambda m: m.push(tuple(m.to_mark())),
    b"l": lambda m: m.push(m.to_mark()),
    b"d": lambda m: m.push(_dict_of(m.to_mark())),
    b"\x91": lambda m: m.push(m.to_mark()),
    b"\x85": lambda m: m.push((m.stack.pop(),)),
    b"\x86": lambda m: m.push(tuple(m.stack.pop() for _ in range(2))[::-1]),
    b"\x87": lambda m: m.push(tuple(m.stack.pop() for _ in range(3))[::-1]),
    b"a": lambda m: m.append([m.stack.pop()]),
    b"e": lambda m: m.append(m.to_mark()),
    b"\x90": lambda m: m.append(m.to_mark()),
    b"s": lambda m: m.set_items([m.stack.pop() for _ in range(2)][::-1]),
    b"u": lambda m: m.set_items(m.to_mark()),
    # the memo
    b"p": lambda m: m.remember(int(m.line()[:20])),
    b"q": lambda m: m.remember(m.integer("<B")),
    b"r": lambda m: m.remember(m.integer("<I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"g": lambda m: m.push(m.memo[int(m.line()[:20])]),
    b"h": lambda m: m.push(m.memo[m.integer("<B")]),
    b"j": lambda m: m.push(m.memo[m.integer("<I")]),
    # names, references, and what would be a call
    b"c": lambda m: m.push(Name(m.line(), m.line())),
    b"\x93": lambda m: m.named_on_stack(),
    b"\x82": lambda m: m.push(Name("copyreg", str(m.integer("<B")))),
    b"\x83": lambda m: m.push(Name("copyreg", str(m.integer("<H")))),
    b"\x84": lambda m: m.push(Name("copyreg", str(m.integer("<i")))),
    b"P": lambda m: m.push(Stored(m.line())),
    b"Q": lambda m: m.push(Stored(m.stack.pop())),
    b"R": lambda m: m.call(),
    b"\x81": lambda m: m.call(),
    b"\x92": lambda m: m.call_with_names(),
    b"o": lambda m: m.call_since_mark(),
    b"i": lambda m: m.call_named(),
    b"b": lambda m: m.build(),
}
INSTRUCTIONS = {byte[0]: instruction for byte, instruction in _BY_BYTE.items()}
