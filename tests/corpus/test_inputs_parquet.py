"""Parquet files as streams: every form of text, small batches, and damage that is never passed over in silence."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from talweg.corpus import inputs
from talweg.corpus.strings import raw, repaired, texts
from talweg.errors import InputError
from tests.corpus.reading import column, documents, tolerant
from tests.corpus.texts import rows, write


def test_the_column_is_found_by_its_name_or_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"title": "a", "content": "b", "words": 3}])
    assert inputs.find([path])[0].text_column == "content"
    assert documents(path, "title") == ["a"]


def test_a_file_without_a_text_column_names_those_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"title": "a", "words": 3}])
    with pytest.raises(InputError, match=r"has no column text or content; it has title, words\. Name one with --text"):
        inputs.find([path])
    with pytest.raises(InputError, match=r"has no column body; it has title, words"):
        inputs.find([path], "body")
    with pytest.raises(InputError, match=r"column words holds int64, not text; it has title, words"):
        inputs.find([path], "words")


def test_a_column_within_another_is_not_taken_for_the_text(tmp_path: Path) -> None:
    table = [{"nested": {"text": "no"}, "words": [1, 2], "text": "yes"}]
    assert documents(write(tmp_path / "a.parquet", table)) == ["yes"]


@pytest.mark.parametrize("content", [b"", b"text,id\na,b\n", b"PAR1 cut off"])
def test_a_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: it is damaged \(.*\)\. Fetch or write the file again"):
        inputs.find([path])


def test_a_file_that_is_cut_off_is_refused_or_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(500))
    path.write_bytes(path.read_bytes()[:-3000])
    write(tmp_path / "b.parquet", [{"text": "whole"}])
    with pytest.raises(InputError, match=r"a\.parquet: it is damaged"):
        inputs.find([tmp_path])
    found, lost = tolerant(tmp_path)
    assert found == ["whole"]
    assert len(lost) == 1
    assert "a.parquet: it is damaged" in lost[0]
    with pytest.raises(InputError, match=r"a\.parquet: damaged, and nothing of it can be read"):
        tolerant(path)


def damaged_in_the_middle(path: Path, num: int, row_group_size: int) -> list[str]:
    table = rows(num)
    write(path, table, row_group_size)
    metadata = pq.read_metadata(path)
    chunk = metadata.row_group(metadata.num_row_groups // 2).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(content)
    return [row["text"] for row in table]


def test_a_damaged_row_group_is_named(tmp_path: Path) -> None:
    damaged_in_the_middle(tmp_path / "a.parquet", 300, 100)
    with pytest.raises(InputError, match=r"a\.parquet, row group 2 \(100 rows\): it is damaged .*; all cannot be read"):
        documents(tmp_path / "a.parquet")


def test_a_damaged_row_group_is_passed_over_and_told(tmp_path: Path) -> None:
    expected = damaged_in_the_middle(tmp_path / "a.parquet", 300, 100)
    found, lost = tolerant(tmp_path / "a.parquet")
    assert found == expected[:100] + expected[200:]
    assert len(lost) == 1


def test_damage_within_a_row_group_tells_the_first_row_that_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{i} " + "x" * 2000 for i in range(6000)]})
    pq.write_table(table, path, compression="none", use_dictionary=False, data_page_size=100_000)
    content = bytearray(path.read_bytes())
    content[8_000_000:8_300_000] = bytes(300_000)
    path.write_bytes(content)
    found, lost = tolerant(path)
    assert 1000 < len(found) < 4000
    assert found == table["text"].to_pylist()[: len(found)]
    assert f"{6000 - len(found):,} from row {len(found) + 1:,} of the file on cannot be read" in lost[0]


def test_checksums_of_pages_are_verified(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["the same length"] * 50})
    for checksum in (False, True):
        pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=checksum)
        content = path.read_bytes()
        at = content.rindex(b"length", 0, len(content) // 2)
        path.write_bytes(content[:at] + b"LENGTH" + content[at + 6 :])
        if checksum:
            with pytest.raises(InputError, match=r"row group 1 \(50 rows\): it is damaged \(.*CRC"):
                documents(path)
        else:
            assert "the same LENGTH" in documents(path)


def test_rows_fewer_than_promised_are_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", rows(10))
    found = pq.ParquetFile.iter_batches

    def short(self: Any, *given: Any, **named: Any) -> Any:
        return (batch.slice(0, 7) for batch in found(self, *given, **named))

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", short)
    with pytest.raises(InputError, match=r"it ends before its last row; 3 from row 8 of the file on cannot be read"):
        documents(path)


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"text": pa.array([], pa.string())}))
    with pytest.raises(InputError, match="no rows; there is no text to prepare"):
        inputs.find([path])


@pytest.mark.parametrize("row_group_size", [1, 7, 5000])
def test_texts_come_in_order_in_small_batches(tmp_path: Path, row_group_size: int) -> None:
    table = [{"text": f"document {i} é"} for i in range(2500 if row_group_size > 1 else 50)]
    source = inputs.find([write(tmp_path / "a.parquet", table, row_group_size)])[0]
    batches = [batch for piece in source.pieces for batch in inputs.read(source, piece)]
    assert [text for batch in batches for text in texts(batch.strings)] == [row["text"] for row in table]
    assert [int(row) for batch in batches for row in batch.rows] == list(range(len(table)))


def test_a_large_row_group_comes_in_batches_of_a_few_megabytes(tmp_path: Path) -> None:
    table = pa.table({"text": [str(i) + "x" * 5000 for i in range(4000)]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, use_dictionary=False)
    source = inputs.find([path])[0]
    sizes = [batch.strings.nbytes for batch in inputs.read(source, source.pieces[0])]
    assert len(source.pieces) == 1
    assert max(sizes) < 1.1 * inputs.BATCH_BYTES
    assert sum(sizes) > 20_000_000


def test_pieces_are_row_groups_and_stand_alone(tmp_path: Path) -> None:
    source = inputs.find([write(tmp_path / "a.parquet", [{"text": str(i)} for i in range(35)], row_group_size=10)])[0]
    (batch,) = inputs.read(source, source.pieces[3])
    assert texts(batch.strings) == ["30", "31", "32", "33", "34"]
    assert batch.rows.tolist() == [30, 31, 32, 33, 34]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_form_of_text_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    values = ["a", None, "", "ü" * 40, "a"]
    path = write(tmp_path / "a.parquet", pa.table({"text": pa.array(values, pa.string()).cast(kind)}))
    assert documents(path) == [value or "" for value in values]


def test_other_columns_come_as_text(tmp_path: Path) -> None:
    day = datetime.date(2024, 3, 1)
    table = [{"text": "a", "url": None, "score": 0.5, "day": day, "tags": ["x"]}, {"text": "b", "url": "u", "score": 2}]
    found = column(write(tmp_path / "a.parquet", table), ["url", "score", "day", "tags", "absent", "text"])
    assert found == {"url": ["", "u"], "score": ["0.5", "2"], "day": ["2024-03-01", ""], "text": ["a", "b"]}


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    stored = pa.array([b"abc", b"caf\xe9 x", b"\xff"], pa.binary())
    strings = pa.Array.from_buffers(pa.string(), 3, stored.buffers())
    source = inputs.find([write(tmp_path / "a.parquet", pa.table({"text": strings}))])[0]
    (batch,) = inputs.read(source, source.pieces[0])
    assert texts(batch.strings) == ["abc", "caf\ufffd x", "\ufffd"]
    assert [len(text) for text in ("abc", "caf\ufffd x", "\ufffd")] == [3, 6, 1]
    assert raw(repaired(batch.strings))[1].tolist() == [0, 3, 11, 14]
