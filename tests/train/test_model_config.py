"""The keys of [model]: presets, what is refused, what is filled in, and runs begun before a key existed."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from talweg.corpus import manifest as manifests
from talweg.errors import InputError
from talweg.model.shape import PRESETS, Shape, begun_with, from_values
from talweg.train import checkpoint as checkpoints
from talweg.train.config import Config, ModelConfig, build, items, load
from talweg.train.loop import train
from talweg.train.resolve import Machine, resolve, to_toml
from talweg.train.retention import Retention
from talweg.train.start import shape

Make = Callable[..., Config]
MACHINE = Machine("cpu", "fp32", 1)


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def model_of(values: dict[str, Any], overrides: tuple[str, ...] = ()) -> ModelConfig:
    return build({"run.steps": 1, **values}, overrides).model


def test_a_preset_lies_below_what_is_given() -> None:
    nanogpt = model_of({"model.preset": "nanogpt"})
    assert (nanogpt.norm, nanogpt.positions, nanogpt.activation, nanogpt.initialisation) == (
        "layernorm",
        "learned",
        "gelu",
        "gpt2",
    )
    assert (nanogpt.qk_norm, nanogpt.tied_head, nanogpt.bias, nanogpt.dropout) == (False, True, False, 0.0)
    changed = model_of({"model.preset": "nanogpt", "model.bias": True, "model.activation": "gelu_tanh"})
    assert changed == replace(nanogpt, bias=True, activation="gelu_tanh")


def test_a_preset_on_the_command_line() -> None:
    given = {"model.bias": True}
    assert model_of(given, ("model.preset=nanogpt",)) == model_of({**given, "model.preset": "nanogpt"})
    assert model_of({"model.preset": "nanogpt"}, ("model.preset=talweg",)) == ModelConfig()
    over = model_of({"model.preset": "nanogpt"}, ("model.qk_norm=true", "model.norm_epsilon=1e-4"))
    assert (over.qk_norm, over.norm_epsilon, over.norm) == (True, 1e-4, "layernorm")


def test_each_preset_names_keys_of_the_model_only() -> None:
    assert all(set(values) <= set(asdict(ModelConfig())) for values in PRESETS.values())
    form = set(asdict(ModelConfig())) - {"preset", "layers", "heads", "width", "context", "vocabulary_size"}
    others = {"document_mask", "rope_base", "init_from"}  # of the data, of no use without rope, of the weights
    assert set(PRESETS["nanogpt"]) == form - others  # a default that changes leaves it what it is


@pytest.mark.parametrize("preset", ["talweg", "nanogpt"])
def test_a_resolved_file_is_concrete_and_reads_back(preset: str, data: Path, configured: Make, tmp_path: Path) -> None:
    config = configured(model__preset=preset, model__qk_norm=True, model__norm="rmsnorm", model__kv_heads=1)
    resolved = resolve(config, manifests.read(data), MACHINE)
    text = to_toml(resolved.config, resolved.reasons)
    again = load(written(tmp_path, text)).model
    assert again == resolved.config.model
    assert None not in (again.kv_heads, again.feed_forward_width, again.norm_epsilon)
    for line in (f'preset = "{preset}"', "qk_norm = true", "kv_heads = 1", "feed_forward_width = 64  # 4 x width"):
        assert line in text


def test_what_was_changed_from_a_preset_reads_back(configured: Make, tmp_path: Path) -> None:
    """The key is left out only where the preset has the value too, not where the default has it."""
    for changes in ({}, {"model__qk_norm": True}, {"model__bias": True, "model__norm": "rmsnorm"}):
        config = configured(model__preset="nanogpt", **changes)
        text = to_toml(config, only_changed=True)
        assert load(written(tmp_path, text)).model == config.model
        assert "positions" not in text


def test_open_values_are_filled_by_the_form() -> None:
    small = Shape(2, 4, 48, 16, 64)
    assert (small.groups, small.hidden, small.epsilon, small.head_width) == (4, 192, 1e-6, 12)
    assert replace(small, activation="swiglu").hidden == 128  # 8 / 3 x 48
    assert replace(small, activation="swiglu", width=100).hidden == 272  # 266.7 to the nearest multiple of 16
    assert replace(small, norm="layernorm").epsilon == 1e-5
    given = replace(small, kv_heads=2, feed_forward_width=7, norm_epsilon=1e-3)
    assert (given.groups, given.hidden, given.epsilon) == (2, 7, 1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model.preset": "gpt4"}, 'model.preset = \'gpt4\': needed "talweg" or "nanogpt"'),
        ({"model.kv_heads": 3}, "model.heads = 4 is not a multiple of model.kv_heads = 3; each head of keys serves"),
        ({"model.kv_heads": 8}, "model.heads = 4 is not a multiple of model.kv_heads = 8"),
        ({"model.kv_heads": 0}, "model.kv_heads = 0: needed at least 1"),
        ({"model.feed_forward_width": 0}, "model.feed_forward_width = 0: needed at least 1"),
        ({"model.logit_softcap": -1.0}, "model.logit_softcap = -1.0: needed 0 or more"),
        ({"model.norm_epsilon": 0.0}, "model.norm_epsilon = 0.0: needed more than 0"),
        ({"model.rope_base": 0.0}, "model.rope_base = 0.0: needed more than 0"),
        ({"model.activation": "silu"}, 'needed "relu2" or "gelu" or "gelu_tanh" or "swiglu"'),
        ({"model.norm_gain": 1}, "model.norm_gain = 1: needed true or false"),
        ({"model.value_residual": "yes"}, "model.value_residual = 'yes': needed true or false"),
        ({"model.x0_shortcut": 1.0}, "model.x0_shortcut = 1.0: needed true or false"),
    ],
)
def test_what_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build({"run.steps": 1, **values})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


NEWER = ("preset", "kv_heads", "feed_forward_width", "norm_gain", "norm_epsilon", "rope_base", "value_residual")
NEWER += ("x0_shortcut", "logit_softcap", "init_from")


def older(config: Config) -> dict[str, Any]:
    """The values of a checkpoint as they were written before the newer keys existed."""
    return {key: value for key, value in items(config).items() if key.removeprefix("model.") not in NEWER}


@pytest.mark.parametrize("preset", ["talweg", "nanogpt"])
def test_an_older_configuration_is_the_model_it_was(preset: str, configured: Make) -> None:
    config = configured(model__preset=preset, model__activation="gelu_tanh", model__vocabulary_size=320)
    written_then = {**older(config), "model.activation": "gelu"}
    completed = begun_with(written_then)
    now = shape(config)
    assert replace(from_values(completed), kv_heads=None, feed_forward_width=None, norm_epsilon=None) == replace(
        now, norm_epsilon=None
    )
    assert from_values(completed).epsilon == now.epsilon
    assert begun_with(items(config)) == items(config)  # one of today is left as it is


def test_a_run_of_an_older_version_goes_on_and_another_model_is_refused(configured: Make) -> None:
    config = configured(run__name="a", run__steps=20)
    for record in train(config):
        if record.get("step") == 4 and "val_loss" in record:
            break
    folder = config.run.out / "a"
    saved = checkpoints.newest(folder, print)
    assert saved is not None
    old = {key: v for key, v in saved.state["config"].items() if key.removeprefix("model.") not in NEWER}
    checkpoints.save(folder, replace(saved, state={**saved.state, "config": old}), Retention(1))
    with pytest.raises(InputError, match=r"begun with another model \(model.value_residual False -> True\)"):
        next(train(configured(run__name="a", run__steps=20, model__value_residual=True)))
    records = train(config)
    next(records)
    assert next(records)["note"] == "goes on from step 4"
    records.close()
