"""Unigram and bigram entropy of a long stream of tokens, exact, in bounded memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed

MAX_PAIRS = 1 << 24  # different pairs held at once, 16 bytes each
STRETCH = 1 << 22  # tokens sorted at once


@dataclass(frozen=True)
class Entropies:
    """Nats per token."""

    unigram: float  # H(X) = -sum p(x) ln p(x)
    bigram: float  # H(X | previous), the entropy of a token given the one before it
    bigram_share: float  # of all pairs, those that were counted


class Counts:
    """Counts of tokens and of pairs of neighbours in a stream that is added piece by piece.

    Where there are too many different pairs to hold, they are counted after a sample of first tokens only: the most
    frequent ones, as many as fill half of the room, and half, a quarter... of the others. What is said of a first token
    that stays is still exact, while a sample of the text would make the pairs look more predictable than they are.
    """

    def __init__(self, vocabulary_size: int, max_pairs: int = MAX_PAIRS) -> None:
        self._size, self._max_pairs = vocabulary_size, max_pairs
        kind = np.uint32 if vocabulary_size <= 2**16 else np.uint64
        self._tokens = np.zeros(vocabulary_size, dtype=np.int64)
        self._pairs: NDArray[Any] = np.empty(0, dtype=kind)  # first * vocabulary_size + second, ascending
        self._counts = np.empty(0, dtype=np.int64)  # of each of these pairs
        self._waiting: list[NDArray[Any]] = []  # not counted yet; the first token of it ended what was counted before
        self._num_waiting = 0
        self._counted = np.ones(vocabulary_size, dtype=bool)  # as first tokens
        self._frequent = np.ones(vocabulary_size, dtype=bool)  # those that no sample was drawn from
        self._halvings = 0

    def add(self, tokens: NDArray[Any]) -> None:
        """The next (T,) tokens of the stream."""
        if not tokens.size:
            return
        self._waiting.append(tokens)
        self._num_waiting += tokens.size
        if self._num_waiting >= STRETCH:
            self._count()

    def _count(self) -> None:
        stream = np.concatenate(self._waiting).astype(self._pairs.dtype)
        fresh = stream[1:] if self._tokens.any() else stream  # the first was counted at the end of the last stretch
        self._tokens += np.bincount(fresh, minlength=self._size)
        first, second = stream[:-1], stream[1:]
        if self._halvings:
            keep = self._counted[first]
            first, second = first[keep], second[keep]
        self._merge(first * first.dtype.type(self._size) + second)
        self._waiting, self._num_waiting = [stream[-1:]], 1
        while self._pairs.size > self._max_pairs and self._halve():
            pass

    def _merge(self, pairs: NDArray[Any]) -> None:
        pairs.sort()
        starts = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1])) if pairs.size else np.empty(0, np.int64)
        counts = np.diff(np.append(starts, pairs.size))
        pairs = pairs[starts]
        at = np.searchsorted(self._pairs, pairs)
        known = np.zeros(pairs.size, dtype=bool)
        inside = at < self._pairs.size
        known[inside] = self._pairs[at[inside]] == pairs[inside]
        self._counts[at[known]] += counts[known]
        self._pairs = np.insert(self._pairs, at[~known], pairs[~known])
        self._counts = np.insert(self._counts, at[~known], counts[~known])

    def _halve(self) -> bool:
        """Stop counting after half of the rarer first tokens that are left. False: none would be left."""
        self._halvings += 1
        first = self._pairs // self._pairs.dtype.type(self._size)
        room = np.bincount(first, minlength=self._size)  # (V,) different pairs that begin with each token
        order = np.argsort(-np.where(self._frequent, self._tokens, -1), kind="stable")
        self._frequent[order[np.cumsum(room[order]) > self._max_pairs // 2]] = False
        drawn = mixed(np.arange(1, self._size + 1, dtype=np.uint64)) & np.uint64(2**self._halvings - 1) == 0
        counted = self._counted & (self._frequent | drawn)
        keep = counted[first]
        if not keep.any():
            return False
        self._counted, self._pairs, self._counts = counted, self._pairs[keep], self._counts[keep]
        return True

    def entropies(self) -> Entropies:
        """Of everything that was added; at least one token."""
        if self._num_waiting > 1 or not self._tokens.any():
            self._count()
        return Entropies(_entropy(self._tokens), *self._conditional())

    def _conditional(self) -> tuple[float, float]:
        """H(X | previous), and the share of all pairs that it was counted from."""
        first = (self._pairs // self._pairs.dtype.type(self._size)).astype(np.int64)
        of_first = np.bincount(first, weights=self._counts, minlength=self._size)  # (V,) pairs that begin with it
        surprise = self._counts * (np.log(of_first[first]) - np.log(self._counts))
        nats = np.bincount(first, weights=surprise, minlength=self._size)  # (V,) n(x) H(X | x)
        total = max(int(self._tokens.sum()) - 1, 1)
        if not self._halvings:
            return float(nats.sum() / total), 1.0
        rare = self._counted & ~self._frequent
        num_frequent, num_rare = of_first[self._frequent].sum(), of_first[rare].sum()
        rest = (total - num_frequent) / num_rare if num_rare else 0.0  # what each of the sampled pairs stands for
        covered = total if num_rare else num_frequent
        value = (nats[self._frequent].sum() + rest * nats[rare].sum()) / covered
        return float(value), float((num_frequent + num_rare) / total)


def _entropy(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
