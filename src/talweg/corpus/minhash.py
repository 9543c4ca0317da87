"""MinHash signatures of documents, fast: how near-duplicates are found without comparing all pairs.

The shingles of a document are the hashes of its 5 words in a row. A signature has 112 cells; two documents agree in a
cell with a probability equal to the Jaccard similarity J of their sets of shingles. Bands of 8 cells are hashed, and
documents meet that agree in any of 14 bands: a chance of 1 - (1 - J^8)^14, a half at J = 0.72. Shingles, bands
and rows are FineWeb's (Penedo et al. 2024, The FineWeb Datasets).

The plain way hashes every shingle 112 times. Here each is hashed once, which throws it into one of the cells, and a
cell keeps the least hash of those thrown into it; cells that stay empty, in short documents, are filled by more throws
of the same kind, and at last by the plain way (Dahlgaard, Knudsen and Thorup 2017, Fast Similarity Sketching; here with
fewer throws). A cell's value is that of the shingle that comes first in an order of (throw, hash), the same for any
document: so the chance of agreement is J exactly, in short documents too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed
from talweg.corpus.words import ODD, Words, ngrams, span_hashes, words

SHINGLE = 5  # words
BANDS, ROWS = 14, 8
CELLS = BANDS * ROWS
# Share of equal cells. Our choice: of the edges in the text of notes/near.md it drops all 52 of J < 0.5 and none of the
# 70 of J >= 0.8, for 0.016 of the recall at J = 0.76 and 0.001 at 0.91.
LEAST_AGREEMENT = 0.65
THROWS = 24  # then a document of 16 shingles has 4 empty cells of 112 left. Affects speed, and every signature
BLOCK = 1 << 16  # shingles at work at once
SALTS = np.arange(THROWS + CELLS, dtype=np.uint64) * ODD
EMPTY = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class Signatures:
    """Of D documents, in their order."""

    bands: NDArray[np.uint64]  # (D, BANDS) the hash of each band: equal where all its cells are
    sketches: NDArray[np.uint8]  # (D, CELLS) eight bits of each cell, for `alike`
    num_shingles: NDArray[np.int64]  # (D,) 0 for a document without words


def signatures(data: NDArray[np.uint8], ends: NDArray[np.int64], found: Words | None = None) -> Signatures:
    """The signatures of documents of UTF-8: document d is data[ends[d] : ends[d + 1]], ends (D + 1,).

    found: the words of these documents, where they are known already. Under 5 words, all of them are one shingle.
    Without any word the bytes themselves are: such documents, empty ones too, meet where they are equal.
    """
    hashes, counts, num_words = _shingles(data, ends, found if found is not None else words(data, ends))
    bounds = np.append(0, np.cumsum(counts))
    bands = np.empty((counts.size, BANDS), dtype=np.uint64)
    sketches = np.empty((counts.size, CELLS), dtype=np.uint8)
    first = 0
    while first < counts.size:
        until = max(first + 1, int(np.searchsorted(bounds, bounds[first] + BLOCK, side="right")) - 1)
        table = cells(hashes[bounds[first] : bounds[until]], counts[first:until])
        bands[first:until] = _band_hashes(table)
        sketches[first:until] = table.astype(np.uint8)
        first = until
    return Signatures(bands, sketches, np.where(num_words > 0, counts, 0))


def alike(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(pairs,) whether the sketches of each pair, (pairs, CELLS), agree in enough cells to be near-duplicates."""
    agreement: NDArray[np.float64] = (left == right).mean(axis=1)
    return agreement >= LEAST_AGREEMENT


def cells(hashes: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(documents, CELLS) of documents with so many shingles each, at least one, one document after another."""
    table = np.full(counts.size * CELLS, EMPTY)
    base = np.repeat(np.arange(counts.size) * CELLS, counts)  # where the document's cells begin
    for throw in range(THROWS):
        values = mixed(hashes + SALTS[throw])
        cell = base + (((values >> np.uint64(32)) * np.uint64(CELLS)) >> np.uint64(32)).astype(np.int64)
        if throw == 0:
            np.minimum.at(table, cell, values)
        else:
            free = np.flatnonzero(table[cell] == EMPTY)
            np.minimum.at(table, cell[free], values[free])
        unfinished = (table.reshape(-1, CELLS) == EMPTY).any(axis=1)
        if not unfinished.any():
            break
        kept = unfinished[base // CELLS]
        hashes, base = hashes[kept], base[kept]
    else:
        _fill(table, hashes, base)
    return table.reshape(-1, CELLS)


def _fill(table: NDArray[np.uint64], hashes: NDArray[np.uint64], base: NDArray[np.int64]) -> None:
    """The least hash of all the document's shingles in each empty cell, a function of hashes for each cell."""
    starts = np.flatnonzero(np.diff(base, prepend=-1))
    counts = np.diff(starts, append=base.size)
    document, cell = np.nonzero(table.reshape(-1, CELLS)[base[starts] // CELLS] == EMPTY)
    sizes = counts[document]
    begins = np.cumsum(sizes) - sizes
    shingle = np.arange(int(sizes.sum())) + np.repeat(starts[document] - begins, sizes)
    values = mixed(hashes[shingle] + np.repeat(SALTS[THROWS + cell], sizes))
    table[base[starts][document] + cell] = np.minimum.reduceat(values, begins)


def _band_hashes(table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    rows = table.reshape(-1, BANDS, ROWS)
    total = rows[:, :, 0]
    for row in range(1, ROWS):
        total = total * ODD + rows[:, :, row]
    return mixed(total)


def _shingles(
    data: NDArray[np.uint8], ends: NDArray[np.int64], found: Words
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Hashes of the shingles, one document after another; how many each has; how many words."""
    num_words = np.bincount(found.document, minlength=ends.size - 1)
    hashes, _ = ngrams(found, SHINGLE)
    counts = np.maximum(num_words - SHINGLE + 1, 0)
    short = np.flatnonzero(num_words < SHINGLE)
    if short.size:
        whole = np.empty(short.size, dtype=np.uint64)
        wordless = num_words[short] == 0
        whole[~wordless] = _short(found, num_words)
        whole[wordless] = mixed(~span_hashes(data, ends[short[wordless]], ends[short[wordless] + 1]))
        hashes = np.insert(hashes, (np.cumsum(counts) - counts)[short], whole)
        counts[short] = 1
    return hashes, counts, num_words


def _short(found: Words, num_words: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One shingle for each document that has words, but under 5."""
    size = num_words[found.document]
    index = np.flatnonzero(size < SHINGLE)
    if not index.size:
        return np.empty(0, dtype=np.uint64)
    starts = np.flatnonzero(np.diff(found.document[index], prepend=-1))
    sizes = size[index][starts]
    place = np.arange(index.size) - np.repeat(starts, sizes)
    powers = np.cumprod(np.full(SHINGLE, ODD))
    total = np.add.reduceat(found.hashes[index] * powers[place], starts)
    return mixed(total)
