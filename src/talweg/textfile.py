"""The text of a file that a person gives: found, decompressed, decoded and rid of what only a terminal needs."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from talweg.errors import InputError

HEAD = 65_536  # bytes by which a format is recognised


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise InputError(
            "the file is compressed with zstd, which needs: pip install zstandard (or unpack it: zstd -d FILE)"
        ) from None
    stream: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    return stream


OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
    b"\x28\xb5\x2f\xfd": _zstd,
}
BINARY = (  # what a file is that begins so, and what to give instead
    (b"SQLite format 3\0", "an SQLite database", "export the run's metrics as CSV or JSONL"),
    (b"PAR1", "a parquet file", "export it as CSV"),
    (b":W&B", "a W&B run file", "export the run's history as CSV"),
    (b"PK\x03\x04", "a zip archive, as PyTorch checkpoints are", "give the log of the run"),
    (b"\x80\x02", "a pickle", "give the log of the run; pickles are not opened"),
    (b"\x93NUMPY", "a numpy array", "give the log of the run"),
    (b"\x7fELF", "a program", "give the log of the run"),
)
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# CSI sequences (colours, cursor), OSC sequences (titles, links) and the short escapes
ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_=>]|[()][A-Za-z0-9])")
ERASED = re.compile(rb"[^\x08\n\x80-\xbf][\x80-\xbf]*\x08")  # a character of UTF-8 and what erases it
REWRITTEN = re.compile(rb"\x08{8,}")  # a bar that goes back over its line, as others do with a carriage return


@dataclass(frozen=True)
class Text:
    """text: lines end in \\n; the last one may lack it, which a log that is cut off or still growing shows."""

    text: str
    source: str  # as the person gave it
    notes: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        return self.text[:HEAD]


class Decompressed:
    """The content of a file from its beginning to its end; of a compressed one that is cut off, as much as can be had.

    Raises InputError when there is no such file or when it may not be read.
    """

    def __init__(self, content: Path | bytes, source: str) -> None:
        self.source = source
        self.note = ""  # of damage that was met
        self._any = False
        if isinstance(content, Path) and is_pipe(content):
            raise InputError(f"{content} is a pipe, which can be read but once; give a file here")
        raw: IO[bytes] = io.BytesIO(content) if isinstance(content, bytes) else opened(content)
        magic = raw.read(8)
        raw.seek(0)
        opener = next((opener for begins, opener in OPENERS.items() if magic.startswith(begins)), None)
        self._file: Any = raw if opener is None else opener(raw)
        self._raw = raw
        self._compressed = opener is not None

    def __enter__(self) -> "Decompressed":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        if not self._compressed:
            return bytes(self._file.read(size))
        parts: list[bytes] = []
        while size > 0 and not self.note:
            try:
                part = self._file.read(min(size, 1 << 16)) if self._one_read() else self._file.read1(min(size, 1 << 16))
            except (EOFError, OSError, lzma.LZMAError, zlib.error):
                self._damaged(parts)
                break
            except Exception as error:
                if type(error).__module__.partition(".")[0] != "zstandard":
                    raise
                self._damaged(parts)
                break
            if not part:
                break
            self._any = True
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _one_read(self) -> bool:
        """zstd's stream has no read1; its read gives what is there."""
        return not hasattr(self._file, "read1")

    def _damaged(self, parts: list[bytes]) -> None:
        if not parts and not self._any:
            raise InputError(f"{self.source} is compressed and damaged: nothing of it can be read") from None
        self.note = "the compressed file is damaged or cut off; what lies before the damage was read"


def is_pipe(path: Path | None) -> bool:
    """Whether it can be read but once and from its beginning, as `<(command)` of a shell and a named pipe."""
    return path is not None and path.is_fifo()


def opened(path: Path) -> IO[bytes]:
    """The file, to be read. Raises InputError where it cannot be opened."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; give the path of a log or of a run folder") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; a file was needed here") from None
    except PermissionError:
        raise InputError(f"{path} may not be read by this user; change its permissions (chmod +r)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_text(path: Path | str) -> Text:
    """The whole text of a file, of a compressed one, or of standard input for "-".

    Raises InputError when there is no such file, when it may not be read, when it is empty or when it is not text.
    """
    source = str(path)
    content = sys.stdin.buffer.read() if source == "-" else Path(path)
    parts: list[bytes] = []
    with Decompressed(content, source) as file:
        while part := file.read(1 << 22):
            parts.append(part)
        notes = (file.note,) if file.note else ()
    raw = b"".join(parts)
    del parts
    if not looks_like_text(raw[:HEAD]):
        raise InputError(f"{source} {what_it_is(raw)}")
    text = clean(raw.decode(encoding_of(raw[:HEAD]), errors="replace").removeprefix("\ufeff"))
    if not text or text.isspace():
        raise InputError(f"{source} is empty: nothing was logged yet, or the program wrote to another file")
    return Text(text, source, notes)


def encoding_of(head: bytes) -> str:
    """By its byte order mark; UTF-16 without one has a zero in every second byte of plain English."""
    encoding = next((encoding for mark, encoding in BOMS if head.startswith(mark)), None)
    if encoding is not None:
        return encoding
    wide = head.count(0) > len(head) // 4
    return ("utf-16-be" if head[:1] == b"\0" else "utf-16-le") if wide else "utf-8"


def looks_like_text(head: bytes) -> bool:
    if any(head.startswith(magic) for magic, _, _ in BINARY) or b"brain.Event:" in head[:64]:
        return False
    text = head.decode(encoding_of(head), errors="replace")
    odd = text.count("\ufffd") + sum(text.count(chr(code)) for code in range(8))
    return odd <= len(text) // 10


def what_it_is(head: bytes) -> str:
    """What a file is that is no text, and what to give instead, to stand after its name."""
    for magic, what, instead in BINARY:
        if head.startswith(magic):
            return f"is {what}, not a text; {instead}"
    return "is not text; a log, a table (CSV, TSV, JSONL) or a run folder was needed"


def clean(text: str) -> str:
    """The same lines without escape sequences and erased characters; a carriage return ends a line."""
    return clean_bytes(text.encode("utf-8", errors="replace")).decode("utf-8", errors="replace")


def clean_bytes(text: bytes) -> bytes:
    """The same lines of UTF-8 without escape sequences and erased characters; a carriage return ends a line.

    A progress bar rewrites its line with carriage returns, so what follows one may be a line of the log.
    """
    if b"\x1b" in text:
        text = ESCAPES.sub(b"", text)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\b" in text:
        text = REWRITTEN.sub(b"\n", text)
    while b"\b" in text:
        shorter = ERASED.sub(b"", text)
        if shorter == text:  # only backspaces at the beginning of a line are left: there is nothing to erase
            return text.replace(b"\b", b"")
        text = shorter
    return text
