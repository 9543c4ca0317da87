"""Passages that validation shares with the training text: 13 tokens in a row that both hold.

A window of n tokens is hashed by a polynomial over the mixed values of its tokens, modulo 2^64, from prefix sums:

    P(i) = sum over j < i of m(t_j) b^j        h(i) = (P(i + n) - P(i)) b^-i

so it costs the same for any n. What is looked for are the windows of validation, each within one document and without
its separator; a training window over a separator can hit none of them. Training text goes through two bitmaps of the
hashes first, since nearly all of it hits nothing.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed

NGRAM = 13  # as the contamination check of GPT-3 (Brown et al. 2020, appendix C)
NGRAM_BYTES = 52  # of single bytes: as much text as 13 tokens of a BPE, four bytes each
HEAVY = 0.2  # share of a document's windows. Our choice: a quarter of the documents of a random split lie above it
BLOCK = 1 << 16  # tokens at a time: what is computed stays in the processor's cache
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse
SIEVE_BITS = 16  # of a bitmap for each hash: 6 % of other windows come through one, 0.4 % through both
LARGEST_SIEVE = 1 << 31


class Hashes:
    """Hashes of the windows of n tokens of a vocabulary."""

    def __init__(self, vocabulary_size: int, n: int = NGRAM) -> None:
        self.n = n
        self._of_token = mixed(np.arange(1, vocabulary_size + 1, dtype=np.uint64) * np.uint64(BASE))  # (V,)
        length = BLOCK + n
        self._powers = np.cumprod(np.full(length, BASE, dtype=np.uint64)[:-1])
        self._powers = np.insert(self._powers, 0, np.uint64(1))  # b^0 ... b^(length - 1)
        inverse = np.full(length, pow(BASE, -1, 2**64), dtype=np.uint64)
        inverse[0] = 1
        self._inverses = np.cumprod(inverse)

    def blocks(self, tokens: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """(T,) tokens: the first window of each block, and the hashes of its windows; T - n + 1 windows in all."""
        for first in range(0, max(tokens.size - self.n + 1, 0), BLOCK):
            stretch = tokens[first : first + BLOCK + self.n - 1]
            sums = np.empty(stretch.size + 1, dtype=np.uint64)
            sums[0] = 0
            np.cumsum(self._of_token[stretch] * self._powers[: stretch.size], out=sums[1:])
            windows = stretch.size - self.n + 1
            hashes = sums[self.n :] - sums[:windows]
            hashes *= self._inverses[:windows]
            yield first, hashes

    def of_documents(self, tokens: NDArray[Any], ends: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(W,) hashes of the windows within documents, and the (W,) document of each.

        ends (documents,): document d is tokens[ends[d - 1] : ends[d]], its separator the last of them.
        """
        found = [hashes for _, hashes in self.blocks(tokens)]
        hashes = np.concatenate(found) if found else np.empty(0, dtype=np.uint64)
        begin = np.arange(hashes.size)
        document = np.searchsorted(ends, begin, side="right")
        inside = begin + self.n < ends[document]
        return hashes[inside], document[inside]


class Sought:
    """(H,) hashes to look for, ascending and different."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self.hashes = hashes

    @cached_property
    def _sieves(self) -> tuple["_Sieve", "_Sieve"]:
        return _Sieve(self.hashes), _Sieve(mixed(self.hashes))

    def found_in(self, tokens: NDArray[Any], hashes: Hashes) -> NDArray[np.bool_]:
        """(H,) which of the sought windows the (T,) tokens hold."""
        found = np.zeros(self.hashes.size, dtype=bool)
        if not found.size:
            return found
        first, second = self._sieves
        for _, windows in hashes.blocks(tokens):
            some = windows[first.holds(windows)]
            some = some[second.holds(mixed(some))]
            at = np.minimum(np.searchsorted(self.hashes, some), self.hashes.size - 1)
            found[at[self.hashes[at] == some]] = True
        return found


class _Sieve:
    """A bitmap of the highest bits of some hashes."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        size = min(1 << max((hashes.size * SIEVE_BITS - 1).bit_length(), 10), LARGEST_SIEVE)
        self._shift = np.uint64(64 - (size.bit_length() - 1))
        self._bitmap = np.zeros(size >> 3, dtype=np.uint8)
        bit = hashes >> self._shift
        np.bitwise_or.at(self._bitmap, bit >> np.uint64(3), np.uint8(1) << (bit & np.uint64(7)).astype(np.uint8))

    def holds(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """(W,) false where the hash is surely none of those in the bitmap."""
        bit = hashes >> self._shift
        byte = self._bitmap[bit >> np.uint64(3)]
        held: NDArray[np.bool_] = byte & (np.uint8(1) << (bit & np.uint64(7)).astype(np.uint8)) != 0
        return held
