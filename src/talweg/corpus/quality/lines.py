"""Measures of lines, paragraphs and sentences. Blank lines are not counted, and white space around a line is no part
of it. Shares of text are shares of its bytes.

A paragraph is what stands between blank lines. A sentence is a word that ends in . ! or ?, with quotes or a bracket
after it or not: a tokenizer of sentences would part "e.g. this" less often, and costs a hundred times as much.
"""

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import mixed
from talweg.corpus.quality.layout import Index, Layout, Shares, occurrences, share

Marks = NDArray[np.bool_]

SHORT_LINE = 30  # characters; FineWeb's published code
C4_WORDS = 3
ODD = np.uint64(0x9E3779B97F4A7C15)


def _table(characters: str) -> Marks:
    table = np.zeros(256, dtype=bool)
    table[[ord(character) for character in characters]] = True
    return table


def _number(character: str) -> int:
    return int.from_bytes(character.encode(), "big")


STOP, CLOSING, END = _table(".!?"), _table("\"')]*"), _table(".!?\"'")
WIDE_END = [_number(character) for character in "…’”。！？"]  # three bytes each
ELLIPSIS = _number("…")
BULLET = _table("-*")
WIDE_BULLET = [_number(character) for character in "•‣●"]


def lines(layout: Layout) -> dict[str, Shares]:
    text, num_lines = layout.text, layout.lines
    last, first = _three(text, layout.line_ends - 3), _three(text, layout.line_starts)
    ellipsis = (last == ELLIPSIS) | (last == _number("..."))
    ended = END[text[layout.line_ends - 1]] | np.isin(last, WIDE_END)
    bullet = BULLET[text[layout.line_starts]] | np.isin(first, WIDE_BULLET)
    beyond = np.flatnonzero((text & 0xC0) == 0x80)
    length = layout.line_ends - layout.line_starts
    length -= np.searchsorted(beyond, layout.line_ends) - np.searchsorted(beyond, layout.line_starts)
    mean = layout.sum_over_lines
    return {
        "lines": num_lines.astype(np.float64),
        "bullet_lines": share(mean(bullet), num_lines),
        "ellipsis_lines": share(mean(ellipsis), num_lines),
        "end_punctuation": share(mean(ended), num_lines),
        "short_lines": share(mean(length <= SHORT_LINE), num_lines),
        "words_per_line": share(layout.words, num_lines),
        "newlines_per_word": share(layout.newlines, layout.words),
        **_repeated(layout),
        **_c4(layout, ended & ~ellipsis),
        **_symbols(layout),
    }


def _three(text: NDArray[np.uint8], at: Index) -> NDArray[np.uint32]:
    """The three bytes from `at` on as a number; those before or after the text are zero or a line feed."""
    at = np.maximum(at, 0)
    last = text.size - 1
    parts = [text[np.minimum(at + place, last)].astype(np.uint32) for place in range(3)]
    return np.asarray(parts[0] << 16 | parts[1] << 8 | parts[2], dtype=np.uint32)


def _repeated(layout: Layout) -> dict[str, Shares]:
    """Second and later occurrences in one document: of lines, and of paragraphs, as sequences of lines."""
    line = _equal(layout)
    length = layout.line_ends - layout.line_starts
    again = _seen_before(layout.line_document, line)
    begins = np.flatnonzero(layout.line_after_blank)
    sizes = np.diff(np.append(begins, line.size))
    place = np.arange(line.size) - np.repeat(begins, sizes)
    term = mixed(line.astype(np.uint64) * ODD + place.astype(np.uint64))
    paragraph = np.add.reduceat(term, begins) if begins.size else term
    paragraph_bytes = np.add.reduceat(length, begins) if begins.size else length
    document = layout.line_document[begins]
    paragraph_again = _seen_before(document, paragraph)
    num_paragraphs = np.bincount(document, minlength=layout.documents)
    repeated = np.bincount(document, weights=paragraph_again, minlength=layout.documents)
    repeated_bytes = np.bincount(document, weights=paragraph_again * paragraph_bytes, minlength=layout.documents)
    return {
        "paragraphs": num_paragraphs.astype(np.float64),
        "duplicate_lines": share(layout.sum_over_lines(again), layout.lines),
        "duplicate_line_characters": share(layout.sum_over_lines(again * length), layout.num_bytes),
        "duplicate_paragraphs": share(repeated, num_paragraphs),
        "duplicate_paragraph_characters": share(repeated_bytes, layout.num_bytes),
    }


def _equal(layout: Layout) -> Index:
    """(L,) a number for each line, the same for the same bytes."""
    import pyarrow as pa

    if not layout.line_starts.size:
        return np.empty(0, dtype=np.int64)
    # Arrow's strings lie end to end: every other one is the white space between two lines.
    pieces = np.stack([layout.line_starts, layout.line_ends], axis=1).ravel()
    buffers = [None, pa.py_buffer(pieces), pa.py_buffer(layout.text)]
    array = pa.Array.from_buffers(pa.large_binary(), pieces.size - 1, buffers)
    return np.asarray(array.dictionary_encode().indices.to_numpy()[::2], dtype=np.int64)


def _seen_before(document: Index, value: NDArray[np.generic]) -> Marks:
    """Whether the same value stood earlier in the same document."""
    again = np.ones(value.size, dtype=bool)
    order = np.lexsort((value, document))  # stable: the first of equal ones stays first
    fresh = np.ones(value.size, dtype=bool)
    fresh[1:] = (value[order][1:] != value[order][:-1]) | (document[order][1:] != document[order][:-1])
    again[order[fresh]] = False
    return again


def _c4(layout: Layout, ended: Marks) -> dict[str, Shares]:
    """What C4 would keep: lines of three words that end in punctuation, without "javascript", and their sentences."""
    text = layout.text
    lower = text | np.uint8(0x20)
    script = occurrences(text, b"javascript", lower)
    starts, ends = layout.line_starts, layout.line_ends
    kept = ended & (layout.line_words >= C4_WORDS)
    kept &= np.searchsorted(script, ends) == np.searchsorted(script, starts)
    word_last = text[layout.word_ends - 1]
    before = text[layout.word_ends - 2]  # of a word of one byte: white space
    stops = layout.word_ends[STOP[word_last] | (CLOSING[word_last] & STOP[before])]
    sentences = np.searchsorted(stops, ends, side="right") - np.searchsorted(stops, starts, side="right")
    lorem = occurrences(text, b"lorem ipsum", lower)
    braces = np.flatnonzero(text == ord("{"))
    return {
        "c4_lines": share(layout.sum_over_lines(kept), layout.lines),
        "c4_sentences": layout.sum_over_lines(sentences * kept),
        "braces": layout.count(braces).astype(np.float64),
        "lorem_ipsum": layout.count(lorem).astype(np.float64),
        "javascript": layout.count(script).astype(np.float64),
    }


def _symbols(layout: Layout) -> dict[str, Shares]:
    """# and ellipses per word. An ellipsis is "…", or each three dots in a row."""
    dots = np.flatnonzero(layout.text == ord("."))
    fresh = np.ones(dots.size, dtype=bool)
    fresh[1:] = np.diff(dots) > 1
    begins = np.flatnonzero(fresh)
    threes = np.diff(np.append(begins, dots.size)) // 3
    several = np.flatnonzero(threes)
    at = np.repeat(dots[begins[several]], threes[several])
    ellipses = layout.count(at) + layout.count(occurrences(layout.text, "…".encode()))
    hashes = layout.count(np.flatnonzero(layout.text == ord("#")))
    return {
        "hash_signs_per_word": share(hashes, layout.words),
        "ellipses_per_word": share(ellipses, layout.words),
    }
