"""What an evaluation tells beside its mean, against loops that are slow and plain."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.train import details
from talweg.train.config import Config
from talweg.train.details import Bin
from talweg.train.loop import train

rng = np.random.default_rng(0)
LOSSES = rng.gamma(2.0, 1.0, (6, 9))
COUNTED = np.arange(54).reshape(6, 9) < 50  # the last window ends early
DOCUMENT = np.sort(rng.integers(0, 5, 54)).reshape(6, 9) * 3


def test_documents_add_up_to_the_mean_and_each_to_its_own_sum() -> None:
    found = details.by_document(LOSSES, DOCUMENT, COUNTED)
    for number, nats, tokens in zip(found.number, found.nats, found.tokens, strict=True):
        own = [LOSSES[w, s] for w in range(6) for s in range(9) if COUNTED[w, s] and DOCUMENT[w, s] == number]
        assert tokens == len(own)
        assert nats == pytest.approx(sum(own))
    assert found.nats.sum() / found.tokens.sum() == pytest.approx(LOSSES[COUNTED].mean())


def test_positions_in_bins_of_doubling_width() -> None:
    found = details.by_position(LOSSES, COUNTED)
    assert [(b.low, b.high) for b in found] == [(0, 0), (1, 1), (2, 3), (4, 7), (8, 15)]
    for b in found:
        own = [LOSSES[w, s] for w in range(6) for s in range(9) if COUNTED[w, s] and b.low <= s <= b.high]
        assert (b.tokens, b.nats) == (len(own), pytest.approx(np.mean(own)))


def test_tokens_by_how_often_train_holds_them() -> None:
    losses = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 99.0]])
    targets = np.array([[0, 1, 2], [2, 3, -1]])
    counts = np.array([0, 1, 6, 5])
    assert details.by_frequency(losses, targets, counts) == [
        Bin(0, 0, 1, 1.0),
        Bin(1, 1, 1, 2.0),
        Bin(4, 7, 3, pytest.approx(28 / 3)),
    ]


def test_documents_are_kept_at_each_evaluation(configured: Callable[..., Config]) -> None:
    config = configured(run__name="a")
    records = [r for r in train(config) if "val_loss" in r]
    folder = config.run.out / "a" / "evaluations"
    assert sorted(p.name for p in folder.iterdir()) == [f"step_{r['step']:08}.npz" for r in records]
    for r in records:
        kept = details.load(folder / f"step_{r['step']:08}.npz")
        assert kept.nats.sum() / kept.tokens.sum() == pytest.approx(r["val_loss"], rel=1e-6)
        assert len(r["val_loss_by_position"]) == 1 + math.ceil(math.log2(32))


def test_documents_are_read_back_as_saved(tmp_path: Path) -> None:
    saved = details.by_document(LOSSES, DOCUMENT, COUNTED)
    details.save(tmp_path / "new" / "a.npz", saved)
    found = details.load(tmp_path / "new" / "a.npz")
    assert found.nats == pytest.approx(saved.nats, rel=1e-6)
    assert (found.number == saved.number).all()
    assert (found.tokens == saved.tokens).all()


def test_a_disk_that_refuses_the_documents_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "evaluations").write_text("a file in the way")
    documents = details.by_document(np.ones((1, 2)), np.zeros((1, 2), dtype=np.int64), np.ones((1, 2), dtype=bool))
    with pytest.raises(InputError, match=r"step_1.npz could not be written: .*; free some space"):
        details.save(tmp_path / "evaluations" / "step_1.npz", documents)
