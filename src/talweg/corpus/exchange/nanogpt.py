"""nanoGPT: train.bin and val.bin, nothing but tokens, little-endian uint16.

Each document ends with a separator, 50256 of GPT-2, as in a data folder, so the tokens are the same in both. Where
documents end is known by the separators alone. nanoGPT takes the vocabulary for GPT-2's unless meta.pkl beside them
says otherwise; for any other tokenizer `export` writes one: vocab_size, and what sample.py wants, itos and stoi. A
pickle is harmless to write. It is never read, as reading one runs what it holds.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.exchange.stream import Part, Stream, write
from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError

NAMES = ("train.bin", "val.bin")
LOOKED_AT = 4096  # tokens that tell uint32 from uint16


def export(
    sides: Mapping[str, Callable[[], Iterator[NDArray[Any]]]], stage: Path, tokenizer: Tokenizer, dtype: str | None
) -> dict[str, int]:
    """Write into `stage`; sides: what yields the tokens of train and of val. Returns the tokens of each file."""
    if dtype is None and tokenizer.vocabulary_size > 2**16:
        raise InputError(
            f"nanoGPT reads uint16, which holds 65,536 tokens, and this vocabulary has {tokenizer.vocabulary_size:,}; "
            "give --dtype uint32 and change np.uint16 in its train.py"
        )
    written = {}
    for name, blocks in sides.items():
        with (stage / f"{name}.bin").open("wb") as file:
            written[f"{name}.bin"] = write(file, blocks(), dtype or "uint16")
    if tokenizer.name != "gpt2":
        (stage / "meta.pkl").write_bytes(pickle.dumps(meta(tokenizer), protocol=4))
    return written


def meta(tokenizer: Tokenizer) -> dict[str, Any]:
    """What nanoGPT looks up in meta.pkl. sample.py encodes a prompt character by character by stoi."""
    itos = {i: _text(tokenizer, i) for i in range(tokenizer.vocabulary_size)}
    stoi: dict[str, int] = {}
    for i, text in itos.items():
        if "\ufffd" not in text:  # a token of bytes that are no whole character
            stoi.setdefault(text, i)
    return {"vocab_size": tokenizer.vocabulary_size, "itos": itos, "stoi": stoi}


def _text(tokenizer: Tokenizer, token: int) -> str:
    try:
        return tokenizer.decode([token])
    except KeyError:  # a number that stands for no token
        return ""


def read(paths: list[Path], vocabulary_size: int, separator: int) -> Stream:
    """The tokens of these files, uint32 where the vocabulary needs it. Raises InputError for what cannot be tokens.

    A file that begins with the separator and does not end with it was made with the separator first.
    """
    dtype = "uint16" if vocabulary_size <= 2**16 else "uint32"
    parts = tuple(_part(path, dtype) for path in paths)
    first, last = parts[0].at(0), parts[-1].at(parts[-1].tokens - 1)
    return Stream(parts, separator_first=first == separator and last != separator)


def _part(path: Path, dtype: str) -> Part:
    size, width = path.stat().st_size, np.dtype(dtype).itemsize
    if not size:
        raise InputError(f"{path} is empty; needed tokens of {dtype}")
    if size % width:
        raise InputError(
            f"{path} has {size:,} bytes, which is no whole number of {dtype} tokens; it is cut off or no token file"
        )
    part = Part(path, dtype, 0, size // width)
    if dtype == "uint16" and part.tokens > 1:
        head = next(part.blocks(LOOKED_AT))
        if not head[1::2].any() and head[::2].any():
            raise InputError(
                f"{path} looks like uint32 (every second uint16 of its beginning is 0), but the tokenizer's "
                "vocabulary fits in uint16, which nanoGPT uses; write it anew as uint16, or give the tokenizer it is of"
            )
    return part
