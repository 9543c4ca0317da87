"""The first pass over the text: of each document a hash and its length, and the group it belongs to.

What stays in memory is 20 bytes a document. Documents are numbered through all files in the order of the input.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import parquet
from talweg.corpus.parquet import Source
from talweg.errors import InputError

# scheme://user@www.HOST/path?query#fragment
HOST = r"^[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(?:www\.)?([^/?#]+)"
PAGE = r"^([^?#]+)"
GROUPS = ("host of url", "source", "file_path", "url", "text")  # from the coarsest to the finest


@dataclass(frozen=True, eq=False)
class Survey:
    """Arrays of length D, the number of rows of all files."""

    sources: Sequence[Source]
    hashes: NDArray[np.uint64]  # of the text without white space and case; equal for exact duplicates
    num_bytes: NDArray[np.int64]  # UTF-8 bytes of the text; 0 for an empty document

    @property
    def total_bytes(self) -> int:
        return int(self.num_bytes.sum())

    @property
    def group_names(self) -> list[str]:
        """Those of GROUPS that every file can give."""
        shared = set.intersection(*(set(source.columns) for source in self.sources))
        return [name for name in GROUPS if name == "text" or _column(name) in shared]

    def rows_of(self, source: Source) -> slice:
        """Where the documents of one file stand."""
        before = sum(each.rows for each in self.sources[: self.sources.index(source)])
        return slice(before, before + source.rows)


def survey(sources: Sequence[Source], progress: Callable[[float, float], None]) -> Survey:
    """Read all text once. progress is told the rows done and the rows there are."""
    hashes, lengths, done, total = [], [], 0, sum(source.rows for source in sources)
    for source in sources:
        for _, strings in parquet.columns(source, source.column):
            found = parquet.text_hashes(strings)
            hashes.append(found)
            lengths.append(np.where(found == 0, 0, np.diff(parquet.raw(strings)[1])))
            done += len(strings)
            progress(done, total)
    result = Survey(sources, np.concatenate(hashes), np.concatenate(lengths))
    if not result.total_bytes:
        raise InputError(f"{sources[0].path}: every text in column {sources[0].column} is empty")
    return result


def groups(survey: Survey, name: str) -> NDArray[np.uint64]:
    """(D,) a hash of the group of each document; one whose value is missing stands in a group of its text."""
    if name == "text":
        return survey.hashes
    values = [
        _hashed(strings, name) for source in survey.sources for _, strings in parquet.columns(source, _column(name))
    ]
    found = np.concatenate(values)
    return np.where(found == 0, survey.hashes, found)


def _column(name: str) -> str:
    return "url" if name == "host of url" else name


def _hashed(strings: Any, name: str) -> NDArray[np.uint64]:
    """(rows,) 64-bit hashes of the values; 0 where there is none."""
    import re

    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(strings)
    pattern = {"host of url": HOST, "url": PAGE}.get(name)
    words = encoded.dictionary.to_pylist()
    if pattern is not None:
        matches = (re.match(pattern, word, re.IGNORECASE) for word in words)
        words = [match[1].lower() if match else "" for match in matches]
    hashes = [
        int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") if word else 0
        for word in words
    ]
    indices: NDArray[np.int32] = encoded.indices.to_numpy()
    return np.array(hashes or [0], dtype=np.uint64)[indices]
