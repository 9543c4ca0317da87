"""Columns out of records: JSON objects, rows of a tracker. Nested objects become names with a slash."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.logs.cells import SAMPLED, ColumnCells, number
from talweg.logs.rows import Cells


class Records:
    """Records are added one by one; their columns grow as new names come."""

    def __init__(self, texts: Collection[str] = ()) -> None:
        self.texts = texts  # names of columns whose texts are kept, in lower case
        self.columns: dict[str, ColumnCells] = {}
        self.held: dict[str, tuple[list[int], list[float]]] = {}
        self.num_records = 0

    def add(self, record: Mapping[str, Any], row: int) -> None:
        self.num_records += 1
        nested = any(isinstance(value, dict) for value in record.values())
        for name, value in flat(record) if nested else record.items():
            self.add_cell(name, value, row)

    def add_cell(self, name: str, value: object, row: int) -> None:
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = ColumnCells(name, name.strip().lower() in self.texts)
            self.held[name] = ([], [])
        if column.sampled < SAMPLED or not isinstance(value, float | int) or isinstance(value, bool):
            held = number(value)
            if held is None:
                column.add_cell(row, value)
                return
            column.see(held, value)
            value = held
        rows, values = self.held[name]
        rows.append(row)
        values.append(value)

    def filled(self) -> list[ColumnCells]:
        """The columns, when all records were added."""
        for name, (rows, values) in self.held.items():
            self.columns[name].add(np.array(rows, dtype=np.int64), np.array(values, dtype=np.float64))
        self.held = {name: ([], []) for name in self.columns}
        return list(self.columns.values())

    def cells(self) -> dict[str, Cells]:
        """The numbers of each column, perhaps none."""
        shared: dict[tuple[int, ...], NDArray[np.int64]] = {}
        return {column.name: column.cells(shared) for column in self.filled()}


def flat(record: Mapping[str, Any], above: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for name, value in record.items():
        pairs += flat(value, f"{above}{name}/") if isinstance(value, dict) else [(f"{above}{name}", value)]
    return pairs
