"""Parquet: tables, Trackio's export, neptune-exporter's parts; each against what pyarrow gives row by row."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.readers import read
from tests.conftest import shared
from tests.readers.test_nanogpt import points

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TIMES = [datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=at) for at in range(4)]


def table(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_null_is_missing_and_nan_is_nan(tmp_path: Path) -> None:
    columns = {
        "step": pa.array([0, 1, 2, 3], pa.int64()),
        "train/loss": pa.array([5.0, None, float("nan"), 4.0], pa.float32()),
        "val/loss": pa.array([None, 4.5, None, None], pa.float64()),
        "note": ["a", "b", None, "c"],
        "timestamp": pa.array(TIMES, pa.timestamp("us", "UTC")),
    }
    run = read(table(tmp_path / "run.parquet", columns))
    assert run.format == "table"
    assert run.train_loss.step.tolist() == [0, 2, 3]
    assert np.isnan(run.train_loss.value[1])
    assert points(run.val_loss) == {1: 4.5}
    assert run.wall_time.value.tolist() == [time.timestamp() for time in TIMES]
    assert run.train_loss.resolution == 0.0
    assert "note" not in run.others


def test_trackios_export_with_texts_for_nan_and_several_runs(tmp_path: Path) -> None:
    columns = {
        "id": [1, 2, 3, 4],
        "run_id": ["a", "a", "b", "b"],
        "run_name": ["first", "first", "second", "second"],
        "step": [0, 1, 0, 1],
        "train/loss": ["5.0", "NaN", "3.0", "Infinity"],
    }
    path = table(tmp_path / "project.parquet", columns)
    with pytest.raises(InputError, match=r"holds 2 runs: first, second\. Choose one with --which NAME"):
        read(path)
    run = read(path, which="second")
    assert points(run.train_loss) == {0: 3.0, 1: np.inf}
    assert run.reading.runs == ("first", "second")
    assert np.isnan(read(path, which="a").train_loss.value[1])


def test_a_table_without_a_loss_and_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no loss column; it has step, price"):
        read(table(tmp_path / "prices.parquet", {"step": [1, 2], "price": [1.0, 2.0]}))
    path = table(tmp_path / "run.parquet", {"step": [1, 2], "loss": [1.0, 2.0]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"is a damaged parquet file \("):
        read(path)


def test_a_page_that_cannot_be_unpacked(tmp_path: Path) -> None:
    path = table(tmp_path / "run.parquet", {"step": list(range(1000)), "loss": [1.0 / (at + 1) for at in range(1000)]})
    raw = bytearray(path.read_bytes())
    raw[40:2000] = b"\xff" * 1960
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError, match="is a damaged parquet file"):
        read(path)


def test_without_pyarrow_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "run.parquet", {"step": [1, 2], "loss": [1.0, 2.0]})
    part = neptune(tmp_path / "R-1_part_0.parquet", [series("R-1", "train/loss", 0, 5.0)])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    for each in (path, part):
        with pytest.raises(InputError, match=r'needs pyarrow: pip install "talweg\[data\]"'):
            read(each)


# ---------------------------------------------------------------- Neptune

SCHEMA = pa.schema(
    [
        *(("project_id", pa.string()), ("run_id", pa.string()), ("attribute_path", pa.string())),
        *(("attribute_type", pa.string()), ("step", pa.decimal128(18, 6)), ("timestamp", pa.timestamp("ms", "UTC"))),
        *(("int_value", pa.int64()), ("float_value", pa.float64()), ("string_value", pa.string())),
        ("bool_value", pa.bool_()),
    ]
)
Row = dict[str, object]


def series(run: str, path: str, step: float, value: float, time: int = 0) -> Row:
    row: Row = {"run_id": run, "attribute_path": path, "attribute_type": "float_series", "step": Decimal(str(step))}
    return {**row, "float_value": value, "timestamp": TIMES[0] + timedelta(seconds=time or step)}


def setting(run: str, path: str, kind: str, value: object) -> Row:
    return {"run_id": run, "attribute_path": path, "attribute_type": kind, f"{kind}_value": value}


def neptune(path: Path, rows: list[Row]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return path


def test_the_sample_against_its_rows() -> None:
    folder = shared("data/formats/neptune_export")
    path = folder / "TINY-1_part_0.parquet"
    wanted: dict[str, dict[float, float]] = {}
    for row in pq.read_table(path).to_pylist():
        wanted.setdefault(row["attribute_path"], {})[float(row["step"])] = row["float_value"]
    for place in (folder, path):
        run = read(place)
        assert run.format == "neptune"
        assert points(run.train_loss) == wanted["metrics/train/loss"]
        assert points(run.val_loss) == wanted["metrics/val/loss"]
        assert points(run.learning_rate) == wanted["metrics/train/lr"]
        assert points(run.others["metrics/perf/dt_ms"]) == wanted["metrics/perf/dt_ms"]
    assert (len(run.train_loss), len(run.val_loss)) == (301, 7)


def test_several_parts_and_the_attributes_that_are_no_series(tmp_path: Path) -> None:
    settings = [
        setting("R-1", "config/n_layer", "int", 6),
        setting("R-1", "config/learning_rate", "float", 0.001),
        setting("R-1", "config/optimizer", "string", "AdamW"),
        setting("R-1", "config/bias", "bool", False),
    ]
    for part in range(12):  # part 10 comes after part 9, not after part 1
        rows = [series("R-1", "train/loss", step, 5.0 - 0.01 * step) for step in range(part * 10, part * 10 + 10)]
        neptune(tmp_path / f"R-1_part_{part}.parquet", rows + (settings if part == 3 else []))
    for place in (tmp_path, tmp_path / "R-1_part_5.parquet"):
        run = read(place)
        assert points(run.train_loss) == {step: 5.0 - 0.01 * step for step in range(120)}
        assert (run.facts.layers, run.facts.peak_learning_rate, run.facts.bias) == (6, 0.001, False)
        assert run.facts.optimizer == "adamw"
        assert "12 parts were read" in run.reading.notes
        assert not run.superseded
    assert run.wall_time.value[5] == (TIMES[0] + timedelta(seconds=5)).timestamp()


def test_several_runs_and_values_that_are_not_finite(tmp_path: Path) -> None:
    neptune(
        tmp_path / "R-1_part_0.parquet", [series("R-1", "train/loss", 0, 5.0), series("R-1", "train/loss", 1, np.nan)]
    )
    neptune(tmp_path / "R-2_part_0.parquet", [series("R-2", "train/loss", 0.5, 4.0)])
    neptune(tmp_path / "R-3_part_0.parquet", [series("R-3", "accuracy", 0, 0.5)])
    with pytest.raises(InputError, match="holds 2 runs: R-1, R-2"):
        read(tmp_path)
    assert points(read(tmp_path, which="R-2").train_loss) == {0.5: 4.0}
    assert np.isnan(read(tmp_path, which="R-1").train_loss.value[1])
    with pytest.raises(InputError, match="no series that is a loss; it has accuracy"):
        read(tmp_path, which="R-3")
    (tmp_path / "R-1_part_0.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read(tmp_path, which="R-1")


def test_parts_without_times_come_in_their_order(tmp_path: Path) -> None:
    for part, steps, loss in ((2, range(5), 5.0), (10, range(3, 6), 4.0)):
        rows = [{**series("R-1", "train/loss", step, loss), "timestamp": None} for step in steps]
        neptune(tmp_path / f"R-1_part_{part}.parquet", rows)
    assert points(read(tmp_path).train_loss) == {0: 5.0, 1: 5.0, 2: 5.0, 3: 4.0, 4: 4.0, 5: 4.0}
