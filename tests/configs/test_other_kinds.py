"""Talweg's TOML, tables of settings in many spellings, and the manifest of the data."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.configs import kind_of, kinds, read_facts, table
from talweg.errors import InputError
from talweg.run import FACT_NAMES
from talweg.settings.documents import Settings, nested
from tests.configs.test_nanogpt import written
from tests.conftest import shared

TOML = """\
[run]
steps = 1000
seed = 7
[model]
layers = 4
heads = 4
width = 128
context = 256
vocabulary_size = 8192
dropout = 0
[batch]
tokens_per_step = 10240
micro_batch = 12
[optimizer]
peak_lr = 3e-3
grad_clip = 1
[schedule]
kind = "wsd"
min_lr = 0.0
warmup_steps = 50
decay_share = 0.25
end_share = 0.8
[hardware]
precision = "auto"
"""

MANIFEST = {
    "format": "talweg-tokens-1",
    "tokenizer": {"name": "bpe", "sha256": "x", "vocabulary_size": 8192},
    "train": {"tokens": 1_000_000, "documents": 500, "unique_tokens": 950_000},
    "val": {"tokens": 10_000, "documents": 5},
    "unigram_nats": 6.5,
    "bigram_nats": 4.25,
    "bytes_per_token": 4.1,
}


def test_talwegs_own_configuration(tmp_path: Path) -> None:
    facts = read_facts(written(tmp_path, TOML, "config.toml"))
    assert (facts.layers, facts.heads, facts.width, facts.context) == (4, 4, 128, 256)
    assert (facts.tokens_per_step, facts.micro_batch, facts.accumulation) == (
        10_240,
        12,
        4,
    )  # 40 sequences in 12, 12, 12, 4
    assert (facts.planned_steps, facts.warmup_steps, facts.seed) == (1000, 50, 7)
    assert (facts.schedule, facts.decay_end_step, facts.decay_start_step) == ("wsd", 800, 550)  # 800 - 1000 x 0.25
    assert facts.decay_shape is None  # not stated
    assert (facts.peak_learning_rate, facts.min_learning_rate, facts.grad_clip) == (3e-3, 0.0, 1.0)
    assert isinstance(facts.grad_clip, float)
    assert facts.precision is None
    assert set(facts.sources.values()) == {"config.toml"}
    assert read_facts(tmp_path) == facts


def test_the_shape_of_the_decay_is_a_fact_of_wsd_alone(tmp_path: Path) -> None:
    text = TOML.replace("[schedule]", '[schedule]\ndecay_shape = "sqrt"')
    assert read_facts(written(tmp_path, text, "a.toml")).decay_shape == "sqrt"
    assert read_facts(written(tmp_path, text.replace('"wsd"', '"cosine"'), "b.toml")).decay_shape is None


def test_a_length_in_tokens(tmp_path: Path) -> None:
    text = TOML.replace("steps = 1000", "tokens = 1_030_000", 1).replace('"wsd"', '"cosine"')
    facts = read_facts(written(tmp_path, text, "c.toml"))
    assert (facts.planned_steps, facts.decay_end_step) == (100, 80)
    facts = read_facts(written(tmp_path, text.replace("end_share = 0.8", ""), "c.toml"))
    assert (facts.planned_steps, facts.decay_end_step) == (100, None)  # the command line may have said another share


def test_the_manifest(tmp_path: Path) -> None:
    written(tmp_path, json.dumps(MANIFEST), "manifest.json")
    facts = read_facts(tmp_path)
    assert (facts.unique_tokens, facts.val_tokens, facts.val_documents) == (950_000, 10_000, 5)
    assert (facts.unigram_nats, facts.bigram_nats, facts.bytes_per_token) == (6.5, 4.25, 4.1)
    assert (facts.vocabulary_size, facts.tokenizer) == (8192, "bpe")
    assert facts.sources["unique_tokens"] == f"{tmp_path.name}/manifest.json"


def test_a_damaged_manifest(tmp_path: Path) -> None:
    written(tmp_path, json.dumps(MANIFEST)[:-20], "manifest.json")
    with pytest.raises(InputError, match="is damaged"):
        read_facts(tmp_path)


def test_json_in_the_spelling_of_hugging_face(tmp_path: Path) -> None:
    config = {
        **{"num_hidden_layers": 8, "num_attention_heads": 8, "hidden_size": 512, "vocab_size": 32_000},
        **{"max_position_embeddings": 2048, "learning_rate": 3e-4, "lr_scheduler_type": "cosine_with_min_lr"},
        **{"max_steps": 5000, "warmup_ratio": 0.1, "warmup_steps": 0, "adam_beta2": 0.95, "max_grad_norm": 1.0},
        **{"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "bf16": True, "optim": "AdamW_torch"},
    }
    facts = read_facts(written(tmp_path, json.dumps(config), "args.json"))
    assert facts.context is None  # max_position_embeddings is what the model could take
    config["block_size"] = 2048
    facts = read_facts(written(tmp_path, json.dumps(config), "args.json"))
    assert (facts.layers, facts.heads, facts.width, facts.vocabulary_size, facts.context) == (8, 8, 512, 32_000, 2048)
    assert (facts.peak_learning_rate, facts.schedule, facts.planned_steps, facts.warmup_steps) == (
        3e-4,
        "cosine",
        5000,
        500,
    )
    assert (facts.beta2, facts.grad_clip, facts.precision, facts.optimizer) == (0.95, 1.0, "bf16", "adamw_torch")
    assert facts.tokens_per_step is None  # nobody says how many devices there were
    config["world_size"] = 2
    facts = read_facts(written(tmp_path, json.dumps(config), "args.json"))
    assert (facts.accumulation, facts.tokens_per_step) == (8, 8 * 8 * 2048)


def test_yaml_like_lines(tmp_path: Path) -> None:
    text = "# a run\nmodel:\n  n_layers: 6\n  d_model: 384\ntraining:\n  lr: 6e-4  # peak\n  betas: [0.9, 0.98]\n"
    text += "  total_steps: 10_000\n  batch_size: 16\n  seq_len: 512\n  lr_schedule: trapezoidal\n  min_lr_ratio: 0.1\n"
    facts = read_facts(written(tmp_path, text, "run.yaml"))
    assert (facts.layers, facts.width, facts.peak_learning_rate, facts.beta1, facts.beta2) == (6, 384, 6e-4, 0.9, 0.98)
    assert (facts.planned_steps, facts.tokens_per_step, facts.schedule) == (10_000, 8192, "wsd")
    assert facts.min_learning_rate == pytest.approx(6e-5)


def test_a_trackers_yaml(tmp_path: Path) -> None:
    text = "learning_rate:\n  desc: null\n  value: 0.001\nn_layer:\n  desc: null\n  value: 4\n"
    facts = read_facts(written(tmp_path, text, "config.yaml"))
    assert (facts.peak_learning_rate, facts.layers) == (0.001, 4)


def test_equals_signs(tmp_path: Path) -> None:
    facts = read_facts(
        written(tmp_path, "[training]\nlearning-rate = 0.001\nmax_steps = 500\nd_model = 64\n", "run.ini")
    )
    assert (facts.peak_learning_rate, facts.planned_steps, facts.width) == (0.001, 500, 64)


@pytest.mark.parametrize("schedule", ["cosine_with_restarts", "polynomial", "none", ""])
def test_schedules_that_are_not_ours_stay_unknown(tmp_path: Path, schedule: str) -> None:
    text = f"lr_scheduler_type: {schedule}\nlearning_rate: 0.001\nmax_steps: -1\nseed: 3\n"
    facts = read_facts(written(tmp_path, text, "c.yaml"))
    assert (facts.schedule, facts.planned_steps) == (None, None)


def test_public_configurations_of_hugging_face_do_not_mislead() -> None:
    facts = read_facts(shared("data/curves/hf_trainer/jaong_cpt__config.json"))
    stated = {name for name in FACT_NAMES if getattr(facts, name) is not None}
    assert stated <= {"layers", "heads", "width", "context", "vocabulary_size", "dropout", "precision"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (TOML, "talweg"),
        (json.dumps(MANIFEST), "manifest"),
        ("batch_size = 4\nblock_size = 64\nn_layer = 2\n", "nanogpt"),
        ("batch_size = 4\nhidden_size = 64\nlr = 0.1\nmax_steps = 9\n", "table"),
        ('{"n_layer": 2, "n_embd": 4, "n_head": 1}', "table"),
    ],
)
def test_the_content_decides_which_kind_it_is(tmp_path: Path, text: str, name: str) -> None:
    assert name == kind_of(written(tmp_path, text, "anything.txt")).NAME


@pytest.mark.parametrize(
    "text", ["{}", "[]", "{", "[a]\nb = 1\n", "a: 1\nb: 2\n", "Dear all,\nthe batch size: it is large\n"]
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="no configuration"):
        read_facts(written(tmp_path, text, "x"))


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no config\.toml"):
        read_facts(tmp_path)


def test_a_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_facts(tmp_path / "nothing.py")


def test_every_kind_keeps_the_contract() -> None:
    assert set(kinds()) >= {"manifest", "nanogpt", "table", "talweg", "token_files"}
    for name, kind in kinds().items():
        assert name == kind.NAME
        for head in ("", "\n", "x", "{", "[", "[[", "=", ":", "a:", "\x00", "a = ", '"'):
            assert kind.sniff(Path("x"), head) == 0.0


@given(st.text(max_size=200))
def test_no_text_breaks_the_kinds(text: str) -> None:
    for kind in kinds().values():
        assert 0 <= kind.sniff(Path("x"), text) <= 1
    Settings.of(nested(text))


def test_settings_of_a_tracker() -> None:
    """Nested or flat, a tracker's wrapping in value; the outermost of one name, and none of several that differ."""
    settings = {
        "model": {"n_layer": 6, "seed": 1, "lr": 1.0},
        "optimizer/weight_decay": 0.1,
        "student.lr": 2.0,
        "lr": {"desc": None, "value": 3e-4},
        "data": {"seed": 2, "n_layer": 6},
        "max_steps": -1,
        "batch_size": float("inf"),
        "num_params": 10**400,
        "global_batch_size": 10**400,
        "seq_len": 64,
    }
    facts = table.facts_of(settings, "the config in the log")
    assert facts.sources == dict.fromkeys(
        ("layers", "context", "weight_decay", "peak_learning_rate"), "the config in the log"
    )
    assert (facts.layers, facts.weight_decay, facts.peak_learning_rate) == (6, 0.1, 3e-4)
    assert table.facts_of({"note": [1, {"lr": 2}]}, "x").sources == {}
