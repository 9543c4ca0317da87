"""Sampling: from a run folder or a checkpoint, where a text ends, and the errors a person can meet."""

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from talweg.cli import main
from talweg.corpus.tokenizer import raw_bytes
from talweg.errors import InputError
from talweg.model.gpt import GPT
from talweg.train import checkpoint as checkpoints
from talweg.train.choose import Choice
from talweg.train.config import Config, build
from talweg.train.exchange import open_model
from talweg.train.loop import train
from talweg.train.retention import Retention
from talweg.train.sample import before_stop, sample

Make = Callable[..., Config]


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run; its context of 32 tokens is shorter than what the tests write."""
    out = tmp_path_factory.mktemp("runs")
    values: dict[str, Any] = {
        "run.name": "a",
        "run.steps": 120,
        "run.out": str(out),
        "data.path": str(data),
        "model.layers": 2,
        "model.heads": 2,
        "model.width": 16,
        "model.context": 32,
        "batch.tokens_per_step": 256,
        "evaluation.every": 120,
        "optimizer.peak_lr": 1e-2,
        "hardware.device": "cpu",
        "hardware.precision": "fp32",
        "hardware.threads": 1,
    }
    list(train(build(values)))
    return out / "a"


def written(
    path: Path, *, seed: int = 0, temperature: float = 1.0, tokens: int = 40, prompt: str = "the cat", **more: Any
) -> str:
    texts = sample(path, prompt, tokens=tokens, choice=Choice(temperature), seed=seed, device="cpu", **more)
    return "".join(next(texts))


def test_a_run_and_its_checkpoint_give_the_same_text_for_a_seed(run: Path) -> None:
    text = written(run)
    assert 0 < len(text) <= 40
    assert text == written(checkpoints.find(run))
    assert text != written(run, seed=1)
    assert written(run, temperature=0.5).isascii()  # all it has seen; at 1 a byte it never saw comes up now and then


def test_temperature_zero_is_the_most_probable_and_needs_no_seed(run: Path) -> None:
    text = written(run, temperature=0.0, tokens=20)
    assert text == written(run, temperature=0.0, tokens=20, seed=5)
    model, tokenizer = open_model(run).model, raw_bytes()
    ids = [int(token) for token in tokenizer.encode("the cat")]
    for _ in range(20):  # each from one whole forward pass
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1, : tokenizer.vocabulary_size].argmax()))
    assert text == tokenizer.decode(ids[7:])


def test_an_empty_prompt_begins_a_document(run: Path) -> None:
    assert written(run, prompt="")


def test_a_text_may_be_longer_than_the_context(run: Path) -> None:
    lengths = [len(written(run, tokens=100, seed=seed)) for seed in range(5)]
    assert max(lengths) > 40  # where a document ends, so does the text


def test_each_of_several_texts_is_that_of_its_own_seed(run: Path) -> None:
    choice = Choice(1.0)
    texts = ["".join(t) for t in sample(run, "the", tokens=30, choice=choice, seed=4, num=3, device="cpu")]
    assert texts == [written(run, prompt="the", tokens=30, seed=seed) for seed in (4, 5, 6)]
    assert len(set(texts)) == 3


def test_a_text_ends_before_a_stop(run: Path) -> None:
    text = written(run, tokens=60)
    stop = text[10:13]
    assert written(run, tokens=60, stop=("not in it", stop)) == text[: text.index(stop)]


def test_a_stop_is_found_however_the_text_is_cut_into_pieces() -> None:
    text, stops = "abcabdabe", [("abd",), ("abe", "cab"), ("x",), ("a",), ("be", "abe"), ("dabex",), ("bca", "ab"), ()]
    for stop in stops:
        expected = text[: min((text.index(s) for s in stop if s in text), default=len(text))]
        for cuts in itertools.product([False, True], repeat=len(text) - 1):
            parts = [text[0]]
            for cut, letter in zip(cuts, text[1:], strict=True):
                if cut:
                    parts.append(letter)
                else:
                    parts[-1] += letter
            given = list(before_stop(parts, stop))
            assert "".join(given) == expected
            assert "" not in given


def test_nothing_waits_that_cannot_become_a_stop() -> None:
    shown: list[str] = []
    for piece in before_stop(iter(["ab", "c", "\n", "d"]), ["\n\n"]):
        shown.append(piece)
    assert shown == ["ab", "c", "\nd"]


def test_what_cannot_be_sampled(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"temperature = -1.0: needed 0 or more"):
        written(run, temperature=-1.0)
    with pytest.raises(InputError, match="nothing is not there; needed a run folder"):
        written(tmp_path / "nothing")
    for more in ({"tokens": -1}, {"num": 0}, {"stop": ("a", "")}):
        with pytest.raises(InputError, match="tokens 0 or more, num 1 or more, and no stop text that is empty"):
            written(run, **more)


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["sample", str(run), "--tokens", "9", "--device", "cpu", "--temperature", "1", "--top-p", "0.9"]
    assert main([*words, "--prompt", "the cat", "--num", "2", "--seed", "3"]) == 0
    several = capsys.readouterr().out
    assert several.count("\n---\nthe cat") == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat"))
    assert main([*words, "--prompt", "-", "--seed", "4"]) == 0
    assert capsys.readouterr().out == several.partition("\n---\n")[2]
    assert main([*words, "--prompt", "the cat", "--stop", " ", "--stop", "e", "--temperature", "0"]) == 0
    assert set(capsys.readouterr().out.removeprefix("the cat")).isdisjoint(" e")
    assert main([*words, "--min-p", "2"]) == 2
    assert "min_p = 2.0: needed a share from 0 to 1" in capsys.readouterr().err


def test_a_checkpoint_of_an_older_version_is_the_model_it_was(run: Path, tmp_path: Path) -> None:
    """It names none of the newer options, and its gelu is the form with tanh."""
    model = open_model(run).model
    saved = checkpoints.load(checkpoints.find(run))
    newer = ("preset", "kv_heads", "feed_forward_width", "norm_gain", "norm_epsilon", "rope_base", "value_residual")
    newer += ("x0_shortcut", "logit_softcap")
    config = {k: v for k, v in saved.state["config"].items() if k.removeprefix("model.") not in newer}
    for activation, expected in (("relu2", "relu2"), ("gelu", "gelu_tanh")):
        state = {**saved.state, "config": {**config, "model.activation": activation}}
        folder = checkpoints.save(
            tmp_path / activation, checkpoints.Checkpoint(saved.model, saved.optimizer, state), Retention()
        )
        loaded = open_model(folder).model
        assert loaded.shape.activation == expected
        assert all(torch.equal(p, q) for p, q in zip(loaded.parameters(), model.parameters(), strict=True))
    assert isinstance(loaded, GPT)
    assert "model.kv_heads" not in json.loads((folder / "state.json").read_text())["config"]
