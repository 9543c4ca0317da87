"""Seconds to read a million points of an MLflow database: SQL, as the reader does, and MLflow's own client.

    python bench/read_mlflow.py [POINTS [CLIENT_POINTS]]

The client asks for one metric after the other; it is measured on a smaller run of the same database, as it is slow.
It needs mlflow, or mlflow-skinny with sqlalchemy and alembic; without these SQL is measured alone, on a schema of
our own making.
"""

import sqlite3
import sys
import tempfile
import time
from pathlib import Path

KEYS = [f"train/metric_{letter}" for letter in "abcdefgh"] + ["train/loss", "val/loss"]
SCHEMA = """
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250), start_time BIGINT,
    lifecycle_stage VARCHAR(20));
CREATE TABLE metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL,
    run_uuid VARCHAR(32) NOT NULL, step BIGINT NOT NULL, is_nan BOOLEAN NOT NULL,
    PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
CREATE TABLE params (key VARCHAR(250) NOT NULL, value VARCHAR(8000) NOT NULL, run_uuid VARCHAR(32) NOT NULL);
"""


def client(path: Path) -> object | None:
    """MLflow's client of a new database; None where it cannot make one."""
    try:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{path}")
    except Exception as error:
        print(f"MLflow's client is left out: {str(error).strip().splitlines()[-1]}")
        return None


def fill(path: Path, run: str, points: int) -> None:
    steps = points // len(KEYS)
    rows = (
        (key, 5.0 - step / steps + at, 1_795_451_137_000 + step, run, step, 0)
        for step in range(steps)
        for at, key in enumerate(KEYS)
    )
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
    connection.close()


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    fewer = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        asked = client(path)
        ids = ["large", "small"]
        if asked is None:
            with sqlite3.connect(path) as connection:
                connection.executescript(SCHEMA)
                connection.executemany("INSERT INTO runs VALUES (?, ?, 0, 'active')", [(id, id) for id in ids])
            connection.close()
        else:
            ids = [asked.create_run("0", run_name=name).info.run_id for name in ids]
        for id, count in zip(ids, (points, fewer), strict=True):
            fill(path, id, count)
        measure(path, ids, points, fewer, asked)


def measure(path: Path, ids: list[str], points: int, fewer: int, asked: object | None) -> None:
    from talweg.readers import read

    for id, count in zip(ids, (points, fewer), strict=True):
        start = time.perf_counter()
        run = read(path, which=id)
        seconds = time.perf_counter() - start
        found = len(run.train_loss) + len(run.val_loss) + sum(map(len, run.others.values()))
        print(f"talweg: {found:,} of {count:,} points in {seconds:.2f} s")
    if asked is not None:
        start = time.perf_counter()
        found = sum(len(asked.get_metric_history(ids[1], key)) for key in KEYS)
        seconds = time.perf_counter() - start
        print(
            f"MLflow's client: {found:,} points in {seconds:.2f} s; "
            f"at this pace {points:,} take {seconds * points / found:.0f} s"
        )


if __name__ == "__main__":
    main()
