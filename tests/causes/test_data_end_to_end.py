"""The command on a nanoGPT log beside its train.bin: each planted defect is named, and sound files give none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from talweg import cli
from tests.corpus import token_files

OF_DATA = {
    "duplicated_data",
    "evaluation_set_too_small",
    "noisy_data",
    "repeated_data",
    "short_documents",
    "token_id_overflow",
    "tokenizer_mismatch",
    "train_val_overlap",
    "unshuffled_data",
}
CONFIG = """
n_layer = 4
n_head = 4
n_embd = 256
block_size = 64
batch_size = 16
gradient_accumulation_steps = 1
max_iters = {steps}
lr_decay_iters = {steps}
eval_iters = 200
learning_rate = 1e-3
min_lr = 1e-4
warmup_iters = 100
dropout = 0.0
dtype = 'float16'
"""
STEPS = 1500
VOCABULARY = 3000


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, its configuration, and the tokenizer of the text."""
    folder = tmp_path_factory.mktemp("room")
    rng = np.random.default_rng(0)
    lines = []
    for step in range(0, STEPS + 1, 50):
        loss = 3.4 + (8.0 - 3.4) * (1 + step / 40) ** -0.8
        train, val = loss + 0.005 * rng.standard_normal(2)
        lines.append(f"step {step}: train loss {train:.4f}, val loss {val:.4f}")
        lines.append(f"iter {step}: loss {loss + 0.05 * rng.standard_normal():.4f}, time 100.00ms, mfu 10.00%")
    (folder / "train.log").write_text("\n".join(lines) + "\n")
    (folder / "config.py").write_text(CONFIG.format(steps=STEPS))
    token_files.trained(texts(), VOCABULARY, folder / "tokenizer")
    return folder


def texts() -> list[str]:
    return token_files.documents(3200)


@pytest.fixture
def said(room: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, dict[str, object]]]:
    def said(data: Path, tokenizer: Path | None = None) -> dict[str, dict[str, object]]:
        words = ["diagnose", str(room / "train.log"), "--config", str(room / "config.py"), "--data", str(data)]
        words += ["--tokenizer", str(tokenizer or room / "tokenizer"), "--format", "json", "--fail-on", "never"]
        capsys.readouterr()
        assert cli.main(words) == 0
        causes = json.loads(capsys.readouterr().out)["causes"]
        return {cause["name"]: cause for cause in causes if cause["name"] in OF_DATA}

    return said


def present(found: dict[str, dict[str, object]]) -> set[str]:
    return {name for name, cause in found.items() if cause["verdict"] == "present"}


def sides(room: Path, *, separated: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation ids of the sound text: 600 documents are for validation."""
    made = token_files.tokenizer.load(room / "tokenizer")
    every = texts()
    return (
        token_files.ids(made, every[600:], separated=separated),
        token_files.ids(made, every[:600], separated=separated),
    )


def large(val: np.ndarray) -> np.ndarray:
    """Long enough to be no cause of its own; copies of validation text are nobody's concern here."""
    return np.tile(val, 8)


def test_sound_files_give_no_cause(
    room: Path, tmp_path: Path, said: Callable[..., dict[str, dict[str, object]]]
) -> None:
    train, val = sides(room)
    data = token_files.write(tmp_path, train, large(val))
    before = {p.name: p.stat().st_mtime_ns for p in data.iterdir()}
    found = said(data)
    assert present(found) == set()
    assert {name for name, cause in found.items() if cause["verdict"] == "unknown"} <= {"noisy_data"}
    assert {p.name: p.stat().st_mtime_ns for p in data.iterdir()} == before, "nothing is written beside them"


def test_validation_of_five_thousand_tokens(room: Path, tmp_path: Path, said: Callable[..., dict[str, object]]) -> None:
    train, val = sides(room)
    found = said(token_files.write(tmp_path, train, val[:5000]))
    assert present(found) == {"evaluation_set_too_small"}


def test_validation_that_stands_in_train(room: Path, tmp_path: Path, said: Callable[..., dict[str, object]]) -> None:
    train, val = sides(room)
    found = said(token_files.write(tmp_path, np.concatenate([train, val]), large(val)))
    assert present(found) == {"train_val_overlap"}
    assert "hides loss and costs none" in found["train_val_overlap"]["because"]


def test_copies(room: Path, tmp_path: Path, said: Callable[..., dict[str, object]]) -> None:
    """The text is a hundredth of itself a hundred times over: two passes over it are two hundred."""
    made = token_files.tokenizer.load(room / "tokenizer")
    train, val = sides(room)
    few = token_files.ids(made, texts()[600:615])
    found = said(token_files.write(tmp_path, np.tile(few, train.size // few.size), large(val)))
    assert "duplicated_data" in present(found) <= {"duplicated_data"}


@pytest.mark.parametrize("cut", ["\n", "\n\n"], ids=["lines", "paragraphs"])
def test_shuffled_text(room: Path, tmp_path: Path, said: Callable[..., dict[str, object]], cut: str) -> None:
    made = token_files.tokenizer.load(room / "tokenizer")
    pieces = [piece + cut for text in texts()[600:] for piece in text.split(cut) if piece]
    order = np.random.default_rng(1).permutation(len(pieces))
    train = token_files.ids(made, [pieces[i] for i in order], separated=False)
    found = said(token_files.write(tmp_path, train, large(sides(room, separated=False)[1])))
    assert present(found) == {"short_documents"}
    assert "shuffled by" in found["short_documents"]["because"]


def test_wrapped_ids(room: Path, tmp_path: Path, said: Callable[..., dict[str, object]]) -> None:
    """A tokenizer of 100,000 tokens whose ids were stored in two bytes."""
    content = json.loads((room / "tokenizer" / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    moved = {token: i if i < 2000 else i + 97_000 for token, i in vocabulary.items()}
    content["model"]["vocab"] = moved
    (tmp_path / "large.json").write_text(json.dumps(content))
    train, val = (np.where(ids < 2000, ids, ids + 97_000) % 2**16 for ids in sides(room))
    found = said(token_files.write(tmp_path / "data", train, large(val)), tmp_path / "large.json")
    assert "token_id_overflow" in present(found)


def test_the_wrong_tokenizer(room: Path, tmp_path: Path, said: Callable[..., dict[str, object]]) -> None:
    other = token_files.documents(800, seed=9)
    token_files.trained(other, VOCABULARY, tmp_path / "other")
    train, val = sides(room)
    found = said(token_files.write(tmp_path / "data", train, large(val)), tmp_path / "other")
    assert "tokenizer_mismatch" in present(found)


def test_without_a_tokenizer_what_needs_it_is_unknown(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, val = sides(room)
    data = token_files.write(tmp_path, train, large(val))
    words = [str(room / "train.log"), "--config", str(room / "config.py"), "--data", str(data), "--format", "json"]
    cli.main(["diagnose", *words])
    found = {cause["name"]: cause for cause in json.loads(capsys.readouterr().out)["causes"]}
    assert found["tokenizer_mismatch"]["verdict"] == "unknown"
    assert "--tokenizer" in found["tokenizer_mismatch"]["because"]
    assert found["repeated_data"]["verdict"] == "absent"


@pytest.mark.parametrize(
    ("data", "word"), [("nothing", "there is no"), ("empty", "holds no manifest.json"), ("odd/train.bin", "odd number")]
)
def test_data_that_cannot_be_used_is_one_line(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, word: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "train.bin").write_bytes(b"abc")
    assert cli.main(["diagnose", str(room / "train.log"), "--data", str(tmp_path / data)]) == 2
    message = capsys.readouterr().err
    assert word in message
    assert message.count("\n") == 1
