"""`prepare`, whole: counts against slow ones, the same bytes twice, and what stops it half way."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from talweg.corpus import encode, manifest, plan, stages
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.prepare import prepare
from talweg.corpus.shards import open_split
from talweg.errors import InputError
from tests.corpus.test_entropy import slowly
from tests.corpus.texts import rows, text, write


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """Two files, with exact duplicates, empty texts, odd characters and the text of a special token."""
    table = rows(700, hosts=70)
    table[10]["text"] = table[20]["text"] = table[30]["text"] = "The same é text.\n\nTwice <|endoftext|> over."
    table[40]["text"], table[41]["text"] = "", None
    folder = tmp_path / "web"
    folder.mkdir()
    write(folder / "0.parquet", table[:300])
    write(folder / "1.parquet", table[300:], row_group_size=33)
    return folder


def documents(data: Path, side: str) -> list[str]:
    tokenizer, split = tokenizers.load(data), open_split(data, side)  # type: ignore[arg-type]
    starts = [0, *split.document_ends[:-1].tolist()]
    found = []
    for start, end in zip(starts, split.document_ends.tolist(), strict=True):
        tokens = split.tokens[start:end]
        assert tokens[-1] == tokenizer.separator_id
        assert (tokens[:-1] != tokenizer.separator_id).all()
        found.append(tokenizer.decode(tokens[:-1].tolist()))
    return found


OTHERS = {"manifest.json", "tokenizer.json", "left_out.parquet", "quality.json", "report.html"}


def contents(folder: Path) -> dict[str, bytes]:
    """Of what is finished: a stopped preparation leaves its work in a hidden folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".work-")}


@pytest.mark.parametrize("tokenizer", ["bpe", "bytes"])
def test_every_document_is_there_once_and_the_manifest_counts_them(web: Path, tmp_path: Path, tokenizer: str) -> None:
    data = tmp_path / "data"
    written = prepare([web], data, tokenizer=tokenizer, vocabulary_size=500, val_share=0.1, seed=3, dedup="off")
    assert manifest.read(data) == written
    source = [row["text"] or "" for path in sorted(web.iterdir()) for row in pq.read_table(path).to_pylist()]
    train, val = documents(data, "train"), documents(data, "val")
    in_both = written.split.documents_in_both
    assert len(train) + len(val) + in_both == len(source) - written.split.empty_documents == 698
    assert [each for each in source if each in set(train)] == train  # in the order of the input
    assert not set(train) & set(val)
    for texts, side in ((train, written.train), (val, written.val)):
        kinds = {"".join(each.split()): each for each in texts}
        size = tokenizers.load(data).encode
        assert side.documents == len(texts)
        assert side.bytes == sum(len(each.encode()) for each in texts)
        assert side.tokens == sum(size(each).size + 1 for each in texts)
        assert side.unique_documents == len(kinds)
        assert side.unique_tokens == sum(size(each).size + 1 for each in kinds.values())
    tokens = np.asarray(open_split(data, "train").tokens)
    assert (written.unigram_nats, written.bigram_nats) == pytest.approx(slowly(tokens.tolist()))
    assert written.bytes_per_token == written.train.bytes / written.train.tokens
    assert [each.rows for each in written.inputs] == [300, 400]
    assert written.split.val_share == 0.1
    assert 0.08 < written.val.bytes / (written.train.bytes + written.val.bytes) < 0.16
    for side in (written.train, written.val):
        assert sum(side.documents_by_length) == side.documents
        assert sum(side.tokens_by_length) == side.tokens
    assert written.train.largest_token_id == tokens.max()
    assert written.duplicates is not None
    assert (written.duplicates.dedup, written.duplicates.exact_documents) == ("off", 2)


def test_files_are_what_the_manifest_says_and_no_others(web: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(encode, "SHARD_TOKENS", 5000)
    data = tmp_path / "data"
    written = prepare([web], data, vocabulary_size=400, val_share=0.1)
    shards = [*written.train.shards, *written.val.shards]
    assert len(written.train.shards) > 3
    names = {name for shard in shards for name in (shard.file, shard.documents_file)}
    names |= {shard.overlap_file for shard in written.val.shards}
    assert {path.name for path in data.iterdir()} == names | OTHERS
    for shard in shards:
        for name, sha256 in ((shard.file, shard.sha256), (shard.documents_file, shard.documents_sha256)):
            assert hashlib.sha256((data / name).read_bytes()).hexdigest() == sha256
    assert open_split(data, "train").tokens.shape == (written.train.tokens,)
    assert sum(shard.documents for shard in written.train.shards) == written.train.documents


def test_the_same_input_gives_the_same_bytes(web: Path, tmp_path: Path) -> None:
    prepare([web], tmp_path / "a", vocabulary_size=400, seed=1)
    prepare([web / "0.parquet", web / "1.parquet"], tmp_path / "b", vocabulary_size=400, seed=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    prepare([web], tmp_path / "c", vocabulary_size=400, seed=2)
    assert contents(tmp_path / "a")["val-00000.npy"] != contents(tmp_path / "c")["val-00000.npy"]


def test_a_new_preparation_takes_the_place_of_the_old(web: Path, tmp_path: Path, monkeypatch) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    monkeypatch.setattr(encode, "SHARD_TOKENS", 5000)
    prepare([web], data, tokenizer="bytes")
    monkeypatch.undo()
    (data / "notes.txt").write_text("mine")
    prepare([web], data, vocabulary_size=400)
    prepare([web], other, vocabulary_size=400)
    assert contents(data) == contents(other) | {"notes.txt": b"mine"}


def test_a_vocabulary_beyond_16_bits_is_held_in_32(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"w{i}": i for i in range(70_000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "words.json"))
    rng = np.random.default_rng(0)
    numbers = [rng.integers(65_000, 70_000, 50) for _ in range(100)]
    path = write(tmp_path / "a.parquet", [{"text": " ".join(f"w{i}" for i in each)} for each in numbers])
    written = prepare([path], tmp_path / "data", tokenizer=str(tmp_path / "words.json"), val_share=0.2)
    assert written.dtype == "uint32"
    assert written.tokenizer.separator_id == 70_000
    found = [np.asarray(open_split(tmp_path / "data", side).tokens) for side in ("train", "val")]
    expected = sorted([*np.concatenate(numbers).tolist(), *[70_000] * 100])
    assert sorted(np.concatenate(found).tolist()) == expected


def test_little_validation_is_said_with_its_standard_error(web: Path, tmp_path: Path) -> None:
    written = prepare([web], tmp_path / "data", tokenizer="bytes", val_share=0.2)
    tokens = written.val.tokens
    low, high = 0.5 / (tokens / 1024) ** 0.5, 1 / (tokens / 1024) ** 0.5
    assert written.warnings == (
        f"validation has {tokens:,} tokens, under 200,000: its loss level is uncertain by about {low:.2f} to "
        f"{high:.2f} nats (one standard error); a larger --val-share or more text helps",
    )


def test_enough_validation_is_not_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(400, num_words=1000))
    written = prepare([path], tmp_path / "data", tokenizer="bytes", val_share=0.2)
    assert written.val.tokens > 200_000
    assert written.warnings == ()
    smaller = prepare([path], tmp_path / "data", tokenizer="bytes", val_share=0.2, val_tokens=100_000)
    assert 50_000 < smaller.val.tokens < 150_000


def test_a_split_by_document_and_a_tokenizer_that_loses_text_are_warned_of(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "ba": 1}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "words.json"))
    path = write(tmp_path / "a.parquet", [{"text": f"Ba ba {i}"} for i in range(300)])
    written = prepare([path], tmp_path / "data", tokenizer=str(tmp_path / "words.json"))
    assert any("the split is by document" in warning for warning in written.warnings)
    assert any("does not give back what it read: 3 of 3" in warning for warning in written.warnings)
    written = prepare([path], tmp_path / "data", vocabulary_size=5000)
    assert any("not 5,000: the text has no more pairs" in warning for warning in written.warnings)


def test_few_groups_for_validation_are_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(400, hosts=40))
    written = prepare([path], tmp_path / "data", tokenizer="bytes", val_share=0.05)
    assert written.split.val_groups == 2
    assert any("validation is 2 whole groups (by host of url)" in warning for warning in written.warnings)


def test_progress_goes_up_to_its_total_in_each_stage(web: Path, tmp_path: Path) -> None:
    seen: dict[str, list[tuple[float, float]]] = {}
    prepare([web], tmp_path / "data", vocabulary_size=400, progress=lambda *p: seen.setdefault(p[0], []).append(p[1:]))
    assert list(seen) == [stages.WORDS[stage] for stage in stages.STAGES]
    for stage in seen:
        done, total = zip(*seen[stage], strict=True)
        assert list(done) == sorted(done)
        assert done[0] == 0
        assert done[-1] == pytest.approx(total[-1])
        assert len(set(total)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_share": 0.0}, "a share of 0 for validation leaves one side empty"),
        ({"val_share": 0.7}, "a share of 0.7 for validation"),
        ({"vocabulary_size": 200}, "a vocabulary of 200 tokens; a byte-level BPE needs 258 to 1,000,000"),
        ({"tokenizer": "gtp2"}, "gtp2 is no tokenizer: give bpe, gpt2, bytes, or the path of a tokenizer.json"),
        ({"text_column": "body"}, "has no column body; it has text, id, url, file_path, source"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    web: Path, tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prepare([web], tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_written(web: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(InputError, match="data cannot be written: File exists; give another --out"):
        prepare([web], tmp_path / "data", tokenizer="bytes")


def test_a_folder_of_something_else_is_not_written_into(web: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "tokenizer.json").write_text("precious")
    (model / "config.json").write_text("{}")
    before = contents(model)
    with pytest.raises(InputError, match=r"model holds other files \(config\.json\); give a folder that is empty"):
        prepare([web], model, tokenizer="bytes")
    assert contents(model) == before


def test_only_shards_are_swept_away(web: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare([web], data, tokenizer="bytes")
    (data / "train-embeddings.npy").write_text("mine")
    (data / "train-00007.npy").write_text("of an earlier preparation")
    prepare([web], data, tokenizer="bytes")
    assert (data / "train-embeddings.npy").read_text() == "mine"
    assert not (data / "train-00007.npy").exists()


def test_an_input_that_turns_out_damaged_leaves_the_old_folder_as_it_was(web: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare([web], data, tokenizer="bytes")
    before = contents(data)
    content = bytearray((web / "1.parquet").read_bytes())
    content[800:6000] = bytes(5200)
    (web / "1.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"1\.parquet"):
        prepare([web], data, vocabulary_size=400)
    assert contents(data) == before


STOPPED = """
import os, signal, sys
from pathlib import Path
from talweg.corpus import plan, publish, stages
from talweg.corpus.prepare import prepare
source, out, where = sys.argv[1:]
plan.SMALLEST_TASK = 20_000
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if where == "placing":
    link, placed = os.link, []
    def stopping(*names):
        placed.append(names) if len(placed) < 2 else die()
        link(*names)
    publish.os.link = stopping
if where == "manifest":
    def half(path, text):
        path.with_name(".manifest.json.1.partial").write_text(text[:99])
        die()
    publish.manifests.write_text = half
real = stages.run_task
def run_task(work, stage, index, progress=None):
    if stage == where and index == min(2, stages.num_tasks(work, stage) - 1):
        def progress(done, total):
            die()
        stages.RUNS[stage](work, plan.read(work), index, progress)
        die()
    real(work, stage, index, progress)
stages.run_task = run_task
prepare([source], Path(out), vocabulary_size=400, workers=1)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGKILL")
@pytest.mark.parametrize(
    ("where", "old"),
    [(where, False) for where in (*stages.STAGES, "placing", "manifest")] + [("encode", True), ("placing", True)],
)
def test_killed_at_any_moment_it_goes_on_where_it_was(
    web: Path, tmp_path: Path, where: str, old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, whole = tmp_path / "data", tmp_path / "whole"
    if old:
        prepare([web], data, tokenizer="bytes")
    before = contents(data) if old else {}
    done = subprocess.run([sys.executable, "-c", STOPPED, str(web), str(data), where], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    if old and where == "encode":  # the old folder still stands
        assert {name: (data / name).read_bytes() for name in before} == before
        open_split(data, "train")
    elif where != "publish":  # after its only task all is in its place
        with pytest.raises(InputError, match=r"has no manifest\.json: talweg prepare did not write it, or was stopped"):
            open_split(data, "train")
    monkeypatch.setattr(plan, "SMALLEST_TASK", 20_000)
    again: list[tuple[str, int]] = []
    for stage, run in stages.RUNS.items():

        def counted(work: Path, made: plan.Plan, index: int, progress, stage: str = stage, run=run) -> None:
            again.append((stage, index))
            run(work, made, index, progress)

        monkeypatch.setitem(stages.RUNS, stage, counted)
    prepare([web], data, vocabulary_size=400, workers=1)
    done_before = stages.STAGES.index(where) if where in stages.STAGES else stages.STAGES.index("publish")
    assert {stage for stage, _ in again} <= set(stages.STAGES[done_before:])
    if where in ("survey", "encode"):
        assert (where, 0) not in again
        assert (where, 2) in again
    prepare([web], whole, vocabulary_size=400, workers=1)
    assert contents(data) == contents(whole)
    assert not list(data.glob(".*"))  # nothing hidden is left either


def test_of_two_at_once_in_one_folder_the_second_is_refused(web: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    refused = []

    def meanwhile(stage: str, done: float, total: float) -> None:
        if stage == "encoding" and not refused:
            with pytest.raises(InputError, match=r"another talweg prepare is at work in .*; wait for it") as caught:
                prepare([web], data, tokenizer="bytes")
            refused.append(caught)

    written = prepare([web], data, vocabulary_size=400, progress=meanwhile)
    assert refused
    assert manifest.read(data) == written


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.name == "nt" or os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_no_manifest(web: Path, tmp_path: Path, tiny_disk: Path) -> None:
    data = tiny_disk / "data"
    with pytest.raises(
        InputError, match=r"data: No space left on device; make room and give the same command"
    ) as caught:
        prepare([web], data, tokenizer="bytes")
    assert "\n" not in str(caught.value)
    prepare([web], data, vocabulary_size=300, text_column="id", near=False, quality=False)  # the room is free again
    assert (data / "manifest.json").is_file()


def test_a_file_that_may_not_grow_is_one_line_too(web: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(InputError, match="data: File too large; make room and give the same command"):
            prepare([web], tmp_path / "data", tokenizer="bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not (tmp_path / "data" / "manifest.json").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """One row group of all rows, as pandas writes it, and several threads: what waits is bounded."""
    pytest.importorskip("resource")
    rng = np.random.default_rng(0)
    paragraphs = [text(rng, 3000) for _ in range(50)]
    for name, copies in (("small", 40), ("large", 400)):
        table = [{"text": f"{i} {paragraphs[i % 50]}"} for i in range(copies * 10)]
        write(tmp_path / f"{name}.parquet", table, row_group_size=10**6)
    script = (
        "import resource, sys; from talweg.corpus.prepare import prepare;"
        "prepare([sys.argv[1]], sys.argv[2], tokenizer='bytes');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak = {}
    for name in ("small", "large"):
        command = [sys.executable, "-c", script, str(tmp_path / f"{name}.parquet"), str(tmp_path / name)]
        peak[name] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    size = sum(shard.stat().st_size for shard in (tmp_path / "large").glob("train-*.npy"))
    assert size > 120e6  # two bytes for each byte of text
    assert peak["large"] - peak["small"] < 100_000  # kB


def test_the_manifest_is_plain_json_without_nan(web: Path, tmp_path: Path) -> None:
    written = prepare([web], tmp_path / "data", tokenizer="bytes")
    content = (tmp_path / "data" / "manifest.json").read_text(encoding="utf-8")
    value = json.loads(content, parse_constant=lambda name: pytest.fail(name))
    assert value == json.loads(json.dumps(asdict(written)))


def test_a_rule_that_needs_tokens_is_no_filter(web: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bytes_per_token is counted of tokens"):
        prepare([web], tmp_path / "data", filters=["bytes_per_token"])
    written = prepare([web], tmp_path / "data", tokenizer="bytes", filters=["noise"])
    assert written.quality is not None
    assert "mojibake" in written.quality.filters
    assert "bytes_per_token" not in written.quality.filters
