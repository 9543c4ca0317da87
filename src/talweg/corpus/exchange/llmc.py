"""llm.c (and modded-nanogpt): NAME_train_000000.bin, NAME_val_000000.bin, at most 100 M tokens each.

A file is a header of 256 little-endian int32 (magic, version, number of tokens, zeros), then the tokens: magic 20240520
and version 1 for uint16, 20240801 and 7 for uint32. A separator stands before each document, not behind it; a document
may go on in the next file. So of a side of a data folder the last separator is left out and one is put before the first
document: the same tokens, their number the same, every separator between two documents where it was.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.exchange.stream import Part, Stream, cut, write
from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError

HEADER = 256  # int32
KINDS = {20240520: (1, "uint16"), 20240801: (7, "uint32")}  # by magic: version, type (dev/data/data_common.py)
EVALUATION = 20240522  # of a multiple-choice test
SHARD_TOKENS = 100_000_000  # as llm.c's fineweb.py


def export(
    sides: Mapping[str, Callable[[], Iterator[NDArray[Any]]]],
    stage: Path,
    tokenizer: Tokenizer,
    dtype: str | None,
    name: str = "talweg",
    shard_tokens: int = SHARD_TOKENS,
) -> dict[str, int]:
    """Write into `stage`; sides: what yields the tokens of train and of val. Returns the tokens of each file."""
    dtype = dtype or tokenizer.dtype.name
    magic, version = next((magic, version) for magic, (version, kind) in KINDS.items() if kind == dtype)
    written = {}
    for side, blocks in sides.items():
        moved = _separator_first(blocks(), tokenizer.separator_id)
        for i, stretch in enumerate(cut(moved, shard_tokens)):
            path = stage / f"{name}_{side}_{i:06d}.bin"
            with path.open("wb") as file:
                header = np.zeros(HEADER, dtype="<i4")
                file.write(header.tobytes())
                header[:3] = magic, version, write(file, stretch, dtype)
                file.seek(0)
                file.write(header.tobytes())
            written[path.name] = int(header[2])
    return written


def _separator_first(blocks: Iterator[NDArray[Any]], separator: int) -> Iterator[NDArray[Any]]:
    held = np.array([separator], dtype=np.uint32)
    for block in blocks:
        yield held
        held = block
    assert held[-1] == separator, "a side ends with a separator"
    if held.size > 1:
        yield held[:-1]


def magic_of(path: Path) -> int:
    """The first int32 of a file; 0 where it has none."""
    with path.open("rb") as file:
        head = file.read(4)
    return int.from_bytes(head, "little", signed=True) if len(head) == 4 else 0


def read(paths: list[Path]) -> Stream:
    """The tokens of these shards. Raises InputError where a header is not llm.c's or promises other tokens."""
    return Stream(tuple(_part(path) for path in paths), separator_first=True)


def _part(path: Path) -> Part:
    with path.open("rb") as file:
        raw = file.read(4 * HEADER)
    size = path.stat().st_size
    magic = magic_of(path)
    if magic == EVALUATION:
        raise InputError(f"{path} is a multiple-choice test of llm.c, not text; give its train and val shards")
    if magic not in KINDS:
        raise InputError(
            f"{path} does not begin with llm.c's magic number (20240520 or 20240801, found {magic}); "
            "tokens without a header are read from files called train.bin and val.bin, as nanoGPT has them"
        )
    if len(raw) < 4 * HEADER:
        raise InputError(f"{path} is cut off: it ends within the header of 1,024 bytes")
    header = np.frombuffer(raw, dtype="<i4")
    version, dtype = KINDS[magic]
    if header[1] != version:
        raise InputError(f"{path} has version {header[1]} of llm.c's format; needed {version} for magic {magic}")
    width, tokens = np.dtype(dtype).itemsize, int(header[2])
    held, odd = divmod(size - 4 * HEADER, width)
    if tokens != held or odd or tokens <= 0:
        raise InputError(
            f"{path} is cut off or damaged: its header promises {tokens:,} tokens of {dtype}, "
            f"and {size - 4 * HEADER:,} bytes follow it"
        )
    return Part(path, dtype, 4 * HEADER, tokens)
