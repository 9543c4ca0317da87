"""Which files are meant, what kind each is, and the pieces in which it is read."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from talweg.corpus.inputs import jsonl, parquet, plain, remote, streams
from talweg.corpus.inputs.source import STRETCH, Batch, Damage, DamageError, Piece, Source
from talweg.errors import InputError

KINDS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
    ".md": "text",
}
NEEDED = "*.parquet, *.jsonl, *.txt or *.md, the last three also as .gz, .zst, .bz2 or .xz"
RATIO = 3  # bytes of text in a byte of a compressed file, as gzip and zstd give for English (2.5 to 3.7)

OnDamage = Literal["fatal", "skip"]


def find(
    inputs: Sequence[Path | str],
    text_column: str | None = None,
    *,
    on_damage: OnDamage = "fatal",
    lost: Callable[[str], None] | None = None,
    out: Path | None = None,
) -> list[Source]:
    """The files that are meant: files, folders (searched to any depth, by name) and patterns with *, local or URLs.

    Raises InputError for what is not there, is of no kind that is read, or has no text. With on_damage "skip" a file
    that is damaged where it says what it holds is left out, and told to `lost`. out: the folder that will be written;
    its files are no input, though it lie in a folder that is.
    """
    damage = Damage(on_damage == "fatal", lost or _nothing)
    names = [name for each in inputs for name in _names(_local(str(each)))]
    if not names:
        raise InputError("no file was given; talweg prepare FILE.parquet --out DATA")
    names = _outside(names, out)
    sources = []
    for name in _once(names):
        try:
            sources.append(_source(name, text_column))
        except DamageError as reason:
            damage.found(f"{name}: {reason}")
    if not sources:
        raise InputError(f"{', '.join(_once(names)[:5])}: damaged, and nothing of it can be read; fetch it again")
    if all(source.rows == 0 for source in sources):
        raise InputError(f"{', '.join(_once(names)[:5])}: no rows; there is no text to prepare")
    return sources


def read(
    source: Source,
    piece: Piece,
    columns: Sequence[str] = (),
    *,
    on_damage: OnDamage = "fatal",
    lost: Callable[[str], None] | None = None,
) -> Iterator[Batch]:
    """The documents of a piece, with the other columns that are asked for.

    Raises InputError where the file cannot be read, has changed since it was found, or is damaged. With on_damage
    "skip" damage is told to `lost`, once for each row group, line or rest of a compressed file that it costs.
    """
    damage = Damage(on_damage == "fatal", lost or _nothing)
    if not remote.is_url(source.url) and _described(source.url)[1] != source.stamp:
        raise InputError(f"{source.url} has changed while it was being read; run it again when it is complete")
    if source.kind == "parquet":
        return parquet.read(source, piece, columns, damage)
    if source.kind == "jsonl":
        return jsonl.read(source, piece, columns, damage)
    return plain.read(source, piece, damage)


def _nothing(message: str) -> None:
    pass


def _local(name: str) -> str:
    return unquote(urlsplit(name).path) if name.startswith("file://") else name


def _once(names: Sequence[str]) -> list[str]:
    """Each file once, by its first name."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name if remote.is_url(name) else os.path.abspath(name), name)  # noqa: PTH100  (no links)
    return list(first.values())


def _outside(names: Sequence[str], out: Path | None) -> list[str]:
    """The files that do not lie in `out`: what was written there is no text, and is swept away."""
    if out is None:
        return list(names)
    folder = Path(out).resolve()
    others = [name for name in names if remote.is_url(name) or folder not in Path(name).resolve().parents]
    if not others:
        raise InputError(f"{names[0]} lies in {out}, the folder to write; give another --out")
    return others


def _names(name: str) -> list[str]:
    """The files that one name stands for."""
    if remote.is_url(name):
        found = remote.matches(name)
        if found is None:
            return [name]
        return _chosen(name, found, is_pattern=any(character in name for character in "*?["))
    path = Path(name)
    if path.is_dir():
        return _chosen(name, sorted(str(file) for file in path.rglob("*") if file.is_file()), is_pattern=False)
    if path.exists():
        return [str(path)]
    if any(character in name for character in "*?["):
        matches = sorted(match for match in glob.glob(name, recursive=True) if Path(match).is_file())  # noqa: PTH207
        return _chosen(name, matches, is_pattern=True)
    raise InputError(f"{name} is not there; give a file, a folder of them, a pattern in quotes, or a URL")


def _chosen(name: str, found: list[str], *, is_pattern: bool) -> list[str]:
    """Of a folder the files of a kind that is read; of a pattern all of them, if there are none."""
    chosen = [each for each in found if _kind(each) is not None and not PurePosixPath(each).name.startswith(".")]
    if is_pattern:
        if not found:
            raise InputError(f"no file matches {name}")
        return chosen or found
    if not chosen:
        raise InputError(f"{name} holds no {NEEDED}; give a folder that does, or the files themselves")
    return chosen


def _kind(name: str) -> str | None:
    """What a file is by its name."""
    path = PurePosixPath(remote.suffix_path(name).lower())
    if path.suffix in streams.SUFFIXES:
        kind = KINDS.get(path.with_suffix("").suffix)
        return None if kind == "parquet" else kind
    return KINDS.get(path.suffix)


def _described(name: str) -> tuple[int | None, str]:
    """Size and stamp of a file."""
    if remote.is_url(name):
        return remote.described(name)
    try:
        facts = Path(name).stat()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    return facts.st_size, f"{facts.st_size} {facts.st_mtime_ns}"


def _source(name: str, text_column: str | None) -> Source:
    size, stamp = _described(name)
    kind = _kind(name)
    if kind == "parquet":
        if size is None:
            raise InputError(f"{name}: its server gives no parts of a file, which parquet needs; download it first")
        return parquet.described(name, size, stamp, text_column)
    with streams.opened(name) as file, streams.reading(name):
        magic = file.read(8)
    if kind is None:
        if magic.startswith(b"PAR1") and size is not None:
            return parquet.described(name, size, stamp, text_column)
        raise InputError(f"{name} is of no kind that is read; needed: {NEEDED}. Plain text must end in .txt")
    compression = streams.compression_of(magic)
    named = streams.SUFFIXES.get(PurePosixPath(remote.suffix_path(name).lower()).suffix)
    if named is not None and compression is None:
        raise DamageError(f"the {named} stream is damaged ({'it does not begin as one' if magic else 'it is empty'})")
    pieces = _pieces(size, compression, streams.is_wide(magic))
    if not magic:
        return Source(name, kind, compression, 0, stamp, text_column, (), 0, ())
    if kind == "text":
        _text_only(name, streams.head(name, compression, 1 << 16))
        return Source(name, kind, compression, size or 0, stamp, None, (), None, pieces)
    column, columns = jsonl.columns(name, streams.head(name, compression, jsonl.HEAD), text_column)
    return Source(name, kind, compression, size or 0, stamp, column, columns, None, pieces)


def _text_only(name: str, head: bytes) -> None:
    """Raises InputError for what is no text: a twentieth of zeros, as no text has, and numbers and UTF-16 have."""
    if head.count(0) * 20 > len(head):
        raise InputError(f"{name} is no text in UTF-8; convert it first (iconv -t UTF-8), or give another file")


def _pieces(size: int | None, compression: str | None, whole: bool) -> tuple[Piece, ...]:
    if size is None or compression is not None or whole:
        known = size or 0
        return (Piece(0, 0, known, known * RATIO if compression else known),)
    bounds = [*range(0, size, STRETCH), size]
    return tuple(Piece(n, bounds[n], bounds[n + 1], bounds[n + 1] - bounds[n]) for n in range(len(bounds) - 1))
