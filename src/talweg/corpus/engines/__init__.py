"""Engines: where the tasks of a preparation run. One file each, with `run(work, *, workers, progress)`.

An engine is trusted with nothing but running tasks: which are still to be done is asked of the work folder
(`missing`) before a stage and after it, so a task that an engine loses is found, and the rerun does it.
"""

import importlib
import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from talweg.errors import InputError

Progress = Callable[[str, float, float], None]  # stage, done, total
ENGINES = ("local", "datatrove", "ray", "slurm")
STAGES = "talweg.corpus.stages"  # the chain of a preparation; tests run chains of their own


class Chain(Protocol):
    """What an engine knows of the work: a module with these names. A stage starts when the one before is complete."""

    STAGES: tuple[str, ...]

    def num_tasks(self, work: Path, stage: str) -> int: ...

    def run_task(
        self, work: Path, stage: str, index: int, progress: Callable[[float, float], None] | None = None
    ) -> None:
        """Its output depends on the task alone and appears as a whole; returns at once where it is there.

        progress: is told what is done of the task, and all of it.
        """

    def missing(self, work: Path, stage: str) -> list[int]: ...


def run(engine: str, work: Path, *, workers: int | None, progress: Progress, **options: Any) -> None:
    """Do every task of `work` that is not done yet, stage after stage.

    workers: how many tasks run at once at most; None: as many as there are cores (local, datatrove), or as many as
    the cluster gives (ray, slurm). options: those of the engine's own `run`. Raises InputError when a task fails or
    is lost; what is finished stays, and the next call goes on from there.
    """
    check(engine, workers)
    importlib.import_module(f"talweg.corpus.engines.{engine}").run(work, workers=workers, progress=progress, **options)


def check(engine: str, workers: int | None) -> None:
    """Raise InputError for an engine that there is not, or workers that can do nothing."""
    if engine not in ENGINES:
        raise InputError(f"there is no engine {engine}; give one of {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers can do nothing; give --workers 1 or more, or leave it out")


def load(chain: str) -> Chain:
    return cast(Chain, importlib.import_module(chain))


def require_all(stages: Chain, work: Path, stage: str, look: str) -> None:
    """Raise InputError when a stage that has ended lacks tasks. look: where their story can be read."""
    if lost := stages.missing(work, stage):
        some = ", ".join(map(str, lost[:3])) + (", ..." if len(lost) > 3 else "")
        raise InputError(
            f"{stage}: {len(lost):,} of {stages.num_tasks(work, stage):,} tasks are not done (task {some}); {look}; "
            "the same command again does only what is missing"
        )


def num_cores() -> int:
    """Cores this process may run on; a batch system or a container often grants fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python_path() -> str:
    """PYTHONPATH with which another process finds the modules of this one; installed packages it finds by itself."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths = [str(Path(path or ".").resolve()) for path in sys.path]
    return os.pathsep.join(
        path for path in paths if Path(path).is_dir() and not any(path.startswith(i) for i in installed)
    )
