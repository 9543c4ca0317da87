"""Trackers beside the log: each gets every figure, and none can stop or slow the run."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from talweg.train import sinks
from talweg.train.config import Config
from talweg.train.loop import train
from talweg.train.sinks import Sinks, flat

Make = Callable[..., Config]


class Kept:
    """A tracker that keeps what it gets."""

    def __init__(self, delay: float = 0.0, fails_at: int | None = None) -> None:
        self.got: list[tuple[int, Mapping[str, float]]] = []
        self.closed, self._delay, self._fails_at = False, delay, fails_at

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        time.sleep(self._delay)
        if step == self._fails_at:
            raise SystemExit("the server\nsaid no")
        self.got.append((step, figures))

    def close(self) -> None:
        self.closed = True


def installed(monkeypatch: pytest.MonkeyPatch, sink: Kept, name: str = "kept") -> None:
    module = SimpleNamespace(open_sink=lambda *arguments: sink)
    monkeypatch.setitem(sys.modules, f"talweg.train.sinks.{name}", module)


def opened(tmp_path: Path, *names: str) -> Sinks:
    made = Sinks(names, tmp_path, "a", "p", 0)
    assert made.write({"step": 0, "facts": {"parameters": 3}}) == []
    return made


def test_numbers_of_a_record_by_name() -> None:
    record = {"step": 3, "loss": 2, "note": "x", "rank_losses": [1.0], "lr_by_group": {"head": 0.1}, "stopped": True}
    assert flat(record) == {"loss": 2.0, "lr_by_group/head": 0.1}


def test_every_record_arrives_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Kept()
    installed(monkeypatch, sink)
    made = opened(tmp_path, "kept")
    for step in range(100):
        assert made.write({"step": step, "loss": step / 2}) == []
    assert made.close() == []
    assert sink.got == [(step, {"loss": step / 2}) for step in range(100)]
    assert sink.closed


def test_a_tracker_that_throws_is_let_go_of_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Kept(fails_at=2)
    installed(monkeypatch, sink)
    made, told = opened(tmp_path, "kept"), list[str]()
    for step in range(50):
        told += made.write({"step": step, "loss": 1.0})
        time.sleep(0.002)
    told += made.close()
    assert told == [
        "kept no longer gets the log: SystemExit: the server said no; the run goes on, and log.jsonl has everything"
    ]
    assert [step for step, _ in sink.got] == [0, 1]


def test_a_slow_tracker_loses_records_and_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "ROOM", 10)
    sink = Kept(delay=0.01)
    installed(monkeypatch, sink)
    made, began = opened(tmp_path, "kept"), time.monotonic()
    for step in range(1000):
        made.write({"step": step, "loss": 1.0})
    assert time.monotonic() - began < 1.0  # ten seconds of its work
    (told,) = made.close()
    lost = 1000 - len(sink.got)
    assert told == f"kept was too slow for {lost:,} records; log.jsonl has them"
    assert sink.got[-1][0] == 999  # the newest are the ones that are kept


def test_a_tracker_that_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "PATIENCE", 0.1)
    installed(monkeypatch, Kept(delay=5.0))
    made, began = opened(tmp_path, "kept"), time.monotonic()
    made.write({"step": 0, "loss": 1.0})
    (told,) = made.close()
    assert "did not finish within 0.1 seconds" in told
    assert time.monotonic() - began < 2.0


def test_a_tracker_that_is_not_installed_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: Any) -> Any:
        raise ModuleNotFoundError("no", name="wandb")

    monkeypatch.setitem(sys.modules, "talweg.train.sinks.wandb", SimpleNamespace(open_sink=missing))
    made = Sinks(("wandb",), tmp_path, "a", "p", 0)
    (told,) = [*made.write({"step": 0, "facts": {}}), *made.close()]
    assert 'it needs wandb, which is not installed: pip install "talweg[wandb]"' in told


def test_a_failing_tracker_does_not_change_a_run(
    configured: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "talweg.train.sinks.mlflow", SimpleNamespace(open_sink=lambda *a: 1 / 0))
    with_it = list(train(configured(run__name="a", log__mlflow=True)))
    without = list(train(configured(run__name="b")))
    told = [r["note"] for r in with_it if "mlflow" in r.get("note", "")]  # or, where the run was faster, at its end:
    told += capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "mlflow no longer gets the log: ZeroDivisionError: division by zero; the run goes on" in told[0]
    assert [r["loss"] for r in with_it if "loss" in r] == [r["loss"] for r in without if "loss" in r]


REAL = """
import os, sys
from pathlib import Path
from talweg.train.sinks import TRACKERS, Sinks
for first in (0, 3):
    made = Sinks(TRACKERS, Path(sys.argv[1]), "a", "p", first)
    made.write({"step": first, "facts": {"parameters": 3, "tokens_by_length": [0.5, 0.5]}})
    for step in range(first, first + 4):
        made.write({"step": step, "loss": 10.0 - step, "update_ratio": {"all": 0.5}})
    for told in made.close():
        print(told)
"""


@pytest.mark.slow
def test_the_real_trackers_hold_the_figures_after_a_resume(tmp_path: Path) -> None:
    env = {**os.environ, "WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio")}
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    ran = subprocess.run(
        [sys.executable, "-c", REAL, str(folder)], env=env, capture_output=True, text=True, check=True, timeout=300
    )
    assert ran.stdout == ""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(s, 10.0 - s) for s in range(7)]
    (metric,) = (tmp_path / "runs" / "mlruns").glob("*/*/metrics/loss")
    steps = [int(line.split()[2]) for line in metric.read_text().splitlines()]
    assert sorted(set(steps)) == list(range(7))
    assert len(list((folder / "wandb").glob("offline-run-*/*.wandb"))) == 2
    import sqlite3

    (base,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(base) as database:
        (number,) = database.execute("select count(distinct step) from metrics").fetchone()
    assert number == 7
