"""Measures of repeated wording, and of the commonest English words, over the words that near-duplicates are found by.

Top n-gram characters: the share of the bytes in the most frequent n words in a row, which occur at least twice; of
several that are equally frequent, the longest. Gopher's rules (Rae et al. 2021, appendix A) for n of 2 to 4.

Duplicate n-gram characters: the share of the bytes that lie in a second or later occurrence of n words in a row.

n + 1 words can only occur twice where the first n and the last n of them do. So only the pairs of words are looked
through in full, and each longer n-gram among the repetitions of those one word shorter.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed
from talweg.corpus.quality.layout import Index, Shares, share
from talweg.corpus.words import Words, ngrams
from talweg.corpus.words import words as find_words

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher's
SLOTS = 2  # of a table, for each key
BLOCK = 1 << 15  # pairs of words, and no fewer than a document


def repetition(words: Words, num_bytes: Index) -> dict[str, Shares]:
    """num_bytes (D,): of each document."""
    measures = _stop_words(words, num_bytes.size)
    hashes, first = ngrams(words, 2)
    repeated = _grouped(_first_of_document(hashes, words.document[first]), first)
    for n in range(2, max(DUPLICATE) + 1):
        if n in TOP:
            measures[f"top_{n}gram_characters"] = _top(repeated, words, n, num_bytes)
        if n in DUPLICATE:
            measures[f"duplicate_{n}gram_characters"] = _duplicate(repeated, words, n, num_bytes)
        repeated = _longer(repeated, words)
    return measures


@cache
def _stop_hashes() -> NDArray[np.uint64]:
    text = np.frombuffer(" ".join(STOP_WORDS).encode(), dtype=np.uint8)
    return find_words(text, np.array([0, text.size])).hashes


def _stop_words(words: Words, documents: int) -> dict[str, Shares]:
    present, total = np.zeros(documents), np.zeros(documents)
    for stop in _stop_hashes():
        found = np.bincount(words.document[np.flatnonzero(words.hashes == stop)], minlength=documents)
        present += found > 0
        total += found
    return {
        "stop_words_present": present,
        "stop_word_share": share(total, np.bincount(words.document, minlength=documents)),
    }


@dataclass(frozen=True, eq=False)
class Repeated:
    """The n-grams that occur at least twice in their document: R occurrences, in the order of the text."""

    at: Index  # (R,) the first word of each occurrence
    kind: Index  # (R,) equal for equal n-grams of one document
    again: NDArray[np.bool_]  # (R,) whether it is the second or a later one


def _grouped(first: Index, at: Index) -> Repeated:
    """The occurrences that have an equal. first: for each the place of the first equal one; at: ascending."""
    repeated = np.flatnonzero(np.bincount(first, minlength=1).take(first) > 1)
    kind = first.take(repeated)
    return Repeated(at[repeated], kind, kind != repeated)


def _first_of_document(hashes: NDArray[np.uint64], document: Index) -> Index:
    """`_first_equal` within documents: some at a time, so that the table stays in the second-level cache."""
    keys = hashes ^ mixed(document.astype(np.uint64))
    begins = np.flatnonzero(np.diff(document, prepend=-1))
    cuts = np.append(begins[np.diff(begins // BLOCK, prepend=-1) > 0], keys.size)
    first = np.empty(keys.size, dtype=np.int64)
    for begin, end in pairwise(cuts):
        first[begin:end] = _first_equal(keys[begin:end]) + begin
    return first


def _first_equal(keys: NDArray[np.uint64]) -> Index:
    """For each key the place of the first that is equal to it: sorting 64-bit numbers takes several times as long.

    Of the keys that fall into one slot of a table the first takes it, with all its equals; the others try again.
    """
    size = 1 << (SLOTS * keys.size).bit_length()
    slot = (keys & np.uint64(size - 1)).view(np.int64)
    table = np.empty(size, dtype=np.int64)
    table[slot[::-1]] = np.arange(keys.size - 1, -1, -1)  # of several values for one slot, the last is what stays
    first = table.take(slot)
    others = np.flatnonzero(keys.take(first) != keys)
    if others.size:
        first[others] = others[_first_equal(mixed(keys[others]))]
    return first


def _longer(repeated: Repeated, words: Words) -> Repeated:
    """The same for n-grams one word longer."""
    kind = np.full(words.hashes.size + 1, -1)
    kind[repeated.at] = repeated.kind
    next_kind = kind[repeated.at + 1]
    both = np.flatnonzero(next_kind >= 0)
    pair = repeated.kind[both].astype(np.uint64) << np.uint64(32) | next_kind[both].astype(np.uint64)
    return _grouped(_first_equal(mixed(pair)), repeated.at[both])


def _top(repeated: Repeated, words: Words, n: int, num_bytes: Index) -> Shares:
    document = words.document[repeated.at]
    count = np.bincount(repeated.kind)[repeated.kind]
    most, longest = np.zeros(num_bytes.size, dtype=np.int64), np.zeros(num_bytes.size, dtype=np.int64)
    np.maximum.at(most, document, count)
    top = np.flatnonzero(count == most[document])
    at = repeated.at[top]
    np.maximum.at(longest, document[top], words.ends[at + n - 1] - words.starts[at])
    return np.minimum(share(most * longest, num_bytes), 1.0)


def _duplicate(repeated: Repeated, words: Words, n: int, num_bytes: Index) -> Shares:
    at = repeated.at[repeated.again]
    ends, begins = words.ends[at + n - 1], words.starts[at]
    begins[1:] = np.maximum(begins[1:], ends[:-1])
    covered = np.bincount(words.document[at], weights=ends - begins, minlength=num_bytes.size)
    return share(covered, num_bytes)
