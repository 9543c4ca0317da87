"""The tasks on this machine by datatrove's local executor, with its completion markers and logs in WORK/logs.

For those who run datatrove already; `Step` is what stands in a datatrove pipeline, here and under Slurm. The executor
runs in a process of its own, since its pool waits for ever when one of its processes is killed: which rank has begun in
which process is written down, so such a death is seen from here.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talweg.corpus.engines import STAGES, Chain, Progress, load, num_cores, python_path, require_all
from talweg.corpus.engines.worker import answer, understood
from talweg.errors import InputError
from talweg.files import write_text

RANKS = 1000  # at most, of a stage; a rank has several tasks where there are more. Slurm's own default allows 1,001
LOOK = 0.5  # seconds between two looks at what is done; a stage of many tasks is looked at less often
SHARE = 0.05  # of the time that may go into looking


@dataclass(frozen=True)
class Step:
    """A stage as a step of a datatrove pipeline: rank r of a world of w does tasks r, r + w, ..."""

    chain: str
    work: Path
    stage: str

    def __call__(self, data: object, rank: int, world_size: int) -> None:
        stages = load(self.chain)
        begun = logs(self.work, self.stage) / "begun" / f"{rank:05d}"
        for index in range(rank, stages.num_tasks(self.work, self.stage), world_size):
            write_text(begun, f"{os.getpid()} {index}")
            try:
                stages.run_task(self.work, self.stage, index)
            except InputError as error:
                write_text(logs(self.work, self.stage) / "refused" / f"{index:05d}", str(error))
                raise
        begun.unlink(missing_ok=True)


def run(work: Path, *, workers: int | None, progress: Progress, chain: str = STAGES) -> None:
    """Do what is missing, at most `workers` ranks at once (default: the cores this process may use)."""
    stages, work = load(chain), work.resolve()
    for stage in stages.STAGES:
        tasks, total = stages.missing(work, stage), stages.num_tasks(work, stage)
        progress(stage, total - len(tasks), total)
        if tasks:
            forget(work, stage, tasks, ranks(stages, work, stage))
            _watched(stages, work, stage, [chain, str(work), stage, str(workers or num_cores())], progress)
        require_all(stages, work, stage, f"see {logs(work, stage)}")


def logs(work: Path, stage: str) -> Path:
    return work / "logs" / stage


def ranks(stages: Chain, work: Path, stage: str) -> int:
    """The size of the world of a stage."""
    return min(stages.num_tasks(work, stage), RANKS)


def forget(work: Path, stage: str, tasks: Iterable[int], world_size: int) -> None:
    """Remove the completion markers of ranks that have something to do: what counts is which outputs are there."""
    folder = logs(work, stage)
    for rank in {index % world_size for index in tasks}:
        (folder / "completions" / f"{rank:05d}").unlink(missing_ok=True)
    for left in [*folder.glob("begun/*"), *folder.glob("refused/*")]:
        left.unlink()


def raise_refusal(work: Path, stage: str) -> None:
    """Raise what the first task that met bad input said of it, if one did."""
    for refused in sorted((logs(work, stage) / "refused").glob("[0-9]*")):
        raise InputError(refused.read_text(encoding="utf-8"))


def _watched(stages: Chain, work: Path, stage: str, arguments: list[str], progress: Progress) -> None:
    """Run the executor of one stage in a process group of its own, and end it whatever ends this."""
    command = [sys.executable, "-P", "-m", "talweg.corpus.engines.datatrove", *arguments]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    logs(work, stage).mkdir(parents=True, exist_ok=True)
    pipe, total = subprocess.PIPE, stages.num_tasks(work, stage)
    with (logs(work, stage) / "stderr").open("wb") as said:
        executor = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=said, encoding="ascii", env=environment, start_new_session=True
        )
    try:
        suspects: set[int] = set()
        while executor.poll() is None:
            began = time.monotonic()
            progress(stage, total - len(stages.missing(work, stage)), total)
            dead = _dead(work, stage)
            if found := suspects & set(dead):
                index = dead[min(found)]
                raise InputError(
                    f"{stage}: the process of task {index} was killed, most often by the system for want of memory; "
                    "fewer --workers need less; the same command again does only what is missing"
                )
            suspects = set(dead)
            with contextlib.suppress(subprocess.TimeoutExpired):
                executor.wait(max(LOOK, (time.monotonic() - began) / SHARE))
        line = executor.stdout.read() if executor.stdout else ""
        if not line:
            raise InputError(f"{stage}: datatrove's executor died; see {logs(work, stage) / 'stderr'}")
        if error := understood(line):
            raise error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(executor.pid, signal.SIGKILL)
        executor.wait()
        for end in (executor.stdin, executor.stdout):
            if end:
                end.close()


def _dead(work: Path, stage: str) -> dict[int, int]:
    """The tasks that have begun in a process that is gone, by the process."""
    dead = {}
    for begun in (logs(work, stage) / "begun").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError):
            pid, index = map(int, begun.read_text(encoding="utf-8").split())
            if not _alive(pid):
                dead[pid] = index
    return dead


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def executor(chain: str, work: Path, stage: str, workers: int) -> Any:
    """datatrove's own executor for one stage."""
    from datatrove.executor import LocalPipelineExecutor

    world_size = ranks(load(chain), work, stage)
    step = Step(chain, work, stage)
    folder = str(logs(work, stage))
    return LocalPipelineExecutor([step], tasks=world_size, workers=min(workers, world_size), logging_dir=folder)


def main(chain: str, work: str, stage: str, workers: str) -> None:
    """What the process of the executor does; its one line of output is as in `worker`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    error: BaseException | None = None
    try:
        executor(chain, Path(work), stage, int(workers)).run()
    except BaseException as caught:
        error = caught
    answers.write(answer(error))
    answers.flush()
    os._exit(0)  # of datatrove's pool nothing need be waited for


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin, whose lock would be held in the processes that are forked meanwhile
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
