"""JSON records, one a line: the numbers of all lines alike at once; what is too varied for that, line by line.

Lines that differ in their numbers alone have the same keys in the same places, so one of them is parsed and the others
follow (`talweg.logs.lines`). The digits in a key are such numbers too: they are read along, and have to be the same in
all these lines. Where they are not, and where texts of all kinds make every line its own kind, the file is read with
`json`, one line after the other.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from talweg.logs.cells import number
from talweg.logs.lines import Lines
from talweg.logs.prefix import BEFORE
from talweg.logs.recipes import Fields, Span
from talweg.logs.records import Records
from talweg.logs.rows import Cells
from talweg.readers.table.load import TEXT_NAMES, Table

MOST_KINDS = 1000  # of lines: with more of them every line is parsed anyway
MOST_UNKNOWN = 5  # lines not understood that are kept
TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+)')
DIGITS = re.compile(r"[0-9.]+")
NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")  # that a key may hold
CUT = "the last line is cut off in the middle and was left out"


class _TooVariedError(Exception):
    """The lines are not alike enough for reading them at once."""


def read_jsonl(chunks: Callable[[], Iterable[bytes]]) -> Table | None:
    """The table; None when no line is an object. `chunks` gives the text from its beginning, each time it is called."""
    try:
        return _at_once(chunks())
    except _TooVariedError:
        return _line_by_line(chunks())


def object_in(line: str) -> int:
    """Where in a line its JSON object begins, behind what a launcher put before it; -1 where there is none."""
    at = line.find("{")
    if at < 0 or (at and line[:at].strip() and not BEFORE.fullmatch(line, 0, at)):
        return -1
    return at


# ---------------------------------------------------------------- all lines alike at once


def _at_once(chunks: Iterable[bytes]) -> Table | None:
    keys: dict[str, None] = {}
    num_asked = 0

    def parse(line: str) -> Fields | None:
        nonlocal num_asked
        num_asked += 1
        in_keys: list[Span] = []
        found = spans(line, in_keys)
        if num_asked > MOST_KINDS and found:
            raise _TooVariedError
        keys.update(dict.fromkeys(found or {}))
        digits = {f"#{line[span.start : span.end]}#{at}": span for at, span in enumerate(in_keys)}
        # a line of texts alone is a record too
        numbers = {f"={name}": span for name, span in (found or {}).items() if span is not None}
        return {**digits, **numbers} if numbers else None

    lines = Lines(parse, lambda line, *_: spans(line) is not None, lambda line: spans(line) is not None)
    lines.read(chunks)
    points = lines.points()
    if not keys:
        return None
    for name, held in points.items():
        if name[0] == "#" and not bool((held.value == float(name.split("#")[1])).all()):
            raise _TooVariedError
    cells: dict[str, Cells] = {}
    for name in keys:
        found = points.get(f"={name}")
        cells[name] = Cells() if found is None else Cells(found.line, found.value, 10.0**-found.decimals)
    told = lines.reading()
    filled = sum(each.row.size or lines.num_with_fields for each in cells.values())
    return Table(
        tuple(keys),
        cells,
        {},
        lines.num_with_fields,
        told.lines,
        told.lines_not_understood,
        told.notes,
        told.unknown,
        filled,
    )


def spans(line: str, in_keys: list[Span] | None = None) -> dict[str, Span | None] | None:
    """By key where its number stands, None where it holds none; nested keys with a slash. None: no JSON object.

    in_keys: told where digits stand in keys.
    Raises _TooVariedError for a record of one metric by its name, which only its texts can tell.
    """
    at = object_in(line)
    if at < 0:
        return None
    try:
        record = json.loads(line[at:])
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(record, dict) or not record:
        return None
    if _is_long(record):
        raise _TooVariedError
    found: dict[str, Span | None] = {}
    above: list[str | None] = []  # the keys of the objects around; None: a list
    key: str | None = None
    place, last = at, ""
    while place < len(line) and (match := TOKEN.match(line, place)):
        token, start, place = match[1], match.start(1), match.end()
        if token == "{" or token == "[":
            above.append(key if token == "{" else None)
            key = None
        elif token in "}]":
            above.pop()
            key = None
        elif token[0] == '"' and last in "{," and above and line[place:].lstrip()[:1] == ":":
            key = str(json.loads(_utf8(token)))
            if in_keys is not None:
                in_keys += _digits(token, start)
        elif token not in ":," and key is not None:
            if None not in above[1:]:
                name = "/".join([*(part for part in above[1:] if part is not None), key])
                quoted = token[0] == '"'
                found[name] = None
                if (
                    number(token.strip('"') if quoted else None if token in ("true", "false", "null") else token)
                    is not None
                ):
                    found[name] = Span(start + quoted, place - quoted)
            key = None
        last = token
    return found


def _digits(token: str, start: int) -> Iterator[Span]:
    """Where in a line the digits of a key stand. Raises _TooVariedError where they are no plain number."""
    for match in DIGITS.finditer(token):
        if any("0" <= letter <= "9" for letter in match[0]):
            if not NUMBER.fullmatch(match[0]) or "\\" in token:
                raise _TooVariedError
            yield Span(start + match.start(), start + match.end())


def _utf8(token: str) -> str:
    return token.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_long(record: Mapping[str, object]) -> bool:
    """One metric a record, its name as a text beside its value."""
    names = {name.strip().lower() for name, value in record.items() if isinstance(value, str)}
    return bool(names & TEXT_NAMES) and any("value" in name.lower() for name in record)


# ---------------------------------------------------------------- line by line


def _line_by_line(chunks: Iterable[bytes]) -> Table | None:
    found = Records(TEXT_NAMES)
    notes: tuple[str, ...] = ()
    unknown: list[tuple[int, str]] = []
    num_lines = num_bad = 0
    for line, is_whole in _lines(chunks):
        num_lines += 1
        if not line or line.isspace():
            continue
        at = object_in(line)
        try:
            record = json.loads(line[at:]) if at >= 0 else None
        except (json.JSONDecodeError, RecursionError):
            record = None
            notes = () if is_whole else (CUT,)
        if isinstance(record, dict):
            found.add(record, num_lines - 1)
            continue
        num_bad += 1
        if len(unknown) < MOST_UNKNOWN:
            unknown.append((num_lines, line))
    if not found.num_records:
        return None
    return Table.of(found.filled(), found.num_records, num_lines, num_bad, notes, tuple(unknown))


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """The lines of a text, and whether each has its end."""
    for chunk in chunks:
        body, end, rest = chunk.rpartition(b"\n")
        if end:
            for line in body.split(b"\n"):
                yield line.decode("utf-8", "replace"), True
        if rest:
            yield rest.decode("utf-8", "replace"), False
