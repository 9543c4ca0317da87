"""What options do to a preparation: filters, measures of quality, and reports that write nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from talweg.corpus import manifest as manifests
from talweg.corpus.prepare import prepare
from talweg.corpus.quality import rules
from talweg.errors import InputError
from tests.corpus.test_decide import left_out, planted, texts_of
from tests.corpus.texts import rows, write
from tests.test_cli import assert_refused, talweg

BRACES = 12
QUICK: dict[str, Any] = {"tokenizer": "bytes", "val_share": 0.1}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """300 documents, every 25th with a brace, two of them noise."""
    table = planted()[:240] + rows(60, hosts=9, seed=7)
    for i in range(0, 300, 25):
        table[i]["text"] = f"int main() {{ return {i}; }}\n" + table[i]["text"]
    table[13]["text"], table[14]["text"] = "\ufffd" * 50 + " lost" * 30, "same words again " * 200
    return write(tmp_path / "code.parquet", table)


@pytest.mark.parametrize("filters", [["c4_braces"], ["noise"], ["c4_braces", "noise"]])
def test_a_filter_leaves_out_what_was_counted_before(code: Path, tmp_path: Path, filters: list[str]) -> None:
    counted = prepare([code], tmp_path / "all", dedup="off", near=False, **QUICK)
    assert counted.quality is not None
    assert counted.quality.filters == ()
    assert "filtered" not in {why for why, _ in left_out(tmp_path / "all").values()}
    by_rule = {rule.name: rule.documents for rule in counted.quality.rules}
    assert by_rule["c4_braces"] == BRACES
    written = prepare([code], tmp_path / "some", dedup="off", near=False, filters=filters, **QUICK)
    in_force = [rule.name for rule in rules.chosen(filters) if rule.name != "bytes_per_token"]  # known too late
    assert written.quality == replace(counted.quality, filters=tuple(in_force))
    filtered = [place for place, (why, _) in left_out(tmp_path / "some").items() if why == "filtered"]
    if filters == ["c4_braces"]:
        assert [row for _, row in filtered] == list(range(0, 300, 25))
    if filters == ["noise"]:
        assert len(filtered) == counted.quality.noisy_documents >= 2
        assert {("code.parquet", 13), ("code.parquet", 14)} <= set(filtered)
    if "c4_braces" in filters:
        assert not any("{" in text for text in texts_of(tmp_path / "some"))


def test_unknown_filters_and_those_without_measures_are_refused(code: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gofer is no filter; give a family"):
        prepare([code], tmp_path / "data", filters=["gofer"], **QUICK)
    with pytest.raises(InputError, match="filters need the measures of quality; leave --no-quality out"):
        prepare([code], tmp_path / "data", filters=["noise"], quality=False, **QUICK)
    with pytest.raises(InputError, match="near-duplicates cannot be left out without looking for them"):
        prepare([code], tmp_path / "data", dedup="near", near=False, **QUICK)
    assert not (tmp_path / "data").exists()


def test_without_measures_no_report_is_written_and_an_old_one_goes(code: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare([code], data, **QUICK)
    quality = json.loads((data / "quality.json").read_text(encoding="utf-8"))
    assert quality
    assert "<html" in (data / "report.html").read_text(encoding="utf-8")
    written = prepare([code], data, quality=False, **QUICK)
    assert written.quality is None
    assert not (data / "quality.json").exists()
    assert not (data / "report.html").exists()


def test_languages_that_the_input_states_are_believed(tmp_path: Path) -> None:
    table = [dict(row, language="en" if i % 4 else "xx", language_score=0.9) for i, row in enumerate(planted()[:240])]
    table[1]["language_score"] = 0.3
    path = write(tmp_path / "a.parquet", table)
    written = prepare([path], tmp_path / "data", filters=["fineweb_english"], **QUICK)
    assert written.quality is not None
    counted = {rule.name: rule.documents for rule in written.quality.rules}
    assert counted["fineweb_english"] == 61
    filtered = {row for (_, row), (why, _) in left_out(tmp_path / "data").items() if why == "filtered"}
    assert filtered == {*range(0, 240, 4), 1}


def test_a_report_alone_says_what_a_real_run_says(code: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    kept = sorted(tmp_path.rglob("*"))
    said = prepare([code], report_only=True, report=lambda *both: seen.append(both), **QUICK)
    assert sorted(tmp_path.rglob("*")) == kept
    assert seen[0][0] == said
    written = prepare([code], tmp_path / "data", report=lambda *both: seen.append(both), **QUICK)
    assert said == written == manifests.read(tmp_path / "data")
    assert seen[0][1].to_json() == seen[1][1].to_json()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": None}, "give either --out, where to write, or --report-only"),
        ({"report_only": True}, "give either --out, where to write, or --report-only"),
        ({"workers": 0}, "0 workers can do nothing; give --workers 1 or more"),
        ({"engine": "spark"}, "there is no engine spark; give one of local"),
        ({"val_tokens": 0}, "0 tokens for validation leave it empty; give 1 or more"),
        ({"val_share": float("nan")}, "a share of nan for validation"),
    ],
)
def test_impossible_options_leave_no_trace(code: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare([code], **{"out": tmp_path / "data", **QUICK, **options})
    assert [path.name for path in tmp_path.iterdir()] == ["code.parquet"]


@pytest.mark.parametrize("suffix", [".html", ".json"])
def test_the_command_writes_the_report_that_is_asked_for_and_nothing_else(
    code: Path, tmp_path: Path, suffix: str
) -> None:
    where = tmp_path / "empty"
    where.mkdir()
    done = talweg("prepare", str(code), "--report-only", "--tokenizer", "bytes", "--report", f"r{suffix}", cwd=where)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in where.iterdir()] == [f"r{suffix}"]
    assert done.stdout.count("\n") > 10
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout + done.stderr
    if suffix == ".json":
        value = json.loads((where / "r.json").read_text(encoding="utf-8"))
        assert value["manifest"]["quality"]["documents"] == value["quality"]["documents"]


def test_a_report_that_cannot_be_written_is_refused_before_the_work(code: Path, tmp_path: Path) -> None:
    words = ["prepare", str(code), "--report-only", "--tokenizer", "bytes", "--report"]
    assert_refused(talweg(*words, "r.pdf", cwd=tmp_path), "r.pdf", "ends in .html or .json")
    (tmp_path / "d.html").mkdir()
    assert_refused(talweg(*words, "d.html", cwd=tmp_path), "d.html is a folder")
    (tmp_path / "t.bin").write_bytes(b"a\0b\0")
    done = talweg("prepare", "t.bin", "-o", "x", "--tokenizer", "bytes", "--report", "r.json", cwd=tmp_path)
    assert_refused(done, "t.bin holds tokens, of which no report is made")
