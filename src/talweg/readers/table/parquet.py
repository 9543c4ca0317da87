"""Parquet files with one row a step, as pandas, polars, W&B and Trackio write them; null is missing, NaN is NaN."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.cells import MOST_TEXTS, ColumnCells, number
from talweg.logs.given import Log
from talweg.readers.table.load import TEXT_NAMES, Table

MAGIC = b"PAR1"


def read_parquet(log: Log) -> Table:
    """The columns that hold numbers, times, or texts that are asked for. Raises InputError when it cannot be read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise InputError(
            f'{log.source} is a parquet file, which needs pyarrow: pip install "talweg[data]" (or export it as CSV)'
        ) from None
    try:
        file = pq.ParquetFile(io.BytesIO(log.content) if log.content is not None else log.path)
        names = [field.name for field in file.schema_arrow]
        columns = {name: ColumnCells(name, name.strip().lower() in TEXT_NAMES, sampled=MOST_TEXTS) for name in names}
        row = 0
        for batch in file.iter_batches(65_536):
            for name, array in zip(batch.schema.names, batch.columns, strict=True):
                _take(columns[name], pa, array, row)
            row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        told = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{log.source} is a damaged parquet file ({told}); copy it again, or export it as CSV"
        ) from None
    return Table.of(columns.values(), row, row, 0, ())


def _take(column: ColumnCells, pa: Any, array: Any, row: int) -> None:
    kind = array.type
    rows = row + np.flatnonzero(np.asarray(array.is_valid()))
    if not rows.size:
        return
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        column.add(rows, np.asarray(array.drop_null().cast(pa.float64(), safe=False), dtype=np.float64))
    elif pa.types.is_timestamp(kind):
        column.add(rows, _seconds(pa, array))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        _texts(column, array.drop_null().dictionary_encode(), rows)


def _seconds(pa: Any, array: Any) -> NDArray[np.float64]:
    """Times as seconds since 1970."""
    scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[array.type.unit]
    return np.asarray(array.drop_null().cast(pa.int64()), dtype=np.float64) * scale


def _texts(column: ColumnCells, encoded: Any, rows: NDArray[np.int64]) -> None:
    """Numbers that are stored as texts, as NaN is by some; names of runs and metrics."""
    texts = [str(text) for text in encoded.dictionary.to_pylist()]
    codes = np.asarray(encoded.indices, dtype=np.int64)
    held = [number(text) for text in texts]
    is_number = np.array([value is not None for value in held], dtype=np.bool_)[codes]
    values = np.array([np.nan if value is None else value for value in held])[codes]
    column.add(rows[is_number], values[is_number])
    rest = np.flatnonzero(~is_number)
    column.num_texts += rest.size
    if column.keep_texts and rest.size and len(column.codes) < MOST_TEXTS:
        place = np.array([column.codes.setdefault(text.encode(), len(column.codes)) for text in texts])
        column.text_rows += rows[rest].tolist()
        column.text_codes += place[codes[rest]].tolist()
