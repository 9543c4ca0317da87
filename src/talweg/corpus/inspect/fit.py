"""Whether tokens were made by this tokenizer: it would have joined what lies joinable side by side.

A tokenizer that merges pairs leaves few neighbours whose bytes together are one of its tokens. With another tokenizer's
file the ids name arbitrary tokens, and neighbours are as joinable as strangers:

    ratio = P(neighbours are joinable) / P(tokens drawn at random are)        no unit

near 0: made by it. Near 1: the ids mean something else.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.inspect.vocabulary import Vocabulary

SAMPLE = 100_000  # pairs
FEWEST_JOINABLE = 100  # at random: a vocabulary of bytes or characters joins nothing


def joinable_ratio(tokens: NDArray[Any], vocabulary: Vocabulary) -> float | None:
    """None where this vocabulary cannot tell: too few of its tokens are made of two others."""
    inside = tokens[: 4 * SAMPLE]
    inside = inside[(inside >= 0) & (inside < vocabulary.size)].astype(np.int64)
    if inside.size < 1000:
        return None
    rng = np.random.default_rng(0)
    at = rng.integers(0, inside.size - 1, SAMPLE)
    neighbours = _joinable(inside[at], inside[at + 1], vocabulary)
    strangers = _joinable(inside[at], inside[rng.integers(0, inside.size, SAMPLE)], vocabulary)
    if strangers < FEWEST_JOINABLE:
        return None
    return neighbours / strangers


def _joinable(first: NDArray[np.int64], second: NDArray[np.int64], vocabulary: Vocabulary) -> int:
    pieces, ids = vocabulary.pieces, vocabulary.ids
    visible = np.array([bool(piece.strip()) for piece in pieces])  # white space is cut by rule before it is merged
    seen = visible[first] & visible[second]
    return sum(pieces[a] + pieces[b] in ids for a, b in zip(first[seen].tolist(), second[seen].tolist(), strict=True))


def undecodable_share(tokens: NDArray[Any], vocabulary: Vocabulary) -> float:
    """Of the characters that these tokens decode to, those that are no UTF-8 (U+FFFD) or control characters."""
    pieces = vocabulary.pieces
    text = b"".join(pieces[i] if 0 <= i < len(pieces) else b"\xff" for i in tokens.tolist()).decode("utf-8", "replace")
    bad = sum(c == "\ufffd" or (c < " " and c not in "\n\t\r\f") for c in text)
    return bad / max(len(text), 1)
