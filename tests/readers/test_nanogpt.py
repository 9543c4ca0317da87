"""nanoGPT's output: every number against a slow parse of the same lines, every fact against a hand calculation."""

import math
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.readers import read
from talweg.run import FACT_NAMES, Series
from tests.conftest import shared

SEED = "data/curves/seed_run/train.log"
SEED_CONFIG = "data/curves/seed_run/train_fineweb.config.txt"
LOGS = (SEED, "data/curves/nanogpt_124m/train.log", "data/formats/nanogpt/train.log")

LOG = """\
step 0: train loss 10.8684, val loss 10.8727
iter 0: loss 10.8720, time 32025.45ms, mfu -100.00%
iter 10: loss 6.2977, time 3917.80ms, mfu 12.87%
step 20: train loss 5.4354, val loss 5.5328
saving checkpoint to out
iter 20: loss 5.0956, time 19156.54ms, mfu 12.88%
"""


def points(series: Series) -> dict[float, float]:
    return dict(zip(series.step.tolist(), series.value.tolist(), strict=True))


def slow(text: str) -> tuple[dict[float, float], dict[float, float], dict[float, float]]:
    """Loss of the iterations, train and val loss of the evaluations, word by word; later lines win."""
    iters: dict[float, float] = {}
    train: dict[float, float] = {}
    val: dict[float, float] = {}
    for line in text.splitlines():
        words = line.replace(",", "").replace(":", "").split()
        if words[:1] == ["iter"] and words[2] == "loss":
            iters[int(words[1])] = float(words[3])
        if words[:1] == ["step"] and words[2:4] == ["train", "loss"]:
            train[int(words[1])], val[int(words[1])] = float(words[4]), float(words[7])
    return iters, train, val


def written(folder: Path, text: str, name: str = "train.log") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", LOGS)
def test_public_logs_are_read_as_a_slow_parse_reads_them(name: str) -> None:
    path = shared(name)
    run = read(path)
    for series, expected in zip(
        (run.train_loss, run.train_eval_loss, run.val_loss), slow(path.read_text()), strict=True
    ):
        assert points(series) == expected
        assert series.resolution == pytest.approx(1e-4)
    assert run.format == "nanogpt"
    assert run.train_loss.kind == "micro_batch"
    assert run.val_loss.kind == run.train_eval_loss.kind == "evaluation"


def test_the_seed_run_by_eye() -> None:
    run = read(shared(SEED), config=shared(SEED_CONFIG))
    assert (len(run.train_loss), len(run.val_loss), run.last_step) == (73, 30, 14500)
    assert (run.val_loss.value[0], run.val_loss.value[-1], run.val_loss.value.min()) == (10.8727, 3.5696, 3.5696)
    assert run.seconds_per_step.value[0] == pytest.approx(32.02545)  # the first one compiles: left as logged
    assert run.reading.lines == 132
    assert run.reading.lines_not_understood == 0


def test_the_seed_run_with_its_configuration_has_the_facts_that_its_owner_gave() -> None:
    facts = read(shared(SEED), config=shared(SEED_CONFIG)).facts
    assert facts.parameters == 40_560_000
    assert facts.tokens_per_step == 524_288
    assert (facts.layers, facts.heads, facts.width, facts.context) == (12, 12, 384, 1024)
    assert (facts.peak_learning_rate, facts.min_learning_rate) == (1e-3, 1e-4)
    assert (facts.schedule, facts.warmup_steps, facts.decay_end_step, facts.planned_steps) == (
        "cosine",
        500,
        20000,
        20000,
    )
    assert (facts.dropout, facts.bias, facts.beta2, facts.weight_decay) == (0.1, False, 0.99, 0.1)
    assert (facts.eval_windows, facts.eval_is_fixed) == (3200, False)
    assert facts.sources["dropout"] == "train_fineweb.config.txt"
    assert facts.sources["vocabulary_size"] == facts.sources["beta1"] == "nanoGPT's default"
    assert "batch_size 16 x gradient_accumulation_steps 32 x block_size 1024" in facts.sources["tokens_per_step"]
    assert not facts.conflicts


def test_a_log_without_any_configuration_gets_no_invented_facts(tmp_path: Path) -> None:
    facts = read(written(tmp_path, LOG)).facts
    assert [name for name in FACT_NAMES if getattr(facts, name) is not None] == []


def test_what_train_py_prints_is_a_fact_without_a_configuration(tmp_path: Path) -> None:
    facts = read(
        written(tmp_path, "tokens per iteration will be: 491,520\nnumber of parameters: 123.59M\n" + LOG)
    ).facts
    assert facts.tokens_per_step == 491_520
    assert facts.parameters == 123.59e6
    assert facts.sources["parameters"] == "printed in the log"
    assert facts.layers is None


def test_the_echoed_configuration_and_command_line_are_facts(tmp_path: Path) -> None:
    echo = "Overriding config with config/small.py:\n# a comment\nn_layer = 6\nbatch_size = 2**3\ndecay_lr = True\n\n"
    echo += "Overriding: n_layer = 4\nOverriding: dropout = 0.2\nOverriding: dataset = owt\n"
    facts = read(written(tmp_path, echo + LOG)).facts
    assert (facts.layers, facts.dropout, facts.dataset, facts.micro_batch) == (4, 0.2, "owt", 8)
    assert facts.sources["micro_batch"] == "small.py, echoed in the log"
    assert facts.sources["layers"] == "the command line echoed in the log"
    assert facts.planned_steps == 600_000
    assert facts.sources["planned_steps"] == "nanoGPT's default"


def test_a_given_configuration_wins_over_the_echoed_one_and_the_difference_is_kept(tmp_path: Path) -> None:
    log = written(tmp_path, "Overriding: n_layer = 4\nOverriding: n_embd = 64\n" + LOG)
    config = written(tmp_path, "n_layer = 6\n", "config.py")
    facts = read(log, config=config).facts
    assert (facts.layers, facts.width) == (6, 64)
    assert facts.conflicts == {"layers": "4 (the command line echoed in the log)"}


def test_printed_sizes_win_over_computed_ones_unless_they_agree_to_the_printed_digits(tmp_path: Path) -> None:
    config = written(
        tmp_path, "n_layer = 12\nn_embd = 384\nbatch_size = 16\ngradient_accumulation_steps = 32\n", "c.py"
    )
    agreeing = read(written(tmp_path, "number of parameters: 40.56M\n" + LOG), config=config).facts
    assert agreeing.parameters == 40_560_000
    assert "parameters" not in agreeing.conflicts
    config = written(tmp_path, "n_layer = 12\n", "c.py")
    assert (
        read(written(tmp_path, "number of parameters: 123.59M\n" + LOG), config=config).facts.parameters == 123_587_328
    )
    config = written(
        tmp_path, "n_layer = 12\nn_embd = 384\nbatch_size = 16\ngradient_accumulation_steps = 32\n", "c.py"
    )
    fork = "number of parameters: 47.20M\ntokens per iteration will be: 65,536\n"
    other = read(written(tmp_path, fork + LOG), config=config).facts
    assert (other.parameters, other.tokens_per_step) == (47.2e6, 65_536)
    assert other.conflicts["parameters"].startswith("40560000.0 (computed from n_layer 12")
    assert other.conflicts["tokens_per_step"].startswith("524288.0 (batch_size 16 x")


def test_a_run_that_starts_from_gpt2_has_its_shape(tmp_path: Path) -> None:
    facts = read(written(tmp_path, "Initializing from OpenAI GPT-2 weights: gpt2\n" + LOG)).facts
    assert (facts.layers, facts.vocabulary_size, facts.bias) == (12, 50_257, True)
    assert facts.parameters == 123_653_376  # 124,439,808 as published, less 1024 x 768 of positions


def test_a_resumed_run_has_no_default_shape(tmp_path: Path) -> None:
    facts = read(written(tmp_path, "Overriding: learning_rate = 0.001\nResuming training from out\n" + LOG)).facts
    assert facts.peak_learning_rate == 1e-3
    assert (facts.layers, facts.parameters, facts.vocabulary_size) == (None, None, None)


def test_characters_have_no_default_vocabulary(tmp_path: Path) -> None:
    facts = read(written(tmp_path, "Overriding: dataset = shakespeare_char\n" + LOG)).facts
    assert (facts.vocabulary_size, facts.parameters) == (None, None)


def test_without_decay_there_is_no_warm_up_either(tmp_path: Path) -> None:
    facts = read(written(tmp_path, "Overriding: decay_lr = False\n" + LOG)).facts
    assert (facts.schedule, facts.warmup_steps, facts.decay_end_step, facts.min_learning_rate) == (
        "constant",
        0,
        None,
        None,
    )


def test_the_configuration_of_the_last_start_holds(tmp_path: Path) -> None:
    first = "Overriding: learning_rate = 0.001\nOverriding: dropout = 0.1\n" + LOG
    second = "Overriding: learning_rate = 0.0005\niter 30: loss 5.0000, time 3900.00ms, mfu 12.00%\n"
    run = read(written(tmp_path, first + second))
    assert (run.facts.peak_learning_rate, run.facts.dropout) == (5e-4, 0.0)
    assert any("2 starts" in note for note in run.reading.notes)


def test_extra_fields_of_forks_become_columns(tmp_path: Path) -> None:
    text = "iter 5: loss 4.2000, lr 3.0e-4, grad_norm 1.25, time 120.50ms, mfu 3.00%\n"
    text += "iter 6: loss 4.1000 | lr: 2.9e-4 | grad norm: 0.75 | time 0.11s\n"
    run = read(written(tmp_path, text))
    assert points(run.train_loss) == {5: 4.2, 6: 4.1}
    assert points(run.learning_rate) == {5: 3.0e-4, 6: 2.9e-4}
    assert points(run.grad_norm) == {5: 1.25, 6: 0.75}
    assert np.allclose(run.seconds_per_step.value, [0.1205, 0.11])


def test_extra_fields_of_overtaken_iterations_go_with_them(tmp_path: Path) -> None:
    text = "".join(f"iter {step}: loss 4.2000, lr {lr}\n" for step, lr in ((5, 0.3), (6, 0.2), (6, 0.4), (7, 0.1)))
    run = read(written(tmp_path, text.replace("4.2000, lr 0.4", "4.3000, lr 0.4")))
    assert points(run.learning_rate) == {5: 0.3, 6: 0.4, 7: 0.1}


def test_iterations_without_a_time_have_none(tmp_path: Path) -> None:
    run = read(written(tmp_path, "iter 5: loss 4.2000\niter 6: loss 4.1000\n"))
    assert len(run.train_loss) == 2
    assert not run.seconds_per_step


def test_another_kind_of_configuration_is_taken_too(tmp_path: Path) -> None:
    config = written(tmp_path, '{"num_hidden_layers": 8, "hidden_size": 512, "learning_rate": 0.002}', "config.json")
    facts = read(written(tmp_path, LOG), config=config).facts
    assert (facts.layers, facts.width, facts.peak_learning_rate) == (8, 512, 0.002)
    assert facts.parameters == 50_930_176  # 50,304 x 512 + 8 (12 x 512^2 + 2 x 512) + 512
    assert facts.sources["beta1"] == "nanoGPT's default"


def test_unknown_keys_of_the_configuration_are_noted(tmp_path: Path) -> None:
    config = written(tmp_path, "import os\nn_layer = 6\nuse_magic = True\nn_head = os.cpu_count()\n", "config.py")
    run = read(written(tmp_path, LOG), config=config)
    assert "config.py: not settings of nanoGPT's train.py, left aside: use_magic" in run.reading.notes
    assert "config.py: not plain assignments, left aside: n_head = os.cpu_count()" in run.reading.notes
    assert run.facts.sources["heads"] == "nanoGPT's default"


def test_there_are_no_columns_to_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no columns"):
        read(written(tmp_path, LOG), loss_column="loss")


def test_losses_that_are_not_finite_stay_so(tmp_path: Path) -> None:
    text = LOG + "iter 30: loss nan, time 3900.00ms, mfu 12.00%\nstep 40: train loss inf, val loss nan\n"
    run = read(written(tmp_path, text))
    assert math.isnan(run.train_loss.value[-1])
    assert math.isinf(run.train_eval_loss.value[-1])
    assert math.isnan(run.val_loss.value[-1])
    assert run.train_loss.step[-1] == 30


def test_utilisation_is_a_share_and_is_left_out_until_there_is_one(tmp_path: Path) -> None:
    text = "iter 0: loss 4.0000, time 90.00ms, mfu -100.00%\n"
    text += "iter 1: loss 3.9000, time 40.00ms, mfu 12.50%\niter 2: loss 3.8000, dt 40.00ms, mfu 13.00%\n"
    assert points(read(written(tmp_path, text)).mfu) == pytest.approx({1: 0.125, 2: 0.13})


def test_a_resume_is_a_fact_by_its_line_or_by_the_steps(tmp_path: Path) -> None:
    rows = "".join(f"iter {step}: loss 4.0000, time 40.00ms, mfu 12.50%\n" for step in range(10))
    resumed = "Resuming training from out\niter 10: loss 3.9000, time 40.00ms, mfu 12.50%\n"
    assert read(written(tmp_path, rows)).facts.resumed_at is None
    assert read(written(tmp_path, rows + resumed)).facts.resumed_at == (10,)
    assert read(written(tmp_path, rows + rows.partition("\n")[2].replace("4.0000", "3.9000"))).facts.resumed_at == (1,)


def test_the_weights_that_the_optimizer_holds_are_added_up_once(tmp_path: Path) -> None:
    told = "num decayed parameter tensors: 50, with 124,354,560 parameters\n"
    told += "num non-decayed parameter tensors: 25, with 19,200 parameters\n"
    assert read(written(tmp_path, told * 2 + LOG)).facts.trainable_parameters == 124_373_760


def test_numbers_that_only_forks_print_are_kept(tmp_path: Path) -> None:
    text = "iter 5: loss 4.2000, lr 3.0e-4, time 120.5ms, mfu 3.00%, tokens/s: 12,345, VRAM: 7.5\n"
    text += "iter 6: loss 4.1000, lr 2.9e-4, time 121.5ms, mfu 3.00%, tokens/s: 12,300, VRAM: 7.6\n"
    text += "step 6: train loss 4.0000, val loss 4.1000, lr 2.8e-4, val acc: 0.31\n"
    run = read(written(tmp_path, text))
    assert points(run.tokens_per_second) == {5: 12345, 6: 12300}
    assert points(run.others["vram"]) == {5: 7.5, 6: 7.6}
    assert points(run.others["val acc"]) == {6: 0.31}
    assert points(run.learning_rate) == {5: 3.0e-4, 6: 2.8e-4}
    assert points(run.val_loss) == {6: 4.1}


def test_the_settings_behind_the_prefixes_of_several_ranks(tmp_path: Path) -> None:
    """Every rank echoes the settings and prints the sizes; the losses are those of the first."""
    told = "Overriding config with config/small.py:\nn_layer = 6\nbatch_size = 8\n\nOverriding: n_embd = 64\n"
    told += "tokens per iteration will be: 65,536\n"
    text = "".join(f"[rank{rank}]: {line}\n" for rank in (1, 0) for line in told.splitlines())
    text += "[rank0]: number of parameters: 10.65M\n"
    for step in range(10):
        text += f"[rank1]: iter {step}: loss {5.5 - step / 10:.4f}, time 40.00ms, mfu 1.00%\n"
        text += f"[rank0]: iter {step}: loss {5.0 - step / 10:.4f}, time 40.00ms, mfu 1.00%\n"
    run = read(written(tmp_path, text))
    facts = run.facts
    assert (facts.layers, facts.width, facts.micro_batch, facts.tokens_per_step) == (6, 64, 8, 65_536)
    assert (facts.ranks, facts.parameters) == (2, 10.65e6)
    assert points(run.train_loss) == {float(step): round(5.0 - step / 10, 4) for step in range(10)}
    assert points(run.rank_loss_spread) == pytest.approx(dict.fromkeys(range(10), 0.5))
    assert run.reading.lines_not_understood == 0
