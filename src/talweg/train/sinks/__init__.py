"""Trackers that get a copy of the log: TensorBoard, W&B, MLflow, trackio. None can stop the run or hold it up.

Each has a thread and a queue of its own. A tracker that is slow loses the oldest records it has not taken, one that
fails is let go of with one line, and at the end none is waited for longer than a few seconds: log.jsonl, which the run
itself writes, has everything. A run that goes on from a checkpoint goes on in the same tracker run.

A file in this folder is a tracker: `open_sink(folder, name, project, facts, first_step) -> Sink`.
"""

import importlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
ROOM = 10_000  # records that wait for a tracker at most
PATIENCE = 30.0  # seconds that a tracker gets at the end of the run


class Sink(Protocol):
    """What a tracker must do. Every call comes from one thread of its own."""

    def write(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


Opener = Callable[[Path, str, str, Mapping[str, Any], int], Sink]


class Sinks:
    """The trackers of one run, each behind its own queue."""

    def __init__(self, names: tuple[str, ...], folder: Path, name: str, project: str, first_step: int) -> None:
        """folder: the run's. The record that holds the facts opens the trackers, which show them as configuration."""
        self._names, self._where, self._first = names, (folder, name, project), first_step
        self._lines: list[_Line] = []

    def write(self, record: Mapping[str, Any]) -> list[str]:
        """Hand a record of the log over; returns lines for the person about trackers that were let go of."""
        if "facts" in record:
            self._lines = self._lines or [_Line(n, (*self._where, record["facts"], self._first)) for n in self._names]
        elif figures := flat(record):
            for line in self._lines:
                line.put(int(record["step"]), figures)
        return self._failures()

    def close(self) -> list[str]:
        """Let every tracker finish what it has, for PATIENCE seconds in all; returns lines as `write`."""
        for line in self._lines:
            line.end()
        waits = PATIENCE
        for line in self._lines:
            waits -= line.join(max(waits, 0.0))
        return self._failures()

    def _failures(self) -> list[str]:
        return [told for line in self._lines if (told := line.failure())]


class _Line:
    """One tracker in its own thread."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._name, self._arguments = name, arguments
        self._queue: queue.Queue[tuple[int, Mapping[str, float]] | None] = queue.Queue(ROOM)
        self._lost, self._error, self._told = 0, "", False
        self._thread = threading.Thread(target=self._work, name=f"sink {name}", daemon=True)
        self._thread.start()

    def put(self, step: int, figures: Mapping[str, float]) -> None:
        while not self._error:
            try:
                self._queue.put_nowait((step, figures))
                return
            except queue.Full:
                self._lost += self._drop()

    def end(self) -> None:
        while True:
            try:
                self._queue.put_nowait(None)
                return
            except queue.Full:
                self._lost += self._drop()

    def join(self, seconds: float) -> float:
        """Wait for the thread; returns the seconds it took."""
        began = time.monotonic()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._error = self._error or f"it did not finish within {PATIENCE:g} seconds"
        return time.monotonic() - began

    def failure(self) -> str:
        """One line, once."""
        if self._told or not (self._error or (self._lost and not self._thread.is_alive())):
            return ""
        self._told = True
        if self._error:
            return f"{self._name} no longer gets the log: {self._error}; the run goes on, and log.jsonl has everything"
        return f"{self._name} was too slow for {self._lost:,} records; log.jsonl has them"

    def _drop(self) -> int:
        try:
            self._queue.get_nowait()
            return 1
        except queue.Empty:
            return 0

    def _work(self) -> None:
        try:
            sink: Sink = importlib.import_module(f"{__name__}.{self._name}").open_sink(*self._arguments)
            while (item := self._queue.get()) is not None:
                sink.write(*item)
            sink.close()
        except ModuleNotFoundError as error:
            self._error = f'it needs {error.name}, which is not installed: pip install "talweg[{self._name}]"'
        except BaseException as error:  # whatever a tracker throws, SystemExit too, is its own affair
            self._error = " ".join(f"{type(error).__name__}: {error}".split())[:300]


def flat(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record by name, those of its groups as group/name; lists, notes and the step stay out."""
    figures: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            figures.update({f"{key}/{name}": number for name, number in flat(value).items()})
        elif isinstance(value, int | float) and not isinstance(value, bool) and key != "step":
            figures[key] = float(value)
    return figures


def remembered(folder: Path, tracker: str, make: Callable[[], str]) -> str:
    """The tracker's own name of this run: that of an earlier start, else a new one, which is kept in trackers.json."""
    import json

    from talweg.files import write_text

    path = folder / "trackers.json"
    with _REMEMBER:
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if tracker not in known:
            known[tracker] = make()
            write_text(path, json.dumps(known, indent=1) + "\n")
        return known[tracker]


_REMEMBER = threading.Lock()
