"""Megatron's output: losses that are left out kept apart from updates that were skipped; the rest by a slow parse."""

import math

import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import megatron, read
from talweg.run import Run
from tests.configs.test_megatron import BLOCK, NEOX
from tests.conftest import shared
from tests.readers.test_nanogpt import points

MEGATRON = "data/formats/megatron_lm/train.log"
NEOX_LOG = "data/formats/gpt_neox/train.log"
BIGSCIENCE = "data/curves/bigscience/experiments__gpt2-meg__meg_gpt2_base_n4_dp1_tp4_pp4-1809579.log"
BLOWUP = "data/curves/datablations/blowup-2-1793438.log"


def of(text: str) -> Run:
    return megatron.read(Log.of_text(text, "here"), Asked())


def line(
    step: int, loss: float | str | None, *, skipped: int = 0, nans: int = 0, scale: str = "1.0", before: str = ""
) -> str:
    told = "" if loss is None else f" lm loss: {loss if isinstance(loss, str) else format(loss, '.6E')} |"
    return (
        f"{before} iteration {step:8d}/{1000:8d} | consumed samples: {16 * step:12d} | "
        f"elapsed time per iteration (ms): 44.9 | learning rate: 2.999704E-04 | "
        f"global batch size:    16 |{told} loss scale: {scale} | grad norm: 1.532 | "
        f"number of skipped iterations: {skipped:3d} | number of nan iterations: {nans:3d} |\n"
    )


def slow(text: str, key: str, steps: str = "iteration") -> dict[float, float]:
    """One field by iteration, split at the bars."""
    found = {}
    for each in text.splitlines():
        fields = dict(part.strip().rsplit(": ", 1) for part in each.split("|") if ": " in part)
        places = [part for part in each.split("|") if f"{steps} " in part]
        if places and key in fields:
            found[float(places[0].split(steps)[1].split("/")[0])] = float(fields[key])
    return found


def same(found: dict[float, float], expected: dict[float, float]) -> bool:
    """NaN equals NaN."""
    return found.keys() == expected.keys() and all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(found.values(), expected.values(), strict=True)
    )


def test_megatron_lm_as_a_slow_parse_reads_it() -> None:
    path = shared(MEGATRON)
    run, text = read(path), path.read_text()
    losses = slow(text, "lm loss")
    assert len(losses) == 279
    assert {step: value for step, value in points(run.train_loss).items() if step in losses} == losses
    assert {step for step, value in points(run.train_loss).items() if math.isnan(value)} == set(range(280, 301))
    assert (run.format, run.train_loss.kind, run.facts.train_loss_window) == ("megatron", "batch", None)
    assert (run.facts.nan_logged_as, run.facts.train_loss_ranks) == ("left out", "mean")
    assert same(points(run.learning_rate), slow(text, "learning rate"))
    assert same(points(run.grad_norm), slow(text, "grad norm"))
    assert points(run.val_loss) == slow(text, "lm loss value")
    assert run.val_loss.kind == "evaluation"
    assert run.seconds_per_step.value[0] == pytest.approx(0.0369)
    assert run.train_loss.resolution == pytest.approx(1e-6)
    assert not run.loss_scale  # 1.0 throughout is no scaler's
    assert run.others["loss scale"].value.max() == 1.0
    assert run.reading.lines_not_understood == 0


def test_gpt_neox_as_a_slow_parse_reads_it() -> None:
    path = shared(NEOX_LOG)
    run, text = read(path), path.read_text()
    assert points(run.train_loss) == slow(text, "lm_loss")
    assert (len(run.train_loss), run.train_loss.value[0], run.train_loss.value[-1]) == (300, 4.705116, 2.312101)
    assert run.facts.nan_logged_as is None
    assert run.loss_scale.value[0] == 4096
    assert run.others["samples/sec"].value[0] == 433.629
    assert run.others["approx flops per GPU"].value[0] == pytest.approx(61.3e12)


def test_iterations_that_a_scaler_skipped_have_no_loss() -> None:
    path = shared(BIGSCIENCE)
    run, text = read(path), path.read_text()
    assert points(run.train_loss) == slow(text, "lm loss")
    assert (len(run.train_loss), run.train_loss.num_not_finite) == (19, 0)
    assert points(run.val_loss) == {100: 8.017406, 200: 7.487306}
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("interval_mean", 10)
    assert (run.skipped_steps.step[0], run.skipped_steps.value[0], run.skipped_steps.value[-1]) == (10, 10, 19)
    assert run.loss_scale.value[0] == 8388608
    assert run.facts.nan_logged_as is None


def test_bloom_with_seconds_tokens_and_a_rank() -> None:
    run = read(shared(BLOWUP))
    assert points(run.train_loss) == {200: 8.863713, 400: 7.714282}
    assert points(run.val_loss) == {100: 8.81068, 200: 7.953923, 300: 7.589540, 400: 8.0195}
    assert (run.facts.context, run.facts.tokens_per_step, run.facts.planned_steps) == (2048, 128 * 2048, 148693)
    assert run.seconds_per_step.value[0] == 3.21
    assert not run.loss_scale  # 12.0 is no power of two


def test_a_lacking_loss_is_nan_only_where_an_update_was_made() -> None:
    text = (
        line(10, None, skipped=10, scale="65536.0")
        + line(20, 9.5, skipped=3, scale="32768.0")
        + line(30, None, skipped=9, scale="1024.0")  # one update was made, and its loss was NaN
        + line(40, None, skipped=10, nans=10, scale="1.0")  # none was made, since every loss was NaN
        + line(50, None, skipped=10, scale="1.0")
        + line(60, 9.0, scale="1.0")
    )
    run = of(text)
    assert same(points(run.train_loss), {20: 9.5, 30: math.nan, 40: math.nan, 60: 9.0})
    assert points(run.skipped_steps) == {10: 10, 20: 13, 30: 22, 40: 32, 50: 42, 60: 42}
    assert run.facts.nan_logged_as == "left out"
    assert any("2 losses are not finite" in note for note in run.reading.notes)


def test_a_mean_over_no_update_is_printed_as_0_and_is_no_loss() -> None:
    """By GPT-NeoX, and by a Megatron that prints what is at least 0."""
    run = of(line(10, 9.5) + line(20, 0.0, skipped=10, scale="2048.0") + line(30, 9.1) + line(40, "NAN"))
    assert same(points(run.train_loss), {10: 9.5, 30: 9.1, 40: math.nan})
    assert run.facts.nan_logged_as is None


def test_a_mean_over_no_update_whose_losses_were_not_finite_is_nan() -> None:
    run = of(line(10, 9.5) + line(20, 0.0, skipped=10, nans=10, scale="2048.0") + line(30, 9.1))
    assert same(points(run.train_loss), {10: 9.5, 20: math.nan, 30: 9.1})
    assert run.facts.nan_logged_as == "0"


def test_the_first_line_after_a_start_may_tell_of_fewer_iterations() -> None:
    """A checkpoint of iteration 105: ten iterations to a line, of which the first tells of five, all skipped."""
    text = line(110, None, skipped=5, scale="2.0") + line(120, 9.5, scale="2.0") + line(130, 9.4, scale="2.0")
    assert points(of(text).train_loss) == {120: 9.5, 130: 9.4}


def test_without_a_count_of_skips_only_a_run_without_a_scaler_lacks_a_loss_for_nan() -> None:
    def old(precision: str) -> Run:
        text = "".join(line(step, 9.5 if step < 30 else None) for step in (10, 20, 30))
        return of(
            BLOCK.replace("fp16 ............................................ False", precision)
            + "".join(each.split(" number of skipped")[0] + "\n" for each in text.splitlines())
        )

    assert old("fp16 ............................................ False").train_loss.num_not_finite == 1
    doubt = BLOCK.split("\n")[0] + "\n"
    text = "".join(
        line(step, 9.5 if step < 30 else None).split(" number of skipped")[0] + "\n" for step in (10, 20, 30)
    )
    assert len(of(doubt + text).train_loss) == 2


def test_the_scale_is_a_scalers_only_under_fp16() -> None:
    body = line(10, 9.5, scale="4096.0") + line(20, 9.4, scale="4096.0")
    assert of(body).loss_scale
    assert of(body.replace("4096", "1")).loss_scale.step.size == 0
    assert not of(BLOCK + body).loss_scale  # bf16 by its arguments
    assert of(
        BLOCK.replace("fp16 ............................................ False", "fp16 .... True").replace(
            "bf16 ............................................ True", "bf16 .... False"
        )
        + body
    ).loss_scale


def test_the_arguments_and_sizes_that_it_prints() -> None:
    text = (
        BLOCK
        + " > padded vocab (size: 50257) with 47 dummy tokens (new size: 50304)\n"
        + " > number of parameters on (tensor, pipeline) model parallel rank (0, 0): 124475904\n"
        + line(10, 9.5)
        + line(20, 9.4)
    )
    run = of(text)
    facts = run.facts
    assert (facts.layers, facts.heads, facts.width, facts.context, facts.vocabulary_size) == (12, 12, 768, 1024, 50304)
    assert (facts.trainable_parameters, facts.parameters) == (124475904, 124475904 - 1024 * 768)
    assert (facts.tokens_per_step, facts.planned_steps, facts.tokenizer_vocabulary) == (16 * 1024, 1000, 50257)
    assert facts.sources["layers"] == "the arguments printed in the log"
    assert run.reading.lines_not_understood == 0
    parts = text.replace("rank (0, 0): 1", "rank (0, 0): 1\n > number of parameters on model parallel rank (1, 0): 1")
    assert of(parts).facts.trainable_parameters is None  # parts of several ranks overlap


def test_gpt_neox_with_its_arguments() -> None:
    start = NEOX + "samples/sec: 433.629 |" + line(10, 9.5).replace("lm loss", "lm_loss")
    text = start + " validation results at iteration 10 | lm_loss value: 6.9E+00 | lm_loss_ppl value: 9.9E+02 | \n"
    run = of(text)
    assert (points(run.train_loss), points(run.val_loss)) == ({10: 9.5}, {10: 6.9})
    assert (run.facts.context, run.facts.peak_learning_rate, run.facts.precision) == (2048, 6e-4, "fp16")


def test_evaluations_of_several_kinds() -> None:
    rule = "-" * 100 + "\n"
    text = (
        line(100, 9.5)
        + f"{rule} validation loss at iteration 100 | lm loss value: 4.328599E+00 | lm loss PPL: 7.583796E+01 | "
        + f"sop loss value: 1.3E-01 | sop loss PPL: 1.1E+00 | \n{rule}"
        + line(200, 9.1)
        + " validation loss at iteration 200 on validation set | lm loss value: 4.1E+00 | lm loss PPL: 6.0E+01 | \n"
        + " validation loss at iteration 200 on test set | lm loss value: 4.2E+00 | lm loss PPL: 6.6E+01 | \n"
        + " test loss at the end of training for test data | lm loss value: 4.3E+00 | lm loss PPL: 7.3E+01 | \n"
    )
    run = of(text)
    assert points(run.val_loss) == {100: 4.328599}  # the last one is of other batches
    assert points(run.others["validation at the end lm loss value"]) == {200: 4.1}
    assert points(run.others["test lm loss value"]) == {200: 4.3}
    assert run.val_loss.name == "validation lm loss value"
    only = of(" validation loss at iteration 200 on validation set | lm loss value: 4.1E+00 | \n")
    assert points(only.val_loss) == {200: 4.1}
    sets = (
        " validation loss at iteration 512 [hplt] | lm loss value: 1.5E+00 |\n validation loss at iteration 512 [wiki] "
    )
    both = of(sets + "| lm loss value: 1.25E+00 |\n")
    assert points(both.val_loss) == {512: 1.5}
    assert points(both.others["validation[wiki] lm loss value"]) == {512: 1.25}
    assert any("several validation sets" in note for note in both.reading.notes)


def test_a_resume_and_its_checkpoint() -> None:
    first = "".join(line(step, 10 - step / 100) for step in range(10, 110, 10))
    load = "  successfully loaded checkpoint from /ckpt/run [ t 1/1, p 1/1 ] at iteration 50\n"
    again = "".join(line(step, 9 - step / 100, skipped=1) for step in (60, 70))
    run = of(first + load + again)
    assert run.facts.resumed_at == (50.0,)
    assert run.train_loss.step[-1] == 70
    assert points(run.train_loss)[60] == pytest.approx(8.4)
    assert run.skipped_steps.value[-1] == 2
    assert run.superseded["train_loss"][0].step[-1] == 100


def test_a_batch_that_grows_has_no_tokens_per_step() -> None:
    grown = line(20, 9.4).replace("global batch size:    16", "global batch size:    32")
    assert (
        of(
            BLOCK.replace(
                "rampup_batch_size ............................... None", "rampup_batch_size .... ['16', '16', '9']"
            )
            + line(10, 9.5)
            + grown
        ).facts.tokens_per_step
        is None
    )


def test_all_ranks_in_one_log_and_a_cut_last_line() -> None:
    text = "".join(line(s, 10 - s / 100, before=f"{rank}: ") for s in (10, 20, 30) for rank in (0, 1))
    run = of(text + line(40, 9.6, before="0: ")[:120])
    assert points(run.train_loss) == {10: 9.9, 20: 9.8, 30: 9.7}
    assert "cut off" in run.reading.notes[0]


def test_a_log_without_losses_and_other_texts() -> None:
    for text in (
        "log_string = ' iteration {:8d}/{:8d} |'.format(iteration, args.train_iters)\n",
        "iteration: 2 / 300 | consumed_tokens: 2.05K | lm_loss: 4.68 | lr: 0.0003\n",
        "iteration 3/ 10 | accuracy: 0.5 |\n",
        "at iteration 100 the validation loss was 3\n",
    ):
        assert megatron.sniff(Head(text)) == 0.0
    with pytest.raises(InputError, match="no line of Megatron with a loss"):
        of("training ...\n")
    with pytest.raises(InputError, match="none of its 2 lines of iterations holds a loss"):
        of(line(10, None, skipped=10) + line(20, None, skipped=10))


def test_the_first_versions_print_evaluations_otherwise() -> None:
    run = of(" validation loss at iteration 100 | LM loss: 1.170473E+01 | LM PPL: 1.211437E+05\n")
    assert points(run.val_loss) == {100: 11.70473}


def test_its_fields_have_fixed_names() -> None:
    with pytest.raises(InputError, match="fixed names; leave --loss-column out"):
        megatron.read(Log.of_text(line(10, 9.5) + line(20, 9.4), "here"), Asked(columns={"train_loss": "x"}))


def test_a_program_that_quotes_its_lines_is_no_log() -> None:
    program = "import re\n\nfrom x import y\n\n\ndef read():\n"
    assert megatron.sniff(Head(line(10, 9.5) + line(20, 9.4))) >= 0.9
    assert megatron.sniff(Head(program + line(10, 9.5) + line(20, 9.4))) == 0.0
