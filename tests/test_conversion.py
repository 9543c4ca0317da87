"""A run as CSV, parquet and JSON: reading the table again gives the same columns."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from talweg.conversion import columns_of, to_csv, to_json, write
from talweg.errors import InputError
from talweg.readers import read
from talweg.run import Facts, Run, Series

RUN = Run(
    source="train.log",
    format="nanogpt",
    train_loss=Series.of([0, 1, 2, 3], [10.5, math.nan, math.inf, 0.1 + 0.2], kind="batch"),
    val_loss=Series.of([0, 2.5], [11.0, -1e-7], kind="evaluation"),
    others={'odd, "name"': Series.of([3], [7.0])},
    superseded={"train_loss": (Series.of([5, 6], [3.0, math.nan]),)},
    facts=Facts.stated("the log", layers=3, unmoved_groups=("head",)),
)
CSV = """\
step,train_loss,val_loss,"odd, ""name""\"
0,10.5,11,
1,nan,,
2,inf,,
2.5,,-1e-07,
3,0.30000000000000004,,7
"""


def test_the_table_by_hand() -> None:
    assert "".join(to_csv(RUN)) == CSV


def test_a_run_without_columns_is_a_header() -> None:
    assert list(to_csv(Run())) == ["step\n"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_reading_it_again_gives_the_same_columns(tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    run = Run(
        train_loss=Series.of(np.arange(50), rng.normal(5.0, 1.0, 50)),
        val_loss=Series.of(np.arange(0, 50, 7), rng.normal(5.0, 1.0, 8)),
        learning_rate=Series.of(np.arange(50), rng.uniform(0.0, 1e-3, 50)),
    )
    if form == "parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(write(run, tmp_path / "run.parquet", form))
        for name, series in columns_of(run).items():
            values = dict(zip(table["step"].to_pylist(), table[name].to_pylist(), strict=True))
            assert {step: value for step, value in values.items() if value is not None} == dict(
                zip(series.step.tolist(), series.value.tolist(), strict=True)
            )
        return
    again = read(write(run, tmp_path / "run.csv", form))
    for name, series in columns_of(run).items():
        found = getattr(again, name)
        assert found.step.tolist() == series.step.tolist()
        assert found.value.tolist() == series.value.tolist()


def test_json_holds_everything_and_is_json(tmp_path: Path) -> None:
    document = json.loads(write(RUN, tmp_path / "run.json", "json").read_text(), parse_constant=pytest.fail)
    assert document == json.loads(json.dumps(to_json(RUN)))
    assert document["columns"]["train_loss"]["value"] == [10.5, "NaN", "Infinity", 0.1 + 0.2]
    assert document["columns"]["train_loss"]["step"] == [0, 1, 2, 3]
    assert document["columns"]["val_loss"]["kind"] == "evaluation"
    assert document["facts"] == {"layers": 3, "unmoved_groups": ["head"]}
    assert document["sources"]["layers"] == "the log"
    assert document["superseded"]["train_loss"][0]["step"] == [5, 6]


def test_parquet_without_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match="pip install"):
        write(RUN, tmp_path / "run.parquet", "parquet")
    assert not list(tmp_path.iterdir())
