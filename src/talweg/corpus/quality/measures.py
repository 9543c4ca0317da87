"""All measures of a batch of documents at once."""

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.quality.characters import characters
from talweg.corpus.quality.layout import Shares, laid_out
from talweg.corpus.quality.lines import lines
from talweg.corpus.quality.repetition import repetition
from talweg.corpus.words import Words
from talweg.corpus.words import words as find_words

COMPRESSED_FROM = 1000  # bytes; a shorter text compresses badly, whatever it says
ZSTD_LEVEL = 1
COMPRESSED_BYTES = 1 << 20  # of a longer document, its beginning

Measures = dict[str, Shares]  # each (documents,); NaN: not measured


def measure(data: NDArray[np.uint8], ends: NDArray[np.int64], words: Words | None = None) -> Measures:
    """Every measure of each document of UTF-8; document d is data[ends[d] : ends[d + 1]].

    words: of the same data and ends, where they were found already.
    """
    layout = laid_out(data, ends)
    return {
        **characters(layout),
        **lines(layout),
        **repetition(words if words is not None else find_words(data, ends), layout.num_bytes),
        "compression": compression(data, ends),
    }


def compression(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> Shares:
    """Bytes over compressed bytes; NaN under COMPRESSED_FROM bytes. One call of the library for each document."""
    import pyarrow as pa

    codec, buffer = pa.Codec("zstd", ZSTD_LEVEL), np.ascontiguousarray(data)
    ratio = np.full(ends.size - 1, np.nan)
    for d in np.flatnonzero(np.diff(ends) >= COMPRESSED_FROM):
        begin, end = int(ends[d]), min(int(ends[d + 1]), int(ends[d]) + COMPRESSED_BYTES)
        ratio[d] = (end - begin) / len(codec.compress(buffer[begin:end]))
    return ratio
