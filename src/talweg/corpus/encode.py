"""Documents to tokens, on all cores, in the order of the input."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import parquet
from talweg.corpus.parquet import Source
from talweg.corpus.tokenizer import Tokenizer

BATCHES_AHEAD = 3  # read, and waiting or at work, for each thread


@dataclass(frozen=True, eq=False)
class Encoded:
    """Documents first .. first + documents - 1, each followed by the separator."""

    first: int
    tokens: NDArray[Any]  # (T,)
    lengths: NDArray[np.int64]  # (documents,) tokens of each, its separator counted
    num_bytes: NDArray[np.int64]  # (documents,) UTF-8 bytes of its text
    faithful: bool  # whether the first document reads the same after encoding and decoding


def encoded(sources: Iterable[Source], tokenizer: Tokenizer, threads: int) -> Iterator[Encoded]:
    """All documents of all files. Empty ones come too, as a separator alone."""
    waiting: deque[Future[Encoded]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for first, strings in _batches(sources):
                waiting.append(pool.submit(_encode, first, strings, tokenizer))
                while len(waiting) >= threads * BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _batches(sources: Iterable[Source]) -> Iterator[tuple[int, Any]]:
    before = 0
    for source in sources:
        for first, strings in parquet.columns(source, source.column):
            yield before + first, strings
        before += source.rows


def _encode(first: int, strings: Any, tokenizer: Tokenizer) -> Encoded:
    data, ends = parquet.raw(strings)
    try:
        tokens, lengths = tokenizer.encode_documents(data, ends)
    except UnicodeDecodeError:
        data, ends = parquet.raw(parquet.repaired(strings))
        tokens, lengths = tokenizer.encode_documents(data, ends)
    text = data[ends[0] : ends[1]].tobytes().decode("utf-8")
    faithful = tokenizer.decode(tokens[: lengths[0] - 1].tolist()) == text
    return Encoded(first, tokens, lengths, np.diff(ends), faithful)
