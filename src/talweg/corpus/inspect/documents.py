"""Documents of token files by their separators: lengths, and exact repetitions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd
BINS = 32  # documents of 2^k to 2^(k+1) - 1 tokens


class Documents:
    """Whole documents of blocks that are added in the order of the file."""

    def __init__(self, separator_id: int | None, vocabulary_size: int) -> None:
        self.separator = separator_id
        self.tokens_by_length = np.zeros(BINS, dtype=np.int64)
        self.num_separators = 0
        self._of_token = mixed(np.arange(1, vocabulary_size + 1, dtype=np.uint64) * BASE)
        self._hashes: list[NDArray[np.uint64]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def add(self, tokens: NDArray[Any]) -> None:
        """A contiguous block, (T,) ids inside the vocabulary. Documents cut by its ends are left out."""
        if self.separator is None:
            return
        ends = np.flatnonzero(tokens == self.separator)
        self.num_separators += int(ends.size)
        if ends.size < 2:
            return
        starts, stops = ends[:-1] + 1, ends[1:]
        lengths = stops - starts
        powers = np.full(tokens.size, BASE, dtype=np.uint64)
        powers[0] = 1
        np.cumprod(powers, out=powers)
        sums = np.append(np.uint64(0), np.cumsum(self._of_token[tokens] * powers))
        inverse = _inverses(starts)
        self._hashes.append((sums[stops] - sums[starts]) * inverse)
        self._lengths.append(lengths)
        bins = np.log2(np.maximum(lengths + 1, 1)).astype(np.int64)  # the separator is counted
        self.tokens_by_length += np.bincount(bins, weights=lengths + 1, minlength=BINS).astype(np.int64)

    def repeated_share(self) -> float | None:
        """Of the tokens of whole documents, those in documents that stood before; None without separators."""
        if not self._hashes:
            return None
        hashes, lengths = np.concatenate(self._hashes), np.concatenate(self._lengths)
        _, first = np.unique(hashes, return_index=True)
        return 1.0 - float((lengths[first] + 1).sum() / max((lengths + 1).sum(), 1))

    def shares_by_length(self) -> tuple[float, ...] | None:
        total = int(self.tokens_by_length.sum())
        return tuple((self.tokens_by_length / total).tolist()) if total else None


def _inverses(exponents: NDArray[np.int64]) -> NDArray[np.uint64]:
    """BASE to the power of minus each exponent, modulo 2^64, by squaring."""
    out = np.ones(exponents.size, dtype=np.uint64)
    factor, left = np.uint64(pow(int(BASE), -1, 2**64)), exponents.astype(np.uint64)
    with np.errstate(over="ignore"):
        while left.any():
            odd = (left & np.uint64(1)).astype(bool)
            out[odd] *= factor
            factor, left = factor * factor, left >> np.uint64(1)
    return out
