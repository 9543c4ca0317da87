"""torchtitan's output: every number against a slow parse of the same lines, every fact against what was printed."""

import math
import re
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import read, torchtitan
from talweg.run import Run
from tests.conftest import shared
from tests.readers.test_nanogpt import points, written

ONE = "data/formats/torchtitan/train.log"
EIGHT = "data/formats/torchtitan/eight_ranks.log"

START = """\
[titan] 2025-11-25 19:44:50,000 - root - INFO - Building device mesh with parallelism: pp=1, dp_replicate=1, \
dp_shard=8, cp=1, tp=1, ep=1, etp=1
[titan] 2025-11-25 19:44:57,000 - root - INFO - Building llama3 8B with TransformerModelArgs(_enforced='x', dim=4096, \
n_layers=32, n_heads=32, n_kv_heads=8, vocab_size=128256, norm_eps=1e-05, max_seq_len=8192)
[titan] 2025-11-25 19:44:58,000 - root - INFO - Model llama3 8B size: 8,030,261,248 total parameters
[titan] 2025-11-25 19:44:58,838 - root - INFO - Trainer is initialized with local batch size 8, global batch size 64, \
gradient accumulation steps 1, sequence length 2048, total steps 1000 (warmup 200)
[titan] 2025-11-25 19:44:58,838 - root - INFO - Training starts at step 1
"""


def line(step: int, loss: str, before: str = "[rank0]:[titan] 2025-11-25 19:45:01,441 - root - INFO - ") -> str:
    fields = "grad_norm:  1.4604  memory:  1.21GiB(0.86%)  tps: 5,756  tflops: 0.41  mfu: 0.04%"
    return f"{before}step: {step:2}  loss: {loss:>8}  {fields}\n"


def of(text: str) -> Run:
    return torchtitan.read(Log.of_text(text, "here"), Asked())


def slow(text: str) -> tuple[dict[float, float], dict[float, float], dict[float, float]]:
    """Training and validation losses and gradient norms by step, word by word."""
    found: tuple[dict[float, float], ...] = ({}, {}, {})
    for each in re.sub("\x1b\\[[0-9;]*m", " ", text).splitlines():
        words = each.split()
        step = float(words[words.index("step:") + 1])
        found["validate" in words][step] = float(words[words.index("loss:") + 1])
        if "grad_norm:" in words:
            found[2][step] = float(words[words.index("grad_norm:") + 1])
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "steps"), [(ONE, 300), (EIGHT, 40)])
def test_the_samples_are_read_as_a_slow_parse_reads_them(name: str, steps: int) -> None:
    path = shared(name)
    run = read(path)
    train, val, norm = slow(path.read_text())
    assert run.format == "torchtitan"
    assert points(run.train_loss) == train
    assert points(run.val_loss) == val
    assert points(run.grad_norm) == norm
    assert len(run.train_loss) == steps
    assert (run.train_loss.kind, run.train_loss.resolution) == ("batch", pytest.approx(1e-5))
    assert run.reading.lines_not_understood == 0
    assert run.facts.train_loss_ranks == "mean"
    assert not run.superseded


def test_the_first_sample_by_eye() -> None:
    run = read(shared(ONE))
    assert (run.train_loss.value[0], run.train_loss.value[-1], run.train_loss.step[-1]) == (4.70512, 2.3121, 300)
    assert points(run.val_loss)[50] == 2.4221
    assert run.mfu.value[0] == pytest.approx(0.0017)
    assert (run.others["tps"].value[0], run.others["memory"].value[0]) == (27752, 9.46)


def test_eight_ranks_that_print_the_same_line_count_once() -> None:
    run = read(shared(EIGHT))
    assert (run.reading.lines, len(run.train_loss)) == (320, 40)
    assert any("counted once" in note for note in run.reading.notes)


def test_ranks_with_their_numbers_count_once_too() -> None:
    ranks = "".join(line(step, f"{5 - step / 10:.4f}", f"[rank{rank}]:") for step in range(1, 9) for rank in range(8))
    assert points(of(ranks).train_loss) == {step: pytest.approx(5 - step / 10) for step in range(1, 9)}


def test_what_it_prints_when_it_starts() -> None:
    run = of(START + line(1, "8.0277") + line(2, "7.7082"))
    facts = run.facts
    assert (facts.layers, facts.heads, facts.width, facts.vocabulary_size) == (32, 32, 4096, 128256)
    assert facts.parameters == facts.trainable_parameters == 8_030_261_248
    assert (facts.micro_batch, facts.accumulation, facts.context, facts.ranks) == (8, 8, 2048, 8)
    assert (facts.tokens_per_step, facts.planned_steps, facts.warmup_steps) == (64 * 2048, 1000, 200)
    assert facts.resumed_at is None
    assert run.tokens_per_second.value[0] == 8 * 5756  # tps is printed for one device
    assert run.reading.lines_not_understood == 0


def test_the_older_lines_of_the_start() -> None:
    before = "[rank0]:2025-02-13 11:33:29,482 - root - INFO - "
    start = (
        f"{before}Model llama3 8B \x1b[31msize: 8,030,261,248 total parameters\n"
        f"{before}Building 2-D device mesh with ['dp_shard', 'tp'], [4, 2]\n"
        f"{before}Training starts at step 101, with local batch size 1, global batch size 8, sequence length 8192, "
        "total steps 1000 (warmup 200)\n"
    )
    facts = of(start + "".join(line(step, "4.5") for step in (110, 120))).facts
    assert (facts.parameters, facts.ranks, facts.tokens_per_step) == (8_030_261_248, 8, 65536)
    assert facts.resumed_at == (100.0,)
    assert (facts.micro_batch, facts.accumulation) == (1, 8)


def test_a_resume_is_told_once() -> None:
    first = "".join(line(step, f"{5 - step / 100:.4f}") for step in range(10, 110, 10))
    again = "Training starts at step 51\n" + "".join(line(step, f"{4 - step / 100:.4f}") for step in (60, 70))
    run = of(first + again)
    assert run.facts.resumed_at == (50.0,)
    assert points(run.train_loss)[60] == pytest.approx(3.4)
    assert run.train_loss.step[-1] == 70
    assert run.superseded["train_loss"][0].step[-1] == 100


def test_what_a_loss_is_by_version() -> None:
    """wps: the mean since the line before. tps without grad_norm may be either, unless every step is logged."""
    old = "step: {}  loss: 9.8821  memory: 49.59GiB(35.46%)  wps: 7,026  mfu: 41.15%\n"
    run = of("".join(old.format(step) for step in (1, 10, 20, 30, 40)))
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("interval_mean", 10)
    between = old.replace("wps", "tps").replace("  memory", "  mmemory")
    run = of("".join(between.format(step) for step in (1, 10, 20, 30, 40)))
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("unknown", None)
    assert len(run.others["memory"]) == 5
    assert of("".join(between.format(step) for step in (1, 2, 3))).train_loss.kind == "batch"


def test_colours_that_lost_their_escape_character() -> None:
    plain = "[titan] 2026-11-23 12:00:00,864 - root - INFO - "
    text = (
        f"{plain}[31mstep:  1  [32mloss:  4.70512  [38;2;180;60;0mgrad_norm:  1.8484  [34mtps: 27,752  [39m\n"
        f"{plain}[31mstep:  2  [32mloss:  4.50512  [38;2;180;60;0mgrad_norm:  1.7484  [34mtps: 27,752  [39m\n"
    )
    run = of(text)
    assert points(run.train_loss) == {1: 4.70512, 2: 4.50512}
    assert points(run.grad_norm) == {1: 1.8484, 2: 1.7484}


def test_nan_and_a_cut_last_line() -> None:
    run = of(line(1, "8.0277") + line(2, "nan") + line(3, "inf") + line(4, "5.0")[:70])
    assert list(run.train_loss.step) == [1, 2, 3]
    assert math.isnan(run.train_loss.value[1])
    assert run.train_loss.value[2] == math.inf
    assert run.facts.nan_logged_as is None
    assert "the last line is cut off" in run.reading.notes[0]


def test_a_stage_of_a_pipeline_that_has_no_loss() -> None:
    with pytest.raises(InputError, match="pipeline stage that has no loss"):
        of(line(1, "-1.0000") + line(2, "-1.0000"))
    both = "".join(line(step, loss, f"[rank{rank}]:") for step in (1, 2, 3) for rank, loss in ((0, "-1.0"), (4, "3.5")))
    assert points(of(both).train_loss) == {1: 3.5, 2: 3.5, 3: 3.5}


def test_validation_alone(tmp_path: Path) -> None:
    text = "validate step: 50  loss:  2.4221  memory:  9.46GiB(64.99%)  tps: 12,719\n" * 2
    run = read(written(tmp_path, text))
    assert (run.format, points(run.val_loss)) == ("torchtitan", {50: 2.4221})


@pytest.mark.parametrize(
    "text",
    [
        'f"{color.red}step: {step:2}  "\nf"{color.green}loss: {global_avg_loss:7.4f}  "\n',
        "step: 12 loss: 3.4 lr: 0.1\n",
        "step:3241/3242 train_loss:3.2678 train_time:467422ms\n",
        "a step: 1  loss: 2.0  tps: 3\n",
    ],
)
def test_other_texts_are_not_its_own(text: str) -> None:
    assert torchtitan.sniff(Head(text)) == 0.0
    with pytest.raises(InputError, match="no line with a loss of torchtitan"):
        of(text)


def test_its_fields_have_fixed_names() -> None:
    with pytest.raises(InputError, match="fixed names; leave --loss-column out"):
        torchtitan.read(Log.of_text(line(1, "4.5") + line(2, "4.4"), "here"), Asked(columns={"train_loss": "x"}))


def test_a_program_that_quotes_its_lines_is_no_log() -> None:
    program = "import re\n\nfrom x import y\n\n\ndef read():\n"
    assert torchtitan.sniff(Head(line(1, "4.5") + line(2, "4.4"))) >= 0.9
    assert torchtitan.sniff(Head(program + line(1, "4.5") + line(2, "4.4"))) == 0.0
