"""Which reader takes a log: by its content, never by its name."""

import importlib.metadata
import json
import types
from pathlib import Path

import pytest

from talweg import readers
from talweg.errors import InputError
from talweg.logs.given import Head
from talweg.readers import formats, read
from tests.readers.test_nanogpt import LOG, written
from tests.readers.test_table import CSV


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    assert read(written(tmp_path, LOG, "metrics.csv")).format == "nanogpt"
    assert read(written(tmp_path, CSV, "train.log")).format == "table"


def test_losses_that_begin_late_are_found(tmp_path: Path) -> None:
    noise = "Collecting something from an index\n" * 5_000
    assert read(written(tmp_path, noise + LOG)).format == "nanogpt"


def test_a_reader_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = types.SimpleNamespace(
        NAME="foreign", sniff=lambda head: float("~~foreign" in head.text), read=readers.formats()["nanogpt"].read
    )
    entry = types.SimpleNamespace(name="foreign", load=lambda: foreign)
    monkeypatch.setattr(readers, "entry_points", lambda group: [entry] if group == "talweg.readers" else [])
    formats.cache_clear()
    try:
        assert "foreign" in formats()
        assert read(written(tmp_path, "~~foreign\n" + LOG)).last_step == 20
    finally:
        formats.cache_clear()


def test_every_reader_keeps_the_contract() -> None:
    assert set(formats()) >= {"nanogpt", "table", "talweg"}
    for name, reader in formats().items():
        assert name == reader.NAME
        assert reader.__doc__
        for head in ("", "\n", "x", "{", "[[", '"', "0", "\x00", "a,b\n1", "iter", "step 1: train loss"):
            assert reader.sniff(Head(head)) == 0.0


def test_importlib_is_the_registry() -> None:
    assert readers.entry_points is importlib.metadata.entry_points


def test_data_of_another_text_are_refused(tmp_path: Path) -> None:
    """By the log's own count; the text of the run, and a log that counts nothing, are taken."""
    log = tmp_path / "log.jsonl"
    records = [{"step": i, "loss": 5.0 - 0.01 * i, "val_loss": 5.0 - 0.01 * i} for i in range(20)]
    facts = {"talweg": "0.1.0", "step": 0, "facts": {"unique_tokens": 1000}}
    data = tmp_path / "data"
    data.mkdir()
    manifest = {
        "format": "talweg-tokens-1",
        "train": {"tokens": 2100, "unique_tokens": 2000},
        "val": {},
        "tokenizer": {},
    }
    (data / "manifest.json").write_text(json.dumps(manifest))
    log.write_text("".join(json.dumps(record) + "\n" for record in [facts, *records]))
    with pytest.raises(
        InputError, match="is not the text of this run: the log counts 1,000 unique tokens, the data hold"
    ):
        read(log, data=data)
    facts["facts"] = {"unique_tokens": 2005}
    log.write_text("".join(json.dumps(record) + "\n" for record in [facts, *records]))
    assert read(log, data=data).facts.train_tokens == 2100
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert read(log, data=data).facts.unique_tokens == 2000
