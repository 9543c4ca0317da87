"""The data folder as a whole: the same bytes by any number of workers, and the overlap against sets of tuples."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.corpus import encode, plan
from talweg.corpus.prepare import prepare
from talweg.corpus.shards import open_split
from tests.corpus.test_decide import planted
from tests.corpus.texts import rows, write

TOGETHER = 13


@pytest.fixture
def many_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two files that are cut into about ten tasks; tasks are made in this process, whoever does them."""
    monkeypatch.setattr(plan, "SMALLEST_TASK", 30_000)
    table = planted()
    return [write(tmp_path / "a.parquet", table[:180], 20), write(tmp_path / "b.parquet", table[180:], 33)]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def made(given: list[Path], out: Path, **options: Any) -> dict[str, bytes]:
    prepare(given, out, **{"vocabulary_size": 400, "val_share": 0.1, "filters": ["noise"], **options})
    return files(out)


@pytest.mark.parametrize("dedup", ["off", "near"])
def test_any_number_of_workers_writes_the_same_bytes(many_tasks: list[Path], tmp_path: Path, dedup: str) -> None:
    alone = made(many_tasks, tmp_path / "1", workers=1, dedup=dedup)
    assert {"quality.json", "report.html", "left_out.parquet", "val-00000.overlap.npy"} <= set(alone)
    for workers in (2, 3):
        assert made(many_tasks, tmp_path / str(workers), workers=workers, dedup=dedup) == alone


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="datatrove forks")
def test_datatrove_writes_the_same_bytes(many_tasks: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    alone = made(many_tasks, tmp_path / "1", workers=1)
    assert made(many_tasks, tmp_path / "d", workers=2, engine="datatrove") == alone


def windows(tokens: np.ndarray, ends: np.ndarray) -> list[list[tuple[int, ...]]]:
    """Of each document, its runs of 13 tokens without the separator."""
    found = []
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        inside = tokens[start : end - 1].tolist()
        found.append([tuple(inside[i : i + TOGETHER]) for i in range(len(inside) - TOGETHER + 1)])
    return found


def test_the_overlap_is_that_of_sets_of_tuples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SMALLEST_TASK", 30_000)
    table = planted()
    for i in range(0, 280, 3):  # passages of every length on other hosts
        table[i]["text"] = (table[i]["text"] or "") + " " + " ".join((table[i + 7]["text"] or "").split()[: i // 4 + 2])
    table[33]["text"] = table[66]["text"] = "tiny"
    table += [dict(row, text=row["text"][:9], url=row["url"] + "/s") for row in rows(40, hosts=40, seed=5)]
    path = write(tmp_path / "a.parquet", table, 25)
    data = tmp_path / "data"
    written = prepare([path], data, vocabulary_size=300, val_share=0.2, workers=1, dedup="off", quality=False)
    sides = {}
    for side in ("train", "val"):
        split = open_split(data, side)  # type: ignore[arg-type]
        sides[side] = windows(np.asarray(split.tokens), split.document_ends)
    known = {each for document in sides["train"] for each in document}
    hits = [sum(each in known for each in document) for document in sides["val"]]
    sizes = np.diff(open_split(data, "val").document_ends, prepend=0)
    shares = [hit / len(document) if document else np.nan for hit, document in zip(hits, sides["val"], strict=True)]
    found = written.overlap
    assert found is not None
    assert 0 < found.ngrams_in_train < found.ngrams
    assert found.documents == sum(hit > 0 for hit in hits)
    assert found.tokens == sum(int(size) for size, hit in zip(sizes, hits, strict=True) if hit)
    assert found.heavy_documents == sum(share > 0.2 for share in shares)
    assert (found.ngrams, found.ngrams_in_train) == (sum(map(len, sides["val"])), sum(hits))
    stored = np.concatenate([np.load(data / str(shard.overlap_file)) for shard in written.val.shards])
    np.testing.assert_array_equal(stored, np.array(shares, dtype=np.float32))
    assert np.isnan(stored).any()


def test_shards_of_many_tasks_are_in_the_order_of_the_input(
    many_tasks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"tokenizer": "bytes", "dedup": "off", "quality": False, "near": False}
    prepare(many_tasks, tmp_path / "tasks", workers=1, **options)
    monkeypatch.undo()
    prepare(many_tasks, tmp_path / "one", workers=1, **options)
    for side in ("train", "val"):
        several, one = open_split(tmp_path / "tasks", side), open_split(tmp_path / "one", side)  # type: ignore[arg-type]
        assert (np.asarray(several.tokens) == np.asarray(one.tokens)).all()
        assert (several.document_ends == one.document_ends).all()
    assert len(list((tmp_path / "tasks").glob("train-?????.npy"))) > 5
    assert len(list((tmp_path / "one").glob("train-?????.npy"))) == 1


def test_counts_do_not_depend_on_how_shards_are_cut(
    many_tasks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(many_tasks, tmp_path / "a", tokenizer="bytes", workers=1)
    monkeypatch.setattr(encode, "SHARD_TOKENS", 3000)
    cut = prepare(many_tasks, tmp_path / "b", tokenizer="bytes", workers=1)
    assert len(cut.train.shards) > len(whole.train.shards)
    assert (cut.overlap, cut.duplicates, cut.quality) == (whole.overlap, whole.duplicates, whole.quality)
    assert cut.unigram_nats == whole.unigram_nats
