"""The manifest: what is written is read, and what is not one is refused in a line."""

import dataclasses
import json
from pathlib import Path

import pytest

from talweg.corpus import manifest
from talweg.corpus.manifest import Input, Manifest, Shard, Side, SplitFacts, TokenizerFacts
from talweg.errors import InputError

SHARD = Shard("train-00000.npy", "train-00000.documents.npy", 90, 3, "aa", "bb")
MANIFEST = Manifest(
    format=manifest.FORMAT,
    talweg="0.1.0",
    tokenizer=TokenizerFacts("bpe", "cc", 512, 511),
    dtype="uint16",
    seed=7,
    split=SplitFacts("by host", "host of url", 0.01, 10, 2, 1, 4),
    train=Side(90, 3, 400, 2, 60, (SHARD,)),
    val=Side(9, 1, 40, 1, 9, (SHARD, SHARD)),
    unigram_nats=5.5,
    bigram_nats=3,  # an integer in JSON is a number too
    bytes_per_token=400 / 90,
    inputs=(Input("a.parquet", 1000, 4),),
    warnings=("too little text",),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest.write(tmp_path, MANIFEST)
    assert manifest.read(tmp_path) == MANIFEST


def test_the_keys_in_the_file_are_those_of_the_interface(tmp_path: Path) -> None:
    manifest.write(tmp_path, MANIFEST)
    value = json.loads((tmp_path / "manifest.json").read_text())
    side = ["tokens", "documents", "bytes", "unique_documents", "unique_tokens", "shards"]
    shard = ["file", "documents_file", "tokens", "documents", "sha256", "documents_sha256"]
    assert value["format"] == "talweg-tokens-1"
    assert set(value) >= {"talweg", "dtype", "seed", "unigram_nats", "bigram_nats", "bytes_per_token", "inputs"}
    assert set(value["tokenizer"]) == {"name", "sha256", "vocabulary_size", "separator_id"}
    assert set(value["split"]) >= {"rule", "group_by", "val_share"}
    later = ["near_unique_documents", "near_unique_tokens", "largest_token_id"]
    assert list(value["train"]) == [*side, *later, "documents_by_length", "tokens_by_length"]
    assert list(value["val"]["shards"][0]) == [*shard, "overlap_file", "overlap_sha256"]


def test_keys_of_a_later_version_are_left_alone(tmp_path: Path) -> None:
    value = dataclasses.asdict(MANIFEST) | {"colour": {"mean": 1}}
    del value["warnings"]  # a field that an earlier version did not write
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    assert manifest.read(tmp_path) == dataclasses.replace(MANIFEST, warnings=())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere is no folder; give the one that talweg prepare wrote"):
        manifest.read(tmp_path / "nowhere")


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no manifest\.json: talweg prepare did not write it, or was stopped"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_manifest_that_is_cut_off(tmp_path: Path, share: float) -> None:
    manifest.write(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"manifest\.json is cut off or damaged; run talweg prepare again"):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": 3}', "is no manifest of Talweg"),
        ("[1, 2]", "is no manifest of Talweg"),
        ('{"format": "talweg-tokens-2"}', 'has the format "talweg-tokens-2"; needed "talweg-tokens-1"'),
        ('{"format": "talweg-tokens-1", "talweg": "0"}', "has no tokenizer; run talweg prepare again"),
        ('{"format": "talweg-tokens-1", "talweg": "0", "tokenizer": 1}', "tokenizer is not a table"),
    ],
)
def test_a_manifest_of_something_else(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=message):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"tokens": "many"}}, r"train\.tokens is 'many', not a int"),
        ({"train": {"shards": {}}}, r"train\.shards is not a list"),
        ({"val": {"tokens": True}}, r"val\.tokens is True"),
        ({"unigram_nats": None}, "unigram_nats is None, not a float"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path, change: dict, message: str) -> None:
    value = dataclasses.asdict(MANIFEST)
    for key, new in change.items():
        value[key] = value[key] | new if isinstance(new, dict) else new
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        manifest.read(tmp_path)
