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

CHUNK_ROWS = 250  # documents that one thread encodes at once
CHUNKS_AHEAD = 4  # read and waiting for each thread


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
            for first, strings in _chunks(sources):
                waiting.append(pool.submit(_encode, first, strings, tokenizer))
                while len(waiting) >= threads * CHUNKS_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _chunks(sources: Iterable[Source]) -> Iterator[tuple[int, Any]]:
    before = 0
    for source in sources:
        for first, strings in parquet.columns(source, source.column):
            for start in range(0, len(strings), CHUNK_ROWS):
                yield before + first + start, strings.slice(start, CHUNK_ROWS)
        before += source.rows


def _encode(first: int, strings: Any, tokenizer: Tokenizer) -> Encoded:
    texts, num_bytes = parquet.texts(strings)
    documents = tokenizer.encode_batch(texts)
    lengths = np.array([tokens.size + 1 for tokens in documents], dtype=np.int64)
    ends = np.cumsum(lengths)
    tokens = np.empty(int(ends[-1]), dtype=tokenizer.dtype)
    for document, end in zip(documents, ends.tolist(), strict=True):
        tokens[end - 1 - document.size : end - 1] = document
    tokens[ends - 1] = tokenizer.separator_id
    return Encoded(first, tokens, lengths, num_bytes, tokenizer.decode(documents[0].tolist()) == texts[0])
