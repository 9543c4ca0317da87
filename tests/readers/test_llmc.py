"""llm.c: the genuine main.log and standard output against a parse by split(), the table by hand, rates printed as 0."""

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Log
from talweg.readers import llmc, read
from talweg.run import Run
from tests.conftest import shared

TABLE = """\
+-----------------------+----------------------------------------------------+
| Parameter             | Value                                              |
+-----------------------+----------------------------------------------------+
| train data pattern    | dev/data/fineweb10B/fineweb_train_*.bin            |
| micro batch size B    | 32                                                 |
| sequence length T     | 1024                                               |
| total batch size      | 524288                                             |
| LR scheduler          | cosine                                             |
| learning rate (LR)    | 6.000000e-04                                       |
| warmup iterations     | 700                                                |
| final LR fraction     | 1.000000e-01                                       |
| weight decay          | 1.000000e-01                                       |
| precision             | BF16                                               |
| max_sequence_length T | 1024                                               |
| vocab_size V          | 50257                                              |
| padded_vocab_size Vp  | 50304                                              |
| num_layers L          | 12                                                 |
| num_heads NH          | 12                                                 |
| channels C            | 768                                                |
| num_parameters        | 124475904                                          |
| train_num_batches     | 18865                                              |
| num_processes         | 8                                                  |
+-----------------------+----------------------------------------------------+
num_parameters: 124475904 => bytes: 248951808
batch_size B=32 * seq_len T=1024 * num_processes=8 and total_batch_size=524288
=> setting grad_accum_steps=2
"""
STEP = "step {:4d}/18865 | loss {:.6f} (+0.12z)| norm 1.5000 (-0.40z)| lr 8.57e-07 "
STEP += "| 160.50 ms | 45.6% bf16 MFU | 22808 tok/s\n"


def of(text: str) -> Run:
    return llmc.read(Log.of_text(text), Asked())


def test_main_log_is_read_as_split_reads_it() -> None:
    path = shared("data/formats/llmc/main.log")
    run = read(path)
    rows = [dict(part.split(":") for part in line.split()) for line in path.read_text().splitlines()]
    trained = [row for row in rows if "trl" in row]
    for series, key in ((run.train_loss, "trl"), (run.learning_rate, "lr"), (run.grad_norm, "norm")):
        assert series.step.tolist() == [int(row["s"]) for row in trained]
        assert series.value.tolist() == [float(row[key]) for row in trained]
    assert run.val_loss.step.tolist() == [int(row["s"]) for row in rows if "tel" in row]
    assert run.val_loss.value.tolist() == [float(row["tel"]) for row in rows if "tel" in row]
    assert run.reading.lines == len(rows)
    assert run.reading.lines_not_understood == 0
    assert (run.train_loss.kind, run.facts.train_loss_ranks) == ("batch", "mean")
    assert run.learning_rate.resolution == pytest.approx(1e-6)


def test_standard_output_is_read_as_split_reads_it() -> None:
    path = shared("data/formats/llmc/stdout.log")
    run = read(path)
    losses: dict[float, float] = {}
    vals: dict[float, float] = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if words[0] == "step":
            step = float(words[1].split("/")[0])
            losses[step] = float(words[4])
        else:
            vals[step] = float(words[-1])
    assert dict(zip(run.train_loss.step.tolist(), run.train_loss.value.tolist(), strict=True)) == losses
    assert dict(zip(run.val_loss.step.tolist(), run.val_loss.value.tolist(), strict=True)) == vals
    assert run.val_loss.step.tolist() == [50, 100, 150, 200, 250, 300]
    assert run.facts.planned_steps == 300
    assert run.mfu.value[0] == pytest.approx(0.456)
    assert run.seconds_per_step.value[0] == pytest.approx(0.0369)
    assert run.others["loss_z"].value[0] == 0.12


def test_the_table_by_hand() -> None:
    facts = of(TABLE + STEP.format(1, 11.0)).facts
    assert (facts.layers, facts.heads, facts.width, facts.context, facts.vocabulary_size) == (12, 12, 768, 1024, 50257)
    assert facts.parameters == 124_475_904 - 1024 * 768
    assert facts.trainable_parameters == 124_475_904
    assert (facts.tokens_per_step, facts.micro_batch, facts.accumulation, facts.ranks) == (524_288, 32, 16, 8)
    assert (facts.schedule, facts.peak_learning_rate, facts.min_learning_rate) == ("cosine", 6e-4, pytest.approx(6e-5))
    assert (facts.warmup_steps, facts.decay_end_step, facts.planned_steps) == (700, 18865, 18865)
    assert (facts.weight_decay, facts.precision) == (0.1, "bf16")


def test_wsd_decays_over_the_last_fifth() -> None:
    facts = of(TABLE.replace("cosine", "wsd   ") + STEP.format(1, 11.0)).facts
    assert (facts.schedule, facts.decay_start_step, facts.decay_shape) == ("wsd", 15092, "sqrt")


def test_an_old_main_log_has_neither_rate_nor_norm() -> None:
    run = of("s:0 tel:10.968871\ns:0 trl:10.965596\ns:1 trl:10.814037\n")
    assert run.train_loss.value.tolist() == [10.965596, 10.814037]
    assert run.val_loss.value.tolist() == [10.968871]
    assert not run.learning_rate
    assert not run.grad_norm


def test_rates_below_the_printed_digits_are_unknown_and_not_0() -> None:
    rates = [0.000002, 0.000001, 0.000001, 0.0, 0.0]
    run = of("".join(f"s:{step} trl:3.0000 lr:{rate:.6f} norm:0.30\n" for step, rate in enumerate(rates)))
    assert run.learning_rate.value.tolist() == [2e-6, 1e-6, 1e-6]
    assert len(run.train_loss) == 5
    assert "2 learning rates below 1e-06 are printed as 0 and were left out" in run.reading.notes


def test_rates_that_are_0_stay_0() -> None:
    """All of them, or all from a step at which the rate was still large."""
    none = of("".join(f"s:{step} trl:3.0000 lr:0.000000 norm:0.30\n" for step in range(4)))
    assert none.learning_rate.value.tolist() == [0, 0, 0, 0]
    rates = (0.0006, 0.0006, 0.0, 0.0)
    broken = of("".join(f"s:{step} trl:3.0000 lr:{rate:.6f} norm:0.30\n" for step, rate in enumerate(rates)))
    assert broken.learning_rate.value.tolist() == list(rates)


def test_an_evaluation_stands_at_the_updates_done() -> None:
    text = "val loss 11.000000\n" + STEP.format(1, 10.9) + STEP.format(2, 10.8) + "val loss 10.700000\n"
    run = of(text)
    assert run.val_loss.step.tolist() == [0, 2]
    resumed = of("val loss 3.500000\n" + STEP.format(501, 3.4))
    assert resumed.val_loss.step.tolist() == [500]
    on_a_cpu = "val loss 5.325522\nstep 0: train loss 5.356189 (took 1452.121000 ms)\n"
    on_a_cpu += "step 1: train loss 4.301069 (took 1288.673000 ms)\nval loss 4.200000\n"
    run = of(on_a_cpu + "step 2: train loss 4.200000 (took 1288.673000 ms)\n")
    assert run.val_loss.step.tolist() == [0, 2]
    assert run.seconds_per_step.value.tolist() == pytest.approx([1.452121, 1.288673, 1.288673])


@pytest.mark.parametrize(
    "line",
    [
        "step    7/20 | train loss 5.270007 | norm 30.9984 | lr 1.00e-04 | (154.65 ms | 1655 tok/s)",
        "step    7/20 | train loss 5.270007 | norm 30.9984 | lr 1.00e-04 | 3056.36 ms | 42.6% A100 fp16 MFU | 17 tok/s",
        "step    7/20: train loss 5.270007 (1720.849915 ms, 4761 tok/s)",
        "step    7/20: train loss 5.270007 (80.639749 ms)",
    ],
)
def test_lines_of_other_versions(line: str) -> None:
    run = of(line + "\n")
    assert (run.train_loss.step.tolist(), run.train_loss.value.tolist()) == ([7], [5.270007])
    assert len(run.seconds_per_step) == 1


def test_no_utilisation_yet_is_none() -> None:
    line = STEP.format(1, 11.0).replace("45.6%", "-100.0%").replace("+0.12z", "+nanz")
    run = of(line + STEP.format(2, 10.9))
    assert run.mfu.step.tolist() == [2]
    assert run.train_loss.value.tolist() == [11.0, 10.9]
    assert np.isnan(run.others["loss_z"].value[0])


def test_hellaswag_is_kept() -> None:
    assert of("s:0 trl:3.0000\ns:250 eval:0.2900\n").others["hellaswag"].step.tolist() == [250]
    run = of(STEP.format(1, 11.0) + "HellaSwag: 2895/10042 = 0.288289\n")
    assert run.others["hellaswag"].value.tolist() == [0.288289]


def test_nothing_of_it_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no line with a loss of llm\.c"):
        of(TABLE)
