"""What is left out and why: against slow counts over planted copies, in every mode, through the whole of `prepare`."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from talweg.corpus import manifest as manifests
from talweg.corpus import plan
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.prepare import prepare
from talweg.corpus.shards import open_split
from talweg.errors import InputError
from tests.corpus.texts import rows, write

MODES = ("off", "exact", "near")


def planted() -> list[dict[str, Any]]:
    """300 rows of different text on 30 hosts; copies at known rows, each of an earlier one."""
    table = rows(300, hosts=30, num_words=120)
    for i, row in enumerate(table):  # so that no two are near-duplicates by chance
        row["text"] = " ".join(f"{word}{i}x{n}" for n, word in enumerate(row["text"].replace("é", "e").split()))
    table[100]["text"] = table[10]["text"]
    table[101]["text"] = table[10]["text"].upper().replace(" ", "\n ")
    near = table[20]["text"].split()
    table[150]["text"] = " ".join([*near[:-1], "ending"])
    table[200]["text"] = " ".join([*near[:-2], "an", "ending"])
    table[201]["text"] = table[150]["text"]  # of a near-duplicate, an exact one
    table[250]["text"] = " \n"
    table[251]["text"] = None
    return table


EXACT, NEAR, EMPTY = {100: 10, 101: 10}, {150: 20, 200: 20}, {250, 251}


def texts_of(data: Path) -> list[str]:
    tokenizer, found = tokenizers.load(data), []
    for side in ("train", "val"):
        split = open_split(data, side)  # type: ignore[arg-type]
        ends = split.document_ends.tolist()
        found += [
            tokenizer.decode(split.tokens[a : b - 1].tolist()) for a, b in zip([0, *ends[:-1]], ends, strict=True)
        ]
    return found


def left_out(data: Path) -> dict[tuple[str, int], tuple[str, tuple[str, int] | None]]:
    """By input and row: the reason, and the place of the one that was kept."""
    found = {}
    for row in pq.read_table(data / "left_out.parquet").to_pylist():
        place = (Path(row["input"]).name, row["row"])
        assert place not in found
        kept = None if row["kept_input"] is None else (Path(row["kept_input"]).name, row["kept_row"])
        assert (row["kept_row"] is None) == (row["kept_input"] is None) == (row["kept_begin"] is None)
        found[place] = (row["reason"], kept)
    return found


def made(path: Path, table: list[dict[str, Any]], **options: Any) -> manifests.Manifest:
    """Two files of this table; row r of it is row r of the first, or row r - 120 of the second."""
    given = [
        write(path / "a.parquet", table[:120], row_group_size=17),
        write(path / "b.parquet", table[120:], row_group_size=40),
    ]
    return prepare(given, path / "data", **{"tokenizer": "bytes", "quality": False, "val_share": 0.1, **options})


def place(row: int) -> tuple[str, int]:
    return ("a.parquet", row) if row < 120 else ("b.parquet", row - 120)


@pytest.mark.parametrize("dedup", MODES)
def test_the_first_copy_stays_and_every_other_is_listed_with_it(
    tmp_path: Path, dedup: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALLEST_TASK", 20_000)
    table = planted()
    written = made(tmp_path, table, dedup=dedup, workers=1)
    expected: dict[tuple[str, int], tuple[str, tuple[str, int] | None]] = {place(row): ("empty", None) for row in EMPTY}
    if dedup != "off":
        copies = {**EXACT, 201: 20 if dedup == "near" else 150}
        expected |= {place(row): ("exact duplicate", place(first)) for row, first in EXACT.items()}
        expected[place(201)] = ("exact duplicate", place(copies[201]))
    if dedup == "near":
        expected |= {place(row): ("near-duplicate", place(first)) for row, first in NEAR.items()}
        del expected[place(201)]
    listed = left_out(tmp_path / "data")
    if dedup == "near":  # its text is that of 150, which is not kept: what is kept is the first of them all
        assert listed.pop(place(201)) == ("exact duplicate", place(20))
    assert listed == expected
    size = [len((row["text"] or "").encode()) for row in table]
    found = written.duplicates
    assert found is not None
    exact = [100, 101, 201]
    assert (found.dedup, found.exact_documents, found.exact_bytes) == (dedup, 3, sum(size[row] for row in exact))
    assert (found.near_documents, found.near_bytes) == (2, sum(size[row] for row in NEAR))
    first = [row for i, row in enumerate(table) if i not in {*EMPTY, *EXACT, *NEAR, 201}]
    total = written.train.near_unique_tokens, written.val.near_unique_tokens
    assert sum(n or 0 for n in total) == sum(len(row["text"].encode()) + 1 for row in first)
    unique = sum(len(row["text"].encode()) + 1 for i, row in enumerate(table) if i not in {*EMPTY, *exact})
    if dedup != "near":
        assert written.train.unique_tokens + written.val.unique_tokens == unique


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dedup", ["off", "exact"])
def test_near_duplicates_are_never_on_both_sides(tmp_path: Path, dedup: Any, seed: int) -> None:
    """Pairs on hosts of their own, each the other but for its last word: 60 pairs, a fifth of them for validation."""
    table = planted()[:60] + planted()[30:60]
    table = [dict(row, url=f"https://h{i}.org/") for i, row in enumerate([*table[:60], *table[:60]])]
    for row in table[60:]:
        row["text"] = row["text"].rsplit(" ", 1)[0] + " other"
    made_of = write(tmp_path / "a.parquet", table)
    prepare([made_of], tmp_path / "data", tokenizer="bytes", quality=False, val_share=0.2, dedup=dedup, seed=seed)
    sides = []
    for side in ("train", "val"):
        split = open_split(tmp_path / "data", side)  # type: ignore[arg-type]
        starts = [0, *split.document_ends[:-1].tolist()]
        sides.append({bytes(split.tokens[a : a + 40].astype(np.uint8)) for a in starts})
    assert len(sides[1]) > 5
    assert not sides[0] & sides[1]


def test_words_parted_otherwise_are_one_text_and_one_cluster(tmp_path: Path) -> None:
    """The second is the first but for white space, with other words; the third is near the second's words only."""
    table = planted()[:60]
    words = table[5]["text"].split()
    parted = [half for word in words for half in (word[:3], word[3:])]
    table[30]["text"] = " ".join(parted)
    table[40]["text"] = " ".join([*parted[:-1], "other"])
    path = write(tmp_path / "a.parquet", table)
    prepare([path], tmp_path / "data", tokenizer="bytes", quality=False, val_share=0.1, dedup="near")
    first = ("a.parquet", 5)
    expected = {("a.parquet", 30): ("exact duplicate", first), ("a.parquet", 40): ("near-duplicate", first)}
    assert left_out(tmp_path / "data") == expected


def test_a_list_of_nothing_has_the_columns_of_any_other(tmp_path: Path) -> None:
    made(tmp_path, planted()[:90] + planted()[102:140])
    empty = pq.read_table(tmp_path / "data" / "left_out.parquet")
    assert empty.num_rows == 0
    made(tmp_path, planted())
    assert pq.read_schema(tmp_path / "data" / "left_out.parquet").types == empty.schema.types


def test_what_is_not_looked_for_is_not_said(tmp_path: Path) -> None:
    written = made(tmp_path, planted(), near=False)
    assert written.duplicates is not None
    assert (written.duplicates.near_documents, written.duplicates.near_bytes) == (None, None)
    assert (written.train.near_unique_tokens, written.val.near_unique_documents) == (None, None)
    assert written.duplicates.exact_documents == 3
    assert "near-duplicates" not in written.split.rule


def test_a_copy_of_training_text_is_left_out_of_validation_and_its_twin_is_named(tmp_path: Path) -> None:
    table = [dict(row, url=f"https://h{i % 40}.org/{i}") for i, row in enumerate(planted()[:80])]
    for i in range(0, 40, 4):  # a text of host i + 1 is one of host i too
        table[40 + i]["text"] = table[(i + 1) % 40]["text"]
    path = write(tmp_path / "a.parquet", table)
    written = prepare(
        [path], tmp_path / "data", tokenizer="bytes", quality=False, near=False, dedup="off", val_share=0.2
    )
    listed = left_out(tmp_path / "data")
    assert listed
    assert written.split.documents_in_both == len(listed)
    for (_, row), (reason, kept) in listed.items():
        assert reason == "in train too"
        assert kept is not None
        assert kept != ("a.parquet", row)
        assert table[kept[1]]["text"] == table[row]["text"]
        assert kept not in listed


PIECES = ["", " ", "alpha beta gamma delta epsilon", "ALPHA beta gamma  delta epsilon", "x", "X", "{ } { }", "é" * 30]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.integers(0, len(PIECES) + 5), min_size=1, max_size=40),
    dedup=st.sampled_from(MODES),
    filters=st.sampled_from([(), ("c4_braces",), ("noise", "fineweb")]),
    kind=st.sampled_from(["parquet", "jsonl"]),
)
def test_every_row_is_in_a_shard_or_in_the_list(
    tmp_path: Path, numbers: list[int], dedup: Any, filters: tuple[str, ...], kind: str
) -> None:
    import json

    base = rows(40, seed=1)
    table = [{"text": PIECES[n] if n < len(PIECES) else base[n]["text"], "url": f"http://h{n}/"} for n in numbers]
    table += [{"text": row["text"], "url": row["url"]} for row in base[20:]]
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        write(path, table, row_group_size=7)
    else:
        path.write_text("\n\n".join(json.dumps(row) for row in table), encoding="utf-8")
    try:
        written = prepare([path], tmp_path / "data", tokenizer="bytes", val_share=0.2, dedup=dedup, filters=filters)
    except InputError as error:
        if not filters:
            raise
        assert "filters" in str(error) or "one document" in str(error)  # noqa: PT017  # they may leave nothing, or one document
        return
    listed = left_out(tmp_path / "data")
    kept = written.train.documents + written.val.documents
    assert kept + len(listed) == sum(each.rows for each in written.inputs) == len(table)
    line = 2 if kind == "jsonl" else 1  # blank lines count
    stayed = [row["text"] for i, row in enumerate(table) if (path.name, i * line) not in listed]
    assert sorted(stayed) == sorted(texts_of(tmp_path / "data"))
    kinds = {"".join(text.split()).lower() for text in stayed}
    for (_, row), (reason, _kept) in listed.items():
        text = "".join(table[row // line]["text"].split()).lower()
        assert (reason == "empty") == (not text)
        if reason in ("exact duplicate", "in train too"):
            assert text in kinds  # never the only copy
    if dedup != "off":
        assert len(kinds) == len(stayed)


def test_filters_that_leave_nothing_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(50))
    with pytest.raises(InputError, match=r"the filters \(gopher_stop_words\) reject every document; give fewer"):
        prepare([path], tmp_path / "data", tokenizer="bytes", filters=["gopher_stop_words"])
