"""modded-nanogpt and parameter-golf: the lines by split(), source code above them, the clock by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import modded_nanogpt, read
from talweg.run import Run
from tests.conftest import shared

CODE = """\
import os
import sys
from pathlib import Path
# world_size: 64 of them
class Hyperparameters:
    num_iterations = 1750 # number of iterations to run
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 1024))
def main():
    print0(f"step:{step}/{train_steps} val_loss:{val_loss:.4f} train_time:{training_time_ms:.0f}ms")
"""
RULE = "=" * 100 + "\n"
GOLF = """\
model_params:17059912
world_size:2 grad_accum_steps:4
attention_mode:gqa num_heads:8 num_kv_heads:4
tie_embeddings:True embed_lr:0.05 head_lr:0.0 matrix_lr:0.04 scalar_lr:0.04
train_batch_tokens:524288 train_seq_len:1024 iterations:20000 warmup_steps:20 max_wallclock_seconds:600.000
seed:1337
step:0/20000 val_loss:6.9357 val_bpb:4.1077 train_time:0ms step_avg:0.01ms
step:1/20000 train_loss:6.9370 train_time:335ms step_avg:334.93ms
step:200/20000 train_loss:2.7400 train_time:66986ms step_avg:334.93ms
step:1000/20000 val_loss:2.3082 val_bpb:1.3671 train_time:333929ms step_avg:333.93ms
step:1617/20000 val_loss:2.2151 val_bpb:1.3119 train_time:540065ms step_avg:333.99ms
stopping_early: wallclock_cap train_time:540065ms step:1617/20000
final_int8_zlib_roundtrip val_loss:2.2168 val_bpb:1.3129 eval_time:10853ms
"""


def of(text: str) -> Run:
    return modded_nanogpt.read(Log.of_text(text), Asked())


def log(steps: int) -> str:
    text = "step:0/1325 val_loss:10.4020 train_time:203ms step_avg:203.46ms\n"
    for step in range(1, steps):
        text += f"step:{step}/1325 train_time:{203 + 30 * step}ms step_avg:{30 + 203 / step:.2f}ms\n"
    return text + f"step:{steps}/1325 val_loss:4.4878 train_time:{203 + 30 * steps}ms step_avg:30.83ms\n"


def test_the_sample_is_read_as_split_reads_it() -> None:
    path = shared("data/formats/modded_nanogpt/style_2026.log")
    run = read(path)
    rows = [line.replace("/", " ").split() for line in path.read_text().splitlines()]
    assert run.val_loss.step.tolist() == [float(row[0].split(":")[1]) for row in rows]
    assert run.val_loss.value.tolist() == [float(row[2].split(":")[1]) for row in rows]
    assert run.facts.planned_steps == 300
    assert not run.train_loss


def test_without_a_training_loss_the_evaluations_are_the_run() -> None:
    run = of(log(100))
    assert run.val_loss.value.tolist() == [10.402, 4.4878]
    assert run.seconds_per_step.value.tolist() == pytest.approx([0.03] * 100)
    assert run.seconds_per_step.resolution == pytest.approx(1e-3)
    assert run.others["step_avg (s)"].value[0] == pytest.approx(0.20346)
    assert (run.facts.eval_is_fixed, run.facts.train_loss_ranks) == (True, None)


def test_source_code_is_passed_over() -> None:
    code = CODE * 20
    run = of(code + RULE + "Running Python 3.12.7\n" + log(10))
    assert run.val_loss.step.tolist() == [0, 10]
    assert run.reading.lines_not_understood == 0
    assert run.facts.ranks is None  # a comment of the code is no fact
    assert "its first 181 lines are source code and were passed over" in run.reading.notes


def test_source_code_alone_is_no_log_but_what_stands_below_it_is() -> None:
    example = '"""\n    step:250/1325 val_loss:4.4878 train_time:7456ms step_avg:29.83ms\n"""\n'
    assert modded_nanogpt.sniff(Head(example + CODE)) == 0.0
    assert modded_nanogpt.sniff(Head(CODE + RULE + log(20))) > 0.9


def test_a_long_file_of_code_and_then_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(CODE * 600 + RULE + log(300))
    run = read(path)
    assert (run.format, len(run.seconds_per_step)) == ("modded_nanogpt", 300)


def test_parameter_golf_prints_its_settings_and_two_units() -> None:
    run = of(GOLF)
    facts = run.facts
    assert run.train_loss.value.tolist() == [6.9370, 2.7400]
    assert (run.train_loss.kind, facts.train_loss_ranks) == ("batch", "one")
    assert run.val_loss.value.tolist() == [
        6.9357,
        2.3082,
        2.2151,
    ]  # the one of the quantised weights is another model's
    assert run.val_bits_per_byte.value.tolist() == [4.1077, 1.3671, 1.3119]
    assert facts.bytes_per_token == pytest.approx(2.2151 / (1.3119 * math.log(2)), rel=1e-4)
    assert (facts.parameters, facts.heads, facts.context, facts.seed) == (17_059_912, 8, 1024, 1337)
    assert (facts.tokens_per_step, facts.ranks, facts.accumulation, facts.micro_batch) == (524_288, 2, 8, 64)
    assert (facts.tied_embeddings, facts.planned_steps) == (True, 20_000)
    assert facts.warmup_steps is None  # its warm-up compiles kernels


def test_parameter_golf_without_the_word_step() -> None:
    text = "Hyperparameters:\n  train_batch_tokens: 786432\n  train_seq_len: 2048\n  grad_clip_norm: 0.0\n"
    text += "0/20000 val_loss: 9.0094 val_bpb: 4.1166\n1/20000 train_loss: 9.0105 train_time: 0.0m tok/s: 12456100\n"
    text += "500/20000 train_loss: 2.7428 train_time: 0.8m tok/s: 8435706\n"
    text += "1000/20000 train_loss: 2.7946 train_time: 1.6m tok/s: 8411187\n"
    assert modded_nanogpt.sniff(Head(text)) > 0.9
    run = of(text)
    assert run.train_loss.step.tolist() == [1, 500, 1000]
    assert not run.seconds_per_step  # 0.1 s each, by a clock that shows 6 s in 500 steps: too coarse
    slower = of(text.replace("0.8m", "8.0m").replace("1.6m", "16.0m"))
    assert slower.seconds_per_step.value.tolist() == pytest.approx([480 / 499, 480 / 500])
    assert run.facts.grad_clip is None


def test_the_clock_that_starts_anew_and_seconds_without_a_number() -> None:
    text = "step:8/100 train_loss:9.0000 train_time:9000ms step_avg:nanms\n"
    text += "step:9/100 train_loss:8.9000 train_time:10000ms step_avg:nanms\n"
    text += "step:10/100 train_loss:8.8000 train_time:100ms step_avg:nanms\n"
    text += "step:11/100 train_loss:8.7000 train_time:1.250s step_avg:150.00ms\n"
    run = of(text)
    assert run.seconds_per_step.step.tolist() == [9, 11]
    assert run.seconds_per_step.value.tolist() == pytest.approx([1.0, 1.15])
    assert run.train_loss.kind == "micro_batch"
    assert np.isnan(run.others["step_avg (s)"].value[:3]).all()


def test_seconds_and_rates_of_forks() -> None:
    text = "step:0/3500 val_loss:10.82585 train_time:0.000s step_avg:0.09ms mfu:0.00%\n[rank1]:V0429 guards.py:4760]\n"
    run = of(text + "step:1/3500 train_time:11.161s step_avg:11160.96ms step_time:11160.96ms mfu:3.06%\n")
    assert run.seconds_per_step.value.tolist() == pytest.approx([11.16096])
    assert run.mfu.value.tolist() == pytest.approx([0.0, 0.0306])
    assert run.val_loss.resolution == pytest.approx(1e-5)
    run = of("step:1/10 train_loss:5.0 lr:3.00e-04 step_ms:512 train_time:600ms step_avg:600.00ms tok_s:1024\n")
    assert run.learning_rate.value.tolist() == [3e-4]
    assert run.seconds_per_step.value.tolist() == pytest.approx([0.512])
    assert run.tokens_per_second.value.tolist() == [1024]


def test_nothing_of_it_is_an_error() -> None:
    with pytest.raises(InputError, match="no line with a loss of modded-nanogpt"):
        of(CODE + "step:1/10 train_time:5ms step_avg:5ms\n")
