"""What a person gives as a log: a file, a folder or standard input; found, decompressed, decoded, in pieces.

Nothing of a long log is held but the piece at hand. What a person says beside it is `Asked`.
"""

import codecs
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from talweg.errors import InputError
from talweg.textfile import HEAD, Decompressed, clean_bytes, encoding_of, is_pipe, looks_like_text, opened

PIECE = 1 << 22  # bytes that are read at a time
MOST_FILES = 4_000  # of a folder that are looked at
DEPTH = 4  # folders below it that are looked into
SOURCE = re.compile(r"^(?:import \w|from [\w.]+ import |(?:    )*def \w+\(|class \w+[(:]|#include [<\"])", re.MULTILINE)
LEAST_SOURCE = 3  # such lines make a program. Our choice
ADDRESS = re.compile(r"wandb:/+(.*)")  # of a run on a server, which its reader asks; a Path has one slash of the two
SQLITE = b"SQLite format 3\0"
MOST_WINDOWS = 64  # places at which a format is looked for


@dataclass(frozen=True)
class Head:
    """What a reader sees of a log before it reads it."""

    text: str = ""  # up to 64 KiB of it, cleaned; "" where it is no text
    raw: bytes = b""  # the beginning as it is stored, decompressed
    name: str = ""  # of the file or folder
    names: tuple[str, ...] = ()  # of the files in a folder, relative to it, with slashes
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of an SQLite database: the columns of each

    @property
    def is_source(self) -> bool:
        """Whether it is the source code of a program: a line of a log that stands in it is an example, or a format."""
        return len(SOURCE.findall(self.text)) >= LEAST_SOURCE


@dataclass(frozen=True)
class Asked:
    """What a person says about a log, beyond the log."""

    config: Path | None = None  # the trainer's configuration; what it states wins over what the log states
    beside: tuple[Path, ...] = ()  # configurations found beside the log: what they state counts least
    columns: Mapping[str, str] = field(default_factory=dict)  # column of Run -> its name in the log
    run: str | None = None  # which one, where several are in one place: its name, or its number from 1

    def refuse_columns(self, what: str) -> None:
        """Raise InputError where a person named a column of a log whose fields are known. what: "X is of Megatron"."""
        if self.columns:
            role = next(iter(self.columns))
            option = "--loss-column" if role == "train_loss" else f"--column {role}"
            raise InputError(f"{what}, whose fields have fixed names; leave {option} out")


@dataclass(frozen=True)
class Log:
    """path: None for standard input, a pipe and text that is in memory; `content` holds it then."""

    source: str  # as the person gave it
    path: Path | None = None
    content: bytes | None = None
    notes: list[str] = field(default_factory=list, compare=False)  # what was noticed while it was read

    @classmethod
    def at(cls, path: Path | str) -> "Log":
        """The log at a path, at an address of W&B, or on standard input for "-". A pipe is read at once, to its end.

        Raises InputError when it cannot be opened or is empty.
        """
        if (match := ADDRESS.match(str(path))) is not None:
            return cls(f"wandb://{match[1]}", content=b"")
        log = cls(str(path), Path(path))
        if str(path) == "-":
            log = cls("-", content=sys.stdin.buffer.read())
        elif is_pipe(log.path):
            with opened(Path(path)) as pipe:
                log = cls(str(path), content=pipe.read())
        if not log.is_folder and not log.raw.strip(b"\0 \n\r\t" + codecs.BOM_UTF8):
            raise InputError(f"{path} is empty: nothing was logged yet, or the program wrote to another file")
        return log

    @classmethod
    def of_text(cls, text: str, source: str = "") -> "Log":
        return cls(source, content=text.encode("utf-8", errors="surrogatepass"))

    @property
    def is_folder(self) -> bool:
        return self.content is None and self.path is not None and self.path.is_dir()

    @cached_property
    def raw(self) -> bytes:
        """The first 64 KiB, decompressed; of a folder nothing."""
        if self.is_folder:
            return b""
        with self._opened() as file:
            return file.read(HEAD)

    @cached_property
    def is_text(self) -> bool:
        return not self.is_folder and looks_like_text(self.raw)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The files of a folder, those nearest to it first."""
        return _files(self.path) if self.is_folder and self.path is not None else ()

    @cached_property
    def head(self) -> Head:
        name = self.path.name if self.path is not None else self.source if ADDRESS.match(self.source) else ""
        text = _decoded(self.raw, encoding_of(self.raw)) if self.is_text else ""
        return Head(text, self.raw, name, self.names, self.tables)

    @cached_property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The tables of an SQLite database and their columns; none where it is locked or damaged."""
        if not self.raw.startswith(SQLITE):
            return {}
        from talweg.logs import sqlite  # it opens a Log

        try:
            with sqlite.opened(self) as connection:
                return sqlite.tables(connection)
        except InputError:
            return {}

    def windows(self) -> Iterator[Head]:
        """The head; of a text then its end, and places in between: some logs begin with chatter, some end with it."""
        yield self.head
        if not self.is_text:
            return
        encoding = encoding_of(self.raw)
        step, last = HEAD, b""
        seen = 0
        with self._opened() as file:
            file.read(HEAD)
            while piece := file.read(step):
                seen += 1
                if seen <= MOST_WINDOWS:
                    yield replace(self.head, text=_decoded(piece[:HEAD], encoding))
                last = (last + piece)[-HEAD:]
                step = min(step + HEAD // 2, PIECE)  # close to the beginning first, then wider apart
        if last:
            yield replace(self.head, text=_decoded(last, encoding))

    def chunks(self) -> Iterator[bytes]:
        """The text as clean UTF-8: whole lines, the end of the last one perhaps missing."""
        decoder = None
        rest = b""
        with self._opened() as file:
            encoding = encoding_of(self.raw)
            if encoding != "utf-8":
                decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
            first = True
            while piece := file.read(PIECE):
                if decoder is not None:
                    piece = decoder.decode(piece).encode()
                if first:
                    piece, first = piece.removeprefix(codecs.BOM_UTF8), False
                piece = rest + piece
                at = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
                if piece[at - 1 : at] == b"\r" and at == len(piece):  # its \n may be in the next piece
                    at -= 1
                if at <= 0 and len(piece) < 16 * PIECE:
                    rest = piece
                    continue
                at = at or len(piece)
                whole, rest = piece[:at], piece[at:]
                yield clean_bytes(whole)
            if rest:
                yield clean_bytes(rest)
            if file.note:
                self.notes.append(file.note)

    @cached_property
    def text(self) -> str:
        """The whole of it, for formats that are one document. Raises InputError when it is not text."""
        if not self.is_text:
            raise InputError(f"{self.source} is not text; a log, a table (CSV, TSV, JSONL) or a run folder was needed")
        return b"".join(self.chunks()).decode("utf-8", errors="replace")

    def lines(self, start: int, end: int | None) -> "Log":
        """The lines from `start` to before `end` as a log of their own."""
        lines = b"".join(self.chunks()).split(b"\n")[start:end]
        return replace(self, path=None, content=b"\n".join(lines) + b"\n", notes=list(self.notes))

    def _opened(self) -> Decompressed:
        return Decompressed(self.content if self.content is not None else self.path or Path(), self.source)


def _decoded(raw: bytes, encoding: str) -> str:
    text = raw.decode(encoding, errors="replace").removeprefix("\ufeff")
    return clean_bytes(text.encode("utf-8", errors="replace")).decode("utf-8", errors="replace")


def _files(folder: Path) -> tuple[str, ...]:
    found: list[str] = []
    level = [folder]
    for _ in range(DEPTH):
        below: list[Path] = []
        for place in level:
            try:
                entries = sorted(place.iterdir())
            except OSError:
                continue
            found += [entry.relative_to(folder).as_posix() for entry in entries if entry.is_file()]
            below += [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
            if len(found) > MOST_FILES:
                return tuple(found)
        level = below
    return tuple(found)
