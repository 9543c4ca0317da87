"""The tasks on this machine: by several processes, or by this one where there is one task or one worker."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from talweg.corpus.engines import STAGES, Chain, Progress, load, num_cores, python_path, require_all
from talweg.corpus.engines.worker import understood
from talweg.errors import InputError

Answer = tuple[int, str, int]  # a task, what its process answered, and if that is nothing: how the process ended


def run(work: Path, *, workers: int | None, progress: Progress, chain: str = STAGES) -> None:
    """Do what is missing, at most `workers` tasks at once (default: the cores this process may use)."""
    stages, most = load(chain), workers or num_cores()
    with contextlib.closing(_Pool(chain, work)) as pool:
        for stage in stages.STAGES:
            tasks, total = stages.missing(work, stage), stages.num_tasks(work, stage)
            done = total - len(tasks)
            progress(stage, done, total)
            alone = min(most, len(tasks)) <= 1
            steps = _here(stages, work, stage, tasks, progress) if alone else pool.do(stage, tasks, most)
            for _ in steps:
                done += 1
                progress(stage, done, total)
            require_all(stages, work, stage, f"their output in {work} is gone")


def _here(stages: Chain, work: Path, stage: str, tasks: Sequence[int], progress: Progress) -> Iterator[None]:
    total = stages.num_tasks(work, stage)
    for before, index in enumerate(tasks, total - len(tasks)):

        def within(done: float, of: float, before: int = before) -> None:
            progress(stage, before + min(done / of, 1.0) if of else before, total)

        stages.run_task(work, stage, index, within)
        yield


@dataclass
class _Pool:
    """Processes that are started when first needed and serve all stages."""

    chain: str
    work: Path
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    def do(self, stage: str, tasks: Sequence[int], workers: int) -> Iterator[None]:
        """Yields as each task is done, in any order."""
        while len(self.processes) < min(workers, len(tasks)):
            self.processes.append(self._started())
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        for index in tasks:
            todo.put(index)
        for process in self.processes:
            threading.Thread(target=_serve, args=(process, stage, todo, answers), daemon=True).start()
        for _ in tasks:
            index, line, code = answers.get()
            if not line:
                raise InputError(_death(stage, index, code))
            if error := understood(line):
                raise error
            yield

    def close(self) -> None:
        """At once; a task that is cut off leaves no output, and is done again."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what was still to be written to a dead process
                    if pipe:
                        pipe.close()

    def _started(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-P", "-m", "talweg.corpus.engines.worker", self.chain, str(self.work)]
        environment = {**os.environ, "PYTHONPATH": python_path()}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="ascii", env=environment)


def _serve(
    process: "subprocess.Popen[str]",
    stage: str,
    todo: "queue.SimpleQueue[int]",
    answers: "queue.SimpleQueue[Answer]",
) -> None:
    """One thread a process: hands it a task, waits for the answer, until there are no more tasks."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(queue.Empty):
        while True:
            index, line = todo.get_nowait(), ""
            with contextlib.suppress(OSError, ValueError):  # the pipe of a dead process, or one closed by `close`
                process.stdin.write(f"{stage} {index}\n")
                process.stdin.flush()
                line = process.stdout.readline()
            answers.put((index, line, 0 if line else process.wait()))
            if not line:
                return


def _death(stage: str, index: int, code: int) -> str:
    """What a process that died says to the person. code: as Popen gives it, negative for a signal."""
    if code == -signal.SIGKILL:
        why, what = "was killed, most often by the system for want of memory", "fewer --workers need less"
    else:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        why, what = f"crashed ({how})", "with --workers 1 it shows where"
    return f"{stage}: the process of task {index} {why}; {what}; the same command again does only what is missing"
