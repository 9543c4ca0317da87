"""Events: where in a message the time, the step and the scalars stand. One message is looked at for all of its like.

Event { 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log }
Value { 1 tag, 2 simple_value, 8 tensor, 9 metadata { 1 plugin_data { 1 plugin_name, 2 content } } }
"""

from dataclasses import dataclass, field

import numpy as np

from talweg.logs.wire import BYTES, FIXED32, FIXED64, VARINT, MessageError, fields, signed, text, varint

MOST_VALUES = 1_000  # of one event
# type of a tensor -> as numpy has it, and the field that holds its values one by one
TYPES: dict[int, tuple[str, int]] = {
    **{1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 4: ("u1", 7), 5: ("<i2", 7), 6: ("i1", 7), 9: ("<i8", 10)},
    **{10: ("?", 11), 14: ("bfloat16", 13), 17: ("<u2", 7), 19: ("<f2", 13), 22: ("<u4", 16), 23: ("<u8", 17)},
}
SESSION_START = 1


@dataclass(frozen=True)
class Scalar:
    """Where a tag and its value stand in a message. stored: a type of numpy, bfloat16, or varint:TYPE."""

    tag: tuple[int, int]
    value: tuple[int, int]
    stored: str
    plugin: str | None = None  # that the value says it is for; None: it does not say
    simple: bool = False


@dataclass(frozen=True)
class Other:
    """A value that is no scalar: its tag, whose it is, the place of the plugin's content and of a text."""

    tag: str
    plugin: str | None
    content: tuple[int, int] | None
    text: tuple[int, int] | None


@dataclass
class Layout:
    """Where things stand in a message."""

    wall: tuple[int, int] | None = None
    step: tuple[int, int] | None = None
    scalars: list[Scalar] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    session_start: bool = False

    def free(self, length: int) -> np.ndarray:  # (L,) of bool
        """The bytes that may differ in messages of this layout."""
        free = np.zeros(length, dtype=np.bool_)
        for start, end in filter(None, (self.wall, self.step)):
            free[start:end] = True
        for scalar in self.scalars:
            free[slice(*scalar.tag)] = True
            free[slice(*scalar.value)] = True
        return free

    def varints(self) -> list[tuple[int, int]]:
        steps = [self.step] if self.step else []
        return steps + [scalar.value for scalar in self.scalars if scalar.stored.startswith("varint")]


def layout(message: bytes) -> Layout:
    """Where things stand in this event. Raises MessageError where it is none."""
    found = Layout()
    for number, kind, start, end in fields(message, 0, len(message)):
        if number == 1 and kind == FIXED64:
            found.wall = (start, end)
        elif number == 2 and kind == VARINT:
            found.step = (start, end)
        elif number == 5 and kind == BYTES:
            _summary(message, start, end, found)
        elif number == 7 and kind == BYTES:
            found.session_start = any(
                n == 1 and k == VARINT and varint(message, a, b)[0] == SESSION_START
                for n, k, a, b in fields(message, start, end)
            )
    return found


def _summary(message: bytes, start: int, end: int, found: Layout) -> None:
    for number, kind, begin, behind in fields(message, start, end):
        if number != 1 or kind != BYTES or len(found.scalars) >= MOST_VALUES:
            continue
        tag, tensor, simple, plugin, content = (0, 0), None, None, None, None
        for n, k, a, b in fields(message, begin, behind):
            if n == 1 and k == BYTES:
                tag = (a, b)
            elif n == 2 and k == FIXED32:
                simple = (a, b)
            elif n == 8 and k == BYTES:
                tensor = (a, b)
            elif n == 9 and k == BYTES:
                plugin, content = _plugin(message, a, b)
        if simple is not None:
            found.scalars.append(Scalar(tag, simple, "<f4", plugin, simple=True))
            continue
        stored = _tensor(message, *tensor) if tensor else None
        if stored is not None and plugin in (None, "", "scalars"):
            found.scalars.append(Scalar(tag, stored[1], stored[0], plugin or None))
        else:
            found.others.append(
                Other(text(message, *tag), plugin, content, _string(message, *tensor) if tensor else None)
            )


def _plugin(message: bytes, start: int, end: int) -> tuple[str | None, tuple[int, int] | None]:
    name, content = None, None
    for number, kind, begin, behind in fields(message, start, end):
        if number != 1 or kind != BYTES:
            continue
        for n, k, a, b in fields(message, begin, behind):
            if n == 1 and k == BYTES:
                name = text(message, a, b)
            elif n == 2 and k == BYTES:
                content = (a, b)
    return name, content


def _tensor(message: bytes, start: int, end: int) -> tuple[str, tuple[int, int]] | None:
    """How and where the one number of a tensor is stored; None where it is no single number."""
    dtype, elements = 0, 1
    held: list[tuple[int, int, int, int]] = []
    for number, kind, begin, behind in fields(message, start, end):
        if number == 1 and kind == VARINT:
            dtype = varint(message, begin, behind)[0]
        elif number == 2 and kind == BYTES:
            elements = _elements(message, begin, behind)
        elif number >= 4:
            held.append((number, kind, begin, behind))
    if dtype not in TYPES or elements != 1 or len(held) != 1:
        return None
    (name, values), (number, kind, begin, behind) = TYPES[dtype], held[0]
    size = 2 if name == "bfloat16" else np.dtype(name).itemsize
    if number == 4 and kind == BYTES:
        return (name, (begin, behind)) if behind - begin == size else None
    if number != values:
        return None
    if values in (5, 6):
        return (name, (begin, behind)) if behind - begin == size and kind in (BYTES, FIXED32, FIXED64) else None
    if kind == BYTES and (begin == behind or varint(message, begin, behind)[1] != behind):
        return None  # several numbers
    return (f"varint:{name}", (begin, behind)) if kind in (BYTES, VARINT) else None


def _elements(message: bytes, start: int, end: int) -> int:
    elements = 1
    for number, kind, begin, behind in fields(message, start, end):
        if number == 2 and kind == BYTES:
            size = 0
            for n, k, a, b in fields(message, begin, behind):
                if n == 1 and k == VARINT:
                    size = signed(varint(message, a, b)[0])
            elements = elements * size if -1 < size < 1 << 31 else 0
        elif number == 3 and kind == VARINT and varint(message, begin, behind)[0]:
            return 0
    return elements


def _string(message: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The first text of a tensor."""
    return next((found[2:] for found in fields(message, start, end) if found[:2] == (8, BYTES)), None)


# ---------------------------------------------------------------- hyperparameters


def hyperparameters(message: bytes, start: int, end: int) -> dict[str, object]:
    """What a hparams plugin's content says of the start of a session; {} where it is something else."""
    found: dict[str, object] = {}
    for number, kind, begin, behind in fields(message, start, end):
        if number != 3 or kind != BYTES:
            continue
        for n, k, a, b in fields(message, begin, behind):
            if n == 1 and k == BYTES:
                name, value = "", None
                for entry, what, first, last in fields(message, a, b):
                    if entry == 1 and what == BYTES:
                        name = text(message, first, last)
                    elif entry == 2 and what == BYTES:
                        value = _value(message, first, last)
                found[name] = value
    return found


def _value(message: bytes, start: int, end: int) -> object:
    for number, kind, begin, behind in fields(message, start, end):
        if number == 2 and kind == FIXED64:
            return float(np.frombuffer(message[begin:behind], dtype="<f8")[0])
        if number == 3 and kind == BYTES:
            return text(message, begin, behind)
        if number == 4 and kind == VARINT:
            return bool(varint(message, begin, behind)[0])
    return None


__all__ = ["Layout", "MessageError", "Other", "Scalar", "hyperparameters", "layout"]
