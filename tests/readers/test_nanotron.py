"""nanotron's output: every number against a slow parse of the same lines, every fact against what was printed."""

import math

import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import nanotron, read
from talweg.run import Run
from tests.conftest import shared
from tests.readers.test_nanogpt import points

SAMPLE = "data/formats/nanotron/train.log"
LETTERS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
BEFORE = "08/31/2024 14:37:22 [INFO|DP=0|PP=0|TP=0]: "
CONFIG = f"""\
{BEFORE}                        dtype=torch.bfloat16,
{BEFORE}       parallelism=ParallelismArgs(dp=4,
{BEFORE}                                   pp=2,
{BEFORE}                                   tp=2,
{BEFORE}                                                 hidden_size=16,
{BEFORE}                                                 num_attention_heads=4,
{BEFORE}                                                 num_hidden_layers=2,
{BEFORE}                                                 tie_word_embeddings=True,
{BEFORE}                                                 vocab_size=256),
{BEFORE}       tokens=TokensArgs(sequence_length=256,
{BEFORE}                         train_steps=15,
{BEFORE}                         micro_batch_size=2,
{BEFORE}                         batch_accumulation_per_replica=8,
{BEFORE}       optimizer=OptimizerArgs(optimizer_factory=AdamWOptimizerArgs(adam_eps=1e-08,
{BEFORE}                                                                    adam_beta1=0.9,
{BEFORE}                                                                    adam_beta2=0.95,
{BEFORE}                               weight_decay=0.01,
{BEFORE}                               clip_grad=1.0,
{BEFORE}                               learning_rate_scheduler=LRSchedulerArgs(learning_rate=0.0003,
{BEFORE}                                                                       lr_warmup_steps=2,
{BEFORE}                                                                       lr_decay_style='cosine',
{BEFORE}                                                                       lr_decay_steps=13,
{BEFORE}                                                                       lr_decay_starting_step=None,
{BEFORE}                                                                       min_decay_lr=1e-05)),
"""


def line(step: int, loss: str, before: str = BEFORE, consumed: str = "1M", batch: str = "2.1M") -> str:
    return (
        f"{before}iteration: {step} / 300 | consumed_tokens: {consumed} | tokens_per_sec: 22.8K | "
        f"tokens_per_sec_per_gpu: 2.85K | global_batch_size: {batch} | lm_loss: {loss} | lr: 0.0003 | eta: 0:04:58\n"
    )


def of(text: str) -> Run:
    return nanotron.read(Log.of_text(text, "here"), Asked())


def slow(text: str, key: str) -> dict[float, float]:
    """One field by iteration, word by word."""
    found = {}
    for each in text.splitlines():
        words = each.split()
        value = words[words.index(f"{key}:") + 1]
        step = float(words[words.index("iteration:") + 1])
        found[step] = float(value[:-1]) * LETTERS[value[-1]] if value[-1] in LETTERS else float(value)
    return found


def test_the_sample_is_read_as_a_slow_parse_reads_it() -> None:
    path = shared(SAMPLE)
    run, text = read(path), path.read_text()
    assert run.format == "nanotron"
    assert points(run.train_loss) == slow(text, "lm_loss")
    assert points(run.learning_rate) == slow(text, "lr")
    assert points(run.grad_norm) == slow(text, "grad_norm")
    assert points(run.tokens_per_second) == pytest.approx(slow(text, "tokens_per_sec"))
    assert points(run.others["consumed_tokens"]) == pytest.approx(slow(text, "consumed_tokens"))
    milliseconds = slow(text, "time_per_iteration_ms")
    assert points(run.seconds_per_step) == pytest.approx({step: value / 1000 for step, value in milliseconds.items()})
    assert (len(run.train_loss), run.train_loss.value[0], run.train_loss.value[-1]) == (300, 4.71, 2.31)
    assert run.train_loss.value.min() == min(slow(text, "lm_loss").values())
    assert run.reading.lines_not_understood == 0


def test_three_digits_are_the_resolution() -> None:
    run = read(shared(SAMPLE))
    assert run.train_loss.resolution == pytest.approx(0.01)
    assert of("".join(line(i, "10.9") for i in range(1, 9))).train_loss.resolution == pytest.approx(0.1)
    assert of("".join(line(i, "0.913") for i in range(1, 9))).train_loss.resolution == pytest.approx(0.001)
    falling = "".join(line(i, "10.9" if i < 5 else "1.02" if i < 8 else "0.997") for i in range(1, 10))
    assert of(falling).train_loss.resolution == pytest.approx(0.01)  # not of the last value alone


def test_rounded_counts_together_tell_the_batch() -> None:
    facts = read(shared(SAMPLE)).facts
    assert facts.tokens_per_step == 1024
    assert (facts.planned_steps, facts.ranks, facts.train_loss_ranks) == (300, 1, "mean")
    assert "rounded" in facts.sources["tokens_per_step"]


def test_a_batch_that_is_told_once_and_one_that_changes() -> None:
    one = of(line(1, "4.6", consumed="2.1M"))
    assert one.facts.tokens_per_step == pytest.approx(2.1e6)
    assert one.facts.ranks == 8
    both = of(line(1, "4.6", consumed="2.1M") + line(2, "4.5", consumed="6.29M", batch="4.19M"))
    assert both.facts.tokens_per_step is None


def test_the_configuration_that_it_prints() -> None:
    facts = of(CONFIG + line(1, "4.6", consumed="4.1K", batch="4.1K")).facts
    assert (facts.layers, facts.heads, facts.width, facts.context, facts.vocabulary_size) == (2, 4, 16, 256, 256)
    assert (facts.micro_batch, facts.accumulation, facts.tokens_per_step) == (2, 32, 2 * 8 * 4 * 256)
    assert (facts.ranks, facts.precision, facts.tied_embeddings) == (16, "bf16", True)
    assert (facts.peak_learning_rate, facts.min_learning_rate, facts.warmup_steps) == (3e-4, 1e-5, 2)
    assert (facts.schedule, facts.decay_end_step, facts.beta2, facts.grad_clip) == ("cosine", 15, 0.95, 1.0)
    held = CONFIG.replace("'cosine'", "'linear'").replace("step=None", "step=12").replace("steps=13", "steps=3")
    facts = of(held + line(1, "4.6")).facts
    assert (facts.schedule, facts.decay_start_step, facts.decay_end_step) == ("wsd", 12, 15)
    assert of(held.replace("'linear'", "'cosine'") + line(1, "4.6")).facts.schedule is None


def test_what_it_prints_when_it_starts() -> None:
    start = (
        f"{BEFORE}Total number of parameters: 1.71B (3263.33MiB)\n"
        f"{BEFORE}[Start training] datetime: 2024-08-31 14:37:26.889276 | mbs: 2 | grad_accum: 1 | "
        "global_batch_size: 16 | sequence_length: 256 | train_steps: 15 | start_iteration_step: 4 | "
        "consumed_train_samples: 0\n"
    )
    run = of(start + line(5, "4.6") + line(6, "4.5"))
    facts = run.facts
    assert (facts.parameters, facts.micro_batch, facts.context) == (1.71e9, 2, 256)
    assert (facts.tokens_per_step, facts.accumulation, facts.planned_steps) == (4096, 8, 15)
    assert facts.resumed_at == (4.0,)
    assert run.reading.lines_not_understood == 0


@pytest.mark.parametrize(
    "before",
    ["", "04/21 10:23:57 [INFO|DP=0]: ", "[0434:0]:11/23/2026 12:00:02 [INFO|DP=0|PP=0|TP=0|ip-26-0-160-1]: ", "0: "],
)
def test_what_stands_before_a_line(before: str) -> None:
    run = of(line(1, "4.6", before) + line(2, "4.5", before))
    assert points(run.train_loss) == {1: 4.6, 2: 4.5}


def test_nan_and_infinity_as_it_prints_them() -> None:
    run = of(line(1, "4.6") + line(2, "nan") + line(3, "infE"))
    assert math.isnan(run.train_loss.value[1])
    assert run.train_loss.value[2] == math.inf


def test_a_cut_last_line_is_left_out() -> None:
    whole = line(1, "4.61") + line(2, "4.52") + line(3, "4.43")
    assert list(of(whole + line(4, "4.34")[:-20]).train_loss.step) == [1, 2, 3]


def test_other_texts_are_not_its_own() -> None:
    megatron = " iteration        2/     300 | consumed samples:           32 | lm loss: 4.675659E+00 |\n"
    for text in (megatron, 'f"iteration: {iteration_step} / {self.global_step}"\n', "iteration: 2 / 300 | x: 3\n"):
        assert nanotron.sniff(Head(text)) == 0.0
    with pytest.raises(InputError, match="no line with a loss of nanotron"):
        of("iteration: 2 / 300 | lr: 0.1 | eta: 1\n")


def test_its_fields_have_fixed_names() -> None:
    with pytest.raises(InputError, match="fixed names; leave --loss-column out"):
        nanotron.read(Log.of_text(line(1, "4.6") + line(2, "4.5"), "here"), Asked(columns={"train_loss": "x"}))


def test_a_program_that_quotes_its_lines_is_no_log() -> None:
    program = "import re\n\nfrom x import y\n\n\ndef read():\n"
    assert nanotron.sniff(Head(line(1, "4.6") + line(2, "4.5"))) >= 0.9
    assert nanotron.sniff(Head(program + line(1, "4.6") + line(2, "4.5"))) == 0.0
