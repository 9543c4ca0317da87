"""Parquet files as streams: what is found, what is refused, and texts whatever form they have."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from talweg.corpus import parquet
from talweg.errors import InputError
from tests.corpus.texts import rows, write


def read(path: Path, column: str = "text") -> list[str]:
    source = parquet.sources([path], column)[0]
    return [text for _, strings in parquet.columns(source, source.column) for text in parquet.texts(strings)]


def test_files_folders_and_patterns_are_found_once_each(tmp_path: Path) -> None:
    for name in ("b/2.parquet", "a/1.parquet", "a/c/3.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, rows(3))
    (tmp_path / "a" / "notes.txt").write_text("no parquet")
    found = parquet.sources([tmp_path / "b" / "2.parquet", tmp_path / "a", f"{tmp_path}/*/*.parquet"])
    names = [source.path.relative_to(tmp_path).as_posix() for source in found]
    assert names == ["b/2.parquet", "a/1.parquet", "a/c/3.parquet"]
    assert [source.rows for source in found] == [3, 3, 3]


@pytest.mark.parametrize("pattern", ["none.parquet", "*.parquet", "."])
def test_what_is_not_there_is_named(tmp_path: Path, pattern: str) -> None:
    message = {"none.parquet": "none.parquet is not there", "*.parquet": "no file matches", ".": "holds no"}[pattern]
    with pytest.raises(InputError, match=message):
        parquet.sources([f"{tmp_path}/{pattern}"])


def test_no_input_at_all() -> None:
    with pytest.raises(InputError, match="no parquet file was given"):
        parquet.sources([])


def test_the_column_is_found_by_its_name_or_given(tmp_path: Path) -> None:
    table = [{"title": "a", "content": "b", "words": 3}]
    path = write(tmp_path / "a.parquet", table)
    assert parquet.sources([path])[0].column == "content"
    assert read(path, "title") == ["a"]


def test_a_file_without_a_text_column_names_those_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"title": "a", "words": 3}])
    with pytest.raises(InputError, match=r"has no column text or content; it has title, words\. Name one with --text"):
        parquet.sources([path])
    with pytest.raises(InputError, match=r"has no column body; it has title, words"):
        parquet.sources([path], "body")
    with pytest.raises(InputError, match=r"column words holds int64, not text; it has title, words"):
        parquet.sources([path], "words")


@pytest.mark.parametrize("content", [b"", b"text,id\na,b\n", b"PAR1 cut off"])
def test_a_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet cannot be read as parquet: its end is missing or damaged"):
        parquet.sources([path])


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(500))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match="cannot be read as parquet"):
        parquet.sources([path])


def test_a_file_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(2000), row_group_size=2000)
    content = bytearray(path.read_bytes())
    content[1000:9000] = bytes(8000)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet is damaged: "):
        read(path)


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"text": pa.array([], pa.string())}))
    with pytest.raises(InputError, match="no rows; there is no text to prepare"):
        parquet.sources([path])


@pytest.mark.parametrize("row_group_size", [1, 7, 5000])
def test_texts_come_in_order_in_small_batches(tmp_path: Path, row_group_size: int) -> None:
    table = [{"text": f"document {i} é"} for i in range(2500 if row_group_size > 1 else 50)]
    path = write(tmp_path / "a.parquet", table, row_group_size)
    source = parquet.sources([path])[0]
    batches = [(first, parquet.texts(strings)) for first, strings in parquet.columns(source, "text")]
    assert [text for _, batch in batches for text in batch] == [row["text"] for row in table]
    assert max(len(batch) for _, batch in batches) <= parquet.BATCH_ROWS
    for first, batch in batches:
        assert batch[0] == table[first]["text"]


def test_row_groups_that_are_not_wanted_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"text": str(i)} for i in range(35)], row_group_size=10)
    wanted = np.zeros(35, dtype=bool)
    wanted[[12, 34]] = True
    source = parquet.sources([path])[0]
    found = [(first, parquet.texts(strings)) for first, strings in parquet.columns(source, "text", wanted)]
    assert [first for first, _ in found] == [10, 30]
    assert found[1][1] == ["30", "31", "32", "33", "34"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_form_of_text_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    values = ["a", None, "", "ü" * 40, "a"]
    strings = pa.array(values, pa.string()).cast(kind)
    path = write(tmp_path / "a.parquet", pa.table({"text": strings}))
    assert read(path) == [value or "" for value in values]


def test_bytes_that_are_no_text_are_replaced_and_counted_as_such(tmp_path: Path) -> None:
    raw = pa.array([b"abc", b"caf\xe9 x", b"\xff"], pa.binary())
    strings = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    path = write(tmp_path / "a.parquet", pa.table({"text": strings}))
    source = parquet.sources([path])[0]
    ((_, found),) = parquet.columns(source, "text")
    assert parquet.texts(found) == ["abc", "caf\ufffd x", "\ufffd"]
    assert np.diff(parquet.raw(parquet.repaired(found))[1]).tolist() == [3, 8, 3]


def test_hashes_leave_out_white_space_and_case_of_ascii() -> None:
    strings = pa.array(["Ab c", " aB\tC\n", "abd", "", " \n", "É", "é"], pa.large_string())
    hashes = parquet.text_hashes(strings)
    expected = hashlib.blake2b(b"abc", digest_size=8).digest()
    assert hashes[0] == hashes[1] == int.from_bytes(expected, "little")
    assert hashes[3] == hashes[4] == 0
    assert np.unique(hashes).size == 5
    assert parquet.text_hashes(strings.slice(2, 2)).tolist() == hashes[2:4].tolist()
