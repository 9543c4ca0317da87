"""Tables as they are stored: CSV and its relatives, JSONL, JSON. What a cell holds is a number, a text or nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from talweg.logs.cells import ColumnCells
from talweg.logs.rows import Cells

# names of columns whose texts are read: which run and which quantity a row is of
TEXT_NAMES = {
    *("run", "run_id", "run_name", "run_uuid", "run id", "run name", "experiment", "runname", "name"),
    *("metric", "metric_name", "metricname", "key", "tag", "series", "variable", "attribute_path"),
}


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a column: the row of each, and which of `names` it is."""

    row: NDArray[np.int64]
    code: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """names: of all columns in their order; `cells` holds the numbers of each, perhaps none."""

    names: tuple[str, ...]
    cells: Mapping[str, Cells]
    texts: Mapping[str, Texts] = field(default_factory=dict)
    num_rows: int = 0
    lines: int = 0
    lines_not_understood: int = 0
    notes: tuple[str, ...] = ()
    unknown: tuple[tuple[int, str], ...] = ()
    filled: int = 0  # cells that hold something, of the rows looked at

    @classmethod
    def of(
        cls,
        columns: Iterable[ColumnCells],
        num_rows: int,
        lines: int,
        bad: int,
        notes: tuple[str, ...],
        unknown: tuple[tuple[int, str], ...] = (),
    ) -> "Table":
        shared: dict[tuple[int, ...], NDArray[np.int64]] = {}
        columns = list(columns)
        return cls(
            tuple(column.name for column in columns),
            {column.name: column.cells(shared) for column in columns},
            {column.name: texts_of(column) for column in columns if column.text_rows},
            num_rows,
            lines,
            bad,
            notes,
            unknown,
            sum(column.num_texts + sum(map(len, column.rows)) for column in columns),
        )

    @property
    def is_numeric(self) -> bool:
        """Whether most of what its cells hold are numbers."""
        return sum(cells.row.size for cells in self.cells.values()) > self.filled / 2


def texts_of(column: ColumnCells) -> Texts:
    names = tuple(text.decode("utf-8", errors="replace") for text in column.codes)
    return Texts(np.array(column.text_rows, dtype=np.int64), np.array(column.text_codes, dtype=np.int64), names)
