"""Words of many documents at once, as 64-bit hashes: what near-duplicates and repetition are counted in.

A word is a maximal run of ASCII letters, digits and characters beyond ASCII, its ASCII letters in lower case. Unicode's
General Punctuation and CJK Symbols and Punctuation part words as ASCII's does, so that curly quotes or straight ones
make no difference. FineWeb's MinHash lowers the case and drops punctuation too; it also writes every number as 0. Here
digits stay as they are: tables, exercises and changelogs that differ in nothing but numbers are different texts.

What comes out for a document is a function of its bytes alone, whatever stands before and after it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed

SEPARATOR = 0
LETTERS = bytes(
    ord(chr(byte).lower()) if byte < 128 and chr(byte).isalnum() else byte if byte >= 128 else SEPARATOR
    for byte in range(256)
)
# U+2000 .. U+203F and U+3000 .. U+303F are three bytes each: one of these, 0x80, and any other.
PUNCTUATION, PUNCTUATION_NEXT = (0xE2, 0xE3), 0x80
CHUNK = 8  # bytes hashed at once
BLOCK = 1 << 14  # words, or n-grams, at work at once: their arrays stay in the second-level cache
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio


@dataclass(frozen=True, eq=False)
class Words:
    """Words in the order of the text; W of them."""

    hashes: NDArray[np.uint64]  # (W,) equal for equal words
    document: NDArray[np.int64]  # (W,) which document each is in, ascending
    starts: NDArray[np.int64]  # (W,) where in data it begins
    ends: NDArray[np.int64]  # (W,) where it is over


def words(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> Words:
    """All words of documents of UTF-8.

    data, ends (documents + 1,): document d is data[ends[d] : ends[d + 1]].
    """
    first, last = int(ends[0]), int(ends[-1])
    bounds = ends - first
    letters = _letters(data[first:last])
    starts, until = _runs(letters[: last - first] != SEPARATOR, bounds)
    hashes = _hashes(letters.view("<u8"), starts, until - starts)
    document = np.repeat(np.arange(ends.size - 1), np.diff(np.searchsorted(starts, bounds)))
    return Words(hashes, document, starts + first, until + first)


def ngrams(words: Words, n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hash of each n consecutive words of one document, and the index of the first of them, ascending."""
    count = max(words.hashes.size - n + 1, 0)
    inside = words.document[:count] == words.document[n - 1 : n - 1 + count]
    hashes = np.empty(count, dtype=np.uint64)
    for begin in range(0, count, BLOCK):
        block = words.hashes[begin : begin + BLOCK + n - 1]
        size = block.size - n + 1
        total = block[:size]
        for k in range(1, n):
            total = total * ODD + block[k : k + size]
        hashes[begin : begin + size] = mixed(total)
    return hashes[inside], np.flatnonzero(inside)


def span_hashes(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of the bytes data[start:end] of each of these spans as they are."""
    padded = np.zeros((data.size // CHUNK + 2) * CHUNK, dtype=np.uint8)
    padded[: data.size] = data
    lengths = ends - starts
    hashes = np.zeros(starts.size, dtype=np.uint64)
    some = lengths > 0
    hashes[some] = _hashes(padded.view("<u8"), starts[some], lengths[some])
    return mixed(hashes + lengths.astype(np.uint64) * ODD)


def _letters(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The text with its case lowered and SEPARATOR for all that is in no word; 8 to 15 separators follow."""
    letters = np.zeros((data.size // CHUNK + 2) * CHUNK, dtype=np.uint8)
    letters[: data.size] = np.frombuffer(data.tobytes().translate(LETTERS), dtype=np.uint8)
    for lead in PUNCTUATION:
        found = np.flatnonzero(letters == lead)
        found = found[letters[found + 1] == PUNCTUATION_NEXT]
        for byte in range(3):
            letters[found + byte] = SEPARATOR
    return letters


def _runs(inside: NDArray[np.bool_], bounds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of True begins and is over; a run over a document's bound is two."""
    changes = np.empty(inside.size + 1, dtype=bool)
    changes[0], changes[-1] = inside[:1].any(), inside[-1:].any()
    np.not_equal(inside[1:], inside[:-1], out=changes[1:-1])
    places = np.flatnonzero(changes)
    within = np.unique(bounds[(bounds > 0) & (bounds < inside.size)])
    within = within[inside[within - 1] & inside[within]]
    starts, until = places[::2], places[1::2]
    if within.size:
        starts = np.insert(starts, np.searchsorted(starts, within), within)
        until = np.insert(until, np.searchsorted(until, within), within)
    return starts, until


def _hashes(chunks: NDArray[np.uint64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The sum over each word's chunks of eight bytes, mixed, each with its place: one to one up to eight letters."""
    hashes = np.empty(starts.size, dtype=np.uint64)
    for begin in range(0, starts.size, BLOCK):
        part = slice(begin, begin + BLOCK)
        hashes[part] = mixed(_chunk(chunks, starts[part], lengths[part]))
    long = np.flatnonzero(lengths > CHUNK)
    if not long.size:
        return hashes
    more = (lengths[long] - 1) // CHUNK  # chunks after the first
    begins = np.cumsum(more) - more
    place = np.arange(int(more.sum())) - np.repeat(begins, more) + 1
    at = np.repeat(starts[long], more) + CHUNK * place
    left = np.repeat(lengths[long], more) - CHUNK * place
    terms = mixed(_chunk(chunks, at, left) + place.astype(np.uint64) * ODD)
    hashes[long] += np.add.reduceat(terms, begins)
    return hashes


def _chunk(chunks: NDArray[np.uint64], at: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The bytes from `at` on, as many as are left but eight at most, as a little-endian number."""
    index, bits = at // CHUNK, (8 * (at % CHUNK)).astype(np.uint64)
    low = chunks[index] >> bits
    high = (chunks[index + 1] << np.uint64(1)) << (np.uint64(63) - bits)  # nothing at all where bits is 0
    unused = 64 - 8 * np.minimum(left, CHUNK)
    return (low | high) & (np.uint64(2**64 - 1) >> unused.astype(np.uint64))
