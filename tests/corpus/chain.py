"""A chain of stages for the tests of engines: small, and with faults that can be planted.

WORK/plan.json holds {"tasks": {stage: count}, "seconds": of each task, "faults": {"stage:index": fault}}. A task writes
what a hash of all outputs of the stage before and its own name gives, and adds a line to WORK/executed first, so that
runs of tasks can be counted. A fault strikes once, but for "input error" and "always SIGKILL".
"""

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from talweg.errors import InputError
from talweg.files import write_text

STAGES = ("survey", "decide", "encode", "publish")


def plan(work: Path, *, seconds: float = 0.0, faults: dict[str, str] | None = None, **tasks: int) -> Path:
    """Writes the plan, with one task for each stage that is not named. Returns `work`."""
    work.mkdir(parents=True, exist_ok=True)
    counts = {stage: tasks.get(stage, 1) for stage in STAGES}
    write_text(work / "plan.json", json.dumps({"tasks": counts, "seconds": seconds, "faults": faults or {}}))
    return work


def _plan(work: Path) -> Any:
    return json.loads((work / "plan.json").read_text())


def num_tasks(work: Path, stage: str) -> int:
    return int(_plan(work)["tasks"][stage])


def output(work: Path, stage: str, index: int) -> Path:
    return work / "data" / stage / f"{index:05d}"


def missing(work: Path, stage: str) -> list[int]:
    return [index for index in range(num_tasks(work, stage)) if not output(work, stage, index).exists()]


def run_task(work: Path, stage: str, index: int, progress: Any = None) -> None:
    if output(work, stage, index).exists():
        return
    with (work / "executed").open("a") as log:
        log.write(f"{stage}:{index} {os.environ.get('NODE', '')} {os.getpid()}\n")
    before = STAGES[STAGES.index(stage) - 1] if stage != STAGES[0] else None
    digest = hashlib.sha256(f"{stage}:{index}".encode())
    if before:
        assert not missing(work, before), f"{stage} began before {before} was complete"
        for i in range(num_tasks(work, before)):
            digest.update(output(work, before, i).read_bytes())
    time.sleep(_plan(work)["seconds"])
    _strike(work, f"{stage}:{index}")
    write_text(output(work, stage, index), digest.hexdigest())


def _strike(work: Path, task: str) -> None:
    fault = _plan(work)["faults"].get(task)
    if fault == "input error":
        raise InputError(f"{task} is corrupt; leave it out")
    if fault == "always SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    struck = work / f"struck-{task}"
    if fault is None or struck.exists():
        return
    struck.touch()
    if fault == "wait":
        time.sleep(600)
    elif fault == "bug":
        raise ZeroDivisionError("planted")
    elif fault == "no space":
        raise OSError(28, "No space left on device", str(work))
    elif fault == "print":
        print("what a library prints is no answer", flush=True)
    elif fault == "unpicklable":
        raise type("Odd", (Exception,), {})("it cannot travel")
    else:
        os.kill(os.getpid(), signal.Signals[fault])


def nodes(work: Path) -> list[str]:
    """On which node each of `executed` was begun; empty where nodes have no names."""
    return [line.split(" ")[1] for line in (work / "executed").read_text().splitlines()]


def executed(work: Path) -> list[str]:
    """The tasks in the order they were begun, with repetitions."""
    log = work / "executed"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def result(work: Path) -> dict[str, bytes]:
    """All bytes of the outputs; a temporary file that a killed process left is none."""
    data = work / "data"
    files = [path for path in sorted(data.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(data)): path.read_bytes() for path in files}
