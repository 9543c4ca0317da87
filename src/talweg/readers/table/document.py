"""Tables in one JSON document: a list of records, lists by name, or what TensorBoard's page downloads."""

import json
import re
from collections.abc import Sequence
from typing import Any

from talweg.logs.records import Records
from talweg.readers.table.load import TEXT_NAMES, Table

DOWNLOAD = ("Wall time", "Step", "Value")  # of a point in TensorBoard's download of one scalar


def read_document(text: str) -> Table | None:
    """A list of objects, an object of lists of equal length, or an object that holds one of these."""
    notes: tuple[str, ...] = ()
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        if not text.lstrip().startswith("["):
            return None
        document = _elements(text)
        notes = (f"the file is cut off in the middle; {len(document)} complete records were read",)
    except RecursionError:
        return None
    lines = text.count("\n") + (not text.endswith("\n"))
    for candidate in (document, *(document.values() if isinstance(document, dict) else ())):
        found = _table(candidate)
        if found is not None and (found.num_records > 1 or candidate is document):
            return Table.of(found.filled(), found.num_records, lines, 0, notes)
    return None


def _table(candidate: object) -> Records | None:
    found = Records(TEXT_NAMES)
    if isinstance(candidate, list) and candidate and all(isinstance(record, dict) for record in candidate):
        for row, record in enumerate(candidate):
            found.add(record, row)
        return found
    if isinstance(candidate, list) and len(candidate) > 1 and all(map(_is_point, candidate)):
        for row, point in enumerate(candidate):
            found.add(dict(zip(DOWNLOAD, point, strict=True)), row)
        return found
    if isinstance(candidate, dict):
        lists = {str(name): cells for name, cells in candidate.items() if isinstance(cells, list)}
        if len(lists) >= 2 and len({len(cells) for cells in lists.values()}) == 1:
            for name, cells in lists.items():
                for row, cell in enumerate(cells):
                    found.add_cell(name, cell, row)
            found.num_records = len(next(iter(lists.values())))
            return found
    return None


def _is_point(point: object) -> bool:
    """A time, a whole step and a value."""
    return (
        isinstance(point, list)
        and len(point) == 3
        and all(isinstance(each, int | float) for each in point[:2])
        and point[0] > 1e8
        and float(point[1]).is_integer()
        and isinstance(point[2], int | float | str)
    )


def _elements(text: str) -> Sequence[Any]:
    """The complete elements of a JSON list that is cut off."""
    decoder, found, at = json.JSONDecoder(), [], text.index("[") + 1
    while match := re.compile(r"[\s,]*(?=[\{\[])").match(text, at):
        try:
            record, at = decoder.raw_decode(text, match.end())
        except json.JSONDecodeError:
            break
        found.append(record)
    return found
