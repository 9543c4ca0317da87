"""HF folders in both directions, held against transformers itself: the same logits, and the same weights back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from talweg.errors import InputError
from talweg.train.exchange.opening import open_model
from talweg.train.exchange.outgoing import export_model
from tests.train.exchange.models import CLASSIC, LLAMA, logits, ours, randomised, saved, theirs, tokens

transformers = pytest.importorskip("transformers")
UNREAD = re.compile(r"summary|_|.*token_id|init|use|trans|arch|dtype|.*drop|pre")  # keys of no concern here
CLOSE = 1e-4  # of logits of size 1 to 10, in fp32

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "classic": ("gpt2", CLASSIC),
    "classic with biases": ("gpt2", {**CLASSIC, "bias": True, "activation": "gelu_tanh", "norm_epsilon": 1e-3}),
    "classic, relu2, untied": (
        "gpt2",
        {**CLASSIC, "activation": "relu2", "tied_head": False, "feed_forward_width": 48},
    ),
    "llama": ("llama", LLAMA),
    "llama with shared keys": ("llama", {**LLAMA, "kv_heads": 2, "rope_base": 500.0, "tied_head": True}),
    "modern without QK-norm": ("arcee", {"qk_norm": False}),
    "gelu with RoPE": ("arcee", {"qk_norm": False, "activation": "gelu_tanh", "norm_gain": True}),
    "modern": ("qwen3", {}),
    "modern with swiglu and shared keys": ("qwen3", {"activation": "swiglu", "kv_heads": 1, "norm_epsilon": 1e-4}),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_is_exported_has_the_same_logits_in_transformers_and_comes_back(name: str, tmp_path: Path) -> None:
    kind, options = FORMS[name]
    model = ours(**options)
    done = export_model(saved(model, tmp_path / "run"), tmp_path / "hf", to="hf")
    assert done.form == f"HF {kind}"
    expected = logits(model)
    with torch.no_grad():
        got = theirs(tmp_path / "hf")(tokens(model)).logits
    assert expected.abs().max() > 1
    assert (got - expected).abs().max() < CLOSE
    again = open_model(tmp_path / "hf").model
    for parameter, value in model.named_parameters():
        assert torch.equal(again.get_parameter(parameter), value), parameter
    assert torch.equal(logits(again), expected)
    changed = {key for key, value in vars(model.shape).items() if vars(again.shape)[key] != value}
    assert changed <= {"initialisation", "kv_heads", "feed_forward_width", "norm_epsilon"}  # None, now written out


def foreign(kind: str, **options: Any) -> Any:
    """A model that transformers itself makes."""
    if kind == "gpt2":
        sizes = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 24, "vocab_size": 70}
        config = transformers.GPT2Config(**{**sizes, "bos_token_id": 0, "eos_token_id": 0, **options})
        return randomised(transformers.GPT2LMHeadModel(config))
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32}
    sizes |= {"intermediate_size": 40, "max_position_embeddings": 24, "vocab_size": 70}
    config = transformers.LlamaConfig(**{**sizes, "bos_token_id": 0, "eos_token_id": 0, **options})
    return randomised(transformers.LlamaForCausalLM(config))


def written(model: Any, folder: Path, **how: Any) -> Path:
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder, **how)
    return folder


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gpt2", {}),
        ("gpt2", {"activation_function": "gelu", "n_inner": 50}),
        ("gpt2", {"tie_word_embeddings": False, "layer_norm_epsilon": 1e-3}),
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4, "rms_norm_eps": 1e-3}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    ],
)
def test_a_folder_of_transformers_has_the_same_logits_here(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = foreign(kind, **options)
    loaded = open_model(written(model, tmp_path / "hf"))
    with torch.no_grad():
        expected = model(tokens(loaded.model)).logits
    assert (logits(loaded.model) - expected).abs().max() < CLOSE
    assert loaded.tokenizer is None
    assert loaded.source == f"HF {kind} {tmp_path / 'hf'}"


def test_shards_with_an_index_and_the_bare_model_are_read(tmp_path: Path) -> None:
    model = foreign("gpt2")
    sharded = written(model, tmp_path / "sharded", max_shard_size="20KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 2
    bare = written(model.transformer, tmp_path / "bare")
    with torch.no_grad():
        expected = model(tokens(open_model(sharded).model)).logits
    for folder in (sharded, bare):
        assert (logits(open_model(folder).model) - expected).abs().max() < CLOSE
    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(InputError, match=rf"{shard.name} cannot be read: No such file"):
        open_model(sharded)


def test_an_older_bin_file_and_bf16_weights_are_read(tmp_path: Path) -> None:
    model = foreign("llama")
    folder = written(model.to(torch.bfloat16), tmp_path / "hf")
    expected = logits(open_model(folder).model)
    assert expected.dtype == torch.float32
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(logits(open_model(folder).model), expected)


def refused(folder: Path, **changes: Any) -> str:
    """The line for a config.json with these keys changed; it is put back."""
    path = folder / "config.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), **changes}))
    try:
        with pytest.raises(InputError) as caught:
            open_model(folder)
    finally:
        path.write_text(before)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_is_not_computed_here_is_refused_by_name(tmp_path: Path) -> None:
    llama, gpt2 = written(foreign("llama"), tmp_path / "l"), written(foreign("gpt2"), tmp_path / "g")
    assert "attention_bias = True; only False is known" in refused(llama, attention_bias=True)
    scaled = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}
    assert "rope_type = 'llama3'; only 'default' is known" in refused(llama, rope_parameters=scaled)
    assert "rope_scaling = {" in refused(llama, rope_scaling={"type": "linear", "factor": 2.0})
    assert "hidden_act = 'tanh'; known are silu" in refused(llama, hidden_act="tanh")
    assert "head_dim = 16; only 8 is known" in refused(llama, head_dim=16)
    assert "layer_types = ['sliding" in refused(llama, layer_types=["sliding_attention", "full_attention"])
    assert "quantization_config = {" in refused(llama, quantization_config={"bits": 4})
    assert "model_type = 'bert'; known are gpt2, llama, qwen3, arcee" in refused(llama, model_type="bert")
    assert "num_hidden_layers = 'two'; needed a whole number" in refused(llama, num_hidden_layers="two")
    assert "rms_norm_eps = 0; needed a number above 0" in refused(llama, rms_norm_eps=0)
    assert "tie_word_embeddings = 1; needed true or false" in refused(llama, tie_word_embeddings=1)
    assert "config.json promises 10000 layers" in refused(llama, num_hidden_layers=10**4)
    assert "lacks the weight model.layers.2" in refused(llama, num_hidden_layers=3)
    assert "place for" in refused(llama, num_hidden_layers=1)
    assert "2 heads of keys do not go together" in refused(llama, num_attention_heads=5, head_dim=None)
    assert "is 70 x 32, and its configuration makes it 71 x 32" in refused(llama, vocab_size=71)
    assert "activation_function = 'swish'; known are gelu_new" in refused(gpt2, activation_function="swish")
    assert "scale_attn_by_inverse_layer_idx" in refused(gpt2, scale_attn_by_inverse_layer_idx=True)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_whatever_config_json_says_is_one_line_or_a_model(kind: str, tmp_path: Path) -> None:
    folder = written(foreign(kind), tmp_path / "hf")
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    refusals = 0
    for key in [name for name in settings if not UNREAD.match(name)]:
        for odd in (None, -1, 0.5, 10**7, 10**9, "x", [], {"x": 1}, True):
            path.write_text(json.dumps({**settings, key: odd}))
            try:
                open_model(folder)
            except InputError as error:
                refusals += "\n" not in str(error)
    assert refusals > 60


def test_a_qk_norm_with_a_learned_gain_is_refused(tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 16}
    config = transformers.Qwen3Config(**sizes, intermediate_size=16, vocab_size=40, head_dim=8)
    folder = written(randomised(transformers.Qwen3ForCausalLM(config)), tmp_path / "q")
    with pytest.raises(InputError, match=r"self_attn.[qk]_norm.weight is not 1 everywhere"):
        open_model(folder)


def test_a_damaged_folder_is_one_line(tmp_path: Path) -> None:
    folder = written(foreign("gpt2"), tmp_path / "hf")
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, text = weights.read_bytes(), config.read_text()

    def complaint() -> str:
        with pytest.raises(InputError) as caught:
            open_model(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    for cut in (0, 5, 100, len(whole) - 7):
        weights.write_bytes(whole[:cut])
        assert "model.safetensors is cut off or damaged" in complaint()
    weights.unlink()
    assert "has no weights: needed model.safetensors" in complaint()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../secret.safetensors"}}')
    assert "needed a weight_map from names to files beside it" in complaint()
    config.write_text(text[:20])
    assert "config.json is cut off or no JSON" in complaint()
    config.write_text("[]")
    assert "holds no JSON object" in complaint()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"value_residual": True, "x0_shortcut": True}, ["model.value_residual = true", "model.x0_shortcut = true"]),
        ({"logit_softcap": 15.0}, ["model.logit_softcap = 15"]),
        ({"activation": "gelu"}, ["model.activation = gelu with model.qk_norm = true"]),
        (
            {"norm": "layernorm", "bias": True},
            ["model.norm = layernorm with model.positions = rope", "model.bias = true"],
        ),
        ({"positions": "learned"}, ["model.norm = rmsnorm", "model.qk_norm = true"]),
        ({**CLASSIC, "kv_heads": 2}, ["model.kv_heads = 2"]),
    ],
)
def test_a_model_without_a_place_is_refused_with_every_option(
    options: dict[str, Any], named: list[str], tmp_path: Path
) -> None:
    folder = saved(ours(**options), tmp_path / "run")
    with pytest.raises(InputError, match="nothing was written") as caught:
        export_model(folder, tmp_path / "out", to="hf")
    assert all(name in str(caught.value) for name in named)
    assert not (tmp_path / "out").exists()
