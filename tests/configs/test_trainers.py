"""Configurations of trainers, written out as they write them: every fact against a hand calculation."""

import json
from pathlib import Path
from typing import Any

import pytest

from talweg.configs import kind_of, read_facts
from talweg.run import Facts
from tests.configs.test_nanogpt import written
from tests.conftest import shared

TORCHTITAN = """\
# torchtitan Config.toml
[job]
dump_folder = "./outputs"
[profiling]
enable_profiling = false
[metrics]
log_freq = 10
[model]
name = "llama3"
flavor = "8B"
hf_assets_path = "./assets/hf/Llama-3.1-8B"
[optimizer]
name = "AdamW"
lr = 3e-4
eps = 1e-8
[lr_scheduler]
warmup_steps = 200
decay_ratio = 0.8
decay_type = "linear"
min_lr_factor = 0.1
[training]
local_batch_size = 2
seq_len = 8192
max_norm = 1.0
steps = 1000
dataset = "c4"
[parallelism]
data_parallel_replicate_degree = 1
data_parallel_shard_degree = -1
tensor_parallel_degree = 2
[checkpoint]
enable = false
[validation]
local_batch_size = 16
steps = 5
"""

NANOTRON = """\
checkpoints:
  checkpoint_interval: 10
data_stages:
- data:
    dataset:
      hf_dataset_or_datasets: stas/openwebtext-10k
    num_loading_workers: 1
    seed: 42
  name: Stable Training Stage
  start_training_step: 1
general:
  project: debug
  run: tiny_llama_%date_%jobid
  seed: 43
  step: null
model:
  ddp_bucket_cap_mb: 25
  dtype: bfloat16
  init_method:
    std: 0.025
  model_config:
    bos_token_id: 1
    hidden_act: silu
    hidden_size: 16
    is_llama_config: true
    max_position_embeddings: 256
    num_attention_heads: 4
    num_hidden_layers: 2
    tie_word_embeddings: true
    vocab_size: 256
optimizer:
  accumulate_grad_in_fp32: true
  clip_grad: 1.0
  learning_rate_scheduler:
    learning_rate: 0.0003
    lr_decay_starting_step: null
    lr_decay_steps: 13
    lr_decay_style: cosine
    lr_warmup_steps: 2
    lr_warmup_style: linear
    min_decay_lr: 1.0e-05
  optimizer_factory:
    adam_beta1: 0.9
    adam_beta2: 0.95
    adam_eps: 1.0e-08
    name: adamW
    torch_adam_is_fused: true
  weight_decay: 0.01
  zero_stage: 0
parallelism:
  dp: 4
  expert_parallel_size: 1
  pp: 1
  pp_engine: 1f1b
  tp: 2
tokenizer:
  tokenizer_name_or_path: robot-test/dummy-tokenizer-wordlevel
tokens:
  batch_accumulation_per_replica: 3
  limit_test_batches: 0
  micro_batch_size: 2
  sequence_length: 256
  train_steps: 15
  val_check_interval: -1
"""

LITGPT = """\
model_name: pythia-14m
model_config: null
out_dir: out/custom-model
precision: bf16-mixed
initial_checkpoint_dir: null
resume: false
data:
  class_path: litgpt.data.TinyStories
  init_args:
    seed: 7
train:
  save_interval: 1000
  log_interval: 1
  global_batch_size: 512
  micro_batch_size: 4
  lr_warmup_steps: 2000
  max_tokens: 3000000000
  max_norm: 1.0
  min_lr: 4.0e-05
eval:
  interval: 1000
  max_iters: 100
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.0004
    weight_decay: 0.1
    betas:
    - 0.9
    - 0.95
devices: auto
num_nodes: 1
logger_name: tensorboard
seed: 42
"""

DEEPSPEED: dict[str, Any] = {
    "train_batch_size": 256,
    "train_micro_batch_size_per_gpu": 8,
    "steps_per_print": 100,
    "gradient_clipping": 1.0,
    "optimizer": {"type": "AdamW", "params": {"lr": 6e-4, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": 0, "warmup_max_lr": 6e-4, "warmup_num_steps": 100}},
    "fp16": {"enabled": False},
    "bf16": {"enabled": True},
    "zero_optimization": {"stage": 2},
}

AXOLOTL = """\
base_model: NousResearch/Llama-3.2-1B
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
val_set_size: 0.1
output_dir: ./outputs/out
sequence_len: 2048
sample_packing: true
gradient_accumulation_steps: 2
micro_batch_size: 1
num_epochs: 1
max_steps: 400
optimizer: adamw_8bit
lr_scheduler: cosine
learning_rate: 0.0002
bf16: auto
warmup_ratio: 0.1
weight_decay: 0.0
special_tokens:
  pad_token: "<|end_of_text|>"
"""

FAIRSEQ = """\
_name: null
common:
  _name: null
  fp16: true
  seed: 1
task:
  _name: language_modeling
  data: data-bin/wikitext-103
  tokens_per_sample: 512
dataset:
  _name: null
  max_tokens: null
  batch_size: 4
optimization:
  _name: null
  max_update: 50000
  clip_norm: 0.1
  update_freq: [16]
  lr: [0.0005]
distributed_training:
  _name: null
  distributed_world_size: 2
criterion:
  _name: cross_entropy
optimizer:
  _name: adam
  adam_betas: (0.9,0.98)
  weight_decay: 0.01
  lr: [0.0005]
lr_scheduler:
  _name: polynomial_decay
  warmup_updates: 4000
  end_learning_rate: 0.0
  power: 1.0
  total_num_update: 50000
  lr: [0.0005]
model:
  _name: transformer_lm_gpt
  dropout: 0.1
"""


def test_torchtitan(tmp_path: Path) -> None:
    path = written(tmp_path, TORCHTITAN, "llama3_8b.toml")
    assert kind_of(path).NAME == "torchtitan"
    facts = read_facts(path)
    assert (facts.layers, facts.heads, facts.width, facts.context) == (32, 32, 4096, 8192)
    assert (facts.optimizer, facts.peak_learning_rate, facts.grad_clip) == ("adamw", 3e-4, 1.0)
    # 200 of warm-up, then flat until the last 800 of 1,000 begin: at 200 already, so it is one decay
    assert (facts.schedule, facts.warmup_steps, facts.planned_steps, facts.decay_end_step) == (
        "linear",
        200,
        1000,
        1000,
    )
    assert facts.min_learning_rate == pytest.approx(3e-5)
    assert (facts.micro_batch, facts.tokens_per_step, facts.dataset) == (2, None, "c4")
    assert facts.sources["layers"] == "llama3 8B (llama3_8b.toml)"
    # 16 ranks, two of which hold one model together: 8 replicas of 2 sequences of 8,192
    known = read_facts(path, Facts(ranks=16))
    assert known.tokens_per_step == 8 * 2 * 8192
    assert known.accumulation == 8


@pytest.mark.parametrize(
    ("change", "schedule", "start"),
    [
        (("decay_ratio = 0.8", "decay_ratio = 0.1"), "wsd", 900),
        (('decay_ratio = 0.8\ndecay_type = "linear"', 'decay_ratio = 0.1\ndecay_type = "cosine"'), None, None),
        (('decay_ratio = 0.8\ndecay_type = "linear"', 'decay_type = "sqrt"'), "wsd", 200),
        (("decay_ratio = 0.8\ndecay_type", "decay_type"), "linear", None),
    ],
)
def test_schedules_of_torchtitan(
    tmp_path: Path, change: tuple[str, str], schedule: str | None, start: int | None
) -> None:
    facts = read_facts(written(tmp_path, TORCHTITAN.replace(*change), "c.toml"))
    assert (facts.schedule, facts.decay_start_step) == (schedule, start)


def test_the_global_batch_of_torchtitan(tmp_path: Path) -> None:
    text = TORCHTITAN.replace("local_batch_size = 2", "local_batch_size = 2\nglobal_batch_size = 64", 1)
    facts = read_facts(written(tmp_path, text, "c.toml"))
    assert (facts.tokens_per_step, facts.accumulation) == (64 * 8192, 32)
    assert facts.sources["tokens_per_step"] == "global_batch_size 64 x seq_len 8192 (c.toml)"


def test_nanotron(tmp_path: Path) -> None:
    path = written(tmp_path, NANOTRON, "config.yaml")
    assert kind_of(path).NAME == "nanotron"
    facts = read_facts(path)
    assert (facts.layers, facts.heads, facts.width, facts.vocabulary_size, facts.context) == (2, 4, 16, 256, 256)
    assert (facts.micro_batch, facts.accumulation, facts.ranks) == (2, 12, 8)
    assert facts.tokens_per_step == 4 * 3 * 2 * 256
    assert "micro_batch_size 2 x batch_accumulation_per_replica 3 x dp 4" in facts.sources["tokens_per_step"]
    assert (facts.schedule, facts.peak_learning_rate, facts.min_learning_rate) == ("cosine", 3e-4, 1e-5)
    assert (facts.warmup_steps, facts.planned_steps, facts.decay_end_step) == (2, 15, 15)  # 2 + 13
    assert (facts.optimizer, facts.beta2, facts.weight_decay, facts.grad_clip) == ("adamw", 0.95, 0.01, 1.0)
    assert (facts.precision, facts.seed, facts.tied_embeddings) == ("bf16", 43, True)
    later = NANOTRON.replace("lr_decay_starting_step: null", "lr_decay_starting_step: 10").replace(
        "steps: 13", "steps: 5"
    )
    assert read_facts(written(tmp_path, later, "c.yaml")).schedule is None  # a cosine after a flat part
    later = later.replace("style: cosine", "style: 1-sqrt")
    facts = read_facts(written(tmp_path, later, "c.yaml"))
    assert (facts.schedule, facts.decay_shape, facts.decay_start_step, facts.decay_end_step) == ("wsd", "sqrt", 10, 15)


def test_litgpt_in_two_files(tmp_path: Path) -> None:
    model = "name: pythia-14m\nblock_size: 512\nvocab_size: 50254\npadded_vocab_size: 50304\nn_layer: 6\nn_head: 4\n"
    model += "n_embd: 128\nbias: true\nhf_config:\n  name: pythia-14m\n"
    shape = read_facts(written(tmp_path, model, "model_config.yaml"))
    assert (shape.context, shape.layers, shape.heads, shape.width, shape.vocabulary_size) == (512, 6, 4, 128, 50304)
    path = written(tmp_path, LITGPT, "hyperparameters.yaml")
    assert kind_of(path).NAME == "litgpt"
    facts = read_facts(path)
    assert (facts.tokens_per_step, facts.planned_steps) == (None, None)
    facts = read_facts(path, shape)
    # 512 x 512 tokens; 3,000,000,000 / 262,144 = 11,444.09
    assert (facts.tokens_per_step, facts.micro_batch, facts.accumulation) == (262_144, 4, 128)
    assert (facts.planned_steps, facts.decay_end_step, facts.schedule) == (11_444, 11_444, "cosine")
    assert (facts.peak_learning_rate, facts.min_learning_rate, facts.warmup_steps) == (4e-4, 4e-5, 2000)
    assert (facts.beta2, facts.weight_decay, facts.grad_clip, facts.optimizer) == (0.95, 0.1, 1.0, "adamw")
    assert (facts.precision, facts.seed) == ("bf16", 42)


def test_deepspeed(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(DEEPSPEED), "ds_config.json")
    assert kind_of(path).NAME == "deepspeed"
    facts = read_facts(path)
    assert (facts.micro_batch, facts.accumulation, facts.tokens_per_step) == (8, 32, None)
    assert read_facts(path, Facts(context=1024)).tokens_per_step == 256 * 1024
    assert (facts.schedule, facts.warmup_steps, facts.peak_learning_rate, facts.precision) == (
        "constant",
        100,
        6e-4,
        "bf16",
    )
    assert (facts.beta1, facts.beta2, facts.weight_decay, facts.grad_clip) == (0.9, 0.95, 0.1, 1.0)
    auto = dict.fromkeys(("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_clipping"), "auto")
    facts = read_facts(written(tmp_path, json.dumps({**DEEPSPEED, **auto}), "ds.json"))
    assert (facts.micro_batch, facts.accumulation, facts.grad_clip) == (None, None, None)


def test_axolotl(tmp_path: Path) -> None:
    path = written(tmp_path, AXOLOTL, "lora.yml")
    assert kind_of(path).NAME == "axolotl"
    facts = read_facts(path)
    assert (facts.tokens_per_step, facts.context, facts.micro_batch) == (None, 2048, 1)
    assert (facts.schedule, facts.min_learning_rate, facts.planned_steps, facts.decay_end_step) == (
        "cosine",
        0.0,
        400,
        400,
    )
    assert (facts.warmup_steps, facts.optimizer, facts.weight_decay) == (40, "adamw", 0.0)
    assert facts.initialised_from == "NousResearch/Llama-3.2-1B"
    facts = read_facts(path, Facts(ranks=4))
    assert (facts.tokens_per_step, facts.accumulation) == (4 * 2 * 1 * 2048, 8)
    loose = read_facts(written(tmp_path, AXOLOTL.replace("packing: true", "packing: false"), "c.yml"), Facts(ranks=4))
    assert (loose.context, loose.tokens_per_step) == (None, None)  # sequences that are not packed are shorter


def test_fairseq(tmp_path: Path) -> None:
    path = written(tmp_path, FAIRSEQ, "config.yaml")
    assert kind_of(path).NAME == "fairseq"
    facts = read_facts(path)
    assert facts.tokens_per_step == 4 * 16 * 2 * 512
    assert (facts.planned_steps, facts.grad_clip, facts.precision, facts.seed) == (50_000, 0.1, "fp16", 1)
    assert (facts.schedule, facts.warmup_steps, facts.decay_end_step) == ("linear", 4000, 50_000)
    assert (facts.peak_learning_rate, facts.beta1, facts.beta2, facts.dropout) == (5e-4, 0.9, 0.98, 0.1)
    assert facts.optimizer == "adam"
    limited = FAIRSEQ.replace("max_tokens: null", "max_tokens: 2048")
    assert read_facts(written(tmp_path, limited, "c.yaml")).tokens_per_step is None


def test_nanochat() -> None:
    path = shared("data/formats/nanochat/meta_000150.json")
    assert kind_of(path).NAME == "nanochat"
    facts = read_facts(path)
    assert (facts.layers, facts.heads, facts.width, facts.vocabulary_size, facts.context) == (2, 2, 64, 1024, 64)
    assert (facts.tokens_per_step, facts.micro_batch, facts.accumulation, facts.planned_steps) == (512, 8, 1, 150)
    # 150 - round(0.65 x 150) = 150 - 98
    assert (facts.schedule, facts.warmup_steps, facts.decay_start_step, facts.decay_end_step) == ("wsd", 40, 52, 150)
    assert facts.peak_learning_rate is None  # each group has its own
    assert facts.eval_windows == 64


def test_wandbs_yaml_of_nested_settings(tmp_path: Path) -> None:
    text = (
        "wandb_version: 1\n\n_wandb:\n  desc: null\n  value:\n    python_version: 3.11\n    t:\n      1:\n      - 1\n"
    )
    text += "model:\n  desc: null\n  value:\n    n_layer: 4\n    n_embd: 64\nlr:\n  desc: null\n  value: 0.001\n"
    text += "betas:\n    value:\n        - 0.9\n        - 0.98\n"
    facts = read_facts(written(tmp_path, text, "config.yaml"))
    assert (facts.layers, facts.width, facts.peak_learning_rate, facts.beta2) == (4, 64, 1e-3, 0.98)


def test_lightnings_hparams() -> None:
    facts = read_facts(shared("data/formats/lightning_csvlogger/lightning_logs/version_0/hparams.yaml"))
    assert (facts.peak_learning_rate, facts.width, facts.layers, facts.warmup_steps) == (3e-3, 64, 2, 30)
    assert (facts.micro_batch, facts.tokens_per_step, facts.accumulation) == (16, 1024, None)
    assert "if nothing is accumulated and one device trains" in facts.sources["tokens_per_step"]


def test_a_batch_per_device_says_nothing_about_the_update_without_the_number_of_devices(tmp_path: Path) -> None:
    text = "per_device_train_batch_size: 4\ngradient_accumulation_steps: 8\nblock_size: 128\nlr: 0.1\n"
    path = written(tmp_path, text, "args.yaml")
    assert read_facts(path).tokens_per_step is None
    facts = read_facts(path, Facts(ranks=2))
    assert (facts.tokens_per_step, facts.accumulation, facts.ranks) == (4 * 8 * 2 * 128, 16, None)
    told = "per_device_train_batch_size 4 x gradient_accumulation_steps 8 x ranks 2 x block_size 128 (args.yaml)"
    assert facts.sources["tokens_per_step"] == told
    both = written(tmp_path, text + "devices: 4\nnum_nodes: 2\n", "more.yaml")
    assert read_facts(both).tokens_per_step == 4 * 8 * 8 * 128
    split = written(tmp_path, text + "devices: 4\ntensor_parallel_size: 2\n", "split.yaml")
    assert read_facts(split).tokens_per_step == 4 * 8 * 2 * 128


def test_a_batch_in_tokens_is_not_taken_for_sequences(tmp_path: Path) -> None:
    path = written(tmp_path, "global_batch_size: 524288\nseq_len: 1024\nlr: 0.1\n", "c.yaml")
    assert read_facts(path).tokens_per_step is None
