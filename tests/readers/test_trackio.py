"""Trackio's database: the sample against its own SQL and json, and what its texts, ids and alerts need."""

import base64
import json
import shutil
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.readers import read
from tests.conftest import shared
from tests.readers.test_nanogpt import points

SCHEMA = """
CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL,
    run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE configs (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, run_name TEXT NOT NULL,
    config TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE(run_id));
CREATE TABLE system_metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL,
    run_name TEXT NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE alerts (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL,
    run_name TEXT NOT NULL, title TEXT NOT NULL, text TEXT, level TEXT NOT NULL DEFAULT 'warn', step INTEGER);
"""
Row = tuple[str, str, int, object]  # id, name, step, metrics


def project(folder: Path, rows: list[Row], name: str = "project.db", schema: str = SCHEMA) -> Path:
    path = folder / name
    with sqlite3.connect(path) as connection:
        connection.executescript(schema)
        for at, (id, run, step, metrics) in enumerate(rows):
            text = metrics if isinstance(metrics, str | bytes) else json.dumps(metrics).encode()
            time = f"2026-11-23T16:26:{at % 60:02d}.5+00:00"
            if "run_id" in schema:
                connection.execute(
                    "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?, ?)",
                    (id, time, run, step, text),
                )
            else:
                connection.execute("INSERT INTO metrics VALUES (?, ?, ?, ?)", (time, run, step, text))
    connection.close()
    return path


def losses(num: int, id: str = "a1", name: str = "run") -> list[Row]:
    return [(id, name, step, {"train/loss": 5.0 - 0.1 * step, "train/lr": 1e-3}) for step in range(num)]


def test_the_sample_against_sql_and_json(tmp_path: Path) -> None:
    shutil.copytree(shared("data/formats/trackio/trackio_dir"), tmp_path / "trackio")
    path = tmp_path / "trackio" / "tiny.db"
    wanted: dict[str, dict[float, float]] = {}
    connection = sqlite3.connect(path)
    for step, text in connection.execute("SELECT step, metrics FROM metrics"):
        for name, value in json.loads(text).items():
            wanted.setdefault(name, {})[step] = value
    connection.close()
    for place in (path, tmp_path / "trackio"):
        run = read(place)
        assert run.format == "trackio"
        assert points(run.train_loss) == wanted["train/loss"]
        assert points(run.val_loss) == wanted["val/loss"]
        assert points(run.tokens_per_second) == wanted["perf/tok_per_sec"]
        assert run.seconds_per_step.value[0] == pytest.approx(wanted["perf/dt_ms"][0] / 1000)
    assert len(run.train_loss) == 301
    assert (run.facts.layers, run.facts.warmup_steps) == (2, 30)
    assert run.reading.notes == ("alert of Trackio (warn) at step 300: loss stalled: demo alert",)


def test_nan_and_infinity_are_texts(tmp_path: Path) -> None:
    rows: list[Row] = [
        *losses(2),
        ("a1", "run", 2, {"train/loss": "NaN"}),
        ("a1", "run", 3, {"train/loss": "Infinity"}),
    ]
    rows.append(("a1", "run", 4, {"train/loss": "-Infinity", "text": "a note"}))
    value = read(project(tmp_path, rows)).train_loss.value
    assert np.isnan(value[2])
    assert value[3:].tolist() == [np.inf, -np.inf]


def test_names_are_not_unique_and_ids_are(tmp_path: Path) -> None:
    path = project(tmp_path, [*losses(3, "aaaaaaaa11"), *losses(5, "bbbbbbbb22"), ("c", "eval", 0, {"accuracy": 0.5})])
    with pytest.raises(InputError, match=r"holds 2 runs: run \(aaaaaaaa\), run \(bbbbbbbb\)\. Choose one with --which"):
        read(path)
    assert len(read(path, which="run (bbbbbbbb)").train_loss) == 5
    assert len(read(path, which="aaaaaaaa11").train_loss) == 3
    assert len(read(path, which="2").train_loss) == 5


def test_a_resumed_run_goes_back(tmp_path: Path) -> None:
    again: list[Row] = [("a1", "run", step, {"train/loss": 4.0 - 0.1 * step}) for step in (3, 4, 5)]
    run = read(project(tmp_path, [*losses(5), *again]))
    assert points(run.train_loss) == {0: 5.0, 1: 4.9, 2: 4.8, 3: 3.7, 4: 3.6, 5: 3.5}
    assert run.facts.resumed_at == (3,)


def test_a_damaged_row_is_left_out_alone(tmp_path: Path) -> None:
    path = project(
        tmp_path, [*losses(3), ("a1", "run", 3, b'{"train/loss": 4.'), ("a1", "run", 4, {"train/loss": 4.0})]
    )
    run = read(path)
    assert run.train_loss.step.tolist() == [0, 1, 2, 4]
    assert (run.reading.lines, run.reading.lines_not_understood) == (5, 1)


def test_media_are_no_metrics(tmp_path: Path) -> None:
    image = {"_type": "trackio.image", "file_path": "x.png", "width": 64}
    rows: list[Row] = [("a1", "run", step, {"train": {"loss": 4.0}, "sample": image}) for step in range(2)]
    run = read(project(tmp_path, rows))
    assert points(run.train_loss) == {0: 4.0, 1: 4.0}
    assert "sample/width" not in run.others


def test_before_there_were_ids(tmp_path: Path) -> None:
    schema = (
        "CREATE TABLE metrics (timestamp TEXT, run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)"
    )
    assert len(read(project(tmp_path, losses(4), schema=schema)).train_loss) == 4


def test_a_folder_of_several_projects_and_an_empty_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        project(tmp_path, losses(2), f"{name}.db")
        (tmp_path / f"{name}.lock").touch()
    with pytest.raises(InputError, match=r"a folder with 2 databases \(a\.db, b\.db\); give one of them"):
        read(tmp_path)
    with pytest.raises(InputError, match="holds no metric yet"):
        read(project(tmp_path, [], "empty.db"))


@pytest.mark.slow
def test_what_trackio_itself_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    pytest.importorskip("pyarrow")
    storage: Any = pytest.importorskip("trackio.sqlite_storage")
    monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path)
    storage.SQLiteStorage.bulk_log(
        project="written",
        run="first",
        metrics_list=[{"train/loss": 5.0}, {"train/loss": float("nan")}, {"train/loss": 4.0, "val/loss": 4.5}],
        steps=[0, 1, 2],
        config={"n_layer": 3},
    )
    storage.SQLiteStorage.export_to_parquet()
    exported = read(tmp_path / "written.parquet")
    run = read(tmp_path / "written.db")
    assert (exported.format, run.format) == ("table", "trackio")
    for name in ("train_loss", "val_loss"):
        assert np.array_equal(getattr(exported, name).value, getattr(run, name).value, equal_nan=True)
    assert run.train_loss.step.tolist() == [0, 1, 2]
    assert np.isnan(run.train_loss.value[1])
    assert points(run.val_loss) == {2: 4.5}
    assert run.facts.layers == 3


# a small database in which one length was damaged, found by fuzzing: SQLite then asks for memory without end
SIZES_THAT_CANNOT_BE = (
    "c-rlh&u-H|5XNV1CxJudUQku_z{(ehWX#5H3-m-%S*Rj0CHO$aA=;)}WXX1-^-`#+9Ksv%27QaZ0&fB9KS`U$l@a2AAfI-"
    "<vorF~pVp&&_qH1dhEGR4q5?ah07CE*V*t?PtiiR^A~zF)YH45%Q3g@6eGOLntF$I(9WbD8=oqcTC5!>ztb6qa=#GwJY7=|+32Dj"
    "U6S9|%9bUUI1gAm#G#n*~v4?GI$HYd+Wk@VST5@wn!&%j_S`)8!H*cG3OT67Gp5`FEp+gzZ;p!6aSq1M<&HeEbp3Rjd-gAkF?%)|"
    "7^^8eR$%yyM9Jcrp@I{5e9?Ed{%5da1&ap@ZF8%)qU4a}c{X2Su>Y(eL2UK=MJP7GIOMAdxXogAJKx@}`^Gg5e{jb74pa{Op<##k"
    "S)W*i<Ci?nN(BqKNka3aZPi?>NwtW}-?M~Olc@94gPVj-"
    "}yRY0nKI|X#+WjN^+C4Hc{}c~o&3E7XCKf@&5<#PJu}_OJjo7>_!g<WTh$0Nx84HUz5o|pBP;;s%jg74>H2sj79FF4C;A2uO>VnN"
    "8`HMbp`O06$o$i~CiGP%9$Qc#vWI%J*&FMPIy?xHSMNIHum=ue$;H^mhnKQh3K;|5sT5tXYK`AYu"
)


def test_a_database_whose_damage_asks_for_memory_without_end_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    path.write_bytes(zlib.decompress(base64.b85decode(SIZES_THAT_CANNOT_BE)))
    with pytest.raises(InputError, match="damaged SQLite database"):
        read(path, format="trackio")
