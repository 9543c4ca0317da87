"""`prepare` on inputs as people have them: odd paths, folders that hold the output, damage, URLs, and token files."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from talweg.corpus import plan
from talweg.corpus.prepare import prepare
from talweg.corpus.shards import open_split
from talweg.errors import InputError
from tests.corpus.servers import web
from tests.corpus.test_decide import texts_of
from tests.corpus.texts import rows, write

QUICK: dict[str, Any] = {"tokenizer": "bytes", "val_share": 0.1, "quality": False, "near": False}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shards(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if name.endswith(".npy")}


def test_a_folder_that_holds_the_output_is_read_without_it(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(200))
    out = tmp_path / "data"
    first = prepare([tmp_path], out, **QUICK | {"quality": True})
    before = files(out)
    again = prepare([tmp_path], out, **QUICK | {"quality": True})
    assert len(again.inputs) == 1
    assert again == first
    assert files(out) == before
    assert prepare([str(tmp_path / "**")], out, **QUICK).inputs == first.inputs


def test_work_of_an_earlier_attempt_is_no_input(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(200))
    work = tmp_path / "data" / ".work-0123"
    work.mkdir(parents=True)
    (work / "plan.json").write_text('{"text": "no text of mine"}')
    written = prepare([tmp_path], tmp_path / "data", **QUICK)
    assert [Path(each.path).name for each in written.inputs] == ["a.parquet"]
    assert not work.exists()


@pytest.mark.parametrize("given", ["", "a.parquet", "*.parquet"])
def test_the_input_may_not_be_the_output(tmp_path: Path, given: str) -> None:
    path = write(tmp_path / "a.parquet", rows(50))
    with pytest.raises(InputError, match=r"a\.parquet lies in .*, the folder to write; give another --out"):
        prepare([tmp_path / given], tmp_path, **QUICK)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_relative_paths_spaces_and_other_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mit Leerzeichen é 文"
    folder.mkdir()
    write(folder / "a b.parquet", rows(200))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(plan, "SMALLEST_TASK", 10_000)
    prepare([folder], tmp_path / "whole", workers=1, **QUICK)
    for where, given, out in (
        (folder, "a b.parquet", "../out put"),
        (tmp_path, f"{folder.name}/*.parquet", "ü"),
        (tmp_path / "elsewhere", f"../{folder.name}", "../c"),
    ):
        monkeypatch.chdir(where)
        written = prepare(given, Path(out), workers=2, **QUICK)
        assert written.inputs[0].path.endswith("a b.parquet")
        assert not Path(written.inputs[0].path).is_absolute()
        assert shards(Path(out)) == shards(tmp_path / "whole")


def test_a_url_gives_the_bytes_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.parquet", rows(200))
    monkeypatch.setattr(plan, "SMALLEST_TASK", 10_000)
    prepare([tmp_path / "a.parquet"], tmp_path / "local", workers=1, **QUICK)
    with web(tmp_path) as server:
        written = prepare([f"{server.url}/a.parquet"], tmp_path / "remote", workers=2, **QUICK)
    assert written.inputs[0].path == f"{server.url}/a.parquet"
    assert shards(tmp_path / "remote") == shards(tmp_path / "local")


def test_standard_input_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^- is not there; give a file, a folder of them, a pattern"):
        prepare(["-"], tmp_path / "data", **QUICK)


# --- damage


def damaged_parquet(path: Path, table: list[dict[str, Any]], group: int, column: str) -> Path:
    """The pages of one column of one row group are zeros."""
    pq.write_table(pa.Table.from_pylist(table), path, row_group_size=50, use_dictionary=False, compression="zstd")
    facts = pq.ParquetFile(path).metadata.row_group(group)
    chunk = next(facts.column(i) for i in range(facts.num_columns) if facts.column(i).path_in_schema == column)
    content = bytearray(path.read_bytes())
    start = chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("column", ["text", "url"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_row_group_is_fatal_or_named_and_passed_over(
    tmp_path: Path, column: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALLEST_TASK", 1)  # a task for each row group: one of them has no documents at all
    table = rows(300)
    path = damaged_parquet(tmp_path / "a.parquet", table, 2, column)
    options = {"tokenizer": "bytes", "val_share": 0.2, "workers": workers}
    with pytest.raises(InputError, match=r"a\.parquet, row group 3 \(50 rows\).*--on-damage skip") as caught:
        prepare([path], tmp_path / "data", **options)
    assert "\n" not in str(caught.value)
    written = prepare([path], tmp_path / "data", on_damage="skip", **options)
    assert sorted(texts_of(tmp_path / "data")) == sorted(row["text"] for row in [*table[:100], *table[150:]])
    assert [each.rows for each in written.inputs] == [250]
    lost = [warning for warning in written.warnings if "passed over" in warning]
    assert len(lost) == 1
    assert re.search(r"a\.parquet, row group 3 \(50 rows\): .* all cannot be read", lost[0])


def test_a_broken_line_and_a_cut_gz(tmp_path: Path) -> None:
    table = rows(200)
    lines = [json.dumps({"text": row["text"], "url": row["url"]}) for row in table]
    broken = tmp_path / "a.jsonl"
    broken.write_text("\n".join([*lines[:60], lines[60][:30], *lines[61:]]), encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.jsonl, line 61: it is no JSON"):
        prepare([broken], tmp_path / "data", **QUICK)
    written = prepare([broken], tmp_path / "data", on_damage="skip", **QUICK)
    texts = [row["text"] for row in table]
    assert sorted(texts_of(tmp_path / "data")) == sorted(texts[:60] + texts[61:])
    assert any("a.jsonl, line 61" in warning for warning in written.warnings)
    table = rows(2000, num_words=200)  # more than is looked at beforehand
    texts = [row["text"] for row in table]
    cut = tmp_path / "b.jsonl.gz"
    whole = gzip.compress("\n".join(json.dumps({"text": each}) for each in texts).encode())
    cut.write_bytes(whole[: len(whole) * 3 // 5])
    with pytest.raises(InputError, match=r"b\.jsonl\.gz, line "):
        prepare([cut], tmp_path / "data", **QUICK)
    written = prepare([cut], tmp_path / "data", on_damage="skip", **QUICK)
    found = texts_of(tmp_path / "data")
    assert 500 < len(found) < 1500
    assert set(found) <= set(texts)
    assert any("b.jsonl.gz" in warning and "nothing can be read" in warning for warning in written.warnings)


def test_a_file_that_cannot_be_opened_is_named_among_others(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(200))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"b\.parquet: it is damaged"):
        prepare([tmp_path], tmp_path / "data", **QUICK)
    written = prepare([tmp_path], tmp_path / "data", on_damage="skip", **QUICK)
    assert len(written.inputs) == 1
    assert any("b.parquet" in warning for warning in written.warnings)


# --- tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    folder = tmp_path / "nano"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, documents in (("train", 60), ("val", 10)):
        parts = [np.append(rng.integers(97, 123, 400), 256) for _ in range(documents)]
        np.concatenate(parts).astype("<u2").tofile(folder / f"{name}.bin")
    return folder


def test_tokens_of_another_trainer_are_taken_over(tokens: Path, tmp_path: Path) -> None:
    written = prepare([tokens], tmp_path / "data", tokenizer="bytes")
    assert (written.train.tokens, written.val.tokens) == (60 * 401, 10 * 401)
    for side in ("train", "val"):
        found = open_split(tmp_path / "data", side)  # type: ignore[arg-type]
        assert (np.asarray(found.tokens) == np.fromfile(tokens / f"{side}.bin", "<u2")).all()
    with pytest.raises(InputError, match=r"their tokenizer is not known"):
        prepare([tokens], tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match=r"train\.bin|holds no"):
        prepare([tokens], report_only=True, tokenizer="bytes")


def test_a_run_trains_on_tokens_of_another_trainer_and_is_diagnosed_with_them(tokens: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests.test_cli import talweg

    prepare([tokens], tmp_path / "data", tokenizer="bytes")
    (tmp_path / "c.toml").write_text(
        f"[data]\npath = {json.dumps(str(tmp_path / 'data'))}\n[model]\n"
        "layers = 1\nwidth = 32\nheads = 2\ncontext = 64\n"
        "[run]\nsteps = 5\nname = 'r'\n"
    )
    done = talweg("train", "c.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = talweg("diagnose", "runs/r", "--data", "data", "--fail-on", "never", "--format", "json", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2)


def test_nothing_hidden_is_left(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(100))
    prepare([path], tmp_path / "data", **QUICK)
    assert not list((tmp_path / "data").glob(".*"))
