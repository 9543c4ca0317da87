"""Measures of repeated wording, and of the commonest English words, over the words that near-duplicates are found by.

Top n-gram characters: the share of the bytes in the most frequent n words in a row, which occur at least twice; of
several that are equally frequent, the longest. Gopher's rules (Rae et al. 2021, table A1) for n of 2 to 4.

Duplicate n-gram characters: the share of the bytes that lie in a second or later occurrence of n words in a row.

n + 1 words can only occur twice where the first n and the last n of them do. So only the pairs of words are looked
through in full, and each longer n-gram among the repetitions of those one word shorter.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed
from talweg.corpus.quality.layout import Index, Shares, share
from talweg.corpus.words import ODD, Words, ngrams
from talweg.corpus.words import words as find_words

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher's
SLOTS = 8  # of the table that sorts out what occurs once, for each n-gram: an eighth of those that do pass it


def repetition(words: Words, num_bytes: Index) -> dict[str, Shares]:
    """num_bytes (D,): of each document."""
    measures = _stop_words(words, num_bytes.size)
    hashes, first = ngrams(words, 2)
    repeated = _grouped(hashes ^ mixed(words.document[first].astype(np.uint64)), first)
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
    """The n-grams that occur at least twice in their document: R occurrences, equal ones together, in their order."""

    at: Index  # (R,) the first word of each occurrence
    kind: Index  # (R,) equal for equal n-grams of one document, ascending
    again: NDArray[np.bool_]  # (R,) whether it is the second or a later one


def _grouped(keys: NDArray[np.uint64], at: Index) -> Repeated:
    """The occurrences whose key occurs at least twice. keys: well mixed; at: ascending."""
    candidates = _perhaps_twice(keys)
    keys, at = keys[candidates], at[candidates]
    # One sort of single numbers: the upper bits of the key, and below them the place.
    bits = np.uint64(max(keys.size, 1).bit_length())
    packed = np.sort(keys >> bits << bits | np.arange(keys.size, dtype=np.uint64))
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    again = np.append(False, same)
    kept = np.flatnonzero(again | np.append(same, False)) if keys.size else np.empty(0, dtype=np.int64)
    again = again[kept]
    return Repeated(at[order[kept]], np.cumsum(~again) - 1, again)


def _perhaps_twice(keys: NDArray[np.uint64]) -> Index:
    """All places whose key occurs twice, and a few others, ascending: those that share a slot of a table."""
    size = 1 << (SLOTS * max(keys.size, 1)).bit_length()
    slot = (keys & np.uint64(size - 1)).astype(np.int64)
    place = np.arange(keys.size, dtype=np.int32)
    last = np.empty(size, dtype=np.int32)
    last[slot] = place
    shared = np.zeros(size, dtype=bool)
    shared[slot[last[slot] != place]] = True
    return np.flatnonzero(shared[slot])


def _longer(repeated: Repeated, words: Words) -> Repeated:
    """The same for n-grams one word longer."""
    kind = np.full(words.hashes.size + 1, -1, dtype=np.int64)
    kind[repeated.at] = repeated.kind
    at = np.sort(repeated.at)
    at = at[kind[at + 1] >= 0]
    return _grouped(mixed(kind[at].astype(np.uint64) * ODD + kind[at + 1].astype(np.uint64)), at)


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
    at = np.sort(repeated.at[repeated.again])
    ends, begins = words.ends[at + n - 1], words.starts[at]
    begins[1:] = np.maximum(begins[1:], ends[:-1])
    covered = np.bincount(words.document[at], weights=ends - begins, minlength=num_bytes.size)
    return share(covered, num_bytes)
