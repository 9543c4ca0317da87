"""Plain text as documents.

A file is one document, but: a line that is nothing but `<|endoftext|>` ends a document, and is part of none; and a
document of more than 64 kB is cut into several of 16 to 64 kB, at a blank line where there is one, else at the end of a
line, else at white space, so that one large file can be shuffled and split too. Nothing else is changed: the documents
joined are the file without those lines. Of a large file that is not compressed each stretch of 64 MB begins a document.
"""

from collections.abc import Iterator

import numpy as np

from talweg.corpus.inputs import streams
from talweg.corpus.inputs.source import BATCH_BYTES, BATCH_ROWS, Batch, Damage, DamageError, Piece, Source
from talweg.corpus.strings import from_bytes

SEPARATOR = b"<|endoftext|>"
SHORTEST, LONGEST = 16_000, 64_000  # bytes of a document that is cut. Our choice: several windows of any context
WHITE_SPACE = (b" ", b"\t")


def read(source: Source, piece: Piece, damage: Damage) -> Iterator[Batch]:
    """The documents of a piece. Raises InputError where the file cannot be read, or is damaged and that is fatal."""
    texts: list[bytes] = []
    num_bytes, first = 0, 0
    for text in _told(source, piece, damage):
        texts.append(text)
        num_bytes += len(text)
        if num_bytes >= BATCH_BYTES or len(texts) >= BATCH_ROWS:
            yield _batch(texts, first)
            first, num_bytes, texts = first + len(texts), 0, []
    if texts:
        yield _batch(texts, first)


def _batch(texts: list[bytes], first: int) -> Batch:
    return Batch(from_bytes(texts), {}, np.arange(first, first + len(texts), dtype=np.int64))


def _told(source: Source, piece: Piece, damage: Damage) -> Iterator[bytes]:
    """The documents up to damage, and the part that was read of the one in which it lies."""
    read_bytes = 0

    def parts() -> Iterator[bytes]:
        nonlocal read_bytes
        try:
            for part in streams.parts(source, piece):
                read_bytes += len(part)
                yield part
        except DamageError as reason:
            damage.found(
                f"{source.url}, after {read_bytes:,} bytes of text: {reason}; from there on nothing can be read"
            )

    return documents(parts())


def documents(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Text that comes in parts of any size, as documents: the same whatever the parts. None is empty."""
    document = b""
    for section, ends in _sections(parts):
        document += section
        start = 0
        while len(document) - start > LONGEST:
            cut = _cut(document, start)
            yield document[start:cut]
            start = cut
        document = document[start:]
        if ends and document:
            yield document
            document = b""
    if document:
        yield document


def _sections(parts: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The text without the lines that separate documents, and whether one of them stood after it."""
    pending, fresh = b"", True  # the last line, still without its end; whether it is there from its beginning
    for part in parts:
        pending += part
        end = pending.rfind(b"\n") + 1
        if end:
            yield from _split(pending[:end], fresh)
            pending, fresh = pending[end:], True
        elif len(pending) > LONGEST:
            yield pending, False
            pending, fresh = b"", False
    yield from _split(pending, fresh)


def _split(lines: bytes, fresh: bool) -> Iterator[tuple[bytes, bool]]:
    start = looked = 0
    while (at := lines.find(SEPARATOR, looked)) >= 0:
        looked = at + len(SEPARATOR)
        end = next((mark for mark in (b"\r\n", b"\n") if lines.startswith(mark, looked)), None)
        if end is None and lines[looked:] in (b"", b"\r"):
            end = lines[looked:]
        if end is None or not (lines[at - 1 : at] == b"\n" if at else fresh):
            continue
        yield lines[start:at], True
        start = looked = looked + len(end)
    yield lines[start:], False


def _cut(text: bytes, start: int) -> int:
    """Where a document of more than LONGEST bytes that begins at start is cut."""
    low, high = start + SHORTEST, start + LONGEST
    for marks in ((b"\n\n", b"\n\r\n"), (b"\n",), WHITE_SPACE):
        found = max((at + len(mark) for mark in marks if (at := text.rfind(mark, low, high)) >= 0), default=0)
        if found:
            return found
    while high > start + LONGEST - 3 and text[high] & 0xC0 == 0x80:  # not within a character
        high -= 1
    return high
