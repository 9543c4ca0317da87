"""MLflow's database and files: what SQL and split() count, and what each pitfall of its schema does."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.readers import read
from tests.conftest import shared
from tests.readers.test_nanogpt import points

# as MLflow 3 makes it, of the tables that are read
SCHEMA = """
CREATE TABLE experiments (experiment_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(256), lifecycle_stage VARCHAR(32));
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250), status VARCHAR(9), start_time BIGINT,
    end_time BIGINT, lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER);
CREATE TABLE metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL,
    run_uuid VARCHAR(32) NOT NULL, step BIGINT DEFAULT '0' NOT NULL, is_nan BOOLEAN DEFAULT '0' NOT NULL,
    CONSTRAINT metric_pk PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
CREATE TABLE latest_metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT, step BIGINT NOT NULL,
    is_nan BOOLEAN NOT NULL, run_uuid VARCHAR(32) NOT NULL, PRIMARY KEY (key, run_uuid));
CREATE TABLE params (key VARCHAR(250) NOT NULL, value VARCHAR(8000) NOT NULL, run_uuid VARCHAR(32) NOT NULL);
CREATE TABLE tags (key VARCHAR(250) NOT NULL, value VARCHAR(8000), run_uuid VARCHAR(32) NOT NULL);
"""
LARGEST = 1.7976931348623157e308
Point = tuple[str, float, int, int, int]  # key, value, time in ms, step, is_nan
START = 1_795_451_137_000


def store(
    folder: Path, runs: dict[str, Iterable[Point]], name: str = "mlflow.db", deleted: tuple[str, ...] = ()
) -> Path:
    """A database with these runs, whose ids are their names and a digit."""
    path = folder / name
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        for at, (run, logged) in enumerate(runs.items()):
            id = f"{run}-{at}"
            stage = "deleted" if run in deleted else "active"
            row = (id, run.partition("#")[0], "FINISHED", START + at, START + at, stage, "", 0)
            connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            for key, value, time, step, is_nan in logged:
                connection.execute(
                    "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", (key, value, time, id, step, is_nan)
                )
                row = (key, value, time, step, is_nan, id)
                connection.execute("INSERT OR REPLACE INTO latest_metrics VALUES (?, ?, ?, ?, ?, ?)", row)
            for key, value in (("n_layer", "2"), ("learning_rate", "0.003"), ("bias", "False"), ("max_steps", "-1")):
                connection.execute("INSERT INTO params VALUES (?, ?, ?)", (key, value, id))
    connection.close()
    return path


def loss(num: int, key: str = "train/loss", every: int = 1) -> list[Point]:
    return [(key, 5.0 - 0.01 * step, START + 20 * step, step, 0) for step in range(0, num, every)]


def test_a_database(tmp_path: Path) -> None:
    run = read(store(tmp_path, {"tiny": [*loss(100), *loss(100, "val/loss", 25)]}))
    assert run.format == "mlflow"
    assert points(run.train_loss) == {step: 5.0 - 0.01 * step for step in range(100)}
    assert points(run.val_loss) == {step: 5.0 - 0.01 * step for step in range(0, 100, 25)}
    assert run.wall_time.value[:2].tolist() == [START / 1000, (START + 20) / 1000]
    assert (run.facts.layers, run.facts.peak_learning_rate, run.facts.bias) == (2, 0.003, False)
    assert run.facts.planned_steps is None  # -1 is not set
    assert run.facts.sources["layers"] == "MLflow's parameters"
    assert run.reading.lines == 104


def test_the_folder_of_a_database(tmp_path: Path) -> None:
    store(tmp_path, {"tiny": loss(10)})
    assert len(read(tmp_path).train_loss) == 10


def test_nan_and_infinity_as_mlflow_stores_them(tmp_path: Path) -> None:
    logged = [*loss(3), ("train/loss", 0.0, START + 60, 3, 1), ("train/loss", LARGEST, START + 80, 4, 0)]
    logged.append(("train/loss", -LARGEST, START + 100, 5, 0))
    value = read(store(tmp_path, {"tiny": logged})).train_loss.value
    assert np.isnan(value[3])
    assert value[4:].tolist() == [np.inf, -np.inf]


def test_steps_that_are_all_0_are_counted_in_the_order_of_time(tmp_path: Path) -> None:
    losses = [(key, value, time, 0, nan) for key, value, time, _, nan in loss(100)]
    evals = [("val/loss", 5.0 + at, START + 20 * (at * 25) + 5, 0, 0) for at in range(4)]
    run = read(store(tmp_path, {"tiny": [*evals, *losses[::-1]]}))
    assert points(run.train_loss) == {step: 5.0 - 0.01 * step for step in range(100)}
    assert points(run.val_loss) == {0: 5.0, 25: 6.0, 50: 7.0, 75: 8.0}
    assert run.facts.step_unit == "logged row"
    assert any("order of their times" in note for note in run.reading.notes)


def test_an_evaluation_without_steps_is_put_at_the_last_step_before_it(tmp_path: Path) -> None:
    steps = [(key, value, time, step * 10, nan) for key, value, time, step, nan in loss(50)]
    evals = [("val/loss", 6.0, START + 20 * 7 + 1, 0, 0), ("val/loss", 5.5, START + 20 * 30 + 1, 0, 0)]
    run = read(store(tmp_path, {"tiny": [*steps, *evals]}))
    assert points(run.val_loss) == {70: 6.0, 300: 5.5}
    assert run.facts.step_unit is None


def test_of_several_runs_the_one_with_a_loss_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    other = [("accuracy", 0.5, START, 0, 0)]
    one = store(tmp_path, {"a": other, "b": loss(10)}, "one.db")
    assert len(read(one).train_loss) == 10
    two = store(tmp_path, {"a": loss(5), "b": loss(10)}, "two.db")
    with pytest.raises(InputError, match=r"holds 2 runs: a, b\. Choose one with --which NAME"):
        read(two)
    assert len(read(two, which="b").train_loss) == 10
    assert len(read(two, which="1").train_loss) == 5
    assert len(read(two, which="b-1").train_loss) == 10  # its id
    assert read(two, which="b").reading.runs == ("a", "b")
    with pytest.raises(InputError, match="holds no run c; there are a, b"):
        read(two, which="c")
    same = store(tmp_path, {"a#1": loss(5), "a#2": loss(10)}, "same.db")
    with pytest.raises(InputError, match=r"a \(a#1-0\), a \(a#2-1\)"):
        read(same)


def test_deleted_runs_are_left_out(tmp_path: Path) -> None:
    path = store(tmp_path, {"a": loss(5), "b": loss(10)}, deleted=("b",))
    assert len(read(path).train_loss) == 5
    with pytest.raises(InputError, match="no run of MLflow that is not deleted"):
        read(store(tmp_path, {"a": loss(5)}, "gone.db", deleted=("a",)))


def test_a_run_without_a_loss_names_its_metrics(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no metric that is a loss; it has accuracy\. Name it with --loss-column"):
        read(store(tmp_path, {"a": [("accuracy", 0.5, START, 0, 0)]}))
    named = store(tmp_path, {"a": [("my_metric", 0.5, START, 0, 0), ("my_metric", 0.4, START + 1, 1, 0)]}, "named.db")
    assert points(read(named, loss_column="my_metric").train_loss) == {0: 0.5, 1: 0.4}


def test_another_database_names_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.close()
    with pytest.raises(InputError, match=r"database that is not known \(tables: customers, orders\)"):
        read(path)


def test_a_locked_and_a_damaged_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.logs.sqlite.SECONDS", 0.01)
    path = store(tmp_path, {"tiny": loss(10)})
    writer = sqlite3.connect(path)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="is locked by a program that writes to it"):
        read(path)
    writer.rollback()
    writer.close()
    raw = path.read_bytes()
    cut = tmp_path / "cut.db"
    cut.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="damaged SQLite database"):
        read(cut)


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = store(tmp_path, {"tiny": loss(10)})
    path.write_bytes(path.read_bytes().replace(b"n_layer", b"n_l\xceyer"))
    assert len(read(path).train_loss) == 10
    path.write_bytes(path.read_bytes().replace(b"artifact_uri", b"artif\xce\x01t_uri"))
    with pytest.raises(InputError, match="damaged SQLite database") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_what_stands_in_the_write_ahead_log_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    path = store(tmp_path, {"tiny": loss(10)})
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("INSERT INTO metrics VALUES ('train/loss', 1.5, ?, 'tiny-0', 10, 0)", (START + 900,))
    writer.commit()
    assert points(read(path).train_loss)[10] == 1.5
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("mlflow.db", "mlflow.db-wal"):  # a copy without the file of shared memory
        (copied / name).write_bytes((tmp_path / name).read_bytes())
    assert points(read(copied / "mlflow.db").train_loss)[10] == 1.5
    assert sorted(entry.name for entry in copied.iterdir()) == ["mlflow.db", "mlflow.db-wal"]
    writer.close()
    before = sorted(entry.name for entry in tmp_path.iterdir())
    assert len(read(path).train_loss) == 11
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


# ---------------------------------------------------------------- files


def test_the_sample_of_files_against_split() -> None:
    folder = shared("data/formats/mlflow_file/mlruns")
    metrics = next(folder.glob("*/*/metrics"))
    for place in (folder, metrics.parent.parent, metrics.parent):
        run = read(place)
        for series, key in (
            (run.train_loss, "train/loss"),
            (run.val_loss, "val/loss"),
            (run.grad_norm, "train/grad_norm"),
        ):
            wanted = {}
            for line in (metrics / key).read_text().splitlines():
                _, value, step = line.split()
                wanted[float(step)] = float(value)
            assert points(series) == wanted
        assert (run.facts.layers, run.facts.width) == (2, 64)
        assert run.format == "mlflow"
    assert len(run.train_loss) == 301


def files(folder: Path, name: str, lines: str, stage: str = "active") -> Path:
    run = folder / "123" / name
    (run / "metrics" / "train").mkdir(parents=True)
    (run / "params").mkdir()
    (run / "tags").mkdir()
    (folder / "123" / "meta.yaml").write_text("experiment_id: '123'\nname: test\n")
    (run / "meta.yaml").write_text(f"lifecycle_stage: {stage}\nrun_id: {name}\nrun_name: the-{name}\nstart_time: 1\n")
    (run / "tags" / "mlflow.runName").write_text(f"the-{name}")
    (run / "metrics" / "train" / "loss").write_text(lines)
    return run


def test_files_by_hand(tmp_path: Path) -> None:
    files(tmp_path, "a", "1000 5.0 0\n2000 nan 1\n3000 inf 2\nnonsense\n4000 4.5 3\n5000 4.")
    files(tmp_path, "b", "1000 3.0 0\n", "deleted")
    run = read(tmp_path)
    assert run.train_loss.step.tolist() == [0, 1, 2, 3]
    assert np.isnan(run.train_loss.value[1])
    assert run.train_loss.value[2] == np.inf
    assert run.reading.lines_not_understood == 2  # the nonsense, and the line that is cut off
    files(tmp_path, "c", "1000 3.0 0\n")
    with pytest.raises(InputError, match="holds 2 runs: the-a, the-c"):
        read(tmp_path)
    assert points(read(tmp_path, which="the-c").train_loss) == {0: 3.0}


def test_lines_of_old_versions_without_a_step(tmp_path: Path) -> None:
    run = read(files(tmp_path, "a", "1000 5.0\n2000 4.5\n3000 4.0\n"))
    assert points(run.train_loss) == {0: 5.0, 1: 4.5, 2: 4.0}
    assert run.facts.step_unit == "logged row"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of mlflow and sqlalchemy
@pytest.mark.parametrize("place", ["mlruns", "mlflow.db"])
def test_what_mlflow_itself_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    mlflow = pytest.importorskip("mlflow")
    if place == "mlflow.db":
        pytest.importorskip("sqlalchemy")
        pytest.importorskip("alembic")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    address = f"sqlite:///{tmp_path / place}" if place == "mlflow.db" else (tmp_path / place).as_uri()
    client = mlflow.MlflowClient(tracking_uri=address)
    run = client.create_run(client.create_experiment("test"), run_name="written")
    for step in range(20):
        value = float("nan") if step == 7 else float("-inf") if step == 9 else 5.0 - 0.1 * step
        client.log_metric(run.info.run_id, "train/loss", value, step=step)
    client.log_param(run.info.run_id, "n_layer", 3)
    found = read(tmp_path / place)
    assert len(found.train_loss) == 20
    assert np.isnan(found.train_loss.value[7])
    assert found.train_loss.value[9] == -np.inf
    assert found.facts.layers == 3


def test_the_folder_that_a_script_ran_in_has_its_store_below(tmp_path: Path) -> None:
    run = tmp_path / "mlruns" / "1" / "abc"
    (run / "metrics" / "train").mkdir(parents=True)
    (run / "meta.yaml").write_text("run_id: abc\nlifecycle_stage: active\nstart_time: 1\n")
    (run / "metrics" / "train" / "loss").write_text("".join(f"{n} {4 - n / 50} {n}\n" for n in range(20)))
    assert len(read(tmp_path).train_loss) == 20


def test_cells_of_a_damaged_database_that_are_no_numbers_are_no_points(tmp_path: Path) -> None:
    path = store(tmp_path, {"run": loss(5)})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE metrics SET is_nan = x'' WHERE step = 1")
        connection.execute("UPDATE metrics SET value = x'00' WHERE step = 2")
        connection.execute("UPDATE metrics SET step = 'abc' WHERE step = 3")
    connection.close()
    found = points(read(path).train_loss)
    assert {step: value for step, value in found.items() if value == value} == {0.0: 5.0, 1.0: 4.99, 4.0: 4.96}
