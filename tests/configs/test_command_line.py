"""Commands that start a training: launcher, script, arguments, as shells and logs hold them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.configs import kind_of, read_facts
from talweg.configs.beside import in_log
from talweg.run import Facts
from talweg.settings.command import commands
from tests.configs.test_nanogpt import written

SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=2
# python train.py --lr 9
BATCH=4
export LR=1e-3
srun torchrun --nproc_per_node=8 --nnodes 2 --rdzv_endpoint $HOST:29500 \\
    pretrain.py --micro_batch_size $BATCH \\
    --gradient_accumulation_steps=2 --seq_len 1024 \\
    --lr=${LR} --bf16 --min_lr -1 --name "$NAME" > out.log 2>&1
"""


def test_a_script(tmp_path: Path) -> None:
    path = written(tmp_path, SCRIPT, "run.sh")
    assert kind_of(path).NAME == "command_line"
    facts = read_facts(path)
    assert (facts.ranks, facts.micro_batch, facts.context, facts.precision) == (16, 4, 1024, "bf16")
    assert (facts.peak_learning_rate, facts.min_learning_rate) == (1e-3, None)
    assert facts.tokens_per_step == 4 * 2 * 16 * 1024


@pytest.mark.parametrize(
    ("line", "ranks", "settings"),
    [
        ("python train.py --a=1 --b 2 c=3 --flag", None, {"a": 1, "b": 2, "c": 3, "flag": True}),
        ("accelerate launch --num_processes 8 --mixed_precision bf16 -m my.train --x 3", 8, {"x": 3}),
        ("cd d && CUDA_VISIBLE_DEVICES=0 python3 -u train.py --lr 1e-3 | tee log", None, {"lr": 1e-3}),
        ("python -m torch.distributed.run --nproc_per_node=4 train.py optimizer.lr=0.1", 4, {"optimizer.lr": 0.1}),
        ("deepspeed --num_gpus=4 train.py --deepspeed ds.json", 4, {"deepspeed": "ds.json"}),
        ("torchrun --standalone --nproc_per_node=gpu train.py --lr 1", None, {"lr": 1}),
        ("litgpt pretrain --train.max_tokens 100", None, {"train.max_tokens": 100}),
        ("python train.py --lr=$LR", None, {"lr": None}),
    ],
)
def test_launchers_and_arguments(line: str, ranks: int | None, settings: dict[str, object]) -> None:
    (found,) = commands(line)
    assert (found.ranks, found.settings) == (ranks, settings)


@pytest.mark.parametrize(
    "line", ["python setup.py install", "pip install torch", "echo train.py", "python plot.py --lr 1", ""]
)
def test_other_commands_start_no_training(line: str) -> None:
    assert commands(line) == []


def test_nanogpts_arguments_are_nanogpts(tmp_path: Path) -> None:
    path = written(tmp_path, "#!/bin/sh\npython train.py config/x.py --batch_size=8 --n_layer=4\n", "run.sh")
    assert kind_of(path).NAME == "nanogpt"
    assert read_facts(path).micro_batch == 8


def test_several_trainings_say_what_they_have_in_common(tmp_path: Path) -> None:
    text = "python train.py --lr 1e-3 --seq_len 64\npython train.py --lr 2e-3 --seq_len 64\n"
    facts = read_facts(written(tmp_path, text, "sweep.sh"))
    assert (facts.peak_learning_rate, facts.context) == (None, 64)


def test_a_command_and_arguments_in_a_log() -> None:
    head = "+ torchrun --nproc_per_node=2 train.py --lr 1e-3 --seq_len 64\nstep 1 loss 3\n"
    facts = in_log(head, Facts())
    assert (facts.peak_learning_rate, facts.context, facts.ranks) == (1e-3, 64, 2)
    assert facts.sources["context"] == "the command line in the log"
    facts = in_log("args: Namespace(lr=0.1, weight_decay=0.2, warmup_steps=7)\n", Facts())
    assert (facts.peak_learning_rate, facts.weight_decay, facts.warmup_steps) == (0.1, 0.2, 7)
    assert facts.sources["weight_decay"] == "arguments printed in the log"
    assert in_log("To run: use python train.py --lr 3 on a GPU\n# python train.py --lr 3\n", Facts()) == Facts()


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    commands(text)
    commands("python train.py " + text, prompts=True)
