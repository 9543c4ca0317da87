"""CSV and its relatives: a header, then rows; taken a thousand rows at a time.

Every row that has as many cells as the header is found by its separators alone. What has another number of them is
looked at by itself: a quoted cell that holds a separator, a header that is written again, or garbage.
"""

import csv
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from talweg.logs.cells import Chunk, ColumnCells, number
from talweg.logs.pieces import pieces
from talweg.readers.table.load import TEXT_NAMES, Table

DELIMITERS = (",", "\t", ";", "|")
PIECE = 1 << 20  # bytes at a time: the arrays made of them should stay in the cache
LAST = 50  # rows by whose last cell it is told whether a last row without its end is whole
MOST_LOOKED_AT = 64  # lines of a piece that begin with a letter and are looked at one by one
MOST_UNKNOWN = 5  # lines not understood that are kept


def read_delimited(chunks: Iterable[bytes]) -> Table | None:
    """The table; None when it begins with no header, or when more lines are no rows than are."""
    reader = _Delimited()
    for chunk in chunks:
        body, end, rest = chunk.rpartition(b"\n")
        for piece in pieces(body + end, PIECE):
            if not reader.take(piece):
                return None
        if rest and not reader.take_last(rest):
            return None
    return reader.table()


_Stop = tuple[int, list[str]]  # a line of a chunk, and the names in it


class _Delimited:
    def __init__(self) -> None:
        self.header: list[str] = []  # of the rows that come now
        self.delimiter = ","
        self.columns: dict[str, ColumnCells] = {}
        self.num_lines = self.num_rows = self.num_bad = 0
        self.notes: list[str] = []
        self.unknown: list[tuple[int, str]] = []
        self.tail: list[str] = []
        self.decimal_comma: bool | None = None  # None: no row was seen yet

    def table(self) -> Table | None:
        if not self.num_rows or self.num_rows < self.num_bad:
            return None
        found = self.columns.values()
        return Table.of(found, self.num_rows, self.num_lines, self.num_bad, tuple(self.notes), tuple(self.unknown))

    def take(self, chunk: bytes) -> bool:
        """Whole lines. False when the table has no header."""
        while chunk and not self.header:
            line, _, chunk = chunk.partition(b"\n")
            self.num_lines += 1
            if line.strip() and not line.startswith(b"#") and not self._begin(line.decode("utf-8", "replace")):
                return False
        if self.decimal_comma is None and chunk:
            self.decimal_comma = self.delimiter == ";" and b"," in chunk and b"." not in chunk
            if self.decimal_comma:
                self.notes.append("its numbers have a comma before the decimals")
        if self.decimal_comma:
            chunk = chunk.replace(b",", b".")
        while chunk:
            chunk = self._rows(chunk)
        return True

    def take_last(self, rest: bytes) -> bool:
        """A last line without its end, which may be cut off."""
        line = (rest.replace(b",", b".") if self.decimal_comma else rest).decode("utf-8", "replace")
        if not self.header or line.isspace():
            return self.take(rest + b"\n")
        cells = split(line, self.delimiter)
        if len(cells) == len(self.header) and (
            number(cells[-1]) is None or not self._is_short(cells[-1]) or cells == self.header
        ):
            return self.take(rest + b"\n")
        self.num_lines += 1
        self.num_bad += 1
        self.notes.append("the last line has no end and may be cut off in the middle; it was left out")
        return True

    # ------------------------------------------------------------ header

    def _begin(self, line: str) -> bool:
        self.delimiter = max(DELIMITERS, key=line.count)
        header = split(line, self.delimiter)
        if not is_header(header):
            return False
        self._set_header(header)
        return True

    def _set_header(self, header: Sequence[str]) -> None:
        self.header = list(header)
        for name in header:
            if name not in self.columns:
                self.columns[name] = ColumnCells(name, name.strip().lower() in TEXT_NAMES)

    # ------------------------------------------------------------ rows

    def _rows(self, text: bytes) -> bytes:
        """The rows up to a header that is written anew, which is taken too. Returns what follows it."""
        chunk = Chunk.of(text)
        ends = np.flatnonzero((chunk.characters == ord(self.delimiter)) | (chunk.characters == ord("\n")))
        last = np.flatnonzero(chunk.characters[ends] == ord("\n"))  # of each line the place of its end in `ends`
        line_end = ends[last]
        begins = np.append(0, line_end[:-1] + 1)
        if (found := self._next_header(chunk, begins, line_end)) is not None:
            line, header = found
            if line:
                self._rows(text[: begins[line]])
            self.num_lines += 1
            self._set_header(header)
            return text[line_end[line] + 1 :]
        width = len(self.header)
        sound = np.diff(last, prepend=-1) == width
        good = np.flatnonzero(sound)
        starts = np.append(0, ends[:-1] + 1)
        first = last[good] - width + 1
        row = good.astype(np.int64) + self.num_lines
        for place, name in enumerate(self.header):
            self.columns[name].take(chunk, row, starts[first + place], ends[first + place])
        self.num_rows += good.size
        for line in map(int, np.flatnonzero(~sound)):
            self._other(text[begins[line] : line_end[line]], self.num_lines + line)
        self.num_lines += line_end.size
        tail = text[-LAST * 200 :].decode("utf-8", "replace").split("\n")[-LAST - 1 : -1]
        self.tail = [*self.tail, *tail][-LAST:]
        return b""

    def _next_header(self, chunk: Chunk, begins: NDArray[np.intp], line_end: NDArray[np.intp]) -> _Stop | None:
        """The first line that is a header: the same again, as after a resume, or another one."""
        text = chunk.text
        first = chunk.characters[begins]
        quoted = first == ord('"')
        first = np.where(quoted, chunk.characters[np.minimum(begins + 1, chunk.characters.size - 1)], first)
        maybe = np.flatnonzero(((first | 0x20) >= ord("a")) & ((first | 0x20) != ord("|")) | (first == ord("_")))
        if maybe.size > MOST_LOOKED_AT:  # rows that begin with a text
            known = tuple(name.encode()[:8] for name in self.columns if name)
            maybe = maybe[[text.startswith(known, int(begins[line]) + int(quoted[line])) for line in maybe]]
        for line in map(int, maybe):
            cells = split(text[begins[line] : line_end[line]].decode("utf-8", "replace"), self.delimiter)
            if cells == self.header:
                return line, cells
            if is_header(cells) and len(set(self.columns) & set(cells)) > 0.5 * len(self.header):
                return line, cells
        return None

    def _other(self, line: bytes, row: int) -> None:
        """A line with another number of separators than the header has."""
        if not line.strip():
            return
        text = line.decode("utf-8", "replace")
        cells = split(text, self.delimiter) if '"' in text else []
        if len(cells) == len(self.header):
            self.num_rows += 1
            for name, cell in zip(self.header, cells, strict=True):
                self.columns[name].add_cell(row, cell)
            return
        self.num_bad += 1
        if len(self.unknown) < MOST_UNKNOWN:
            self.unknown.append((row + 1, text))

    def _is_short(self, cell: str) -> bool:
        """Whether the last cell of the last line may lack digits: those of the rows before it are printed finer."""
        before = [cells[-1] for line in self.tail if len(cells := split(line, self.delimiter)) == len(self.header)]
        digits = [len(cell.partition(".")[2]) for cell in before if number(cell) is not None]
        return not digits or len(cell.partition(".")[2]) < max(digits)


def split(line: str, delimiter: str) -> list[str]:
    """The cells of one line. A quote that is never closed ends with the line: a record is never longer than that."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


def is_header(names: Sequence[str]) -> bool:
    """Names, not numbers and not sentences; the first may be empty, as the index of a data frame is."""
    if len(names) < 2:
        return False
    named = [name for name in names[1:] if name]
    sound = all(
        len(name) <= 200
        and number(name) is None
        and not re.search(r":\s|\d\.\d|[{}<>;]", name)
        and name.count("(") == name.count(")")
        for name in named
    )
    return sound and len(named) == len(names) - 1 and len(set(names)) == len(names) and number(names[0]) is None
