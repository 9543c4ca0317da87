"""fairseq's output in its three formats, by hand: bits become nats, an interval's mean is no epoch's mean."""

import math
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import fairseq, read
from talweg.run import Run
from tests.readers.test_nanogpt import points, written

NAMESPACE = (
    "2023-06-13 17:29:41 | INFO | fairseq_cli.train | Namespace(activation_dropout=0.0, adam_betas='(0.9, 0.98)', "
    "arch='transformer_lm', batch_size=None, bf16=False, clip_norm=5.0, decoder_attention_heads=8, "
    "decoder_embed_dim=512, decoder_layers=6, distributed_world_size=8, dropout=0.3, eval_args='{\"iter\": 0}', "
    "fp16=True, lr=[0.0005], lr_scheduler='inverse_sqrt', max_update=300000, optimizer='adam', seed=7, "
    "share_all_embeddings=True, share_decoder_input_output_embed=False, tokenizer=None, tokens_per_sample=512, "
    "update_freq=[2], warmup_updates=4000, weight_decay=0.01)\n"
)
SIMPLE = """\
2023-06-13 17:29:41 | INFO | a.task | [en] dictionary: 34984 types
2023-06-13 17:29:47 | INFO | fairseq_cli.train | training on 8 devices (GPUs/TPUs)
2023-06-13 17:31:08 | INFO | train_inner | epoch 001:    100 / 282 loss=9.147, nll_loss=9, word_ins=3.028, ppl=512, \
wps=0, ups=1.21, wpb=59997.9, bsz=2186.3, num_updates=100, lr=0.00015, gnorm=0.489, clip=0, loss_scale=32768, wall=0
2023-06-13 17:31:10 | INFO | fairseq.trainer | NOTE: overflow detected, setting loss scale to: 16384.0
2023-06-13 17:31:54 | INFO | train_inner | epoch 001:    200 / 282 loss=8.153, nll_loss=8.005, word_ins=3.028, \
ppl=256.89, wps=120000, ups=2.18, wpb=60000, bsz=2141.4, num_updates=200, lr=0.0003, gnorm=0.483, clip=0, \
loss_scale=16384, wall=46
2023-06-13 17:32:41 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 8.25 | nll_loss 8 | ppl 256 | \
wps 88225 | bsz 666.3 | num_updates 282 | best_bleu 30.53
2023-06-13 17:32:42 | INFO | valid1 | epoch 001 | valid on 'valid1' subset | loss 9.25 | nll_loss 9 | ppl 512 | \
wps 88225 | bsz 666.3 | num_updates 282
2023-06-13 17:32:53 | INFO | train | epoch 001 | loss 8.6 | nll_loss 8.4 | ppl 337.79 | wps 106814 | num_updates 282 | \
lr 0.0004 | gnorm 0.485
2023-06-13 17:33:01 | INFO | train_inner | epoch 002:     18 / 282 loss=7.14, nll_loss=7, word_ins=3.028, ppl=128, \
wps=100000, ups=1.49, wpb=60010.5, bsz=2117.5, num_updates=300, lr=0.00045, gnorm=0.491, clip=0, loss_scale=16384, \
wall=91
"""
JSON = """\
2021-03-08 12:29:51 | INFO | fairseq_cli.train | num. model params: 13,110,865,920 (num. trained: 13,110,865,919)
2021-03-08 12:31:36 | INFO | train_inner | {"epoch": 1, "update": 0.0, "loss": "16.475", "ppl": "91087.5", "wps": "0", \
"ups": "0", "wpb": "16384", "num_updates": "1", "lr": "2e-05", "gnorm": "20.751", "loss_scale": "4", "wall": "105"}
2021-03-08 12:33:12 | INFO | fairseq.trainer | NOTE: gradient overflow detected, ignoring gradient, setting loss \
scale to: 2.0
2021-03-08 12:33:51 | INFO | fairseq.trainer | NOTE: gradient overflow detected, ignoring gradient, setting loss \
scale to: 1.0
[2021-03-08 12:34:45,123][train_inner][INFO] - {"epoch": 1, "update": 0.001, "loss": "25.22", "ppl": "3.90691e+07", \
"wps": "128", "ups": "0.01", "wpb": "16384", "num_updates": "2", "lr": "6e-05", "gnorm": "131.281", \
"loss_scale": "1", "wall": "294"}
2021-03-08 12:43:15 | INFO | valid | {"epoch": 1, "valid_loss": "17.953", "valid_ppl": "253807", "valid_wps": "1868", \
"valid_num_updates": "2", "valid_best_loss": "17.953"}
2021-03-08 12:43:15 | INFO | train | {"epoch": 1, "train_loss": "19.351", "train_ppl": "668509", "train_num_updates": \
"2", "train_lr": "0", "train_gnorm": "36.26", "train_wall": "804"}
"""
OLD = """\
| epoch 001:    100 / 2000 loss=9.100, nll_loss=8.900, ppl=477.71, wps=1000, ups=3, wpb=4000.0, bsz=100, \
num_updates=100, lr=0.0001, gnorm=1.5, clip=0.0, oom=0, wall=12
| epoch 001:  10%|#    | 200/2000 [00:10<01:30, 10.0it/s, loss=8.9, nll_loss=8.7, ppl=415.87, wps=1000, ups=3, \
wpb=4000.0, bsz=100, num_updates=200, lr=0.0002, gnorm=1.25, clip=0.0, oom=0, wall=24]
| epoch 001 | loss 8.5 | nll_loss 8.3 | ppl 315.17 | num_updates 2000
| epoch 001 | valid on 'valid' subset | loss 8.1 | nll_loss 7.9 | ppl 238.86 | num_updates 2000
"""


def of(text: str) -> Run:
    return fairseq.read(Log.of_text(text, "here"), Asked())


def bits(**values: float) -> dict[float, float]:
    return {float(step[1:]): pytest.approx(value * math.log(2)) for step, value in values.items()}


def test_the_format_simple(tmp_path: Path) -> None:
    run = read(written(tmp_path, SIMPLE))
    assert run.format == "fairseq"
    assert points(run.train_loss) == bits(_100=9, _200=8.005, _300=7)  # nll_loss, not what label smoothing adds
    assert points(run.val_loss) == bits(_282=8)
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("interval_mean", 100)
    assert run.train_loss.resolution == pytest.approx(1e-3 * math.log(2))
    assert points(run.learning_rate) == {100: 0.00015, 200: 0.0003, 300: 0.00045}
    assert points(run.grad_norm) == {100: 0.489, 200: 0.483, 300: 0.491}
    assert points(run.others["loss"]) == {100: 9.147, 200: 8.153, 300: 7.14}  # as it was logged
    assert points(run.others["valid1 nll_loss"]) == {282: 9}
    assert points(run.others["epoch nll_loss"]) == {282: 8.4}
    assert any("bits" in note for note in run.reading.notes)
    assert run.reading.lines_not_understood == 0


def test_speed_and_skipped_updates() -> None:
    run = of(SIMPLE)
    assert points(run.tokens_per_second) == {200: 120000, 300: 100000}  # 0: the first line does not know
    assert points(run.seconds_per_step) == {200: pytest.approx(0.5), 300: pytest.approx(0.600105)}
    assert points(run.loss_scale) == {100: 32768, 200: 16384, 300: 16384}
    assert points(run.skipped_steps) == {100: 0, 200: 1, 300: 1}
    assert run.facts.tokens_per_step == 60000
    assert (run.facts.ranks, run.facts.vocabulary_size) == (8, 34984)


def test_the_format_json() -> None:
    run = of(JSON)
    assert points(run.train_loss) == bits(_1=16.475, _2=25.22)
    assert points(run.val_loss) == bits(_2=17.953)
    assert (run.train_loss.kind, run.facts.trainable_parameters) == ("batch", 13_110_865_919)
    assert points(run.skipped_steps) == {1: 0, 2: 2}
    assert points(run.others["epoch loss"]) == {2: 19.351}
    assert points(run.others["valid best_loss"]) == {2: 17.953}
    assert run.reading.lines_not_understood == 0


def test_the_first_versions_log_the_mean_since_the_epoch_began() -> None:
    run = of(OLD)
    assert points(run.train_loss) == bits(_100=8.9, _200=8.7)
    assert points(run.val_loss) == bits(_2000=7.9)
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("running_mean", None)
    assert points(run.learning_rate) == {100: 0.0001, 200: 0.0002}
    assert any("since its epoch began" in note for note in run.reading.notes)


def test_without_a_validation_there_is_no_validation_loss() -> None:
    assert not of("".join(OLD.splitlines(keepends=True)[:3])).val_loss
    assert not of("".join(line for line in SIMPLE.splitlines(keepends=True) if "subset" not in line)).val_loss


def test_a_fork_that_logs_nats_by_its_perplexity() -> None:
    text = SIMPLE.replace("ppl=512", "ppl=8103.08").replace("ppl=256.89", "ppl=2995.9").replace("ppl=128", "ppl=1096.6")
    assert points(of(text).train_loss) == {100: 9, 200: 8.005, 300: 7}


def test_the_arguments() -> None:
    facts = of(NAMESPACE + SIMPLE).facts
    assert (facts.layers, facts.heads, facts.width, facts.context) == (6, 8, 512, 512)
    assert (facts.peak_learning_rate, facts.warmup_steps, facts.planned_steps) == (5e-4, 4000, 300000)
    assert (facts.beta1, facts.beta2, facts.weight_decay, facts.grad_clip) == (0.9, 0.98, 0.01, 5.0)
    assert (facts.precision, facts.seed, facts.ranks, facts.dropout) == ("fp16", 7, 8, 0.3)
    assert (facts.tied_embeddings, facts.schedule, facts.micro_batch) == (True, None, None)
    hydra = (
        "[2021][fairseq_cli.train][INFO] - {'_name': None, 'common': {'_name': None, 'seed': 1, 'fp16': False, 'bf16': "
        "True}, 'optimization': {'lr': [0.0001], 'clip_norm': 0.0}, 'lr_scheduler': {'_name': 'polynomial_decay'}}\n"
    )
    facts = of(hydra + SIMPLE).facts
    assert (facts.precision, facts.seed, facts.peak_learning_rate) == ("bf16", 1, 1e-4)
    linear = NAMESPACE.replace("'inverse_sqrt'", "'polynomial_decay', total_num_update='9000', power=1.0")
    assert of(linear.replace("'9000'", "9000") + SIMPLE).facts.schedule == "linear"


def test_a_resume_is_told_once() -> None:
    load = "2023 | INFO | fairseq.trainer | loaded checkpoint /c/checkpoint_last.pt (epoch 1 @ 150 updates)\n"
    again = (
        "\n".join(
            line.replace("loss=8.005", "loss=7.5").replace("loss=7,", "loss=6.5,") for line in SIMPLE.splitlines()[4:]
        )
        + "\n"
    )
    run = of(SIMPLE + load + again)
    assert run.facts.resumed_at == (150.0,)
    assert points(run.train_loss) == bits(_100=9, _200=7.5, _300=6.5)


def test_nan_and_a_cut_last_line() -> None:
    lines = SIMPLE.splitlines(keepends=True)
    nan = lines[4].replace("loss=8.153, nll_loss=8.005", "loss=nan, nll_loss=nan")
    run = of(lines[2] + nan + lines[4].replace("=200", "=300")[:150])
    assert list(run.train_loss.step) == [100, 200]
    assert math.isnan(run.train_loss.value[1])
    assert "cut off" in run.reading.notes[0]


def test_other_texts_are_not_its_own() -> None:
    for text in (
        'logger.info("{} | {}".format(self.prefix, postfix))\nnum_updates = 3\n',
        "epoch 1: loss=3.0, num_updates=3\n",
        '{"epoch": 1, "loss": 3.0, "num_updates": 3}\n',
        "a | b | epoch 001 | loss 3 | num_updates 2 |\n",
    ):
        assert fairseq.sniff(Head(text)) == 0.0
    with pytest.raises(InputError, match="no line with a loss of fairseq"):
        of(NAMESPACE)


def test_its_fields_have_fixed_names() -> None:
    with pytest.raises(InputError, match="fixed names; leave --loss-column out"):
        fairseq.read(Log.of_text(SIMPLE, "here"), Asked(columns={"train_loss": "x"}))


def test_a_program_that_quotes_its_lines_is_no_log() -> None:
    program = "import re\n\nfrom x import y\n\n\ndef read():\n"
    assert fairseq.sniff(Head(SIMPLE)) >= 0.9
    assert fairseq.sniff(Head(program + SIMPLE)) == 0.0
