"""Token shards: written one after another, read as one memory-mapped array."""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import manifest as manifests
from talweg.corpus import npy
from talweg.corpus.manifest import Shard
from talweg.errors import InputError

SHARD_TOKENS = 100_000_000  # 200 MB as uint16: few files for a billion tokens, and one file copies in seconds
ADVICE = "the folder was changed or copied in part: copy it again, or run talweg prepare again"


class Tokens:
    """The tokens of several shards as one (T,) array. What is read is copied or mapped only where it is asked for."""

    def __init__(self, shards: Sequence[NDArray[Any]]) -> None:
        assert shards, "a split has at least one shard"
        self._shards = list(shards)
        self._starts = np.cumsum([0, *(shard.size for shard in shards)])  # (shards + 1,)
        self.dtype = shards[0].dtype

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int]:
        return (len(self),)

    def __getitem__(self, where: slice) -> NDArray[Any]:
        """A contiguous stretch: a view where it lies within one shard, else a copy."""
        first, last, step = where.indices(len(self))
        assert step == 1, "token stretches are contiguous"
        if last <= first:
            return np.empty(0, dtype=self.dtype)
        begin = int(np.searchsorted(self._starts, first, side="right")) - 1
        end = int(np.searchsorted(self._starts, last, side="left"))
        parts = [self._shards[i][max(first - self._starts[i], 0) : last - self._starts[i]] for i in range(begin, end)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def stretches(self, first: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
        """(sum of size,) the tokens of many stretches, one after another. Each lies within one shard."""
        shard = np.searchsorted(self._starts, first, side="right") - 1  # (stretches,)
        order = np.argsort(shard, kind="stable")  # shard by shard, so that each is asked once
        first, size, place = first[order], size[order], (np.cumsum(size) - size)[order]
        done = np.cumsum(size) - size
        index = np.arange(int(size.sum()))
        source = np.repeat(first - self._starts[shard[order]] - done, size) + index
        if len(self._shards) == 1:
            return np.asarray(self._shards[0])[source].astype(np.int64)
        target = np.repeat(place - done, size) + index
        result = np.empty(index.size, dtype=np.int64)
        for i in np.unique(shard).tolist():
            here = slice(*np.append(done, index.size)[np.searchsorted(shard[order], [i, i + 1])].tolist())
            result[target[here]] = np.asarray(self._shards[i])[source[here]]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True, eq=False)
class Split:
    """One side of a data folder."""

    name: str
    tokens: Tokens  # (T,) uint16 or uint32
    shard_document_ends: tuple[NDArray[np.uint64], ...]  # of each shard, from its own start
    shard_overlap: tuple[NDArray[np.float32], ...] = ()  # of each shard; empty where it is not known

    @property
    def document_ends(self) -> NDArray[np.int64]:
        """(documents,) ascending: document d is tokens[ends[d - 1] : ends[d]], its separator the last of them.

        Made at each call and not kept: 8 bytes a document.
        """
        starts = self.tokens._starts[:-1]
        return np.concatenate(
            [np.asarray(ends).astype(np.int64) + s for ends, s in zip(self.shard_document_ends, starts, strict=True)]
        )

    def shards(self) -> list[tuple[Any, NDArray[np.uint64]]]:
        """Of each shard its tokens, a memory-mapped (T,) array, and where its documents end from its own start."""
        return list(zip(self.tokens._shards, self.shard_document_ends, strict=True))

    @cached_property
    def overlap(self) -> NDArray[np.float32] | None:
        """(documents,) the share of each document's 13-grams that train holds, NaN for one of fewer than 13 tokens.

        None where it was not looked for.
        """
        return np.concatenate(self.shard_overlap) if self.shard_overlap else None


def open_split(data: Path, split: Literal["train", "val"]) -> Split:
    """Open one side of the folder that `talweg prepare` wrote, without reading its tokens.

    Raises InputError when the folder is not finished, or a shard is missing or not as large as the manifest says.
    """
    data = Path(data)
    manifest = manifests.read(data)
    shards: tuple[Shard, ...] = getattr(manifest, split).shards
    if not shards:
        raise InputError(f"{data} has no {split} tokens; run talweg prepare again")
    tokens = [_mapped(data / shard.file, manifest.dtype, shard.tokens) for shard in shards]
    ends = tuple(_mapped(data / shard.documents_file, "uint64", shard.documents) for shard in shards)
    for shard, documents in zip(shards, ends, strict=True):
        if documents.size and int(documents[-1]) != shard.tokens:
            raise InputError(f"{data / shard.documents_file} belongs to other tokens; run talweg prepare again")
    known = all(shard.overlap_file for shard in shards)
    overlap = [_mapped(data / (s.overlap_file or ""), "float32", s.documents) for s in shards if known]
    return Split(split, Tokens(tokens), ends, tuple(overlap))


def verify(data: Path, progress: Callable[[float, float], None] | None = None) -> int:
    """Compare every file of a data folder with its sha256 in the manifest; returns how many bytes were read.

    progress is told the bytes done and the bytes there are. Raises InputError for the first file that differs.
    """
    data = Path(data)
    manifest = manifests.read(data)
    expected = {manifests.TOKENIZER_FILE: manifest.tokenizer.sha256}
    for shard in (*manifest.train.shards, *manifest.val.shards):
        expected |= {shard.file: shard.sha256, shard.documents_file: shard.documents_sha256}
        if shard.overlap_file is not None and shard.overlap_sha256 is not None:
            expected[shard.overlap_file] = shard.overlap_sha256
    for name in expected:
        if not (data / name).is_file():
            raise InputError(f"{data / name} is missing; {ADVICE}")
    done, total = 0, sum((data / name).stat().st_size for name in expected)
    for name, sha256 in expected.items():
        if file_sha256(data / name) != sha256:
            raise InputError(f"{data / name} is not what was written: its sha256 is not that of the manifest; {ADVICE}")
        done += (data / name).stat().st_size
        if progress:
            progress(done, total)
    return done


def _mapped(path: Path, dtype: str, size: int) -> NDArray[Any]:
    """A memory-mapped (size,) array of a .npy file, whose bytes are counted before they are trusted."""
    if not path.is_file():
        raise InputError(f"{path} is missing; {ADVICE}")
    try:
        array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise InputError(f"{path} is cut off or damaged; {ADVICE}") from None
    if array.dtype != np.dtype(dtype) or array.shape != (size,):
        found = f"{array.size:,} numbers of {array.dtype}"
        raise InputError(f"{path} holds {found}, the manifest says {size:,} of {dtype}; {ADVICE}")
    if path.stat().st_size != array.offset + array.nbytes:
        raise InputError(f"{path} goes on after its last number; {ADVICE}")
    return array


class ShardWriter:
    """Writes one side of a split into `folder`, document by document, and closes a shard when it is full."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype[Any], shard_tokens: int = SHARD_TOKENS) -> None:
        self._folder, self._name, self._dtype, self._shard_tokens = folder, name, dtype, shard_tokens
        self._file: Any = None
        self._ends: list[NDArray[np.uint64]] = []
        self._tokens = 0  # in the shard that is open
        self.shards: list[Shard] = []

    def add(self, tokens: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        """Whole documents: their (T,) tokens one after another, and how many each has.

        A token that the type of the shards cannot hold is a fault of ours, never wrapped.
        """
        assert int(lengths.sum()) == tokens.size
        assert not tokens.size or int(tokens.max()) <= np.iinfo(self._dtype).max, "a token that does not fit"
        ends = np.cumsum(lengths)
        done = 0  # documents written
        while done < lengths.size:
            begin = int(ends[done - 1]) if done else 0
            room = self._shard_tokens - self._tokens
            last = min(int(np.searchsorted(ends, begin + room, side="left")) + 1, lengths.size)
            self._append(tokens[begin : int(ends[last - 1])], ends[done:last] - begin)
            done = last

    def begin(self, tokens: NDArray[Any]) -> None:
        """The first (T,) tokens of a document that is not held whole; the next document of `add` is the rest of it."""
        assert not tokens.size or int(tokens.max()) <= np.iinfo(self._dtype).max, "a token that does not fit"
        self._write(tokens)

    def abandon(self) -> None:
        """Let go of a shard that will not be finished, as when the disk is full."""
        if self._file is not None:
            with suppress(OSError):  # it was told already
                self._file.close()
            self._file = None

    def _append(self, tokens: NDArray[Any], ends: NDArray[np.int64]) -> None:
        self._ends.append((ends + self._tokens).astype(np.uint64))
        self._write(tokens)
        if self._tokens >= self._shard_tokens:
            self.close()

    def _write(self, tokens: NDArray[Any]) -> None:
        if self._file is None:
            self._file = (self._folder / self._file_name()).open("wb")
            self._header()
        self._file.write(np.ascontiguousarray(tokens, dtype=self._dtype).data)
        self._tokens += tokens.size

    def close(self) -> None:
        """Finish the shard that is open, if one is."""
        if self._file is None:
            return
        self._file.seek(0)
        self._header()  # numpy pads it, so it is as long as before; now it has the true size
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        path = self._folder / self._file_name()
        documents = path.with_suffix(".documents.npy")
        ends = np.concatenate(self._ends)
        with documents.open("wb") as file:
            npy.write(file, ends)
            file.flush()
            os.fsync(file.fileno())
        self.shards.append(
            Shard(path.name, documents.name, self._tokens, ends.size, file_sha256(path), file_sha256(documents))
        )
        self._tokens, self._ends = 0, []

    def _file_name(self) -> str:
        return f"{self._name}-{len(self.shards):05d}.npy"

    def _header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._tokens,)}
        np.lib.format.write_array_header_1_0(self._file, header)


def file_sha256(path: Path) -> str:
    """In hexadecimal, as sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
