"""Whether the text changes along the file: drift of its token frequencies beyond what pieces in any order would show.

The file is cut into PARTS stretches. Their frequencies p_k (the most usual tokens each, the others in as many classes)
are apart by the Jensen-Shannon divergence

    J = H(mean p) - mean H(p_k)        nats per token

and the same is computed after the pieces, whole documents where there are separators, were dealt to the parts at
random. The excess of J over the mean of those is the drift: what a model of frequencies loses when it expects the whole
text and meets one part of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = 16
PIECE = 1 << 13  # tokens, at least; longer where a document is
USUAL, CLASSES = 1024, 256  # tokens counted singly, and classes for the others
DEALS = 20
MOST_PIECES = 2048
FEWEST_PIECES = 8  # in a part: fewer cannot be dealt


@dataclass(frozen=True)
class Drift:
    """nats: excess over pieces dealt at random; chance: mean of those; p_value: of deals, those as far apart."""

    nats: float
    chance: float
    p_value: float


class Order:
    """Frequencies of pieces, added in the order of the file."""

    def __init__(self, separator_id: int | None, num_tokens: int) -> None:
        """num_tokens: that will be added; of more than MOST_PIECES pieces some are passed over, evenly."""
        self._separator, self._every = separator_id, max(1, num_tokens // PIECE // MOST_PIECES)
        self._class_of: NDArray[np.int64] | None = None
        self._rows: list[NDArray[np.int64]] = []

    def add(self, tokens: NDArray[Any]) -> None:
        """A contiguous block: (T,)."""
        if self._class_of is None:
            self._class_of = _classes(tokens)
        inside = np.minimum(tokens, self._class_of.size - 1)
        classes = self._class_of[inside]
        cuts = np.arange(PIECE, tokens.size, PIECE)
        if self._separator is not None:
            ends = np.flatnonzero(tokens == self._separator) + 1
            if ends.size:
                cuts = np.unique(ends[np.minimum(np.searchsorted(ends, cuts), ends.size - 1)])
        for piece in np.split(classes, cuts)[:: self._every]:
            if piece.size >= PIECE // 2:
                self._rows.append(np.bincount(piece, minlength=USUAL + CLASSES))

    def drift(self) -> Drift | None:
        """None where there are too few pieces."""
        pieces = np.array(self._rows, dtype=np.float64)
        if len(pieces) < PARTS * FEWEST_PIECES:
            return None
        found = _apart(pieces, np.arange(len(pieces)))
        rng = np.random.default_rng(0)
        dealt = np.array([_apart(pieces, rng.permutation(len(pieces))) for _ in range(DEALS)])
        chance = float(dealt.mean())
        return Drift(max(found - chance, 0.0), chance, float((1 + np.sum(dealt >= found)) / (1 + DEALS)))


def _classes(tokens: NDArray[Any]) -> NDArray[np.int64]:
    """(V,) the class of each token, from the frequencies of a first block."""
    counts = np.bincount(tokens, minlength=1 << 16)
    class_of = USUAL + np.arange(counts.size) % CLASSES
    usual = np.argsort(-counts, kind="stable")[:USUAL]
    class_of[usual] = np.arange(usual.size)
    return class_of


def _apart(pieces: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    """J of PARTS stretches of the pieces in this order, in nats."""
    member = np.zeros((PARTS, len(pieces)))
    member[np.arange(len(pieces)) * PARTS // len(pieces), order] = 1.0
    parts = member @ pieces
    weight = parts.sum(axis=1) / parts.sum()
    return _entropy(parts.sum(axis=0)) - float(np.sum(weight * [_entropy(part) for part in parts]))


def _entropy(counts: NDArray[np.float64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
