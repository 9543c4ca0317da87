"""Unigram and bigram entropy of a long stream of tokens, exact, in bounded memory, counted in parts and merged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed

MAX_PAIRS = 1 << 24  # different pairs held at once, 16 bytes each
STRETCH = 1 << 23  # tokens sorted at once


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

    def __init__(self, vocabulary_size: int, max_pairs: int = MAX_PAIRS, *, with_pairs: bool = True) -> None:
        """with_pairs: False for a part of the stream of which the tokens alone are counted."""
        self._size, self._max_pairs, self._with_pairs = vocabulary_size, max_pairs, with_pairs
        kind = np.uint32 if vocabulary_size <= 2**16 else np.uint64
        self._tokens = np.zeros(vocabulary_size, dtype=np.int64)
        self._pairs: NDArray[Any] = np.empty(0, dtype=kind)  # first * vocabulary_size + second, ascending
        self._counts = np.empty(0, dtype=np.int64)  # of each of these pairs
        self._waiting: list[NDArray[Any]] = []  # not counted yet; the first token of it ended what was counted before
        self._num_waiting = 0
        self._counted = np.ones(vocabulary_size, dtype=bool)  # as first tokens
        self._frequent = np.ones(vocabulary_size, dtype=bool)  # those that no sample was drawn from
        self._halvings = 0
        self._num_pairs = 0  # neighbours in the parts of which pairs were counted
        self._first = -1  # token of the stream; -1: there is none yet

    def add(self, tokens: NDArray[Any]) -> None:
        """The next (T,) tokens of the stream."""
        if not tokens.size:
            return
        if self._first < 0:
            self._first = int(tokens[0])
        self._waiting.append(tokens)
        self._num_waiting += tokens.size
        if self._num_waiting >= STRETCH:
            self._count()

    def _count(self) -> None:
        stream = np.concatenate(self._waiting).astype(self._pairs.dtype)
        fresh = stream[1:] if self._tokens.any() else stream  # the first was counted at the end of the last stretch
        self._tokens += np.bincount(fresh, minlength=self._size)
        self._waiting, self._num_waiting = [stream[-1:]], 1
        if self._with_pairs:
            self._num_pairs += stream.size - 1
            pairs = stream[:-1] * stream.dtype.type(self._size) + stream[1:]
            pairs.sort()
            starts = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1])) if pairs.size else np.empty(0, np.int64)
            self._merge(pairs[starts], np.diff(np.append(starts, pairs.size)))

    def _merge(self, pairs: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """Add the counts of these different pairs, ascending."""
        if self._halvings:
            keep = self._counted[pairs // pairs.dtype.type(self._size)]
            pairs, counts = pairs[keep], counts[keep]
        if not self._pairs.size:
            self._pairs, self._counts = pairs, counts
        else:
            self._insert(pairs, counts)
        while self._pairs.size > self._max_pairs and self._halve():
            pass

    def _insert(self, pairs: NDArray[Any], counts: NDArray[np.int64]) -> None:
        at = np.searchsorted(self._pairs, pairs)
        known = np.zeros(pairs.size, dtype=bool)
        inside = at < self._pairs.size
        known[inside] = self._pairs[at[inside]] == pairs[inside]
        self._counts[at[known]] += counts[known]
        self._pairs = np.insert(self._pairs, at[~known], pairs[~known])
        self._counts = np.insert(self._counts, at[~known], counts[~known])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that was counted, to be kept in a file and merged later. Nothing was left out for want of room."""
        self._flush()
        assert not self._halvings, "a part whose pairs were thinned out cannot be merged"
        last = self._waiting[0][-1] if self._waiting else -1
        ends = np.array([self._first, last, self._num_pairs if self._with_pairs else -1], dtype=np.int64)
        return {"tokens": self._tokens, "pairs": self._pairs, "counts": self._counts, "ends": ends}

    def merge(self, part: Mapping[str, NDArray[Any]]) -> None:
        """Go on with the stream whose `arrays` these are."""
        self._flush()
        first, last, num_pairs = (int(end) for end in part["ends"])
        if first < 0:
            return
        if num_pairs >= 0:
            if self._waiting:  # the pair over the seam
                seam = self._pairs.dtype.type(self._waiting[0][-1]) * self._size + first
                self._num_pairs += 1
                self._merge(np.array([seam], dtype=self._pairs.dtype), np.ones(1, dtype=np.int64))
            self._num_pairs += num_pairs
            self._merge(part["pairs"], part["counts"])
        self._first = self._first if self._first >= 0 else first
        self._tokens = self._tokens + part["tokens"]
        self._waiting, self._num_waiting = [np.array([last], dtype=self._pairs.dtype)], 1

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
        self._flush()
        return Entropies(_entropy(self._tokens), *self._conditional())

    def _flush(self) -> None:
        if self._num_waiting > 1 or (self._num_waiting and not self._tokens.any()):
            self._count()

    def _conditional(self) -> tuple[float, float]:
        """H(X | previous), and the share of all pairs that it was counted from."""
        first = (self._pairs // self._pairs.dtype.type(self._size)).astype(np.int64)
        of_first = np.bincount(first, weights=self._counts, minlength=self._size)  # (V,) pairs that begin with it
        surprise = self._counts * (np.log(of_first[first]) - np.log(self._counts))
        nats = np.bincount(first, weights=surprise, minlength=self._size)  # (V,) n(x) H(X | x)
        total = max(int(self._tokens.sum()) - 1, 1)
        offered = max(self._num_pairs, 1)
        if not self._halvings:
            return float(nats.sum() / offered), min(offered / total, 1.0)
        rare = self._counted & ~self._frequent
        num_frequent, num_rare = of_first[self._frequent].sum(), of_first[rare].sum()
        rest = (offered - num_frequent) / num_rare if num_rare else 0.0  # what each of the sampled pairs stands for
        covered = offered if num_rare else num_frequent
        value = (nats[self._frequent].sum() + rest * nats[rare].sum()) / covered
        return float(value), float((num_frequent + num_rare) / total)


def _entropy(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
