"""Parquet files as a stream of documents, a small batch at a time, whatever the size of their row groups."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.manifest import Input
from talweg.errors import InputError

TEXT_COLUMNS = ("text", "content")
BATCH_BYTES, BATCH_ROWS = 4_000_000, 10_000  # read at once: about so much text, and no more rows than this
GLOB_CHARACTERS = "*?["
# Two texts are the same document when they differ in nothing but white space and the case of ASCII letters.
LOWER_CASE = bytes(ord(chr(byte).lower()) if byte < 128 else byte for byte in range(256))
WHITE_SPACE = b" \t\n\r\f\v"


@dataclass(frozen=True)
class Source:
    """One file to read: its path, the column that holds the text, all columns, and its rows."""

    path: Path
    column: str
    columns: tuple[str, ...]
    rows: int

    @property
    def facts(self) -> Input:
        return Input(str(self.path), self.path.stat().st_size, self.rows)


def sources(inputs: Sequence[Path | str], text_column: str | None = None) -> list[Source]:
    """The parquet files that are meant: files, folders (searched to any depth, by name) and patterns with *.

    Raises InputError for what is not there, is no parquet file, or has no column of text.
    """
    paths = [path for each in inputs for path in _paths(str(each))]
    if not paths:
        raise InputError("no parquet file was given; talweg prepare FILE.parquet --out DATA")
    found = [_source(path, text_column) for path in dict.fromkeys(paths)]
    if not any(source.rows for source in found):
        raise InputError(f"{', '.join(str(source.path) for source in found)}: no rows; there is no text to prepare")
    return found


def _paths(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise InputError(f"{name} holds no *.parquet file; give a folder that does, or the files themselves")
        return files
    if path.exists():
        return [path]
    if any(character in name for character in GLOB_CHARACTERS):
        import glob

        files = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207  (absolute too)
        if files:
            return files
        raise InputError(f"no file matches {name}")
    raise InputError(f"{name} is not there; give a parquet file, a folder of them, or a pattern in quotes")


def _source(path: Path, text_column: str | None) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "its end is missing or damaged"
        raise InputError(f"{path} cannot be read as parquet: {reason}") from None
    columns = tuple(schema.names)
    wanted = (text_column,) if text_column is not None else TEXT_COLUMNS
    column = next((name for name in wanted if name in columns), None)
    if column is None:
        raise InputError(
            f"{path} has no column {' or '.join(wanted)}; it has {', '.join(columns)}. Name one with --text-column"
        )
    if not _is_text(schema.field(column).type):
        raise InputError(
            f"{path}: column {column} holds {schema.field(column).type}, not text; it has {', '.join(columns)}. "
            "Name another with --text-column"
        )
    return Source(path, column, columns, rows)


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)
    )


def columns(source: Source, name: str, rows: NDArray[np.bool_] | None = None) -> Iterator[tuple[int, Any]]:
    """One column in batches: the first row of each, and its (rows,) array of Arrow's large strings without nulls.

    rows (rows of the file,): row groups in which none is wanted are passed over. Raises InputError when the file turns
    out to be damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source.path, pre_buffer=False) as file:
            end = 0
            for group in range(file.num_row_groups):
                facts = file.metadata.row_group(group)
                first, end = end, end + facts.num_rows
                if rows is not None and not rows[first:end].any():
                    continue
                size = min(max(BATCH_BYTES * facts.num_rows // max(facts.total_byte_size, 1), 1), BATCH_ROWS)
                for batch in file.iter_batches(size, row_groups=[group], columns=[name]):
                    yield first, _strings(batch.column(0))
                    first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{source.path} is damaged: {str(error).splitlines()[0]}") from None


def _strings(array: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return pc.fill_null(array.cast(pa.large_string()), "")


def raw(strings: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of an Arrow array of large strings or binaries, and the (rows + 1,) offsets at which each begins."""
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8), ends


def texts(strings: Any) -> list[str]:
    """The texts of an array of large strings; bytes that are no UTF-8 become U+FFFD."""
    found: list[str]
    try:
        found = strings.to_pylist()
    except UnicodeDecodeError:
        found = repaired(strings).to_pylist()
    return found


def repaired(strings: Any) -> Any:
    """The same array with U+FFFD for bytes that are no UTF-8."""
    import pyarrow as pa

    data, ends = raw(strings)
    whole = data.data
    found = [bytes(whole[start:end]).decode("utf-8", "replace") for start, end in pairwise(ends.tolist())]
    return pa.array(found, pa.large_string())


def text_hashes(strings: Any) -> NDArray[np.uint64]:
    """(rows,) a hash of each text that leaves out white space and the case of ASCII letters; 0 for an empty one.

    64 bits: among 15 million documents two different ones meet with a probability of 6 in a million.
    """
    data, ends = raw(strings)
    whole, hashes = data.data, bytearray()
    for start, end in pairwise(ends.tolist()):
        text = bytes(whole[start:end]).translate(LOWER_CASE, WHITE_SPACE)
        hashes += hashlib.blake2b(text, digest_size=8).digest() if text else bytes(8)
    return np.frombuffer(bytes(hashes), dtype="<u8").astype(np.uint64)
