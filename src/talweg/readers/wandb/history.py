"""What the records of a .wandb file tell: the run and its settings, and the history, value by value.

Record  { 2 history, 5 config, 17 run }       History { 1 item, 2 step { 1 num } }
Item    { 1 key, 2 nested_key (several), 6 number, 5 integer, 16 value_json }
Run     { 1 run_id, 3 project, 4 config, 8 display_name, 14 starting_step, 17 start_time { 1 seconds } }
Config  { 1 update, 2 remove: items }
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from talweg.logs.wire import (
    BYTES,
    FIXED64,
    VARINT,
    Fields,
    MessageError,
    Names,
    fields,
    fields_of_all,
    numbers_at,
    text,
    varint,
)
from talweg.readers.wandb.records import Batch, Damage, batches
from talweg.textfile import Decompressed

HISTORY, CONFIG, RUN = 2, 5, 17
WIDEST = 32  # characters of a number: longer values are none
NUMERIC = np.zeros(256, dtype=np.bool_)
NUMERIC[list(b"0123456789+-.eENaInfity")] = True  # NaN and Infinity stand there bare
FINAL = np.zeros(256, dtype=np.bool_)
FINAL[list(b"0123456789Ny.")] = True
LONGEST_SETTING = 1 << 22  # characters of JSON


@dataclass
class History:
    """What a file holds. Points are kept in pieces: key, row of the history, value."""

    run_id: str = ""
    name: str = ""
    project: str = ""
    started: float = float("nan")  # seconds since 1970
    settings: dict[str, Any] = field(default_factory=dict)
    damage: Damage = field(default_factory=Damage)
    rows: int = 0
    keys: Names = field(default_factory=Names)  # the key of an item as it is encoded
    pieces: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)
    steps: list[NDArray[np.float64]] = field(default_factory=list)  # W&B's own step of each row; NaN: not told

    def read(self, file: Decompressed, most: int | None = None) -> "History":
        for batch in batches(file, self.damage, most):
            self._take(batch)
        return self

    def columns(self) -> list[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
        """Name, rows and values, by first row and name; nested names are joined with dots, as W&B shows them."""
        return sorted(self._columns(), key=lambda column: (column[1][0], column[0]))

    def _columns(self) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
        if not self.pieces:
            return
        key, row, value = (np.concatenate(part) for part in zip(*self.pieces, strict=True))
        named: dict[str, list[int]] = {}
        for encoded, number in self.keys.numbers.items():
            named.setdefault(_name(encoded), []).append(number)
        numbers = np.empty(len(self.keys.numbers), dtype=np.int32)
        for place, same in enumerate(named.values()):
            numbers[same] = place
        order = np.argsort(numbers[key], kind="stable")
        ends = np.cumsum(np.bincount(numbers[key], minlength=len(named)))
        for place, name in enumerate(named):
            mine = order[ends[place - 1] if place else 0 : ends[place]]
            if mine.size and name:
                mine = mine if bool(np.all(np.diff(row[mine]) >= 0)) else mine[np.argsort(row[mine], kind="stable")]
                yield name, row[mine], value[mine]

    # ------------------------------------------------------------ records

    def _take(self, batch: Batch) -> None:
        records = fields_of_all(batch.data, batch.start, batch.end)
        self.damage.not_understood += int((~records.whole).sum())
        for number, take in ((RUN, self._run), (CONFIG, self._config)):
            found = records.only(number, BYTES)
            for start, end in zip(found.start.tolist(), found.end.tolist(), strict=True):
                try:
                    take(batch.data, start, end)
                except MessageError:
                    self.damage.not_understood += 1
        history = records.only(HISTORY, BYTES)
        if history.start.size:
            self._history(batch.data, history)

    def _history(self, data: bytes, history: Fields) -> None:
        num = history.start.size
        parts = fields_of_all(data, history.start, history.end)
        self.damage.not_understood += int((~parts.whole).sum())
        steps = np.full(num, np.nan)
        told = parts.only(2, BYTES)
        steps[told.owner] = 0.0  # a step of nothing is written as nothing
        inside = fields_of_all(data, told.start, told.end).only(1, VARINT)
        steps[told.owner[inside.owner]] = numbers_at(data, inside.start)
        self.steps.append(steps)
        items = parts.only(1, BYTES)
        if items.start.size:
            self._items(data, items)
        self.rows += num

    def _items(self, data: bytes, items: Fields) -> None:
        """The values of items that are numbers."""
        inside = fields_of_all(data, items.start, items.end)
        for number, kind in ((16, BYTES), (6, FIXED64), (5, VARINT)):
            held = inside.only(number, kind)
            if not held.start.size:
                continue
            if number == 16:
                value, there = json_numbers(data, held.start, held.end)
            elif number == 6:
                value = sliding_window_view(np.frombuffer(data, dtype=np.uint8), 8)[held.start].view("<f8")[:, 0]
                there = np.ones(value.size, dtype=np.bool_)
            else:
                coded = numbers_at(data, held.start).view(np.uint64)
                whole = (coded >> np.uint64(1)).view(np.int64) ^ -(coded & np.uint64(1)).view(np.int64)
                value = whole.astype(np.float64)
                there = np.ones(value.size, dtype=np.bool_)
            owner = held.owner[there]
            key = self._keys(data, items.start[owner], held.key[there])
            self.pieces.append((key, items.owner[owner] + self.rows, value[there]))

    def _keys(self, data: bytes, start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int32]:
        """(N,) the numbers of the keys, by their bytes in an item before its value."""
        buffer, width = np.frombuffer(data, dtype=np.uint8), end - start
        keys = np.empty(start.size, dtype=np.int32)
        for wide in map(int, np.flatnonzero(np.bincount(width)) if width.size else ()):
            rows = np.flatnonzero(width == wide)
            if wide:
                keys[rows] = self.keys.of_all(sliding_window_view(buffer, wide)[start[rows]])
            else:
                keys[rows] = self.keys.of(b"")
        return keys

    # ------------------------------------------------------------ the run

    def _run(self, data: bytes, start: int, end: int) -> None:
        for number, kind, begin, behind in fields(data, start, end):
            if kind != BYTES:
                continue
            if number == 1:
                self.run_id = text(data, begin, behind)
            elif number == 3:
                self.project = text(data, begin, behind)
            elif number == 4:
                self._config(data, begin, behind)
            elif number == 8:
                self.name = text(data, begin, behind)
            elif number == 17:
                for n, k, a, b in fields(data, begin, behind):
                    if n == 1 and k == VARINT and np.isnan(self.started):
                        self.started = float(varint(data, a, b)[0])

    def _config(self, data: bytes, start: int, end: int) -> None:
        for number, kind, begin, behind in fields(data, start, end):
            if kind != BYTES or number not in (1, 2):
                continue
            path: list[str] = []
            value: object = None
            for n, k, a, b in fields(data, begin, behind):
                if n in (1, 2) and k == BYTES:
                    path.append(text(data, a, b))
                elif n == 16 and k == BYTES and b - a <= LONGEST_SETTING:
                    try:
                        value = json.loads(data[a:b])
                    except (ValueError, RecursionError):
                        value = None
            if path and path[0] != "_wandb":
                _set(self.settings, path[-64:], value, number == 2)


def _set(settings: dict[str, Any], path: list[str], value: object, remove: bool) -> None:
    for name in path[:-1]:
        below = settings.get(name)
        if not isinstance(below, dict):
            below = settings[name] = {}
        settings = below
    if remove:
        settings.pop(path[-1], None)
    else:
        settings[path[-1]] = value


def _name(encoded: bytes) -> str:
    """The name that the beginning of an item holds."""
    try:
        parts = [text(encoded, a, b) for n, k, a, b in fields(encoded, 0, len(encoded)) if n in (1, 2) and k == BYTES]
        return ".".join(parts)
    except MessageError:
        return ""


def json_numbers(
    data: bytes, start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N,) the numbers that these texts of JSON are, and which of them are one: no text, list, object, true or null."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    width = end - start
    values = np.full(start.size, np.nan)
    there = np.zeros(start.size, dtype=np.bool_)
    for wide in map(int, np.flatnonzero(np.bincount(np.clip(width, 0, WIDEST + 1)))):
        if not 0 < wide <= WIDEST:
            continue
        rows = np.flatnonzero(width == wide)
        texts = sliding_window_view(buffer, wide)[start[rows]]
        first = texts[:, 0]
        good = NUMERIC[texts].all(axis=1) & FINAL[texts[:, -1]] & (first != ord("+")) & (first != ord("e"))
        rows, texts = rows[good], np.ascontiguousarray(texts[good])
        if not rows.size:
            continue
        try:
            values[rows] = texts.view(f"S{wide}")[:, 0].astype(np.float64)
            there[rows] = True
        except ValueError:
            for row, single in zip(rows.tolist(), texts, strict=True):
                try:
                    values[row] = float(single.tobytes())
                    there[row] = True
                except ValueError:
                    continue
    return values, there
