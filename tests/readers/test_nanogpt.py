"""nanoGPT's output: every number against a slow parse of the same lines, and everything that can befall a log."""

import math
from pathlib import Path

from talweg.readers import read
from tests.conftest import shared

SEED = "data/curves/seed_run/train.log"
SEED_CONFIG = "data/curves/seed_run/train_fineweb.config.txt"


def slow(path: Path) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
    """Loss of the iterations, train and val loss of the evaluations, word by word; later lines win."""
    iters: dict[int, float] = {}
    train: dict[int, float] = {}
    val: dict[int, float] = {}
    for line in path.read_text().splitlines():
        words = line.replace(",", "").replace(":", "").split()
        if words[:1] == ["iter"] and words[2] == "loss":
            iters[int(words[1])] = float(words[3])
        if words[:1] == ["step"] and words[2:4] == ["train", "loss"]:
            train[int(words[1])], val[int(words[1])] = float(words[4]), float(words[7])
    return iters, train, val


def test_the_seed_log_is_read_as_a_slow_parse_reads_it() -> None:
    path = shared(SEED)
    run = read(path, config=shared(SEED_CONFIG))
    for series, expected in zip((run.train_loss, run.train_eval_loss, run.val_loss), slow(path), strict=True):
        assert dict(zip(series.step, series.value, strict=True)) == expected
        assert series.resolution == 1e-4
    assert (len(run.train_loss), len(run.val_loss)) == (73, 30)
    assert run.train_loss.kind == "micro_batch"
    assert run.val_loss.kind == run.train_eval_loss.kind == "evaluation"
    assert run.val_loss.value[-1] == 3.5696
    assert math.isclose(run.seconds_per_step.value[0], 32.02545)
    assert run.last_step == 14500
    assert run.facts.parameters == 40_560_000
    assert run.facts.tokens_per_step == 524_288
