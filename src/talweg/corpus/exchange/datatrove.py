"""datatrove: train/00000_unshuffled.ds with .ds.index and .ds.metadata beside it, and the same under val/.

.ds is nothing but tokens, little-endian uint16 or uint32; .ds.index is uint64, where each document of that file ends,
in tokens, its separator counted: the two files of a shard without their headers. .ds.metadata is three lines: the
tokenizer and the bytes of a token, the number of tokens, and that number in words, as TokenizedFile of datatrove 0.10.1
writes them. The sides lie in folders of their own, as datatrove reads every .ds of a folder.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.exchange.stream import write
from talweg.corpus.manifest import TOKENIZER_FILE
from talweg.corpus.tokenizer import Tokenizer

PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def export_shard(
    blocks: Iterator[NDArray[Any]],
    ends: NDArray[np.uint64],
    path: Path,
    tokenizer: Tokenizer,
    dtype: str | None,
) -> int:
    """Write one shard as path (.ds), its index and its metadata; returns its tokens."""
    dtype = dtype or tokenizer.dtype.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        tokens = write(file, blocks, dtype)
    Path(f"{path}.index").write_bytes(np.ascontiguousarray(ends, dtype="<u8").tobytes())
    name = "gpt2" if tokenizer.name == "gpt2" else TOKENIZER_FILE
    lines = [f"{name}|{np.dtype(dtype).itemsize}", str(tokens), in_words(tokens)]
    Path(f"{path}.metadata").write_text("\n".join(lines), encoding="utf-8", newline="")
    return tokens


def in_words(tokens: int) -> str:
    """12345 -> 12.3 kT: three digits and a prefix, as datatrove writes a number of tokens."""
    thousands = min(int(math.log10(tokens)) // 3 if tokens else 0, len(PREFIXES) - 1)
    for step in range(thousands, len(PREFIXES)):
        value = tokens / 1000**step
        digits = 2 - (int(math.log10(value)) if value >= 1 else 0)
        text = f"{value:.{max(digits, 0)}f}"
        if len(text.replace(".", "")) > 3 and digits > 0:  # 9.999 became 10.00
            text = f"{value:.{digits - 1}f}"
        if float(text) < 1000:
            return f"{text} {PREFIXES[step]}T"
    return f"{tokens} T"
