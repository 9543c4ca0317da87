"""Training windows by index arithmetic: window i of a run is a function of (seed, i), so a resume needs one integer.

An epoch cuts the training text, taken as a ring, into windows of `context` tokens from a random offset, and visits
each exactly once in a random order. The offset differs from epoch to epoch, so that the borders of the windows move.
"""

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import key, mixed
from talweg.corpus.shards import Split
from talweg.errors import InputError

ROUNDS = 6  # of the Feistel network; 4 are a strong pseudo-random permutation (Luby and Rackoff 1988)
MIN_HALF_BITS = 3  # with halves of 2 bits the orders of four come up unequally (chi-squared 76 of 23)


class Windows:
    """The windows of one text, counted through all epochs: window i belongs to epoch i // num_windows."""

    def __init__(self, split: Split, context: int, seed: int) -> None:
        """Raises InputError when the text is shorter than one window with its targets."""
        self._tokens, self.context, self._seed = split.tokens, context, seed
        if len(self._tokens) < context + 1:
            raise InputError(
                f"the {split.name} text has {len(self._tokens):,} tokens, fewer than one window of {context:,} and its "
                "last target; shorten model.context or prepare more text"
            )
        self.num_windows = len(self._tokens) // context  # in an epoch

    def batch(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Windows first .. first + count - 1: inputs (count, context) and targets, the tokens one place further on."""
        rows = np.empty((count, self.context + 1), dtype=np.int64)
        for row, start in zip(rows, self.starts(first, count).tolist(), strict=True):
            stretch = self._tokens[start : start + self.context + 1]
            row[: stretch.size] = stretch
            if stretch.size < row.size:  # over the seam of the ring
                row[stretch.size :] = self._tokens[: row.size - stretch.size]
        return rows[:, :-1], rows[:, 1:]

    def starts(self, first: int, count: int) -> NDArray[np.int64]:
        """(count,) positions in the text at which the windows begin."""
        index = np.arange(first, first + count, dtype=np.uint64)
        epoch, place = np.divmod(index, np.uint64(self.num_windows))
        starts = np.empty(count, dtype=np.int64)
        for e in np.unique(epoch).tolist():
            mine = epoch == e
            window = permuted(place[mine], self.num_windows, drawn_by=key(self._seed, e, 0))
            offset = key(self._seed, e, 1) % len(self._tokens)
            starts[mine] = (window.astype(np.int64) * self.context + offset) % len(self._tokens)
        return starts


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
