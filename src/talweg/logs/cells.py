"""The numbers in the cells of one column, a thousand rows at a time; and what one cell by itself is."""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from talweg.logs.columns import decimals
from talweg.logs.digits import numbers
from talweg.logs.rows import Cells

THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
MISSING = {"", "null", "none", "na", "n/a", "-", "--"}
SAMPLED = 1000  # cells of a column by which its printed digits are told
TEXTS = 2000  # cells without one number: the column holds texts
MOST_TEXTS = 10_000  # different texts of a column that are kept
MINUS, PLUS, DOT, QUOTE, SPACE, LINE_END = map(ord, '-+." \n')
NAN = np.frombuffer(b"nan", dtype=np.uint8)


def number(cell: object) -> float | None:
    """The number in a cell; None when the cell is missing or no number. NaN and inf are numbers that were logged."""
    if cell is None or isinstance(cell, bool):
        return None
    if isinstance(cell, int | float):
        return float(cell)
    if not isinstance(cell, str) or cell.strip().lower() in MISSING or "_" in cell:
        return None
    if "," in cell and THOUSANDS.fullmatch(cell.strip()) is None:
        return None
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return None


@dataclass
class Chunk:
    """Whole lines, with what is asked of every column of them."""

    text: bytes
    characters: NDArray[np.uint8]
    num_odd: NDArray[np.int32]  # (B + 1,) bytes before each that are neither digit nor dot
    has_quotes: bool
    has_spaces: bool

    @classmethod
    def of(cls, text: bytes) -> "Chunk":
        characters = np.frombuffer(text, dtype=np.uint8)
        odd = ((characters < ord("0")) | (characters > ord("9"))) & (characters != DOT)
        num_odd = np.zeros(characters.size + 1, dtype=np.int32)
        np.cumsum(odd, out=num_odd[1:])
        return cls(text, characters, num_odd, b'"' in text, b" " in text or b"\t" in text)

    def trimmed(self, start: NDArray[np.intp], end: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The cells without quotes and blanks around them."""
        last = self.characters.size - 1
        for _ in range(3):
            if self.has_quotes:
                both = (self.characters[np.minimum(start, last)] == QUOTE) & (self.characters[end - 1] == QUOTE)
                both &= end - start >= 2
                start, end = start + both, end - both
            if self.has_spaces:
                start = start + ((start < end) & (self.characters[np.minimum(start, last)] == SPACE))
                end = end - ((start < end) & (self.characters[end - 1] == SPACE))
        return start, end


@dataclass
class ColumnCells:
    """One column, chunk by chunk."""

    name: str
    keep_texts: bool = False  # its texts are asked for: names of runs, of metrics
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    text_rows: list[int] = field(default_factory=list)
    text_codes: list[int] = field(default_factory=list)
    codes: dict[bytes, int] = field(default_factory=dict)
    num_texts: int = 0
    num_decimals: int = -1  # most of those looked at; -1: none was printed
    sampled: int = 0

    @property
    def is_text(self) -> bool:
        """So many cells and no number: no more is looked for."""
        return self.num_texts > TEXTS and not self.values and not self.keep_texts

    def take(
        self, chunk: Chunk, row: NDArray[np.int64], start: NDArray[np.intp], end: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """The cells of these rows; says which of them hold a number."""
        start, end = chunk.trimmed(start, end)
        if self.is_text:
            return np.zeros(row.size, dtype=np.bool_)
        value, has = _plain_numbers(chunk, start, end)
        for place in map(int, np.flatnonzero(~has & (end > start))):
            text = chunk.text[start[place] : end[place]]
            found = None if text in self.codes else number(text.decode("utf-8", errors="replace"))
            if found is not None:
                value[place], has[place] = found, True
            else:
                self._text(text, int(row[place]))
        self._sample(chunk, start[has], end[has], value[has])
        self.add(row, value) if bool(has.all()) else self.add(row[has], value[has])
        return has

    def add(self, row: NDArray[np.int64], value: NDArray[np.float64]) -> None:
        if row.size:
            self.rows.append(row)
            self.values.append(value)

    def add_cell(self, row: int, cell: object) -> bool:
        """One cell by itself; says whether it holds a number."""
        found = number(cell)
        if found is not None:
            self.add(np.array([row]), np.array([found]))
            self.see(found, cell)
        elif isinstance(cell, str) and cell.strip():
            self._text(cell.encode(), row)
        return found is not None

    def see(self, value: float, cell: object) -> None:
        """How finely a cell is printed."""
        if self.sampled < SAMPLED and np.isfinite(value):
            self.sampled += 1
            self.num_decimals = max(self.num_decimals, decimals([str(cell).strip()]))

    def cells(self, shared: dict[tuple[int, ...], NDArray[np.int64]]) -> Cells:
        """Columns that stand in the same rows share the array that says which."""
        key = tuple(map(id, self.rows))
        if key not in shared:
            shared[key] = np.concatenate(self.rows) if self.rows else np.empty(0, dtype=np.int64)
        row = shared[key]
        value = np.concatenate(self.values) if self.values else np.empty(0)
        if not bool(np.all(row[1:] > row[:-1])):  # rows that were looked at by themselves come after their piece
            order = np.argsort(row, kind="stable")
            row, value = row[order], value[order]
        return Cells(row, value, 0.0 if self.num_decimals < 0 else 10.0**-self.num_decimals)

    def _text(self, text: bytes, row: int) -> None:
        self.num_texts += 1
        if self.keep_texts and (text in self.codes or len(self.codes) < MOST_TEXTS):
            self.text_rows.append(row)
            self.text_codes.append(self.codes.setdefault(text, len(self.codes)))

    def _sample(self, chunk: Chunk, start: NDArray[np.intp], end: NDArray[np.intp], value: NDArray[np.float64]) -> None:
        if self.sampled >= SAMPLED:
            return
        finite = np.flatnonzero(np.isfinite(value))[: SAMPLED - self.sampled]
        self.sampled += finite.size
        texts = (chunk.text[start[place] : end[place]].decode("latin-1") for place in finite)
        if finite.size:
            self.num_decimals = max(self.num_decimals, decimals(texts))


def _plain_numbers(
    chunk: Chunk, start: NDArray[np.intp], end: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(T,) the numbers, and which cells hold one: digits with a sign, a point, an exponent; or NaN."""
    text = chunk.characters
    first = text[np.minimum(start, text.size - 1)]
    signed = ((first == MINUS) | (first == PLUS)) & (start < end)
    begin = start + signed
    num_odd = np.where(begin < end, chunk.num_odd[end] - chunk.num_odd[begin], -1)
    value = np.full(start.size, np.nan)
    plain = num_odd == 0
    if bool(plain.all()):
        value = numbers(text, begin, end)
    else:
        rows = np.flatnonzero(plain)
        value[rows] = numbers(text, begin[rows], end[rows])
    has = plain & ~np.isnan(value)
    maybe = np.flatnonzero((num_odd == 1) | (num_odd == 2))
    if maybe.size:
        found = _with_exponent(chunk, begin[maybe], end[maybe], num_odd[maybe])
        value[maybe], has[maybe] = found, ~np.isnan(found)
    if bool((signed & (first == MINUS)).any()):
        value = np.where(signed & (first == MINUS), -value, value)
    three = np.flatnonzero((num_odd == 3) & (end - begin == 3))
    if three.size:
        letters = text[begin[three, None] + np.arange(3)] | 0x20
        has[three] = (letters == NAN).all(axis=1)
    return value, has


def _with_exponent(
    chunk: Chunk, start: NDArray[np.intp], end: NDArray[np.intp], num_odd: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(T,) of cells such as 2.5e-05; NaN where it is none."""
    text = chunk.characters
    at = np.searchsorted(chunk.num_odd, chunk.num_odd[start] + 1) - 1  # the first byte that is no digit and no dot
    after = np.minimum(at + 1, text.size - 1)
    sign = text[after]
    signed = (sign == MINUS) | (sign == PLUS)
    begin = at + 1 + signed
    sound = ((text[at] | 0x20) == ord("e")) & (at > start) & (begin < end) & (num_odd == 1 + signed)
    value = np.full(start.size, np.nan)
    rows = np.flatnonzero(sound)
    if not rows.size:
        return value
    power = numbers(text, begin[rows], end[rows])
    rows, power = rows[(power < 400) & (power == np.floor(power))], power[(power < 400) & (power == np.floor(power))]
    if rows.size:
        value[rows] = numbers(text, start[rows], at[rows], np.where(sign[rows] == MINUS, -power, power))
    return value
