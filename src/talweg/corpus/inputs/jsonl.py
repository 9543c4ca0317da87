"""One JSON object a line, a document each.

What is no document is damage: a line that is no JSON, no object, without the text column or with two of them, or whose
text is no string. Null is the empty text. Blank lines are none. Of bytes that are no UTF-8 the text keeps those that it
holds, as a parquet file's does; half of a surrogate pair becomes U+FFFD.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from talweg.corpus.inputs import streams
from talweg.corpus.inputs.source import BATCH_BYTES, BATCH_ROWS, TEXT_COLUMNS, Batch, Damage, DamageError, Piece, Source
from talweg.corpus.strings import from_bytes
from talweg.errors import InputError

HEAD = 1 << 20  # bytes of the file from which its columns are known, of at most so many lines
HEAD_LINES = 100
HALF_PAIR = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that stand for no byte
# json.loads with the same settings every time looks for its own; one scanner is made once
DECODE = json.JSONDecoder().decode


class NoDocumentError(ValueError):
    """Why a line is none."""


def columns(url: str, head: bytes, text_column: str | None) -> tuple[str, tuple[str, ...]]:
    """The text column and all columns of the first lines. Raises InputError where there is no text in them."""
    whole = head.split(b"\n")
    if len(head) >= HEAD and len(whole) > 1:
        whole.pop()
    if head.lstrip()[:1] == b"[":
        raise InputError(f"{url} holds one JSON array; one object a line was needed: jq -c '.[]' FILE > FILE.jsonl")
    rows = [row for line in whole[:HEAD_LINES] if (row := _object(line)) is not None]
    found = tuple(dict.fromkeys(name for row in rows for name in row))
    wanted = (text_column,) if text_column is not None else TEXT_COLUMNS
    if not rows:
        if len(head) >= HEAD and len(whole) == 1:
            return wanted[0], wanted[:1]  # its first line is longer than what was looked at
        raise InputError(f"{url} has no JSON object in its first lines; one object a line was needed")
    name = next((name for name in wanted if any(isinstance(row.get(name), str) for row in rows)), None)
    name = name or next((name for name in wanted if name in found and all(row.get(name) is None for row in rows)), None)
    if name is not None:
        return name, found
    there = next((name for name in wanted if name in found), None)
    if there is None:
        complaint = f"has no column {' or '.join(wanted)}; it has {', '.join(found) or 'none'}. Name one"
    else:
        complaint = f"column {there} holds no text; it has {', '.join(found)}. Name another"
    raise InputError(f"{url}{'' if there is None else ':'} {complaint} with --text-column")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = DECODE(str(line, "utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def read(source: Source, piece: Piece, columns: Sequence[str], damage: Damage) -> Iterator[Batch]:
    """The documents of a piece. Raises InputError where the file cannot be read, or is damaged and that is fatal."""
    assert source.text_column is not None
    column, key = source.text_column, json.dumps(source.text_column, ensure_ascii=False).encode()
    others = [name for name in columns if name in source.columns]
    pending = _Pending(others)
    number = -1
    try:
        for some in streams.lines(source, piece):
            for line in some:
                number += 1
                try:
                    row = DECODE(str(line, "utf-8", "surrogateescape"))
                    text = row[column]
                    if line.count(key) > 1:
                        _only_once(line, column)
                    pending.add(number, text.encode(), row)
                except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
                    try:
                        document = _careful(line, column)
                    except NoDocumentError as reason:
                        damage.found(f"{_place(source, piece, number)}: {reason}")
                        continue
                    if document is not None:
                        pending.add(number, *document)
                if pending.full:
                    yield pending.batch()
    except DamageError as reason:
        damage.found(f"{_place(source, piece, number + 1)}: {reason}; from there on nothing can be read")
    if pending.rows:
        yield pending.batch()


def _place(source: Source, piece: Piece, number: int) -> str:
    after = f" after byte {piece.begin:,}" if piece.begin else ""
    return f"{source.url}, line {number + 1:,}{after}"


def _careful(line: bytes, column: str) -> tuple[bytes, dict[str, Any]] | None:
    """The text of a line, and its object; None for a blank one. Raises NoDocumentError."""
    if not line.strip():
        return None
    if len(line) > streams.LINE_LIMIT:
        raise NoDocumentError(f"it is longer than {streams.LINE_LIMIT >> 20} MB")
    try:
        row = DECODE(str(line, "utf-8", "surrogateescape"))
    except RecursionError:
        raise NoDocumentError("it is no JSON that can be read (nested too deeply)") from None
    except ValueError as error:
        raise NoDocumentError(f"it is no JSON ({str(error).partition(': line')[0]})") from None
    if not isinstance(row, dict):
        raise NoDocumentError(f"it is {_named(row)}; an object was needed")
    if column not in row:
        raise NoDocumentError(f"it has no {column}; it has {', '.join(list(row)[:10]) or 'nothing'}")
    _only_once(line, column)
    text = row[column]
    if text is None:
        return b"", row
    if not isinstance(text, str):
        raise NoDocumentError(f"its {column} is {_named(text)}; a string was needed")
    return _encoded(text), row


def _named(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _only_once(line: bytes, column: str) -> None:
    """Raises NoDocumentError where the object has the column twice, as two lines have that were joined."""
    outermost: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        outermost[:] = pairs  # the last that is asked about is the outermost

    json.loads(str(line, "utf-8", "surrogateescape"), object_pairs_hook=keep)
    if sum(name == column for name, _ in outermost) > 1:
        raise NoDocumentError(f"it has {column} more than once, as two lines have that were joined")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        if HALF_PAIR.search(text):
            text = HALF_PAIR.sub("\ufffd", text)
        return text.encode("utf-8", "surrogateescape")


def _shown(value: Any) -> bytes:
    """A column's value as text: a string as it is, null as "", all else as JSON writes it."""
    if value is None:
        return b""
    return _encoded(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


class _Pending:
    """The documents of the batch that is being filled."""

    def __init__(self, others: list[str]) -> None:
        self.texts: list[bytes] = []
        self.others: dict[str, list[bytes]] = {name: [] for name in others}
        self.rows: list[int] = []
        self.bytes = 0

    def add(self, number: int, text: bytes, row: dict[str, Any]) -> None:
        self.texts.append(text)
        self.rows.append(number)
        self.bytes += len(text)
        for name, values in self.others.items():
            values.append(_shown(row.get(name)))

    @property
    def full(self) -> bool:
        return self.bytes >= BATCH_BYTES or len(self.rows) >= BATCH_ROWS

    def batch(self) -> Batch:
        batch = Batch(
            from_bytes(self.texts),
            {name: from_bytes(values) for name, values in self.others.items()},
            np.array(self.rows, dtype=np.int64),
        )
        self.__init__(list(self.others))  # type: ignore[misc]
        return batch
