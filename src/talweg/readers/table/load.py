"""Tables as text: CSV and its relatives, JSONL, JSON. Cells stay as they are written; what is missing is None."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DELIMITERS = (",", "\t", ";", "|")
MISSING = {"", "null", "none", "na", "n/a", "-", "--"}


@dataclass(frozen=True)
class Table:
    """columns: by name, cells in the order of the file, each a number, a text or None."""

    columns: Mapping[str, Sequence[object]]
    num_rows: int
    lines: int
    lines_not_understood: int = 0
    notes: tuple[str, ...] = ()


def load(text: str) -> Table | None:
    """The table that this text is; None when it is none."""
    start = text.lstrip()[:1]
    if start in ("{", "["):
        return _json(text) or _jsonl(text)
    return _delimited(text) or _jsonl(text)


def _json(text: str) -> Table | None:
    """A list of objects, an object of lists of equal length, or an object that holds one of these."""
    notes: tuple[str, ...] = ()
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        if not text.lstrip().startswith("["):
            return None
        document = _objects(text)
        notes = (f"the file is cut off in the middle; {len(document)} complete records were read",)
    except RecursionError:
        return None
    lines = text.count("\n") + (not text.endswith("\n"))
    for candidate in (document, *(document.values() if isinstance(document, dict) else ())):
        if isinstance(candidate, list) and candidate and all(isinstance(record, dict) for record in candidate):
            return _of_records(candidate, lines, 0, notes)
        if isinstance(candidate, dict):
            lists = {str(name): cells for name, cells in candidate.items() if isinstance(cells, list)}
            lengths = {len(cells) for cells in lists.values()}
            if len(lists) >= 2 and len(lengths) == 1:
                return Table(lists, lengths.pop(), lines, 0, notes)
    return None


def _objects(text: str) -> list[Any]:
    """The complete elements of a JSON list that is cut off."""
    decoder, found, at = json.JSONDecoder(), [], text.index("[") + 1
    while match := re.compile(r"[\s,]*(?=\{)").match(text, at):
        try:
            record, at = decoder.raw_decode(text, match.end())
        except json.JSONDecodeError:
            break
        found.append(record)
    return found


def _jsonl(text: str) -> Table | None:
    """One object a line; other lines in between are not understood, and a last one that is cut off is left out."""
    lines = text.split("\n")
    records: list[Mapping[str, object]] = []
    num_bad, cut = 0, False
    for number, line in enumerate(lines):
        if not line or line.isspace():
            continue
        try:
            record = json.loads(line) if line.lstrip()[0] == "{" else None
        except (json.JSONDecodeError, RecursionError):
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            num_bad += 1
            cut |= number == len(lines) - 1 and line.lstrip()[0] == "{"
    notes = ("the last line is cut off in the middle and was left out",) if cut else ()
    return _of_records(records, len(lines) - (not lines[-1]), num_bad, notes) if records else None


def _of_records(records: Sequence[Mapping[str, object]], lines: int, bad: int, notes: tuple[str, ...]) -> Table:
    """Columns out of records; nested objects become names with a slash."""
    flat = [
        record if not any(isinstance(v, dict) for v in record.values()) else dict(_flat(record)) for record in records
    ]
    names = dict.fromkeys(name for record in flat for name in record)
    return Table({name: [record.get(name) for record in flat] for name in names}, len(flat), lines, bad, notes)


def _flat(record: Mapping[str, object], above: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for name, value in record.items():
        pairs += _flat(value, f"{above}{name}/") if isinstance(value, dict) else [(f"{above}{name}", value)]
    return pairs


def _delimited(text: str) -> Table | None:
    """CSV with a header. Rows of another length, and a header repeated later, are left out."""
    lines = text.split("\n")
    top = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if top is None:
        return None
    delimiter = max(DELIMITERS, key=lines[top].count)
    header = [name.strip() for name in _cells(lines[top], delimiter)]
    if len(header) < 2 or not _is_header(header):
        return None
    rows: list[list[str]] = []
    num_bad = 0
    for line in lines[top + 1 :]:
        if not line or line.isspace():
            continue
        cells = _cells(line, delimiter)
        if len(cells) == len(header) and cells != header:
            rows.append(cells)
        else:
            num_bad += cells != header
    if not rows or len(rows) < num_bad:
        return None
    notes: tuple[str, ...] = ()
    if (last := lines[-1]) and not last.isspace() and _maybe_cut(_cells(last, delimiter), header, rows):
        if len(_cells(last, delimiter)) == len(header):
            rows.pop()
            num_bad += 1
        notes = ("the last line has no end and may be cut off in the middle; it was left out",)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    return Table(columns, len(rows), len(lines) - (not lines[-1]), num_bad, notes)


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of one line. A quote that is never closed ends with the line: a record is never longer than that."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except (csv.Error, StopIteration):
        return []


def _is_header(names: Sequence[str]) -> bool:
    """Names, not numbers and not sentences; the first may be empty, as the index of a data frame is."""
    named = [name for name in names[1:] if name]
    sound = all(
        len(name) <= 120 and number(name) is None and not re.search(r":\s|\d\.\d|[{}<>]", name) for name in named
    )
    return sound and len(named) == len(names) - 1 and len(set(names)) == len(names) and number(names[0]) is None


def _maybe_cut(cells: list[str], header: list[str], rows: list[list[str]]) -> bool:
    """Whether a last line without its newline may lack digits: not if it is printed as finely as those before it."""
    if len(cells) != len(header):
        return True
    if number(cells[-1]) is None:
        return False
    digits = [len(row[-1].partition(".")[2]) for row in rows[-50:-1] if number(row[-1]) is not None]
    return not digits or len(cells[-1].partition(".")[2]) < max(digits)


def number(cell: object) -> float | None:
    """The number in a cell; None when the cell is missing or no number. NaN and inf are numbers that were logged."""
    if cell is None or isinstance(cell, bool):
        return None
    if isinstance(cell, int | float):
        return float(cell)
    if not isinstance(cell, str) or cell.strip().lower() in MISSING or "_" in cell:
        return None
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return None
