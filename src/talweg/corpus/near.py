"""From bands to clusters of near-duplicates: documents that agree in a band belong together, and all that follows.

One band of all documents is in memory at a time. A cluster goes by its lowest document, the first in the order of the
input: it is the copy to keep. The answer is a function of the bands alone, whatever the order of the edges.

Bands alone also join pages made from one template: two documents of J = 0.5 meet in one of 20 cases, and among 25 such
pages everyone finds somebody. So pairs may be tried by their sketches before they count (`minhash.alike`).
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 20  # documents at work at once where all are gone through
PAIRS = 1 << 16  # tried at once
TRIES = 8  # our choice: keeps the time in proportion to the documents

Alike = Callable[[NDArray[np.int64]], NDArray[np.bool_]]  # of pairs of documents (E, 2), whether each is to stand: (E,)


def edges(
    band: NDArray[np.uint64], present: NDArray[np.bool_] | None = None, alike: Alike | None = None
) -> NDArray[np.int64]:
    """(E, 2) each document after an earlier one that has the same hash in this band, by the later one, ascending.

    band (D,) hashes. Documents that are not present, such as empty ones, meet nobody. alike says of pairs whether they
    are near-duplicates in truth: each document is tried with the lowest of its hash, and those that are unlike it again
    among themselves, TRIES times. Needs 9 bytes a document beside band, and those of the edges.
    """
    which = _repeated(band, present)
    which = which[np.argsort(band[which], kind="stable")]  # by hash, then by document
    found = [np.empty((0, 2), dtype=np.int64)]
    for _ in range(TRIES):
        new = np.ones(which.size, dtype=bool)
        new[1:] = band[which[1:]] != band[which[:-1]]
        pairs = np.column_stack([which[new][np.cumsum(new) - 1], which])[~new]
        if alike is None:
            found.append(pairs)
            break
        blocks = [alike(pairs[begin : begin + PAIRS]) for begin in range(0, len(pairs), PAIRS)]
        good = np.concatenate([np.empty(0, dtype=bool), *blocks])
        found.append(pairs[good])
        which = pairs[~good, 1]
    joined = np.concatenate(found)
    return joined[np.argsort(joined[:, 1])]


def _repeated(band: NDArray[np.uint64], present: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """All present documents whose hash another has, ascending, and a few others.

    One sort of numbers that hold a document's index in their low bits and as much of its hash as fits above.
    """
    low = np.uint64((1 << max(band.size - 1, 1).bit_length()) - 1)
    packed = band & ~low
    for begin in range(0, band.size, BLOCK):
        part = packed[begin : begin + BLOCK]
        part |= np.arange(begin, begin + part.size, dtype=np.uint64)
    if present is not None:
        packed = packed[present]
    packed.sort()
    same = np.zeros(packed.size + 1, dtype=bool)
    for begin in range(1, packed.size, BLOCK):
        part = packed[begin - 1 : begin + BLOCK]
        same[begin : begin + part.size - 1] = (part[1:] ^ part[:-1]) <= low
    found = packed[same[1:] | same[:-1]] & low
    found.sort()
    return found.astype(np.int64)


def clusters(num_documents: int, edges: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(D,) the lowest document that each can be reached from over edges (E, 2), itself where there is none.

    Every root hooks onto the least root it has an edge to, and paths are halved until they are flat: two such rounds
    at least halve the roots of a component that is not yet one. Needs 8 bytes a document, and those of one array of
    edges six times.
    """
    parent = np.arange(num_documents)
    for pairs in edges:
        _join(parent, pairs[:, 0], pairs[:, 1])
    for begin in range(0, num_documents, BLOCK):  # a parent is never after its child, so what is before is flat
        _roots(parent, np.arange(begin, min(begin + BLOCK, num_documents)))
    return parent


def _join(parent: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    while True:
        left, right = _roots(parent, left), _roots(parent, right)
        apart = left != right
        if not apart.any():
            return
        left, right = left[apart], right[apart]
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))  # any but the least: rounds without end


def _roots(parent: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the paths from these documents end; from now on their parents."""
    while True:
        up = parent[documents]
        upper = parent[up]
        if np.array_equal(up, upper):
            return up
        parent[documents] = upper
