"""The scalars of an event file as columns: records of one length and layout are decoded at once."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from talweg.logs.wire import MessageError, Names
from talweg.readers.tensorboard.events import Layout, Scalar, hyperparameters, layout
from talweg.readers.tensorboard.records import Batch, Damage, batches, checked, crc32c_of_one
from talweg.textfile import Decompressed

FEW = 8  # records of one length are decoded one by one. Our choice
MOST_LAYOUTS = 64  # of one length are kept
LONGEST_ALIKE = 2_048  # bytes of a message that is compared with others
LONGEST_TEXT = 1 << 17  # bytes of a text summary that may hold settings
Piece = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


@dataclass
class Scalars:
    """What the files of one writer hold. Points are kept in pieces: tag, step, wall time, value, record."""

    tags: Names = field(default_factory=Names)
    pieces: list[Piece] = field(default_factory=list)
    plugins: dict[int, str] = field(default_factory=dict)  # by tag: whose it said it was
    unsaid: set[int] = field(default_factory=set)  # tags of tensors that did not say whose they are
    settings: dict[str, object] = field(default_factory=dict)
    session_starts: list[int] = field(default_factory=list)  # steps from which on what stood there before is void
    damage: Damage = field(default_factory=Damage)
    num_others: int = 0  # values that are no scalars
    has_hyperparameters: bool = False
    _layouts: dict[int, list["_Alike"]] = field(default_factory=dict)

    def read(self, file: Decompressed) -> "Scalars":
        for batch in batches(file, self.damage):
            self._take(batch)
        return self

    @property
    def times(self) -> tuple[float, float]:
        """Wall time of the first and the last scalar; NaN where there is none."""
        walls = [wall for _, _, wall, _, _ in self.pieces if np.isfinite(wall).any()]
        if not walls:
            return float("nan"), float("nan")
        return min(float(np.nanmin(wall)) for wall in walls), max(float(np.nanmax(wall)) for wall in walls)

    def columns(self) -> list[tuple[str, Piece]]:
        """By tag, in the order of the file; tags of tensors that are another plugin's are left out."""
        return sorted(self._columns(), key=lambda column: column[1][4][0])

    def _columns(self) -> Iterator[tuple[str, Piece]]:
        if not self.pieces:
            return
        tag, step, wall, value, place = (np.concatenate(part) for part in zip(*self.pieces, strict=True))
        order = np.argsort(tag.astype(np.int16) if len(self.tags.numbers) < 1 << 15 else tag, kind="stable")
        ends = np.cumsum(np.bincount(tag, minlength=len(self.tags.numbers)))
        for name, number in self.tags.numbers.items():
            mine = order[ends[number - 1] if number else 0 : ends[number]]
            if not mine.size or (number in self.unsaid and self.plugins.get(number, "scalars") != "scalars"):
                continue
            if bool(np.any(np.diff(place[mine]) < 0)):
                mine = mine[np.argsort(place[mine], kind="stable")]
            yield (
                name.decode("utf-8", errors="replace"),
                (tag[mine], step[mine], wall[mine], value[mine], place[mine]),
            )

    # ------------------------------------------------------------ records

    def _take(self, batch: Batch) -> None:
        order = np.argsort(batch.length, kind="stable")
        lengths = batch.length[order]
        cuts = np.flatnonzero(np.diff(lengths)) + 1
        for rows in np.split(order, cuts):
            if rows.size:
                length = int(batch.length[rows[0]])
                if rows.size < FEW or not 0 < length <= LONGEST_ALIKE:
                    self._one_by_one(batch, rows)
                else:
                    self._alike(batch, rows, length)

    def _alike(self, batch: Batch, rows: NDArray[np.intp], length: int) -> None:
        """Records of one length: those with a layout that is known at once, the others after a look at one."""
        window = sliding_window_view(batch.bytes, length + 4)[batch.start[rows]]
        sound = checked(window[:, :length], window[:, length:])
        if not sound.all():
            self.damage.wrong_checksums += int((~sound).sum())
            rows, window = rows[sound], window[sound]
        message = window[:, :length]
        known = self._layouts.setdefault(length, [])
        tried = 0
        while rows.size:
            if tried == len(known):
                if len(known) >= MOST_LAYOUTS or rows.size < FEW:
                    self._one_by_one(batch, rows, checksum=False)
                    return
                try:
                    found = layout(message[0].tobytes())
                except MessageError:
                    found = None
                if found is None or found.others or found.session_start or not found.scalars:
                    self._one_by_one(batch, rows[:1], checksum=False)
                    rows, message = rows[1:], message[1:]
                    continue
                known.append(_Alike(found, message[0].copy()))
            fits = known[tried].fits(message)
            tried += 1
            if fits.all():
                self._decode(known[tried - 1].layout, message, batch.place[rows])
                return
            if fits.any():
                self._decode(known[tried - 1].layout, message[fits], batch.place[rows[fits]])
                rows, message = rows[~fits], message[~fits]

    def _decode(self, found: Layout, message: NDArray[np.uint8], place: NDArray[np.int64]) -> None:
        """(N, L) messages of one layout."""
        num = len(message)
        wall = _bytes_as(message, found.wall, "<f8") if found.wall else np.full(num, np.nan)
        step = varints(message, *found.step) if found.step else np.zeros(num, dtype=np.int64)
        for scalar in found.scalars:
            tag = self.tags.of_all(message[:, slice(*scalar.tag)])
            value = _values(message, scalar)
            self.pieces.append((tag, step, wall, value, place))
            if scalar.plugin is not None or not scalar.simple:
                for number in map(int, np.unique(tag)):
                    self._say(number, scalar)

    def _say(self, tag: int, scalar: Scalar) -> None:
        if scalar.plugin is not None:
            self.plugins.setdefault(tag, scalar.plugin)
        elif not scalar.simple:
            self.unsaid.add(tag)

    def _one_by_one(self, batch: Batch, rows: NDArray[np.intp], checksum: bool = True) -> None:
        for row in map(int, rows):
            start, length = int(batch.start[row]), int(batch.length[row])
            message = batch.data[start : start + length]
            try:
                found = layout(message)
            except MessageError:
                found = None
            if found is not None and not (found.scalars or found.others or found.session_start):
                continue
            if length > LONGEST_TEXT and (found is None or not found.scalars):
                self.num_others += 1
                continue
            end = start + length
            if checksum and crc32c_of_one(message) != int.from_bytes(batch.data[end : end + 4], "little"):
                self.damage.wrong_checksums += 1
            elif found is None:
                self.damage.not_understood += 1
            else:
                self._take_one(found, message, int(batch.place[row]))

    def _take_one(self, found: Layout, message: bytes, place: int) -> None:
        if found.scalars:
            self._decode(found, np.frombuffer(message, dtype=np.uint8)[None], np.array([place]))
        if found.session_start and found.step:
            self.session_starts.append(int(varints(np.frombuffer(message, dtype=np.uint8)[None], *found.step)[0]))
        for other in found.others:
            self.num_others += 1
            if other.plugin is not None:
                self.plugins.setdefault(self.tags.of(other.tag.encode()), other.plugin)
            try:
                if other.plugin == "hparams" and other.content:
                    self.settings |= hyperparameters(message, *other.content)
                    self.has_hyperparameters = True
                elif other.plugin == "text" and other.text and message[other.text[0] : other.text[0] + 1] == b"{":
                    self.settings |= _settings(message[slice(*other.text)])
            except MessageError:
                self.damage.not_understood += 1


def _settings(text: bytes) -> Mapping[str, object]:
    """A text summary that is an object of JSON, as some trainers log their arguments."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, eq=False)
class _Alike:
    """A layout, and the message that it was found in."""

    layout: Layout
    message: NDArray[np.uint8]  # (L,)

    def fits(self, message: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(N,) whether messages (N, L) have this layout: all bytes that are no values and no tags are the same."""
        fits = ~((message != self.message) & ~self.layout.free(self.message.size)).any(axis=1)
        for start, end in self.layout.varints():
            fits &= (message[:, start : end - 1] >= 0x80).all(axis=1) & (message[:, end - 1] < 0x80)
        return np.asarray(fits, dtype=np.bool_)


def varints(message: NDArray[np.uint8], start: int, end: int) -> NDArray[np.int64]:
    """(N,) numbers of 64 bits with a sign, that stand in the same bytes of all messages (N, L)."""
    value = np.zeros(len(message), dtype=np.uint64)
    for place in range(start, min(end, start + 10)):
        value |= (message[:, place].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * (place - start))
    return value.view(np.int64)


def _bytes_as(message: NDArray[np.uint8], span: tuple[int, int], dtype: str) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray(message[:, slice(*span)]).view(dtype)[:, 0].astype(np.float64)


def _values(message: NDArray[np.uint8], scalar: Scalar) -> NDArray[np.float64]:
    """(N,) the values of one scalar of messages (N, L)."""
    kind, _, name = scalar.stored.rpartition(":")
    if not kind:
        if name != "bfloat16":
            return _bytes_as(message, scalar.value, name)
        bits = np.ascontiguousarray(message[:, slice(*scalar.value)]).view("<u2")[:, 0]
    else:
        whole = varints(message, *scalar.value)
        if name not in ("bfloat16", "<f2"):
            with np.errstate(over="ignore"):
                return whole.astype(name).astype(np.float64)
        bits = whole.astype("<u2")
        if name == "<f2":
            with np.errstate(invalid="ignore"):
                return bits.view("<f2").astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (bits.astype("<u4") << np.uint32(16)).view("<f4").astype(np.float64)
