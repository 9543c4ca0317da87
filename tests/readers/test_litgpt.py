"""litgpt's output: updates and not micro-batches, against a parse by split() and against its own metrics.csv."""

import csv

import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Log
from talweg.readers import litgpt, read
from talweg.run import Run
from tests.conftest import shared

SAMPLE = "data/formats/litgpt/stdout.txt"
LINE = "Epoch 1 | iter {} step {} | loss train: {:.3f}, val: n/a | iter time: 250.00 ms{} remaining time: 0:00:09\n"


def of(text: str) -> Run:
    return litgpt.read(Log.of_text(text), Asked())


def line(number: int, per_update: int, loss: float) -> str:
    return LINE.format(number, number // per_update, loss, "" if number % per_update else " (step)")


def test_the_sample_is_read_as_split_reads_it() -> None:
    path = shared(SAMPLE)
    run = read(path)
    rows = [row.split() for row in path.read_text().splitlines() if row.startswith("Epoch ")]
    assert run.train_loss.step.tolist() == [float(row[6]) for row in rows]
    assert run.train_loss.value.tolist() == [float(row[10].rstrip(",")) for row in rows]
    assert (run.train_loss.step[0], run.train_loss.step[-1], len(run.train_loss)) == (1, 300, 300)
    vals = [row.split() for row in path.read_text().splitlines() if row.startswith("iter ")]
    assert run.val_loss.step.tolist() == [50, 100, 150, 200, 250, 300]
    assert run.val_loss.value.tolist() == [float(row[4].rstrip(",")) for row in vals]
    assert run.reading.lines_not_understood == 0
    assert run.train_loss.resolution == pytest.approx(1e-3)
    assert run.val_loss.resolution == pytest.approx(1e-4)


def test_the_sample_agrees_with_its_metrics() -> None:
    """There a step is a micro-batch, counted from 0, and numbers have all their digits."""
    run = read(shared(SAMPLE))
    with shared("data/formats/litgpt/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = {(float(row["step"]) + 1) / 2: float(row["loss"]) for row in rows if row["loss"]}
    assert run.train_loss.step.tolist() == list(losses)
    assert run.train_loss.value.tolist() == pytest.approx(list(losses.values()), abs=5.1e-4)


def test_the_settings_that_it_prints() -> None:
    facts = read(shared(SAMPLE)).facts
    assert (facts.layers, facts.heads, facts.width, facts.context, facts.vocabulary_size) == (2, 4, 64, 64, 96)
    assert (facts.micro_batch, facts.accumulation, facts.tokens_per_step, facts.ranks) == (8, 2, 1024, 1)
    assert (facts.planned_steps, facts.schedule, facts.warmup_steps, facts.min_learning_rate) == (
        300,
        "cosine",
        20,
        6e-5,
    )
    assert (facts.parameters, facts.precision, facts.optimizer, facts.grad_clip) == (112_384, "fp32", "AdamW", 1.0)
    assert (facts.tied_embeddings, facts.seed, facts.initialised_from) == (False, 0, None)
    assert facts.peak_learning_rate is None  # nowhere printed


def test_lines_within_an_update_are_no_updates() -> None:
    run = of("".join(line(number, 4, 5 - number / 100) for number in range(1, 13)))
    assert run.train_loss.step.tolist() == [1, 2, 3]
    assert run.train_loss.value.tolist() == [4.96, 4.92, 4.88]
    assert (run.train_loss.kind, run.facts.train_loss_ranks) == ("batch", "one")
    assert run.superseded == {}
    assert run.reading.notes == ()
    assert "seconds_per_step" not in run.others  # an iter's time is not a step's
    assert not run.seconds_per_step


def test_an_evaluation_stands_at_its_update_even_where_that_has_no_line() -> None:
    text = line(20, 2, 4.0) + "Validating ...\niter 26: val loss 3.9000, val time: 217.41 ms\n" + line(40, 2, 3.0)
    assert of(text).val_loss.step.tolist() == [13]


def test_one_micro_batch_an_update() -> None:
    run = of("".join(line(number, 1, 5.0) for number in range(1, 4)))
    assert run.seconds_per_step.value.tolist() == pytest.approx([0.25] * 3)


def test_the_last_evaluation_counts_where_there_is_no_finer_one() -> None:
    text = line(2, 2, 4.0) + line(4, 2, 3.9) + "Final evaluation | val loss: 3.850 | val ppl: 46.993\n"
    assert of(text).val_loss.value.tolist() == [3.85]
    finer = line(2, 2, 4.0) + line(4, 2, 3.9) + "iter 4: val loss 3.8512, val time: 10.00 ms\n"
    run = of(finer + "Final evaluation | val loss: 3.850 | val ppl: 46.993\n")
    assert run.val_loss.value.tolist() == [3.8512]
    assert run.others["final val loss"].value.tolist() == [3.85]


def test_lit_gpt_before_it() -> None:
    """iter counts from 0, a loss is of one micro-batch, and step N: val loss names an iter."""
    text = "iter 0 step 0: loss 10.7340, LR: 0.000000, iter time: 1210.67ms\n"
    text += "iter 1 step 1: loss 9.9553, LR: 0.000300, iter time: 100.06ms (optimizer.step)\n"
    text += "iter 2 step 1: loss 8.9553, LR: 0.000300, iter time: 100.06ms\n"
    text += "iter 3 step 2: loss 7.9553, LR: 0.000300, iter time: 100.06ms (optimizer.step)\n"
    text += "step 3: val loss 7.5000, val time: 100.06ms\nstep 7: val loss 7.4000, val time: 100.06ms\n"
    run = of(text)
    assert (run.train_loss.step.tolist(), run.train_loss.value.tolist()) == ([1, 2], [9.9553, 7.9553])
    assert run.train_loss.kind == "micro_batch"
    assert run.val_loss.step.tolist() == [2, 4]
    assert run.learning_rate.value.tolist() == [0.0, 0.0003, 0.0003]


def test_a_resume() -> None:
    text = "".join(line(number, 2, 5.0) for number in range(2, 13, 2)) + "Resuming training from out/step-3\n"
    run = of(text + "".join(line(number, 2, 4.0) for number in range(8, 13, 2)))
    assert run.facts.resumed_at == (4,)
    assert run.train_loss.value.tolist() == [5, 5, 5, 4, 4, 4]


def test_the_weights_that_finetuning_begins_with() -> None:
    text = "{'checkpoint_dir': PosixPath('checkpoints/EleutherAI/pythia-14m'),\n 'train': {'min_lr': 6e-05,\n"
    facts = of(text + " 'max_steps': 100}}\nNumber of trainable parameters: 1,024\n" + line(2, 2, 4.0)).facts
    assert (facts.initialised_from, facts.trainable_parameters) == ("checkpoints/EleutherAI/pythia-14m", 1024)
    assert (facts.schedule, facts.min_learning_rate) == (None, None)


def test_nothing_of_it_is_an_error() -> None:
    with pytest.raises(InputError, match="no line with a loss of litgpt"):
        of("Validating ...\n")
