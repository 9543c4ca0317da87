"""Training windows: sample i of epoch e is a pure function of (seed, e, i), so a resume needs one integer.

The training text is a stream without end. Epoch e of it is all documents, each once, in an order drawn by (seed, e), so
stream position p belongs to epoch p // T, T the tokens of the text. Window w predicts the positions w S .. w S + S - 1,
each from the token before it: every token of every epoch is a target exactly once; none is left out, none waits for
another epoch. The token before the stream is the last one of an epoch -1, a separator.

A window belongs to the epoch of its first target. Where it reaches over the end of an epoch it goes on in the order of
the next. Within an epoch the windows are visited in an order drawn by (seed, e) too, so that the pieces of a long
document are no neighbours in a batch. Windows are counted through all epochs: the cursor of a run is one number, and
what a batch holds depends neither on how it is cut into micro-batches nor on how many ranks share it (`rank_slice`).

Memory: 16 bytes a document, held for one epoch at a time; while a table is made 8 more, and some 40 MB.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import key, mixed
from talweg.corpus.shards import Split
from talweg.errors import InputError

ORDER = "documents-1"  # the name of this order of the text; a checkpoint is continued in the order it began with
ROUNDS = 6  # of the Feistel network; 4 are a strong pseudo-random permutation (Luby and Rackoff 1988)
MIN_HALF_BITS = 3  # with halves of 2 bits the orders of four come up unequally (chi-squared 76 of 23)
PART = 1 << 19  # documents that are put in order at a time: what is held meanwhile is some 40 MB
WINDOWS_ORDER, DOCUMENTS_ORDER = 0, 1  # what a permutation is of: each is drawn by random numbers of its own


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows, each array (count, S) int64."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]  # the tokens one place further on
    document: NDArray[np.int64]  # equal where two targets of a window stand in the same document; no other meaning


@dataclass(frozen=True, eq=False)
class _Epoch:
    """The order of one epoch, by place: place 0 is the last token of the epoch before, place x position x - 1 of this.

    At the end stand the documents of the next epoch that the last window can reach.
    """

    number: int
    ends: NDArray[np.int64]  # (documents,) ascending: the place after each document's last token
    shift: NDArray[np.int64]  # (documents,) from a place to the index of its token in the stored text


class Windows:
    """The windows of one text, counted through all epochs."""

    def __init__(self, split: Split, context: int, seed: int) -> None:
        """Raises InputError when the text is shorter than one window."""
        self._split, self.context, self._seed = split, context, seed
        self._num_tokens = len(split.tokens)
        self._epoch: _Epoch | None = None
        if self._num_tokens < context:
            raise InputError(
                f"the {split.name} text has {self._num_tokens:,} tokens, fewer than one window of {context:,}; "
                "shorten model.context or prepare more text"
            )

    def first_window(self, epoch: int) -> int:
        """The number of the first window of an epoch: ceil(epoch T / S)."""
        return -(-epoch * self._num_tokens // self.context)

    def batch(self, first: int, count: int) -> Batch:
        """Windows first .. first + count - 1. Fastest where `first` ascends: another epoch is another table."""
        tokens = np.empty((count, self.context + 1), dtype=np.int64)
        document = np.empty((count, self.context), dtype=np.int64)
        done = 0
        while done < count:
            epoch = (first + done) * self.context // self._num_tokens
            size = min(count - done, self.first_window(epoch + 1) - first - done)
            rows = slice(done, done + size)
            tokens[rows], document[rows] = self._rows(epoch, first + done, size)
            done += size
        return Batch(tokens[:, :-1], tokens[:, 1:], document)

    def _rows(self, epoch: int, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Windows of one epoch: tokens (count, S + 1), and the documents (count, S) of all but the first of them.

        Looked up by run, the part of one document that stands in one window, never by token.
        """
        if self._epoch is None or self._epoch.number != epoch:
            self._epoch = None  # let go of it before the next one is made
            self._epoch = self._table(epoch)
        ends, begin = self._epoch.ends, self.first_window(epoch)
        index = np.arange(first - begin, first - begin + count, dtype=np.uint64)
        drawn_by = key(self._seed, epoch, WINDOWS_ORDER)
        window = permuted(index, self.first_window(epoch + 1) - begin, drawn_by).astype(np.int64)
        start = window * self.context + (begin * self.context - epoch * self._num_tokens)  # place before a first target
        stop = start + self.context + 1
        low = np.searchsorted(ends, start, side="right")  # the document of a window's first token
        num_runs = np.searchsorted(ends, stop - 1, side="right") - low + 1
        row = np.repeat(np.arange(count), num_runs)
        document = np.arange(row.size) + np.repeat(low - (np.cumsum(num_runs) - num_runs), num_runs)
        run_start = np.maximum(np.where(document > 0, ends[document - 1], 0), start[row])
        size = np.minimum(ends[document], stop[row]) - run_start
        tokens = self._split.tokens.stretches(run_start + self._epoch.shift[document], size)
        return tokens.reshape(count, -1), np.repeat(document, size).reshape(count, -1)[:, 1:]

    def _table(self, epoch: int) -> _Epoch:
        stored = self._split.document_ends
        head = 1  # documents of the next epoch: as many as hold one window
        while head < stored.size and _bounds(stored, self._order(epoch + 1, 0, head))[1].sum() < self.context:
            head = min(2 * head, stored.size)
        last = stored.size - 1  # the last document of the epoch before that has a token
        while not _bounds(stored, self._order(epoch - 1, last, last + 1))[1].all():
            last -= 1
        ends = np.empty(1 + stored.size + head, dtype=np.int64)
        shift = np.empty_like(ends)
        begin, length = _bounds(stored, self._order(epoch - 1, last, last + 1))
        ends[0], shift[0] = 1, begin[0] + length[0] - 1
        for first in range(0, stored.size, PART):
            part = self._order(epoch, first, min(first + PART, stored.size))
            _append(ends, shift, 1 + first, *_bounds(stored, part))
        _append(ends, shift, 1 + stored.size, *_bounds(stored, self._order(epoch + 1, 0, head)))
        return _Epoch(epoch, ends, shift)

    def _order(self, epoch: int, first: int, last: int) -> NDArray[np.int64]:
        """Which documents stand at first .. last - 1 of an epoch."""
        size = sum(ends.size for ends in self._split.shard_document_ends)
        index = np.arange(first, last, dtype=np.uint64)
        return permuted(index, size, key(self._seed, epoch, DOCUMENTS_ORDER)).astype(np.int64)


def _bounds(stored: NDArray[np.int64], documents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where these documents begin in the stored text, and how long they are."""
    begin = np.where(documents > 0, stored[documents - 1], 0)
    return begin, stored[documents] - begin


def _append(
    ends: NDArray[np.int64], shift: NDArray[np.int64], at: int, begin: NDArray[np.int64], length: NDArray[np.int64]
) -> None:
    """Enter documents into the table from row `at` on, after the row before it."""
    rows = slice(at, at + length.size)
    np.cumsum(length, out=ends[rows])
    ends[rows] += ends[at - 1]
    shift[rows] = begin + length - ends[rows]


def rank_slice(first: int, count: int, rank: int, world: int) -> tuple[int, int]:
    """The share of a global batch of windows first .. first + count - 1 that a rank of `world` reads: (first, count).

    The shares of all ranks, one after another, are the batch; they differ by at most one window.
    """
    begin, end = (count * r // world for r in (rank, rank + 1))
    return first + begin, end - begin


def permuted(index: NDArray[np.uint64], size: int, drawn_by: int) -> NDArray[np.uint64]:
    """Where a random permutation of range(size), drawn by 64 random bits, sends each index (N,). Needs no table.

    A Feistel network over the smallest even number of bits that holds `size`; what falls outside is sent through it
    again until it falls inside (cycle walking; Black and Rogaway 2002).
    """
    half = max((max(size - 1, 1).bit_length() + 1) // 2, MIN_HALF_BITS)
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    keys = [np.uint64(key(drawn_by, r, 2)) for r in range(ROUNDS)]
    result = index.astype(np.uint64)
    outside = np.ones(result.size, dtype=bool)
    while outside.any():
        value = result[outside]
        left, right = value >> bits, value & mask
        for round_key in keys:
            left, right = right, left ^ (mixed(right + round_key) & mask)
        result[outside] = (left << bits) | right
        outside = result >= size
    return result
