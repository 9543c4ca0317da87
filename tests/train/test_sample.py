"""Sampling: from a run folder or a checkpoint, and the errors a person can meet."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from talweg.errors import InputError
from talweg.train import checkpoint as checkpoints
from talweg.train.config import Config
from talweg.train.loop import train
from talweg.train.sample import choose, sample

Make = Callable[..., Config]


@pytest.fixture
def run(configured: Make) -> Path:
    config = configured(run__name="a", run__steps=120, evaluation__every=120, optimizer__peak_lr=1e-2)
    list(train(config))
    return config.run.out / "a"


def written(path: Path, *, seed: int = 0, temperature: float = 1.0, tokens: int = 40, prompt: str = "the cat") -> str:
    return "".join(sample(path, prompt, tokens=tokens, temperature=temperature, top_k=None, seed=seed))


def test_a_run_and_its_checkpoint_give_the_same_text_for_a_seed(run: Path) -> None:
    text = written(run)
    assert 0 < len(text) <= 40
    assert text == written(checkpoints.find(run))
    assert text != written(run, seed=1)
    assert text.isascii()  # all it has seen


def test_temperature_zero_is_the_most_probable_and_needs_no_seed(run: Path) -> None:
    assert written(run, temperature=0.0) == written(run, temperature=0.0, seed=5)


def test_an_empty_prompt_begins_a_document(run: Path) -> None:
    assert written(run, prompt="")


def test_top_k_keeps_the_k_most_probable() -> None:
    logits = torch.tensor([0.0, 3.0, 2.0, 1.0])
    generator = torch.Generator().manual_seed(0)
    drawn = {choose(logits, 5.0, 2, generator) for _ in range(200)}
    assert drawn == {1, 2}
    assert {choose(logits, 5.0, None, generator) for _ in range(200)} == {0, 1, 2, 3}
    assert {choose(logits, 0.0, None, generator) for _ in range(20)} == {1}


def test_what_cannot_be_sampled(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="temperature 0 or more"):
        written(run, temperature=-1.0)
    with pytest.raises(InputError, match="holds no checkpoint"):
        written(tmp_path / "nothing")
