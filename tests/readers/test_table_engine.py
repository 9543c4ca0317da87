"""Rows taken a thousand at a time, against the standard library's csv and json, a row at a time."""

import csv
import io
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.logs.cells import number
from talweg.readers.table import load
from talweg.readers.table.load import Table

FLOATS = st.one_of(
    st.floats(width=64, allow_subnormal=False),  # other programs in this process may have turned them off
    st.floats(width=32, allow_subnormal=False),
    st.integers(-(10**19), 10**19),
    st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 1e23, 2.5e-05, -3e-7]),
)
CELLS = st.one_of(
    FLOATS.map(repr),
    FLOATS.map(lambda value: f"{value:.4f}"),
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False).map(lambda value: f"{value:.3E}"),
    st.sampled_from(
        ["", "nan", "NaN", "inf", "-inf", "Infinity", "+4.5", "1e5", "1E+05", ".5", "5.", "-", "na", "null"]
    ),
    st.sampled_from(
        ["1.2.3", "e5", "1e", "--4", "+", ".", "1e5.5", "1-2", "abc", "1_000", "1e5x", "1ee5", "0x10", " 4.5 ", "4 5"]
    ),
)

SMALL = st.floats(0, 9, allow_subnormal=False)


def taken(table: Table | None, name: str) -> dict[int, float]:
    assert table is not None
    cells = table.cells[name]
    return dict(zip(cells.row.tolist(), cells.value.tolist(), strict=True))


def same(found: dict[int, float], wanted: dict[int, float | None]) -> None:
    given = {row: value for row, value in wanted.items() if value is not None}
    assert list(found) == list(given)
    for row, value in given.items():
        assert found[row] == value or (math.isnan(found[row]) and math.isnan(value)), (row, found[row], value)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=40), st.sampled_from([",", "\t", ";"]))
def test_cells_of_csv_are_what_float_makes_of_each(rows: Sequence[tuple[str, str, str]], delimiter: str) -> None:
    lines = [("step", "loss", "lr"), *rows]
    text = "".join(delimiter.join(line) + "\n" for line in lines)
    table = load(lambda: [text.encode()])
    for place, name in enumerate(("step", "loss", "lr")):
        same(taken(table, name), {row + 1: number(cells[place]) for row, cells in enumerate(rows)})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CELLS, st.sampled_from(["1,000", "2,500.5", "7"]), CELLS), min_size=1, max_size=20))
def test_quoted_cells(rows: Sequence[tuple[str, str, str]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("step", "loss", "lr"), *rows])
    table = load(lambda: [out.getvalue().encode()])
    for place, name in enumerate(("step", "loss", "lr")):
        same(taken(table, name), {row + 1: number(cells[place]) for row, cells in enumerate(rows)})


KEYS = st.sampled_from(
    ["loss", "val/loss", "lr", "text", "größe", 'a "b"', "flag", "list", "layer1/rms", "layer2/rms", "v0.5", "x.y"]
)
VALUES = st.one_of(
    FLOATS,
    st.none(),
    st.booleans(),
    st.sampled_from(["4.5", "NaN", "abc", "run-7", "{", '"', "12:30", "a, b: 4", "-Infinity"]),
    st.lists(st.integers(0, 9), max_size=3),
    st.lists(st.dictionaries(st.just("loss"), st.integers(0, 9)), max_size=1),
    st.dictionaries(
        st.sampled_from(["loss", "lr", "deep"]),
        st.one_of(SMALL, st.just("x")),
        max_size=3,
    ),
)
RECORDS = st.lists(
    st.dictionaries(KEYS, VALUES, min_size=1, max_size=5), min_size=2, max_size=25
)  # one line is a document


def flat(record: dict[str, object], above: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in record.items():
        found |= flat(value, f"{above}{name}/") if isinstance(value, dict) else {above + name: value}
    return found


@settings(max_examples=300, deadline=None)
@given(RECORDS, st.booleans(), st.booleans())
def test_records_of_jsonl_are_what_json_makes_of_each(
    records: list[dict[str, object]], escaped: bool, tight: bool
) -> None:
    separators = (",", ":") if tight else None
    lines = [
        json.dumps({"step": row, **record}, ensure_ascii=escaped, separators=separators)
        for row, record in enumerate(records)
    ]
    table = load(lambda: ["".join(f"{line}\n" for line in lines).encode()])
    wanted: dict[str, dict[int, float | None]] = {}
    for row, record in enumerate(records):
        for name, value in flat({"step": row, **record}).items():
            wanted.setdefault(name, {})[row] = None if isinstance(value, list) else number(value)
    assert table is not None
    assert set(table.names) >= {name for name, cells in wanted.items() if any(v is not None for v in cells.values())}
    for name in table.names:
        same(taken(table, name), wanted.get(name, {}))


def test_keys_that_differ_in_a_digit_are_different_columns() -> None:
    """Lines with the same skeleton, so that reading them at once would mix them up."""
    lines = "".join(f'{{"step": {i}, "loss/head{i % 3}": {i}.5}}\n' for i in range(30))
    table = load(lambda: [lines.encode()])
    for head in range(3):
        assert taken(table, f"loss/head{head}") == {i: i + 0.5 for i in range(30) if i % 3 == head}


def test_keys_with_digits_that_stay_the_same_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.readers.table.jsonl._line_by_line", None)
    lines = "".join(f'{{"step": {i}, "layer1/rms": {i}.5, "layer2/rms": -{i}e-3, "v0.5": 1}}\n' for i in range(50))
    table = load(lambda: [lines.encode()])
    assert table is not None
    assert table.names == ("step", "layer1/rms", "layer2/rms", "v0.5")
    assert taken(table, "layer2/rms") == {i: float(f"-{i}e-3") for i in range(50)}


def test_texts_of_all_kinds_do_not_slow_it_down() -> None:
    lines = "".join(
        json.dumps({"step": i, "loss": 4.0, "hash": f"{i * 2654435761 % 2**32:x}{'abcdefghij'[i % 10] * (i % 50)}"})
        + "\n"
        for i in range(3000)
    )
    table = load(lambda: [lines.encode()])
    assert table is not None
    assert table.num_rows == 3000
    assert len(taken(table, "loss")) == 3000


def test_pieces_may_end_at_any_line() -> None:
    rng = np.random.default_rng(3)
    losses = rng.uniform(2, 9, 500).round(4)
    rows = "".join(f"{step},{loss},{'' if step % 10 else loss + 0.1}\n" for step, loss in enumerate(losses))
    lines = ("step,loss,val_loss\n" + rows).encode().splitlines(keepends=True)
    whole = load(lambda: [b"".join(lines)])
    cut = load(lambda: [b"".join(lines[at : at + 7]) for at in range(0, len(lines), 7)])
    for name in ("step", "loss", "val_loss"):
        assert taken(whole, name) == taken(cut, name)
    assert taken(whole, "loss") == {step + 1: loss for step, loss in enumerate(losses)}
    assert len(taken(whole, "val_loss")) == 50


def test_a_header_with_another_order_changes_what_the_cells_are() -> None:
    text = "step,loss,lr\n1,4.5,0.1\nstep,lr,loss,val_loss\n2,0.2,4.4,4.6\n"
    table = load(lambda: [text.encode()])
    assert taken(table, "loss") == {1: 4.5, 3: 4.4}
    assert taken(table, "lr") == {1: 0.1, 3: 0.2}
    assert taken(table, "val_loss") == {3: 4.6}


@pytest.mark.parametrize(
    "text",
    [
        "def f(step, loss):\n    return step, loss\n",
        "Nov 25 10:00:00 host kernel: a, b\n",
        "sepal_length,sepal_width,species\n5.1,3.5,setosa\n4.9,3.0,setosa\n",
        "Date,Open,High,Low,Close\n2026-01-02,1.0,2.0,0.5,1.5\n2026-01-03,1.5,2.1,0.6,1.7\n",
        "time,temperature\n0,20.5\n1,20.6\n",
        '{"name": "package", "version": "1.0.0"}\n',
    ],
)
def test_what_is_no_table_of_a_run_is_not_taken(text: str) -> None:
    from talweg.logs.given import Head
    from talweg.readers.table import sniff

    assert sniff(Head(text, text.encode())) == 0.0
