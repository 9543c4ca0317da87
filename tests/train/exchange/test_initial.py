"""model.init_from: what comes from the file, what contradicts it, and that a resumed run does not read it again."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from talweg.corpus.tokenizer import raw_bytes, trained
from talweg.errors import InputError
from talweg.readers import read
from talweg.train import checkpoint as checkpoints
from talweg.train.config import Config, build, load
from talweg.train.exchange.initial import _given
from talweg.train.exchange.opening import open_model
from talweg.train.exchange.outgoing import export_model
from talweg.train.loop import train
from tests.train.exchange.models import CLASSIC, LLAMA, ours, saved

Make = Callable[..., Config]
OPEN = dict.fromkeys(("model__layers", "model__heads", "model__width", "model__context"))


@pytest.fixture
def configured(configured: Make) -> Make:
    """As for every run, with what the model is left open."""
    return lambda **changes: configured(**{**OPEN, "optimizer__peak_lr": 1e-4, **changes})


def written(folder: Path, to: str = "nanogpt", **options: Any) -> Path:
    """A file of another program that holds a model of 260 tokens."""
    model = ours(**{**(CLASSIC if to == "nanogpt" else LLAMA), "vocabulary_size": 260, "context": 32, **options})
    export_model(saved(model, folder / "model"), folder / "out", to=to)
    return folder / "out"


def first_weights(config: Config) -> dict[str, torch.Tensor]:
    """Those of a run that was stopped before its first update."""
    records = train(config)
    next(records), next(records)
    records.close()
    return dict(checkpoints.load(checkpoints.find(config.run.out / config.run.name)).model)


@pytest.mark.parametrize("to", ["nanogpt", "hf"])
def test_a_run_begins_with_the_weights_of_the_file_and_says_so(to: str, configured: Make, tmp_path: Path) -> None:
    source = written(tmp_path, to)
    config = configured(model__init_from=str(source), run__name="tuned")
    weights = first_weights(config)
    given = open_model(source).model
    assert weights.keys() == dict(given.named_parameters()).keys()
    assert all(torch.equal(weights[name], value) for name, value in given.named_parameters())
    resolved = (tmp_path / "tuned" / "config.resolved.toml").read_text()
    described = f"{'nanoGPT' if to == 'nanogpt' else 'HF llama'} {source}"
    assert f"init_from = {json.dumps(str(source))}  # {described}" in resolved
    assert "sha256 of its weights " in resolved
    assert tomllib.loads(resolved)["model"]["width"] == 32
    log = (tmp_path / "tuned" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[1])["note"].startswith(f"begins with the weights of {described}")
    assert json.loads(log[0])["facts"]["initialised_from"].startswith(described)


def test_two_steps_are_one_and_one_without_the_file(configured: Make, tmp_path: Path) -> None:
    source = written(tmp_path)
    whole = configured(model__init_from=str(source), run__name="whole", run__steps=4, checkpoint__every=2)
    list(train(whole))
    halves = configured(model__init_from=str(source), run__name="halves", run__steps=4, checkpoint__every=2)
    for record in train(halves):
        if record.get("step") == 2 and "loss" in record:
            break
    (source / "ckpt.pt").unlink()
    list(train(halves))
    one, two = (checkpoints.load(checkpoints.find(tmp_path / name)) for name in ("whole", "halves"))
    assert one.state["step"] == two.state["step"] == 4
    assert all(torch.equal(value, two.model[name]) for name, value in one.model.items())
    run = read(str(tmp_path / "halves"))
    assert run.facts.initialised_from == f"nanoGPT {source / 'ckpt.pt'}, step 7"
    assert "sha256 of its weights" in (tmp_path / "halves" / "config.resolved.toml").read_text()


def test_training_goes_on_from_a_checkpoint_of_talweg(configured: Make, tmp_path: Path) -> None:
    model = ours(vocabulary_size=320, context=32, value_residual=True, x0_shortcut=True, logit_softcap=20.0)
    folder = saved(model, tmp_path / "before")
    weights = first_weights(configured(model__init_from=str(folder), run__name="tuned"))
    assert all(torch.equal(weights[name], value) for name, value in model.named_parameters())


@pytest.mark.parametrize("to", ["nanogpt", "hf"])
def test_a_shorter_context_keeps_the_first_positions(to: str, configured: Make, tmp_path: Path) -> None:
    source = written(tmp_path, to)
    config = configured(model__init_from=str(source), model__context=16, run__name="short")
    weights = first_weights(config)
    given = dict(open_model(source).model.named_parameters())
    if to == "nanogpt":
        assert torch.equal(weights["positions.weight"], given["positions.weight"][:16])
    assert torch.equal(weights["embedding.weight"], given["embedding.weight"])
    longer = configured(model__init_from=str(source), model__context=64, run__name="long")
    if to == "hf":
        assert first_weights(longer).keys() == given.keys()
    else:
        with pytest.raises(InputError, match="has 32 learned positions; give at most 32"):
            list(train(longer))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model__layers": 3}, "model.layers = 3 contradicts model.init_from: nanoGPT .* has 2; leave it out"),
        ({"model__bias": True}, "model.bias = True contradicts model.init_from"),
        ({"model__norm_epsilon": 1e-6}, "model.norm_epsilon = 1e-06 contradicts model.init_from: .* has 1e-05"),
        ({"model__kv_heads": 2}, "model.kv_heads = 2 contradicts .* has 4"),
        ({"model__vocabulary_size": 320}, "model.vocabulary_size = 320 contradicts .* has 260"),
        ({"model__norm": "rmsnorm"}, "model.norm = rmsnorm contradicts"),
        ({"batch__tokens_per_step": 48}, "batch.tokens_per_step = 48 is not a multiple of model.context = 32"),
    ],
)
def test_what_contradicts_the_file_is_refused(
    changes: dict[str, Any], line: str, configured: Make, tmp_path: Path
) -> None:
    source = written(tmp_path)
    with pytest.raises(InputError, match=line):
        list(train(configured(model__init_from=str(source), run__name="x", **changes)))
    assert not (tmp_path / "x").exists()


def test_what_agrees_or_is_free_may_be_given(configured: Make, tmp_path: Path) -> None:
    source = written(tmp_path)
    agreeing = {"model__layers": 2, "model__kv_heads": 4, "model__preset": "nanogpt", "model__dropout": 0.3}
    weights = first_weights(configured(model__init_from=str(source), run__name="a", **agreeing))
    assert weights["embedding.weight"].shape == (260, 32)
    with pytest.raises(InputError, match=r"norm = layernorm, by model.preset = nanogpt, contradicts .* has rmsnorm"):
        list(
            train(
                configured(model__init_from=str(written(tmp_path / "l", "hf")), model__preset="nanogpt", run__name="b")
            )
        )


def test_the_resolved_configuration_begins_the_same_run(configured: Make, tmp_path: Path) -> None:
    source = written(tmp_path, "hf")
    weights = first_weights(configured(model__init_from=str(source), run__name="a"))
    again = load(tmp_path / "a" / "config.resolved.toml", ["run.name=b"])
    assert all(torch.equal(weights[name], value) for name, value in first_weights(again).items())


def test_a_configuration_that_was_built_by_hand_counts_what_differs_from_the_defaults() -> None:
    made = replace(Config(), model=replace(Config().model, layers=7))
    assert _given(made) == {"model.layers"}
    assert _given(build({"run.steps": 1, "model.layers": 4})) == {"model.layers", "run.steps"}


def test_a_vocabulary_that_does_not_fit_the_data_is_refused(configured: Make, tmp_path: Path) -> None:
    small = written(tmp_path, vocabulary_size=256)
    with pytest.raises(InputError, match=r"has a vocabulary of 256, and the tokenizer of .* has 257 tokens"):
        list(train(configured(model__init_from=str(small))))


def test_another_tokenizer_than_the_datas_is_refused(configured: Make, tmp_path: Path) -> None:
    source = written(tmp_path, "hf", vocabulary_size=400)
    raw_bytes().save(source)
    first_weights(configured(model__init_from=str(source), run__name="same"))
    trained(["the café of the rivers, the rivers of the café"] * 9, 300).save(source)
    with pytest.raises(InputError, match=r"was trained with another tokenizer \(bpe\) than .* has \(bytes\)"):
        list(train(configured(model__init_from=str(source), run__name="other")))


def test_a_file_that_is_not_there_is_one_line(configured: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not there; needed a run folder"):
        list(train(configured(model__init_from=str(tmp_path / "nowhere"))))
    with pytest.raises(InputError, match="holds no model; needed a run folder"):
        list(train(configured(model__init_from=str(tmp_path))))
