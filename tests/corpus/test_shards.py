"""Shards: documents stay whole, many files read as one array, and a file that is not as it was is refused."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.corpus import manifest, shards
from talweg.corpus.manifest import Side
from talweg.corpus.shards import ShardWriter, Tokens, open_split
from talweg.errors import InputError
from tests.corpus.test_manifest import MANIFEST

LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6]


def folder(path: Path, shard_tokens: int = 8, dtype: str = "uint16") -> np.ndarray:
    """A data folder whose training side has documents of LENGTHS; returns its tokens."""
    tokens = np.arange(sum(LENGTHS)) * 7 + 60_000
    if dtype == "uint16":
        tokens %= 65_536
    writer = ShardWriter(path, "train", np.dtype(dtype), shard_tokens)
    writer.add(tokens[:9], np.array(LENGTHS[:4]))
    writer.add(tokens[9:], np.array(LENGTHS[4:]))
    writer.close()
    writer.close()
    side = Side(tokens.size, len(LENGTHS), 0, 0, 0, tuple(writer.shards))
    manifest.write(path, replace(MANIFEST, dtype=dtype, train=side, val=replace(side, shards=())))
    return tokens


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("shard_tokens", [1, 8, 1000])
def test_what_is_written_is_read_as_one_array(tmp_path: Path, shard_tokens: int, dtype: str) -> None:
    tokens = folder(tmp_path, shard_tokens, dtype)
    split = open_split(tmp_path, "train")
    assert split.tokens.shape == tokens.shape
    assert split.tokens.dtype == dtype
    assert (np.asarray(split.tokens) == tokens).all()
    assert split.document_ends.tolist() == [3, 4, 8, 9, 14, 23, 25, 31]


def test_a_document_is_never_cut_and_a_shard_closes_when_it_is_full(tmp_path: Path) -> None:
    folder(tmp_path, shard_tokens=8)
    sizes = [shard.tokens for shard in manifest.read(tmp_path).train.shards]
    assert sizes == [8, 15, 8]  # 3 + 1 + 4; 1 + 5 + 9, full only with the last; 2 + 6
    assert [shard.documents for shard in manifest.read(tmp_path).train.shards] == [3, 3, 2]


def test_a_stranger_can_map_a_shard(tmp_path: Path) -> None:
    tokens = folder(tmp_path)
    shard = manifest.read(tmp_path).train.shards[1]
    mapped = np.load(tmp_path / shard.file, mmap_mode="r")
    assert (mapped == tokens[8:23]).all()
    ends = np.load(tmp_path / shard.documents_file)
    assert ends.dtype == np.uint64
    assert ends.tolist() == [1, 6, 15]
    for name, sha256 in ((shard.file, shard.sha256), (shard.documents_file, shard.documents_sha256)):
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha256


def test_a_token_is_never_wrapped(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train", np.dtype(np.uint16))
    writer.add(np.array([65_535]), np.array([1]))
    with pytest.raises(AssertionError, match="a token that does not fit"):
        writer.add(np.array([65_536]), np.array([1]))
    writer.close()


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6), first=st.integers(-9, 40), last=st.integers(-9, 40))
def test_a_stretch_is_that_of_one_array(sizes: list[int], first: int, last: int) -> None:
    whole = np.arange(sum(sizes), dtype=np.uint16)
    tokens = Tokens(np.split(whole, np.cumsum(sizes)[:-1]))
    assert tokens[first:last].tolist() == whole[first:last].tolist()
    assert tokens[first:].tolist() == whole[first:].tolist()


def test_a_side_without_tokens(tmp_path: Path) -> None:
    folder(tmp_path)
    with pytest.raises(InputError, match="has no val tokens"):
        open_split(tmp_path, "val")


def shard_file(path: Path, documents: bool = False) -> Path:
    shard = manifest.read(path).train.shards[0]
    return path / (shard.documents_file if documents else shard.file)


@pytest.mark.parametrize("keep", [0, 50, 140])
def test_a_shard_that_is_cut_off(tmp_path: Path, keep: int) -> None:
    folder(tmp_path)
    path = shard_file(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"train-00000\.npy is cut off or damaged; the folder was changed"):
        open_split(tmp_path, "train")


def test_a_shard_that_is_missing(tmp_path: Path) -> None:
    folder(tmp_path)
    shard_file(tmp_path).unlink()
    with pytest.raises(InputError, match=r"train-00000\.npy is missing; the folder was changed or copied in part"):
        open_split(tmp_path, "train")


def test_a_shard_of_another_size_or_type(tmp_path: Path) -> None:
    folder(tmp_path)
    np.save(shard_file(tmp_path), np.arange(7, dtype=np.uint16))
    with pytest.raises(InputError, match="holds 7 numbers of uint16, the manifest says 8 of uint16"):
        open_split(tmp_path, "train")
    np.save(shard_file(tmp_path), np.arange(8, dtype=np.uint32))
    with pytest.raises(InputError, match="holds 8 numbers of uint32"):
        open_split(tmp_path, "train")


def test_a_shard_that_goes_on(tmp_path: Path) -> None:
    folder(tmp_path)
    path = shard_file(tmp_path)
    path.write_bytes(path.read_bytes() + b"xx")
    with pytest.raises(InputError, match="goes on after its last number"):
        open_split(tmp_path, "train")


def test_document_ends_of_other_tokens(tmp_path: Path) -> None:
    folder(tmp_path)
    np.save(shard_file(tmp_path, documents=True), np.array([3, 4, 9], dtype=np.uint64))
    with pytest.raises(InputError, match="belongs to other tokens"):
        open_split(tmp_path, "train")


def test_nothing_is_run_from_a_shard(tmp_path: Path) -> None:
    """A .npy file can hold pickled objects, which would run code."""
    folder(tmp_path)
    np.save(shard_file(tmp_path), np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cut off or damaged"):
        open_split(tmp_path, "train")


def test_the_header_is_as_long_for_any_size() -> None:
    """A shard's header is written twice, the second time with its true size."""
    import io

    lengths = set()
    for size in (0, 1, 10**6, 10**15):
        file = io.BytesIO()
        header = {"descr": "<u2", "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        lengths.add(file.tell())
    assert len(lengths) == 1
    assert shards.SHARD_TOKENS < 10**15
