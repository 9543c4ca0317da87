"""Bytes of a jsonl or text file as they were before compression, in UTF-8, and their lines."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from talweg.corpus.inputs import remote
from talweg.corpus.inputs.source import DamageError, Piece, Source
from talweg.errors import InputError

CHUNK = 1 << 20  # bytes that are read at a time
UNPACKED = 1 << 16  # bytes that are decompressed at a time: those before damage within them are lost
LINE_LIMIT = 64 << 20  # our choice: a longer line is no document, and several copies of it must fit into memory
XZ_MEMORY = 256 << 20  # xz -9 needs 65 MB to be read; what claims to need more than this is damaged
MAGIC = {  # how each compressed file begins
    b"\x1f\x8b": "gzip",
    b"(\xb5/\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
}
SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def opened(url: str) -> IO[bytes]:
    """A file, local or behind a URL, for reading from its beginning to its end. Raises InputError."""
    if remote.is_url(url):
        return remote.opened(url)
    try:
        return Path(url).open("rb")
    except OSError as error:
        raise InputError(f"{url} cannot be read: {error.strerror or error}") from None


def chunks(source: Source) -> Iterator[bytes]:
    """The whole of a file in UTF-8, decompressed, without byte order mark.

    Raises DamageError where a compressed stream is corrupt or ends too early, InputError where the file cannot be read.
    """
    with opened(source.url) as file, reading(source.url):
        yield from unmarked(decompressed(file, source.compression))


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Failures of the network or the disk become InputError; damage passes through."""
    try:
        yield
    except (DamageError, InputError):
        raise
    except Exception as error:  # of whichever client reads it
        if remote.is_url(url):
            raise remote.failed(url, error) from None
        if isinstance(error, OSError):
            raise InputError(f"{url} cannot be read: {error.strerror or error}") from None
        raise


def decompressed(file: IO[bytes], compression: str | None) -> Iterator[bytes]:
    """All members of a gzip file, all frames of a zstd file: what follows the first is text like it."""
    if compression is None:
        while chunk := file.read(CHUNK):
            yield chunk
    elif compression == "xz":
        yield from _unpacked_xz(file)
    else:
        yield from _unpacked(file, compression)


def _unpacked(file: IO[bytes], compression: str) -> Iterator[bytes]:
    import pyarrow as pa

    counted = _Counted(file)
    stream = pa.CompressedInputStream(pa.PythonFile(counted, mode="r"), compression)
    while True:
        try:
            chunk = stream.read(UNPACKED)
        except (pa.ArrowException, OSError) as error:
            if counted.failure is not None:
                raise counted.failure from None
            raise DamageError(f"the {compression} stream is damaged ({str(error).splitlines()[0]})") from None
        if not chunk:
            return
        yield chunk


class _Counted:
    """A file that remembers its own failure, so that it is not taken for damage of what it holds."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.closed = file, False
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self.file.read(size)
        except Exception as error:
            self.failure = error
            raise

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _unpacked_xz(file: IO[bytes]) -> Iterator[bytes]:
    # The standard library's LZMAFile takes what follows a stream and is none for its end, in silence.
    import lzma

    unpack, fresh = lzma.LZMADecompressor(memlimit=XZ_MEMORY), True
    given = b""
    try:
        while given := given or file.read(CHUNK):
            if fresh and not (given := given.lstrip(b"\0")):
                continue  # padding between streams
            fresh = False
            chunk = unpack.decompress(given, UNPACKED)
            given = b""
            while chunk or not (unpack.eof or unpack.needs_input):
                yield chunk
                chunk = b"" if unpack.eof else unpack.decompress(b"", UNPACKED)
            if unpack.eof:
                given, fresh, unpack = unpack.unused_data, True, lzma.LZMADecompressor(memlimit=XZ_MEMORY)
    except lzma.LZMAError as error:
        raise DamageError(f"the xz stream is damaged ({error})") from None
    if not fresh:
        raise DamageError("the xz stream is damaged (it is cut off)")


def unmarked(stored: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes without byte order mark; UTF-16, which must have one, becomes UTF-8."""
    head = b""
    for part in stored:
        head += part
        if len(head) >= 3:
            break
    if not head.startswith(WIDE):
        yield head.removeprefix(codecs.BOM_UTF8)
        yield from stored
        return
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    yield decoder.decode(head).encode()
    for part in stored:
        yield decoder.decode(part).encode()
    yield decoder.decode(b"", final=True).encode()


def lines(source: Source, piece: Piece) -> Iterator[list[bytes]]:
    """The lines of a piece without their ends, some hundred kB at a time; the last may lack its end.

    A line that is longer than LINE_LIMIT comes as its beginning, of LINE_LIMIT + 1 bytes. Raises DamageError and
    InputError as `chunks` does.
    """
    rest: list[bytes] = []
    kept = 0  # bytes in rest
    for part in parts(source, piece):
        at = part.rfind(b"\n")
        if at < 0:
            if kept <= LINE_LIMIT:
                rest.append(part[: LINE_LIMIT + 1 - kept])
                kept += len(rest[-1])
            continue
        found = part[:at].split(b"\n")
        if rest:
            found[0] = (b"".join(rest) + found[0])[: LINE_LIMIT + 1]
        yield found
        rest, kept = [part[at + 1 :]], len(part) - at - 1
    if kept:
        yield [b"".join(rest)]


def parts(source: Source, piece: Piece) -> Iterator[bytes]:
    """The bytes of a piece, in UTF-8, decompressed, without byte order mark. Raises as `chunks` does."""
    return chunks(source) if len(source.pieces) == 1 else _stretch(source, piece)


def _stretch(source: Source, piece: Piece) -> Iterator[bytes]:
    """The bytes of the lines that begin in a stretch: it may begin in the middle of a line, and end in another."""
    with opened(source.url) as file, reading(source.url):
        at, last = piece.begin, b"\n"
        if at:
            file.seek(at - 1)
            at = _next_line(file, at - 1)
        elif file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
            at = len(codecs.BOM_UTF8)
        else:
            file.seek(0)
        while at < piece.end and (part := file.read(min(CHUNK, piece.end - at))):
            at, last = at + len(part), part[-1:]
            yield part
        if at == piece.end and last != b"\n":
            while part := file.read(1 << 16):  # the rest of the last line
                end = part.find(b"\n")
                yield part[: end + 1] if end >= 0 else part
                if end >= 0:
                    return


def _next_line(file: IO[bytes], at: int) -> int:
    """Reads on to the end of the line; where the next one begins."""
    while part := file.read(1 << 16):
        end = part.find(b"\n")
        if end >= 0:
            file.seek(at + end + 1)
            return at + end + 1
        at += len(part)
    return at


def head(url: str, compression: str | None, size: int) -> bytes:
    """The first bytes of a file, decompressed, in UTF-8; fewer where it is damaged or ends."""
    found = b""
    with opened(url) as file, reading(url):
        try:
            for part in unmarked(decompressed(file, compression)):
                found += part
                if len(found) >= size:
                    break
        except DamageError:
            if not found:
                raise
    return found[:size]


def compression_of(magic: bytes) -> str | None:
    return next((name for start, name in MAGIC.items() if magic.startswith(start)), None)


def is_wide(start: bytes) -> bool:
    """Whether a file is UTF-16, by its mark."""
    return start.startswith(WIDE)
