"""What an evaluation knows beside its mean: the loss of each document, by place in the window, by frequency of token.

Axes: W windows, S positions of a window, G documents.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.files import replacing

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Documents:
    """Losses by document, to compare two runs on the same documents (a pair differs far less than two documents do)."""

    number: NDArray[np.int64]  # (G,) the document's place in the validation text
    nats: Floats  # (G,) the sum over its evaluated tokens
    tokens: NDArray[np.int64]  # (G,) how many those are


@dataclass(frozen=True)
class Bin:
    """Tokens of one kind, and their mean loss."""

    low: int  # the bin holds low .. high, both included
    high: int
    tokens: int
    nats: float


def by_document(
    losses: Floats,  # (W, S) nats
    document: NDArray[np.int64],  # (W, S)
    counted: NDArray[np.bool_],  # (W, S)
) -> Documents:
    """Sums over the counted tokens of each document."""
    number, index = np.unique(document[counted], return_inverse=True)
    return Documents(number, np.bincount(index, weights=losses[counted]).astype(np.float64), np.bincount(index))


def save(path: Path, documents: Documents) -> None:
    """An .npz with the arrays of `Documents`; nats as float32 keep seven digits. InputError: the disk refuses it."""
    try:
        with replacing(path) as file:
            np.savez(
                file,
                number=documents.number,
                nats=documents.nats.astype(np.float32),
                tokens=documents.tokens.astype(np.int32),
            )
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror or error}; free some space") from None


def load(path: Path) -> Documents:
    with np.load(path, allow_pickle=False) as arrays:
        return Documents(arrays["number"], arrays["nats"].astype(np.float64), arrays["tokens"].astype(np.int64))


def by_position(losses: Floats, counted: NDArray[np.bool_]) -> list[Bin]:
    """Positions 0, 1, 2-3, 4-7, ... of the window, counted from 0: position p predicts from p + 1 tokens."""
    position = np.broadcast_to(np.arange(losses.shape[1]), losses.shape)
    return _binned(losses[counted], position[counted])


def by_frequency(
    losses: Floats,
    targets: NDArray[np.int64],  # (W, S) negative: not counted
    counts: NDArray[np.int64],  # (V,) how often each token stands in the training text
) -> list[Bin]:
    """Tokens that the training text holds 0, 1, 2-3, 4-7, ... times."""
    counted = targets >= 0
    return _binned(losses[counted], counts[targets[counted]])


def _binned(losses: Floats, value: NDArray[np.int64]) -> list[Bin]:
    """Means over values 0, 1, 2-3, 4-7, ...; bins without a token are left out."""
    number = np.where(value > 0, np.frexp(value.astype(np.float64))[1], 0)
    tokens = np.bincount(number)
    nats = np.bincount(number, weights=losses)
    edges = [(0, 0)] + [(1 << k, (2 << k) - 1) for k in range(tokens.size - 1)]
    pairs = zip(edges, tokens, nats, strict=True)
    return [Bin(low, high, int(n), float(s / n)) for (low, high), n, s in pairs if n]
