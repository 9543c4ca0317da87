"""A tiny data folder and configuration: byte tokens of made-up sentences, a model of a few thousand weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from talweg.corpus import manifest as manifests
from talweg.corpus.manifest import Input, Manifest, Side, SplitFacts, TokenizerFacts
from talweg.corpus.shards import ShardWriter
from talweg.corpus.tokenizer import raw_bytes
from talweg.train.config import Config, build

TEXT = "the a cat dog sees takes brings old small red house river stone and under over with"


def _documents(rng: np.random.Generator, number: int) -> list[str]:
    return [" ".join(rng.choice(TEXT.split(), size=rng.integers(5, 40))) + "." for _ in range(number)]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng, tokenizer = np.random.default_rng(0), raw_bytes()
    tokenizer.save(folder)
    sides = {}
    for name, number in (("train", 120), ("val", 11)):
        texts = _documents(rng, number)
        encoded = [np.append(tokenizer.encode(text), tokenizer.separator_id) for text in texts]
        lengths = np.array([len(tokens) for tokens in encoded])
        writer = ShardWriter(folder, name, np.dtype(np.uint16), shard_tokens=5000)
        writer.add(np.concatenate(encoded), lengths)
        writer.close()
        num_bytes, total = sum(map(len, texts)), int(lengths.sum())
        sides[name] = Side(total, number, num_bytes, number, total, tuple(writer.shards))
    facts = TokenizerFacts("bytes", tokenizer.sha256, tokenizer.vocabulary_size, tokenizer.separator_id)
    split = SplitFacts("made up", "document", 0.1)
    inputs = (Input("made up", 0, 0),)
    manifests.write(
        folder,
        Manifest(
            "talweg-tokens-1", "0", facts, "uint16", 0, split, sides["train"], sides["val"], 2.8, 2.2, 1.0, inputs
        ),
    )
    return folder


@pytest.fixture
def configured(data: Path, tmp_path: Path) -> Callable[..., Config]:
    """A configuration of a run in the test's own folder; keywords are dotted keys with a double underscore."""

    def make(**changes: Any) -> Config:
        values = {
            "run.steps": 12,
            "run.out": str(tmp_path),
            "data.path": str(data),
            "model.layers": 2,
            "model.heads": 2,
            "model.width": 16,
            "model.context": 32,
            "model.dropout": 0.1,
            "batch.tokens_per_step": 256,
            "optimizer.name": "adamw",
            "optimizer.peak_lr": 3e-3,
            "evaluation.every": 4,
            "checkpoint.every": 4,
            "hardware.device": "cpu",
            "hardware.precision": "fp32",
            "hardware.threads": 1,
        }
        values.update({key.replace("__", "."): value for key, value in changes.items()})
        return build({key: value for key, value in values.items() if value is not None})

    return make


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
