"""Words and lines of many documents, found once for all measures.

The documents are laid out with a line feed before each and after the last, so nothing runs over a document's end and
every line ends with one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]
Shares = NDArray[np.float64]

LINE_FEED = 10
WHITE_SPACE = (9, 10, 11, 12, 13, 32)
IS_WHITE = bytes(byte in WHITE_SPACE for byte in range(256))


@dataclass(frozen=True, eq=False)
class Layout:
    """D documents, W words (separated by ASCII white space), L lines that are not blank; all in order.

    Document d is text[bounds[d] + 1 : bounds[d + 1]]. Words and lines carry no white space around them.
    """

    text: Bytes
    bounds: Index  # (D + 1,) the line feeds around the documents
    num_bytes: Index  # (D,)
    word_starts: Index  # (W,)
    word_ends: Index  # (W,)
    words: Index  # (D,) in each document
    line_starts: Index  # (L,)
    line_ends: Index  # (L,)
    line_words: Index  # (L,)
    line_document: Index  # (L,)
    line_after_blank: NDArray[np.bool_]  # (L,) whether it begins a paragraph
    newlines: Index  # (D,)

    @property
    def documents(self) -> int:
        return self.num_bytes.size

    @property
    def lines(self) -> Index:
        """(D,) in each document."""
        return np.bincount(self.line_document, minlength=self.documents)

    def count(self, positions: Index) -> Index:
        """(D,) how many of these ascending positions in `text` lie in each document."""
        return np.diff(np.searchsorted(positions, self.bounds + 1))

    def sum_over_lines(self, values: NDArray[np.generic]) -> Shares:
        weights = values.astype(np.float64)
        return np.bincount(self.line_document, weights=weights, minlength=self.documents).astype(np.float64)

    def sum_over_words(self, values: Index) -> Index:
        total = np.concatenate([[0], np.cumsum(values)])
        until = np.cumsum(self.words)
        return np.asarray(total[until] - total[until - self.words])


def share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Shares:
    """part / whole; 0 where there is nothing to take a share of."""
    total = np.asarray(whole, dtype=np.float64)
    return np.asarray(np.divide(part, total, out=np.zeros(part.shape), where=total > 0), dtype=np.float64)


def laid_out(data: Bytes, ends: Index) -> Layout:
    """Documents of UTF-8: document d is data[ends[d] : ends[d + 1]]."""
    first, last = int(ends[0]), int(ends[-1])
    text = np.insert(data[first:last], ends - first, np.uint8(LINE_FEED))
    bounds = ends - first + np.arange(ends.size)
    white = np.frombuffer(text.tobytes().translate(IS_WHITE), dtype=np.bool_)
    word_starts = np.flatnonzero(white[:-1] & ~white[1:]) + 1
    word_ends = np.flatnonzero(~white[:-1] & white[1:]) + 1
    feeds = np.flatnonzero(text == LINE_FEED)
    first_word = np.searchsorted(word_starts, feeds)
    words_in = np.diff(first_word)
    filled = np.flatnonzero(words_in)
    line_document = np.searchsorted(bounds, feeds[filled], side="right") - 1
    apart = np.diff(filled, prepend=-2) > 1
    apart[1:] |= np.diff(line_document) > 0
    return Layout(
        text=text,
        bounds=bounds,
        num_bytes=np.diff(ends),
        word_starts=word_starts,
        word_ends=word_ends,
        words=np.diff(np.searchsorted(word_starts, bounds)),
        line_starts=word_starts[first_word[filled]],
        line_ends=word_ends[first_word[filled + 1] - 1],
        line_words=words_in[filled],
        line_document=line_document,
        line_after_blank=apart,
        newlines=np.diff(np.searchsorted(feeds, bounds)) - 1,
    )


def occurrences(text: Bytes, pattern: bytes, lower: Bytes | None = None) -> Index:
    """Where `pattern` begins; in `lower`, the text with bit 5 set, a pattern of lower-case letters finds capitals too.

    A pattern holds no line feed, so the last byte of `text` ends every search.
    """
    searched = text if lower is None else lower
    found = np.flatnonzero((searched[:-1] == pattern[0]) & (searched[1:] == pattern[1]))
    for place, byte in enumerate(pattern[2:], 2):
        found = found[searched[found + place] == byte]
    return found
