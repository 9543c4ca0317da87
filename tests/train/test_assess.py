"""`talweg eval`: a model measured on a whole validation text."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from talweg import cli
from talweg.corpus.shards import open_split
from talweg.errors import InputError
from talweg.train import assess, details
from talweg.train.config import Config
from talweg.train.loop import train

Make = Callable[..., Config]


@pytest.fixture
def run(configured: Make) -> tuple[Path, float]:
    """A run folder and the loss that its last evaluation found."""
    config = configured(run__name="a", model__document_mask=True)
    records = [r for r in train(config) if "val_loss" in r]
    return config.run.out / "a", records[-1]["val_loss"]


def test_it_finds_the_loss_of_the_run_s_own_last_evaluation(run: tuple[Path, float]) -> None:
    found, documents = assess.assess(run[0], device="cpu")
    assert found.value == pytest.approx(run[1], rel=1e-6)
    assert found.loss is not None
    assert found.loss.low < found.value < found.loss.high
    assert documents.nats.sum() / documents.tokens.sum() == pytest.approx(run[1], rel=1e-6)
    assert found.tokens == documents.tokens.sum() == sum(b.tokens for b in found.by_position)
    assert sum(b.tokens * b.nats for b in found.by_frequency) / found.tokens == pytest.approx(run[1], rel=1e-6)


def test_tokens_are_counted_over_all_shards(data: Path) -> None:
    split = open_split(data, "train")
    counts, total = assess.token_counts(split, 257)
    assert total == len(split.tokens)
    assert (counts == np.bincount(split.tokens[: len(split.tokens)], minlength=257)).all()


def test_a_shorter_context_costs(run: tuple[Path, float]) -> None:
    short, _ = assess.assess(run[0], context=2, device="cpu")
    assert [b.low for b in short.by_position] == [0, 1]
    with pytest.raises(InputError, match="--context 64: the model was trained with 32; give 1 to 32"):
        assess.assess(run[0], context=64, device="cpu")


def test_the_command_prints_and_keeps(
    run: tuple[Path, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "documents.npz"
    assert cli.main(["eval", str(run[0]), "--device", "cpu", "--documents", str(kept)]) == 0
    shown = capsys.readouterr().out
    assert f"val loss        {run[1]:.4f}" in shown
    assert "tokens seen" in shown
    assert "in train" in shown
    assert details.load(kept).tokens.sum() > 0
    assert cli.main(["eval", str(run[0]), "--device", "cpu", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["val_loss"]["value"] == pytest.approx(run[1], rel=1e-6)
    assert answer["val_loss"]["low"] < answer["val_loss"]["value"] < answer["val_loss"]["high"]


def test_a_text_of_another_tokenizer_is_refused(run: tuple[Path, float], data: Path, tmp_path: Path) -> None:
    other = tmp_path / "data"
    other.mkdir()
    for path in data.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["tokenizer"]["sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="is made with another, bytes; prepare the text with the model's tokenizer"):
        assess.assess(run[0], other, device="cpu")


def test_a_path_that_holds_no_model_is_refused(run: tuple[Path, float]) -> None:
    with pytest.raises(InputError, match="holds no model"):
        assess.assess(run[0] / "config.toml", device="cpu")
