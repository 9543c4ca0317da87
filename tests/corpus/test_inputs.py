"""What is found, what is refused, and sources as plain data."""

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest

from talweg.corpus import inputs
from talweg.errors import InputError
from tests.corpus.reading import documents
from tests.corpus.texts import rows, write


def jsonl(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_files_folders_and_patterns_are_found_once_each(tmp_path: Path) -> None:
    for name in ("b/2.parquet", "a/1.parquet", "a/c/3.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, rows(3))
    (tmp_path / "a" / "notes.csv").write_text("no text")
    (tmp_path / "a" / ".hidden.txt").write_text("no text")
    found = inputs.find([tmp_path / "b" / "2.parquet", tmp_path / "a", f"{tmp_path}/*/*.parquet"])
    names = [Path(source.url).relative_to(tmp_path).as_posix() for source in found]
    assert names == ["b/2.parquet", "a/1.parquet", "a/c/3.parquet"]
    assert [source.rows for source in found] == [3, 3, 3]


def test_a_file_under_two_names_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path / "a.jsonl", "x")
    monkeypatch.chdir(tmp_path)
    found = inputs.find(["a.jsonl", tmp_path / "a.jsonl", f"file://{tmp_path}/a.jsonl", "*.jsonl"])
    assert [source.url for source in found] == ["a.jsonl"]


def test_a_folder_of_every_kind(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", "a")
    jsonl(tmp_path / "b.ndjson", "b")
    jsonl(tmp_path / "c.json", "c")
    (tmp_path / "d.md").write_text("d")
    (tmp_path / "e.TXT").write_text("e")
    write(tmp_path / "f.parquet", [{"text": "f"}])
    (tmp_path / "table.csv").write_text("text\nx\n")
    assert documents(tmp_path) == list("abcdef")
    assert [source.kind for source in inputs.find([tmp_path])].count("jsonl") == 3


@pytest.mark.parametrize("pattern", ["none.parquet", "*.parquet", "."])
def test_what_is_not_there_is_named(tmp_path: Path, pattern: str) -> None:
    message = {"none.parquet": "none.parquet is not there", "*.parquet": "no file matches", ".": "holds no"}[pattern]
    with pytest.raises(InputError, match=message):
        inputs.find([f"{tmp_path}/{pattern}"])


def test_no_input_at_all() -> None:
    with pytest.raises(InputError, match="no file was given"):
        inputs.find([])


def test_a_kind_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nx\n")
    with pytest.raises(InputError, match=r"a\.csv is of no kind that is read; needed: \*\.parquet, \*\.jsonl"):
        inputs.find([path])


def test_parquet_is_known_by_its_content_too(tmp_path: Path) -> None:
    assert documents(write(tmp_path / "part-0", [{"text": "x"}])) == ["x"]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path / "a.jsonl", "x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.jsonl cannot be read: Permission denied"):
        inputs.find([path])


def test_files_without_documents(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a\.jsonl, .*b\.txt: no rows; there is no text to prepare"):
        inputs.find([tmp_path])
    jsonl(tmp_path / "c.jsonl", "x")
    assert documents(tmp_path) == ["x"]


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", "x")
    source = inputs.find([path])[0]
    jsonl(path, "x", "y")
    with pytest.raises(InputError, match=r"a\.jsonl has changed while it was being read"):
        list(inputs.read(source, source.pieces[0]))


def test_sources_are_plain_data(tmp_path: Path) -> None:
    found = inputs.find([write(tmp_path / "a.parquet", rows(250)), jsonl(tmp_path / "b.jsonl", "x")])
    for source in found:
        assert pickle.loads(pickle.dumps(source)) == source
        assert inputs.Source.from_dict(json.loads(json.dumps(asdict(source)))) == source
    assert [(piece.begin, piece.end) for piece in found[0].pieces] == [(0, 100), (100, 200), (200, 250)]
    assert found[0].columns == ("text", "id", "url", "file_path", "source")
