"""Measures of characters: which kinds a document is made of, and how much of it is the debris of a wrong decoding.

Mojibake is UTF-8 that was read as Latin-1 or Windows-1252 and written as UTF-8 once more: "é" became "Ã©", "’" became
"â€™". Undone, such a pair or triple of characters is the lead byte of a UTF-8 sequence and as many continuation bytes
as it announces; hardly any language writes those characters beside one another.
"""

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.quality.layout import Index, Layout, Shares, share

# Windows-1252's characters for the bytes 0x80 .. 0x9F; the other continuation bytes stand for themselves.
WINDOWS_1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
CONTINUATION = np.zeros(0x10000, dtype=bool)
CONTINUATION[0x80:0xC0] = True
CONTINUATION[[ord(character) for character in WINDOWS_1252]] = True
FOLLOWERS = np.zeros(0x10000, dtype=np.int8)  # continuation bytes that a character announces, taken for a byte
FOLLOWERS[0xC2:0xDF] = 1  # not 0xDF: German writes "ß»"
FOLLOWERS[0xE0:0xF0] = 2
FOLLOWERS[0xF0:0xF5] = 3
REPLACEMENT = 0xFFFD
ALLOWED_CONTROLS = (9, 10, 11, 12, 13)
LAST_C0, DELETE = 0x1F, 0x7F
LONG_WORD = 40  # bytes; our choice: few words of any language, and lines of base64 have 64 or 76


def characters(layout: Layout) -> dict[str, Shares]:
    text = layout.text
    beyond = np.flatnonzero(text >= 0x80)  # bytes that are no ASCII
    values = text[beyond]
    leads, code, width = _code_points(text, beyond[values >= 0xC0])
    continuations = layout.count(beyond[values < 0xC0])
    num_characters = layout.num_bytes - continuations
    controls = np.flatnonzero((text <= LAST_C0) | (text == DELETE))
    controls = controls[~np.isin(text[controls], ALLOWED_CONTROLS)]
    c1 = leads[(code >= 0x80) & (code < 0xA0)]
    damaged = _mojibake(leads, code, width)
    digits = np.flatnonzero((text - np.uint8(ord("0"))) < 10)
    black = layout.sum_over_words(layout.word_ends - layout.word_starts)
    return {
        "bytes": layout.num_bytes.astype(np.float64),
        "characters": num_characters.astype(np.float64),
        "words": layout.words.astype(np.float64),
        "mean_word_length": share(black - continuations, layout.words),
        "words_with_letter": share(layout.words - _letterless(layout), layout.words),
        "long_words": share(_long(layout, beyond), layout.num_bytes),
        "control_characters": share(layout.count(controls) + layout.count(c1), num_characters),
        "replacement_characters": share(layout.count(leads[code == REPLACEMENT]), num_characters),
        "mojibake": share(layout.count(damaged), num_characters),
        "non_ascii": share(layout.count(leads), num_characters),
        "digits": share(layout.count(digits), num_characters),
    }


def _code_points(text: NDArray[np.uint8], leads: Index) -> tuple[Index, NDArray[np.uint16], Index]:
    """Where the characters beyond ASCII begin, their code points (0: above U+FFFF) and their bytes."""
    lead = text[leads].astype(np.uint16)
    last = text.size - 1
    width = 2 + (lead >= 0xE0).astype(np.int64) + (lead >= 0xF0)
    second, third = text[np.minimum(leads + 1, last)] & 0x3F, text[np.minimum(leads + 2, last)] & 0x3F
    two = (lead & 0x1F) << 6 | second
    three = (lead & 0x0F) << 12 | second.astype(np.uint16) << 6 | third
    code = np.where(width == 2, two, np.where(width == 3, three, 0)).astype(np.uint16)
    return leads, code, width


def _mojibake(leads: Index, code: NDArray[np.uint16], width: Index) -> Index:
    """Where each character begins that belongs to a sequence decoded in the wrong way; ascending."""
    follows = np.zeros(code.size + 3, dtype=bool)  # whether a character is a continuation right after the one before
    follows[1 : code.size] = (leads[1:] == leads[:-1] + width[:-1]) & CONTINUATION[code[1:]]
    number = FOLLOWERS[code]
    at = np.flatnonzero(number)
    for place in (1, 2, 3):
        at = at[(number[at] < place) | follows[at + place]]
    damaged = np.zeros(code.size, dtype=bool)
    for place in range(4):
        damaged[at[number[at] >= place] + place] = True
    return leads[damaged]


def _letterless(layout: Layout) -> Index:
    """(D,) words without a letter: of digits and ASCII punctuation alone; what is beyond ASCII is a letter."""
    text = layout.text
    letters = ((text | np.uint8(0x20)) - np.uint8(ord("a")) < 26) | (text >= 0x80)
    candidates = np.flatnonzero(~letters[layout.word_starts] & ~letters[layout.word_ends - 1])
    starts, ends = layout.word_starts[candidates], layout.word_ends[candidates]
    white = (text == ord(" ")) | (text - np.uint8(9) < 5)
    others = np.flatnonzero(~(letters | white))
    within = np.searchsorted(others, ends) - np.searchsorted(others, starts)
    return layout.count(starts[within == ends - starts])


def _long(layout: Layout, beyond: Index) -> Index:
    """(D,) bytes in words of ASCII that are longer than LONG_WORD."""
    lengths = layout.word_ends - layout.word_starts
    at = np.flatnonzero(lengths > LONG_WORD)
    starts, ends = layout.word_starts[at], layout.word_ends[at]
    plain = np.searchsorted(beyond, ends) == np.searchsorted(beyond, starts)
    document = np.searchsorted(layout.bounds, starts, side="right") - 1
    return np.bincount(document[plain], weights=lengths[at][plain], minlength=layout.documents).astype(np.int64)
