"""Row groups of parquet files: a small batch at a time, whatever their size; only the columns that are asked for.

Checksums of pages are verified where there are any. Without them a changed byte within a page may go unseen, unless it
breaks the page or changes the number of rows.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from talweg.corpus.inputs import remote
from talweg.corpus.inputs.source import BATCH_BYTES, BATCH_ROWS, TEXT_COLUMNS, Batch, Damage, DamageError, Piece, Source
from talweg.corpus.strings import is_text, large
from talweg.errors import InputError

# Bytes of a column that are read at a time: a column of one row group can be larger than memory.
LOCAL_BUFFER, REMOTE_BUFFER = 1 << 20, 8 << 20


def described(url: str, size: int, stamp: str, text_column: str | None) -> Source:
    """The facts of a parquet file, from its footer.

    Raises DamageError where the footer is, InputError where the file cannot be read or has no text.
    """
    with _reading(url):
        metadata = _footer(url, stamp)
        schema = metadata.schema.to_arrow_schema()
    columns = tuple(schema.names)
    column = _text_column(url, schema, text_column)
    pieces, end = [], 0
    with _reading(url):
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            begin, end = end, end + group.num_rows
            if group.num_rows < 0:
                raise DamageError(f"row group {number + 1} has {group.num_rows} rows")
            # of all columns: group.column() would tell the text's own, but ends the process where a footer is damaged
            # (pyarrow 26.0.1: "terminate called ... Definition level histogram size mismatch")
            pieces.append(Piece(number, begin, end, max(group.total_byte_size, 0)))
    if end != metadata.num_rows:
        raise DamageError(f"its row groups have {end:,} rows, its footer says {metadata.num_rows:,}")
    return Source(url, "parquet", None, size, stamp, column, columns, end, tuple(pieces))


def _text_column(url: str, schema: Any, text_column: str | None) -> str:
    columns = ", ".join(schema.names)
    wanted = (text_column,) if text_column is not None else TEXT_COLUMNS
    column = next((name for name in wanted if schema.get_field_index(name) >= 0), None)
    if column is None:
        raise InputError(
            f"{url} has no column {' or '.join(wanted)}; it has {columns or 'none'}. Name one with --text-column"
        )
    if not is_text(schema.field(column).type):
        raise InputError(
            f"{url}: column {column} holds {schema.field(column).type}, not text; it has {columns}. "
            "Name another with --text-column"
        )
    return column


def read(source: Source, piece: Piece, columns: Sequence[str], damage: Damage) -> Iterator[Batch]:
    """The rows of a row group. Raises InputError where the file cannot be read, or is damaged and that is fatal."""
    row = piece.begin
    try:
        for batch in _batches(source, piece, columns):
            row += len(batch.rows)
            yield batch
        if row != piece.end:
            raise DamageError("it ends before its last row")
    except DamageError as reason:
        rows = piece.end - piece.begin
        lost = f"{piece.end - row:,} from row {row + 1:,} of the file on" if row > piece.begin else "all"
        damage.found(f"{source.url}, row group {piece.number + 1} ({rows:,} rows): {reason}; {lost} cannot be read")


def _batches(source: Source, piece: Piece, columns: Sequence[str]) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    rows = piece.end - piece.begin
    size = min(max(BATCH_BYTES * rows // max(piece.bytes, 1), 1), BATCH_ROWS)
    row = piece.begin
    with _reading(source.url):
        metadata = _footer(source.url, source.stamp)
        file = pq.ParquetFile(
            _opened(source.url),
            metadata=metadata,
            pre_buffer=False,
            buffer_size=REMOTE_BUFFER if remote.is_url(source.url) else LOCAL_BUFFER,
            page_checksum_verification=True,
        )
    try:
        schema = file.schema_arrow
        others = [
            name for name in dict.fromkeys(columns) if name in schema.names and _is_shown(schema.field(name).type)
        ]
        wanted = list(dict.fromkeys([source.text_column, *others]))
        found = file.iter_batches(size, row_groups=[piece.number], columns=wanted, use_threads=False)
        while True:
            with _reading(source.url):
                batch = next(found, None)
                if batch is None:
                    return
                strings = large(batch.column(source.text_column))
                values = {name: large(batch.column(name)) for name in others}
            if row + len(strings) > piece.end:
                raise DamageError("it has more rows than its footer says")
            yield Batch(strings, values, np.arange(row, row + len(strings), dtype=np.int64))
            row += len(strings)
    finally:
        file.close(force=True)


def _is_shown(kind: Any) -> bool:
    """Whether a column's values can stand as text."""
    import pyarrow.types as types

    return is_text(kind) or (types.is_primitive(kind) and not types.is_interval(kind))


def _opened(url: str) -> Any:
    import pyarrow as pa

    if remote.is_url(url):
        return pa.PythonFile(remote.opened(url, ranges=True), mode="r")
    return pa.OSFile(url)


@functools.lru_cache(maxsize=8)
def _footer(url: str, stamp: str) -> Any:
    """The footer of a file: that of thousands of row groups takes longer to read than one of them."""
    import pyarrow.parquet as pq

    with _opened(url) as file:
        return pq.read_metadata(file)


@contextmanager
def _reading(url: str) -> Iterator[None]:
    """pyarrow's complaints become DamageError; failures of the network or the disk become InputError."""
    import pyarrow as pa

    try:
        yield
    except (DamageError, InputError):
        raise
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        # pyarrow raises a bare OSError for what it cannot decode; the operating system's and the network's differ
        if isinstance(error, pa.ArrowException | UnicodeError | OverflowError) or (
            type(error) is OSError and error.errno is None
        ):
            raise DamageError(f"it is damaged ({said[:200]})") from None
        if remote.is_url(url):
            raise remote.failed(url, error) from None
        if isinstance(error, OSError):
            raise InputError(f"{url} cannot be read: {error.strerror or said}") from None
        raise
