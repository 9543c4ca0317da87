"""Hugging Face's configurations, against what transformers itself makes of them where it is there."""

import json
from pathlib import Path
from typing import Any

import pytest

from talweg.configs import hugging_face, kind_of, read_facts
from talweg.configs.hugging_face import facts_of_arguments, facts_of_model
from talweg.errors import InputError
from tests.configs.test_nanogpt import written
from tests.conftest import shared

ARGUMENTS = {
    **{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 6e-4, "max_steps": 1000},
    **{"lr_scheduler_type": "cosine", "warmup_steps": 0, "warmup_ratio": 0.1, "optim": "adamw_torch_fused", "seed": 7},
    **{"adam_beta1": 0.9, "adam_beta2": 0.95, "weight_decay": 0.1, "max_grad_norm": 1.0, "bf16": True, "fp16": False},
    **{"logging_steps": 10, "logging_nan_inf_filter": True},
}


def test_arguments_as_json(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(ARGUMENTS), "training_args.json")
    assert kind_of(path).NAME == "hugging_face"
    facts = read_facts(path)
    assert (facts.micro_batch, facts.peak_learning_rate, facts.planned_steps, facts.seed) == (4, 6e-4, 1000, 7)
    assert (facts.schedule, facts.warmup_steps, facts.decay_end_step, facts.min_learning_rate) == (
        "cosine",
        100,
        1000,
        0,
    )
    assert (facts.optimizer, facts.beta1, facts.beta2, facts.weight_decay) == ("adamw", 0.9, 0.95, 0.1)
    assert (facts.grad_clip, facts.precision) == (1.0, "bf16")
    assert facts.accumulation is None  # over all ranks, which nobody stated
    assert facts_of_arguments({**ARGUMENTS, "world_size": 8}, "x").accumulation == 16


def test_arguments_as_they_are_printed(tmp_path: Path) -> None:
    printed = {
        **ARGUMENTS,
        **{"lr_scheduler_type": "SchedulerType.LINEAR", "optim": "<OptimizerNames.ADAFACTOR: 'adafactor'>"},
        **{"lr_scheduler_kwargs": "{}", "hub_token": "<HUB_TOKEN>", "max_steps": -1, "warmup_ratio": None},
    }
    text = "INFO - Training/evaluation parameters TrainingArguments(\n"
    text += "".join(f"{name}={value},\n" for name, value in sorted(printed.items())) + ")\n"
    path = written(tmp_path, text, "args.txt")
    assert kind_of(path).NAME == "hugging_face"
    facts = read_facts(path)
    assert (facts.schedule, facts.optimizer, facts.micro_batch, facts.precision) == ("linear", "adafactor", 4, "bf16")
    assert (facts.planned_steps, facts.decay_end_step, facts.warmup_steps) == (None, None, 0)


@pytest.mark.parametrize(
    ("change", "fact", "expected"),
    [
        ({"warmup_steps": 50}, "warmup_steps", 50),
        ({"warmup_steps": 0.05, "warmup_ratio": None}, "warmup_steps", 50),  # a share, since version 5
        ({"warmup_steps": 0, "warmup_ratio": 0.0}, "warmup_steps", 0),
        ({"warmup_ratio": 0.1, "max_steps": -1}, "warmup_steps", None),
        ({"lr_scheduler_type": "constant"}, "warmup_steps", 0),  # it takes no notice of a warm-up
        ({"lr_scheduler_type": "constant_with_warmup"}, "warmup_steps", 100),
        ({"lr_scheduler_type": "constant"}, "min_learning_rate", None),
        ({"lr_scheduler_type": "polynomial"}, "schedule", None),
        ({"lr_scheduler_type": "cosine_with_restarts"}, "schedule", None),
        ({"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}, "min_learning_rate", pytest.approx(6e-5)),
        ({"lr_scheduler_kwargs": {"min_lr": 1e-5}}, "min_learning_rate", 1e-5),
        ({"bf16": False}, "precision", None),
        ({"packing": True, "max_length": 2048}, "context", 2048),
        ({"packing": False, "max_length": 2048}, "context", None),
        ({"max_grad_norm": 0.0}, "grad_clip", 0.0),
        ({"learning_rate": float("nan")}, "peak_learning_rate", None),
    ],
)
def test_what_an_argument_means(change: dict[str, Any], fact: str, expected: object) -> None:
    assert getattr(facts_of_arguments({**ARGUMENTS, **change}, "x"), fact) == expected


def test_warm_up_stable_decay() -> None:
    change = {"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 100}
    more = {"num_decay_steps": 200, "min_lr_ratio": 0.1, "decay_type": "1-sqrt"}
    facts = facts_of_arguments({**ARGUMENTS, **change, "lr_scheduler_kwargs": more}, "x")
    assert (facts.schedule, facts.decay_start_step, facts.decay_end_step, facts.decay_shape) == (
        "wsd",
        800,
        1000,
        "sqrt",
    )
    assert facts.min_learning_rate == pytest.approx(6e-5)


def test_the_config_of_a_model(tmp_path: Path) -> None:
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768}
    config |= {"vocab_size": 50_257, "n_positions": 1024, "transformers_version": "4.40.0"}
    path = written(tmp_path, json.dumps(config), "config.json")
    assert kind_of(path).NAME == "hugging_face"
    facts = read_facts(path)
    assert facts.parameters == 123_653_376  # 124,439,808 as published, less 1024 x 768 of positions
    assert (facts.layers, facts.heads, facts.width, facts.context, facts.tied_embeddings) == (12, 12, 768, 1024, True)
    assert facts.sources["parameters"] == "counted by the shape of gpt2 (config.json)"


def test_a_model_of_another_shape_has_no_count() -> None:
    config = {"model_type": "mixtral", "num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 10}
    facts = facts_of_model({**config, "num_attention_heads": 2, "tie_word_embeddings": True}, "x")
    assert (facts.parameters, facts.layers, facts.context) == (None, 2, None)


def test_the_public_sample() -> None:
    facts = read_facts(shared("data/formats/hf_trainer/out/checkpoint-300/config.json"))
    hand = 96 * 64 + 2 * (12 * 64**2 + 13 * 64) + 2 * 64
    assert (facts.parameters, facts.context, facts.dropout, facts.bias) == (hand, 64, 0.1, True)


def test_what_is_damaged_or_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is damaged"):
        hugging_face.read(written(tmp_path, '{"model_type": "gpt2", "n_layer"', "config.json"))
    with pytest.raises(InputError, match="states no argument"):
        hugging_face.read(written(tmp_path, "a=1\n", "args.txt"))


@pytest.mark.parametrize(
    "text", ["import torch\nlearning_rate=1\n", "learning_rate: 1e-3\nmax_steps: 5\n", "{}", "x=1,"]
)
def test_other_files_are_not_taken(text: str) -> None:
    assert hugging_face.sniff(Path("x"), text) == 0.0


# ---------------------------------------------------------------- against transformers

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("GPT2", {"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2}),
    ("GPT2", {"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 48, "tie_word_embeddings": False}),
    ("Llama", {"num_key_value_heads": 2}),
    ("Llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ("Mistral", {"num_key_value_heads": 2, "head_dim": 8}),
    ("Qwen2", {"num_key_value_heads": 1}),
    ("Qwen3", {"num_key_value_heads": 2, "head_dim": 24, "tie_word_embeddings": True}),
    ("Gemma", {"num_key_value_heads": 2, "head_dim": 8}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "settings"), MODELS)
def test_parameters_are_counted_as_transformers_counts_them(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes = {} if kind == "GPT2" else sizes
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(vocab_size=100, **ends, **sizes, **settings)
    model = getattr(transformers, f"{kind}LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM")(config)
    model.save_pretrained(tmp_path)
    expected = sum(weight.numel() for weight in model.parameters()) - (16 * 32 if kind == "GPT2" else 0)
    facts = read_facts(tmp_path / "config.json")
    assert facts.parameters == expected
    assert facts.tied_embeddings is config.tie_word_embeddings
    assert read_facts(tmp_path / "model.safetensors").parameters == expected
