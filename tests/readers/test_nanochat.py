"""nanochat's output: the genuine sample against a parse by split(), its facts by eye, its other scripts by hand."""

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import nanochat, read
from talweg.run import Run
from tests.conftest import shared

SAMPLE = "data/formats/nanochat/base_train.log"


def of(text: str) -> Run:
    return nanochat.read(Log.of_text(text), Asked())


def field(line: str, name: str) -> float:
    """The number of `| name: 1,234ms |`, by split()."""
    part = next(part for part in line.split("|") if part.strip().startswith(f"{name}:"))
    return float(part.split(":")[1].split()[0].rstrip("ms%").replace(",", ""))


def test_the_sample_is_read_as_split_reads_it() -> None:
    path = shared(SAMPLE)
    run = read(path)
    steps = [line for line in path.read_text().split("\n") if line.startswith("step ")]
    assert len(run.train_loss) == len(steps) == 150
    assert run.train_loss.step.tolist() == [int(line.split()[1].split("/")[0]) for line in steps]
    assert run.train_loss.value.tolist() == [field(line, "loss") for line in steps]
    assert run.tokens_per_second.value.tolist() == [field(line, "tok/sec") for line in steps]
    assert np.allclose(run.seconds_per_step.value * 1e3, [field(line, "dt") for line in steps])
    assert run.others["lrm"].value.tolist() == [field(line, "lrm") for line in steps]
    assert run.others["rg"].value.tolist() == [float(line.split("rg: ")[1].split()[0]) for line in steps]
    assert run.others["epoch"].value[[0, -1]].tolist() == [10, 20]
    evaluations = [line.split() for line in path.read_text().split("\n") if "Validation bpb" in line]
    assert run.val_bits_per_byte.step.tolist() == [0, 50, 100, 150]
    assert run.val_bits_per_byte.value.tolist() == [float(words[-1]) for words in evaluations]
    assert run.reading.lines_not_understood == 0


def test_what_its_loss_is() -> None:
    run = read(shared(SAMPLE))
    assert (run.train_loss.kind, run.facts.train_loss_decay, run.facts.train_loss_ranks) == ("running_mean", 0.9, "one")
    assert run.train_loss.resolution == pytest.approx(1e-6)
    assert not run.val_loss  # bits per byte are no nats per token
    assert not run.learning_rate  # lrm multiplies rates that are not printed
    assert not run.mfu  # the peak of a CPU is taken to be infinite


def test_the_facts_that_it_prints() -> None:
    facts = read(shared(SAMPLE)).facts
    assert (facts.layers, facts.heads, facts.width, facts.context, facts.vocabulary_size) == (2, 2, 64, 64, 1024)
    assert (facts.parameters, facts.tied_embeddings, facts.precision) == (294_966, False, "fp32")
    assert (facts.tokens_per_step, facts.micro_batch, facts.accumulation, facts.ranks) == (512, 8, 1, 1)
    assert (facts.planned_steps, facts.eval_is_fixed) == (150, True)
    assert facts.peak_learning_rate is None
    assert facts.resumed_at is None


LINE = "step {:05d}/01000 ({:.2f}%) | loss: {:.6f} | lrm: 1.00 | dt: 500.00ms | tok/sec: 1,048,576 | mfu: 45.50\n"


def test_several_ranks_accumulate() -> None:
    head = "Tokens / micro-batch / rank: 32 x 2048 = 65,536\nTokens / micro-batch: 262,144\n"
    run = of(
        head
        + "Total batch size 524,288 => gradient accumulation steps: 2\n"
        + LINE.format(3, 0.3, 5.5).replace("mfu", "bf16_mfu")
    )
    facts = run.facts
    assert (facts.micro_batch, facts.context, facts.ranks, facts.accumulation) == (32, 2048, 4, 8)
    assert run.mfu.value.tolist() == pytest.approx([0.455])
    assert facts.planned_steps == 1000


def test_a_grad_norm_and_a_rate_of_a_fork() -> None:
    run = of("step 00001/00010 (10.00%) | loss: 5.5 | grad norm: 0.4123 | lr: 3.0e-04 | lrm: 1.00 | dt: 5.00ms\n")
    assert run.grad_norm.value.tolist() == [0.4123]
    assert run.learning_rate.value.tolist() == [3e-4]


def test_a_resume_is_a_fact_and_cuts_what_it_overtakes() -> None:
    first = "".join(LINE.format(step, step / 10, 6 - step / 100) for step in range(20))
    again = "Resuming optimization from step 10\n" + "".join(LINE.format(s, s / 10, 5 - s / 100) for s in range(10, 15))
    run = of(first + again)
    assert run.facts.resumed_at == (10,)
    assert run.train_loss.step[-1] == 14
    assert run.superseded["train_loss"][0].step.tolist() == list(range(10, 20))
    assert of(again).facts.resumed_at == (10,)  # the later file alone


def test_autoresearch_rewrites_one_line() -> None:
    text = "".join(
        f"\rstep {step:05d} ({step}.0%) | loss: {6 - step / 10:.6f} | lrm: 1.00 | dt: 310ms | tok/sec: 1,690,000 "
        f"| mfu: 39.8% | epoch: 1 | remaining: 290s    "
        for step in range(5)
    )
    assert nanochat.sniff(Head(text.replace("\r", "\n"))) > 0.9
    run = of(text + "\n")
    assert run.train_loss.value.tolist() == [6.0, 5.9, 5.8, 5.7, 5.6]
    assert run.mfu.value.tolist() == pytest.approx([0.398] * 5)
    assert run.facts.planned_steps is None


def test_finetuning_logs_one_micro_batch_and_validates_in_nats() -> None:
    text = "Step 00000 | Validation loss: 1.412345\n"
    text += "Step 00000/00700 | Training loss: 1.301234| lrm: 1.000000| num_tokens: 10,123\n"
    text += "Step 00001/00700 | Training loss: 1.201234| lrm: 0.998571| num_tokens: 9,871\n"
    run = of(text)
    assert (run.train_loss.kind, run.train_loss.value.tolist()) == ("micro_batch", [1.301234, 1.201234])
    assert run.val_loss.value.tolist() == [1.412345]
    assert run.facts.train_loss_decay is None
    assert run.others["num_tokens"].value.tolist() == [10_123, 9_871]


def test_other_metrics_are_kept() -> None:
    run = of(LINE.format(1, 0.1, 5.0) + "Step 00002 | CORE metric: 0.1534\n")
    assert run.others["core metric"].value.tolist() == [0.1534]


def test_samples_and_prose_are_no_points() -> None:
    run = of(LINE.format(1, 0.1, 5.0) + "The capital of France is step 5 | loss: 3\nStep 7 | about: it\n")
    assert len(run.train_loss) == 1
    assert run.reading.lines_not_understood == 2


def test_nothing_of_it_is_an_error() -> None:
    with pytest.raises(InputError, match="no line with a loss of nanochat"):
        of("Vocab size: 65,536\n")
    with pytest.raises(InputError, match="leave --loss-column out"):
        nanochat.read(Log.of_text(LINE), Asked(columns={"train_loss": "x"}))
