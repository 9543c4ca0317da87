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

from talweg.errors import InputError

HEAD = 65_536  # characters by which a format is recognised

OPENERS: dict[bytes, Callable[[io.BytesIO], gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
}
BINARY = (  # what a file is that begins so, and what to give instead
    (b"SQLite format 3\0", "an SQLite database", "export the run's metrics as CSV or JSONL"),
    (b"PAR1", "a parquet file", "export it as CSV"),
    (b":W&B", "a W&B run file", "export the run's history as CSV"),
    (b"PK\x03\x04", "a zip archive, as PyTorch checkpoints are", "give the log of the run"),
    (b"\x80\x02", "a pickle", "give the log of the run; pickles are not opened"),
    (b"\x93NUMPY", "a numpy array", "give the log of the run"),
)
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# CSI sequences (colours, cursor), OSC sequences (titles, links) and the short escapes
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_=>]|[()][A-Za-z0-9])")
ERASED = re.compile(r"[^\x08\n]\x08")
REWRITTEN = re.compile(r"\x08{8,}")  # a bar that goes back over its line, as others do with a carriage return


@dataclass(frozen=True)
class Text:
    """text: lines end in \\n; the last one may lack it, which a log that is cut off or still growing shows."""

    text: str
    source: str  # as the person gave it
    notes: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        return self.text[:HEAD]


def read_text(path: Path | str) -> Text:
    """The text of a file, of a gz/xz/bz2-compressed one, or of standard input for "-".

    Raises InputError when there is no such file, when it may not be read, when it is empty or when it is not text.
    """
    source = str(path)
    raw, notes = _decompressed(_bytes(path), source)
    text = _decoded(raw, source)
    del raw  # a long log is large: no two copies of it while it is cleaned
    text = clean(text)
    if not text or text.isspace():
        raise InputError(f"{source} is empty: nothing was logged yet, or the program wrote to another file")
    return Text(text, source, notes)


def _bytes(path: Path | str) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; give the path of a log or of a run folder") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; a file was needed here") from None
    except PermissionError:
        raise InputError(f"{path} may not be read by this user; change its permissions (chmod +r)") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _decompressed(raw: bytes, source: str) -> tuple[bytes, tuple[str, ...]]:
    """The content of a compressed file; of one that is cut off, as much as can be had."""
    opener = next((opener for magic, opener in OPENERS.items() if raw.startswith(magic)), None)
    if opener is None:
        return raw, ()
    parts: list[bytes] = []
    try:
        with opener(io.BytesIO(raw)) as file:
            while part := file.read1(1 << 16):  # read() would keep nothing of a piece that ends too early
                parts.append(part)
    except (EOFError, OSError, lzma.LZMAError, zlib.error):
        if not parts:
            raise InputError(f"{source} is compressed and damaged: nothing of it can be read") from None
        return b"".join(parts), ("the compressed file is damaged or cut off; what lies before the damage was read",)
    return b"".join(parts), ()


def _decoded(raw: bytes, source: str) -> str:
    for magic, what, instead in BINARY:
        if raw.startswith(magic):
            raise InputError(f"{source} is {what}, not a log; {instead}")
    if b"brain.Event:" in raw[:64]:
        raise InputError(f"{source} is a TensorBoard event file, not read yet; export its scalars as CSV")
    encoding = next((encoding for mark, encoding in BOMS if raw.startswith(mark)), None)
    if encoding is None:
        # UTF-16 without its mark has a zero in every second byte of plain English
        wide = raw[:HEAD].count(0) > len(raw[:HEAD]) // 4
        encoding = ("utf-16-be" if raw[:1] == b"\0" else "utf-16-le") if wide else "utf-8"
    text = raw.decode(encoding, errors="replace")
    head = text[:HEAD]
    odd = head.count("\ufffd") + sum(head.count(chr(code)) for code in range(8))
    if odd > len(head) // 10:
        raise InputError(f"{source} is not text; a log, a table (CSV, TSV, JSONL) or a run folder was needed")
    return text


def clean(text: str) -> str:
    """The same lines without escape sequences and erased characters; a carriage return ends a line.

    A progress bar rewrites its line with carriage returns, so what follows one may be a line of the log.
    """
    if "\x1b" in text:
        text = ESCAPES.sub("", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\b" in text:
        text = REWRITTEN.sub("\n", text)
    while "\b" in text:
        shorter = ERASED.sub("", text)
        if shorter == text:  # only backspaces at the beginning of a line are left: there is nothing to erase
            return text.replace("\b", "")
        text = shorter
    return text
