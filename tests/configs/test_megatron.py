"""Megatron's arguments: each fact against the line that states it, each length in each of its three units."""

from pathlib import Path

import pytest

from talweg.configs import kind_of, megatron, read_facts
from talweg.errors import InputError

BLOCK = """\
------------------------ arguments ------------------------
  adam_beta1 ...................................... 0.9
  adam_beta2 ...................................... 0.95
  add_bias_linear ................................. True
  bf16 ............................................ True
  clip_grad ....................................... 1.0
  data_path ....................................... ['/data/\\d/owt_text_document']
  end_weight_decay ................................ 0.1
  eval_iters ...................................... 5
  fp16 ............................................ False
  global_batch_size ............................... 16
  hidden_dropout .................................. 0.1
  hidden_size ..................................... 768
  inference_dynamic_batching_buffer_guaranteed_fraction  0.2
  lr .............................................. 0.0003
  lr_decay_iters .................................. None
  lr_decay_samples ................................ None
  lr_decay_style .................................. cosine
  lr_warmup_fraction .............................. 0.01
  lr_warmup_iters ................................. 0
  lr_warmup_samples ............................... 0
  max_position_embeddings ......................... 1024
  micro_batch_size ................................ 4
  min_lr .......................................... 3e-05
  num_attention_heads ............................. 12
  num_layers ...................................... 12
  optimizer ....................................... adam
  params_dtype .................................... torch.bfloat16
  position_embedding_type ......................... learned_absolute
  rampup_batch_size ............................... None
  seed ............................................ 1234
  seq_length ...................................... 1024
  start_weight_decay .............................. 0.1
  tensor_model_parallel_size ...................... 1
  tokenizer_type .................................. GPT2BPETokenizer
  train_iters ..................................... 1000
  train_samples ................................... None
  untie_embeddings_and_output_weights ............. False
  vocab_size ...................................... None
  weight_decay .................................... 0.1
  world_size ...................................... 2
-------------------- end of arguments ---------------------
"""
NEOX = """\
-------------------- arguments --------------------
  gradient_clipping ............... 1.0.........................updated
  hidden_size ..................... 768.........................updated
  lr_decay_iters .................. None........................default
  lr_decay_style .................. cosine......................updated
  min_lr .......................... 6e-05.......................updated
  no_weight_tying ................. True........................updated
  num_attention_heads ............. 12..........................updated
  num_layers ...................... 12..........................updated
  optimizer ....................... {'type': 'Adam', 'params': {'lr': 0.0006, 'betas': [0.9, 0.95]}}updated
  precision ....................... fp16........................updated
  seq_length ...................... 2048........................updated
  train_batch_size ................ 32..........................updated
  train_iters ..................... 320.........................updated
  train_micro_batch_size_per_gpu .. 4...........................updated
  warmup .......................... 0.01........................default
---------------- end of arguments ----------------
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "args.txt"
    path.write_text(text)
    return path


def changed(**lines: str) -> str:
    """The block with other values, or further arguments."""
    kept = [line for line in BLOCK.split("\n")[:-2] if line.split()[0] not in lines]
    return "\n".join([*kept, *(f"  {name} ..... {value}" for name, value in lines.items()), BLOCK.split("\n")[-2], ""])


def test_what_a_block_states(tmp_path: Path) -> None:
    path = written(tmp_path, BLOCK)
    assert kind_of(path) is megatron
    facts = read_facts(path)
    assert (facts.layers, facts.heads, facts.width, facts.context) == (12, 12, 768, 1024)
    assert (facts.micro_batch, facts.accumulation, facts.tokens_per_step) == (4, 4, 16384)
    assert (facts.peak_learning_rate, facts.min_learning_rate, facts.beta1, facts.beta2) == (3e-4, 3e-5, 0.9, 0.95)
    assert (facts.schedule, facts.warmup_steps, facts.decay_end_step, facts.planned_steps) == ("cosine", 10, 1000, 1000)
    assert (facts.weight_decay, facts.grad_clip, facts.dropout) == (0.1, 1.0, 0.1)
    assert (facts.precision, facts.seed, facts.ranks, facts.optimizer) == ("bf16", 1234, 2, "adam")
    assert (facts.tied_embeddings, facts.bias) == (True, True)
    assert (facts.dataset, facts.tokenizer) == ("/data/\\d/owt_text_document", "GPT2BPETokenizer")
    assert (facts.eval_windows, facts.eval_is_fixed) == (80, False)
    assert facts.sources["layers"] == "args.txt"
    assert facts.parameters is None


def test_what_gpt_neox_prints(tmp_path: Path) -> None:
    facts = read_facts(written(tmp_path, NEOX))
    assert (facts.layers, facts.context, facts.micro_batch, facts.tokens_per_step) == (12, 2048, 4, 65536)
    assert (facts.peak_learning_rate, facts.beta2, facts.optimizer) == (6e-4, 0.95, "adam")
    assert (facts.warmup_steps, facts.decay_end_step, facts.grad_clip) == (3, 320, 1.0)
    assert (facts.precision, facts.tied_embeddings) == ("fp16", False)


def test_lengths_in_samples(tmp_path: Path) -> None:
    text = changed(
        train_iters="None",
        train_samples="1600000",
        lr_decay_samples="800000",
        lr_warmup_samples="3200",
        lr_warmup_fraction="None",
    )
    facts = read_facts(written(tmp_path, text))
    assert (facts.planned_steps, facts.decay_end_step, facts.warmup_steps) == (100_000, 50_000, 200)


def test_lengths_in_tokens(tmp_path: Path) -> None:
    text = changed(
        train_iters="None",
        train_tokens=str(16384 * 5000),
        lr_decay_tokens=str(16384 * 4000),
        lr_warmup_tokens=str(16384 * 30),
        lr_warmup_fraction="None",
    )
    facts = read_facts(written(tmp_path, text))
    assert (facts.planned_steps, facts.decay_end_step, facts.warmup_steps) == (5000, 4000, 30)


def test_a_batch_that_grows_leaves_samples_open(tmp_path: Path) -> None:
    text = changed(rampup_batch_size="['4', '4', '1000']", train_iters="None", train_samples="1600000")
    facts = read_facts(written(tmp_path, text))
    assert (facts.planned_steps, facts.tokens_per_step, facts.warmup_steps, facts.decay_end_step) == (None,) * 4


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("linear", ("wsd", "linear", 800)), ("minus_sqrt", ("wsd", "sqrt", 800)), ("exponential", (None, None, None))],
)
def test_a_schedule_that_holds_and_then_decays(tmp_path: Path, shape: str, expected: tuple[object, ...]) -> None:
    text = changed(lr_decay_style="WSD", lr_wsd_decay_iters="200", lr_wsd_decay_style=shape)
    facts = read_facts(written(tmp_path, text))
    assert (facts.schedule, facts.decay_shape, facts.decay_start_step) == expected
    assert facts.decay_end_step == 1000


def test_other_values(tmp_path: Path) -> None:
    def facts(**lines: str) -> object:
        return read_facts(written(tmp_path, changed(**lines)))

    assert facts(end_weight_decay="0.2").weight_decay is None  # type: ignore[attr-defined]
    assert facts(lr_decay_style="inverse-square-root").schedule is None  # type: ignore[attr-defined]
    assert facts(lr="None").peak_learning_rate is None  # type: ignore[attr-defined]
    assert facts(bf16="False", fp16="True", params_dtype="torch.float16").precision == "fp16"  # type: ignore[attr-defined]
    assert facts(bf16="False", params_dtype="torch.float32").precision == "fp32"  # type: ignore[attr-defined]
    assert facts(lr_decay_style="constant").decay_end_step is None  # type: ignore[attr-defined]


def test_numbers_of_processes_and_the_last_of_two_blocks(tmp_path: Path) -> None:
    second = "".join(f"[default0]:{line}\n" for line in changed(num_layers="24").splitlines())
    assert read_facts(written(tmp_path, BLOCK + second)).layers == 24
    bare = "\n".join(f"7: {line}" for line in BLOCK.split("\n")[1:-2])  # without the rules around it
    assert read_facts(written(tmp_path, bare)).layers == 12


SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=4
LAYERS=24
export WIDTH="1024"
LR=1e-4
LR=2e-4
BATCH=$((8 * 4))
ARGS=(
    --num-layers $LAYERS
    --hidden-size ${WIDTH} --num-attention-heads=16
    --seq-length 2048 \\
    --global-batch-size $BATCH
    --micro-batch-size 4
    --lr $LR
    --min-lr 3.0e-5
    # --lr-decay-style linear
    --lr-decay-style cosine
    --train-iters 5000
    --lr-warmup-fraction .01
    --clip-grad 1.0
    --bf16
    --untie-embeddings-and-output-weights
    --data-path "$DATA_PATH"
)
torchrun --nproc_per_node 8 pretrain_gpt.py "${ARGS[@]}"
"""


def test_the_script_that_starts_it(tmp_path: Path) -> None:
    path = written(tmp_path, SCRIPT)
    assert kind_of(path) is megatron
    facts = read_facts(path)
    assert (facts.layers, facts.width, facts.heads, facts.context, facts.micro_batch) == (24, 1024, 16, 2048, 4)
    assert (facts.schedule, facts.min_learning_rate, facts.planned_steps) == ("cosine", 3e-5, 5000)
    assert (facts.warmup_steps, facts.decay_end_step, facts.grad_clip) == (50, 5000, 1.0)
    assert (facts.precision, facts.tied_embeddings) == ("bf16", False)
    # set twice, computed, set elsewhere
    assert (facts.peak_learning_rate, facts.tokens_per_step, facts.dataset) == (None, None, None)


def test_other_texts_are_no_arguments(tmp_path: Path) -> None:
    assert megatron.sniff(Path("x"), "num_layers = 12\nhidden_size: 3\nloading .. done\n") == 0.0
    assert megatron.sniff(Path("x"), "python train.py --batch_size=32 --n_layer=4 --lr 1e-4 --num-layers 4\n") == 0.0
    path = written(tmp_path, "------------------------ arguments ------------------------\n  a .... 1\n")
    with pytest.raises(InputError, match="holds no arguments of Megatron"):
        megatron.read(path)
