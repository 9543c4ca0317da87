"""The tasks on a Ray cluster: the one RAY_ADDRESS names, else the one that runs on this machine, else a new one here.

Ray's own tasks rather than datatrove's Ray executor, which was tried: when a task's process is killed or its node dies
at the wrong moment that executor waits for ever, and a task that fails it reports nowhere (notes/engines.md).
"""

import os
import socket
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from talweg.corpus.engines import STAGES, Progress, load, python_path, require_all
from talweg.errors import InputError

RETRIES = 3  # of a task whose process or node died; our choice
AHEAD = 2  # tasks handed out for each core: one at work, one waiting
LOOK = 5.0  # seconds between two looks at how many cores there are: nodes come and go


def run(work: Path, *, workers: int | None, progress: Progress, chain: str = STAGES) -> None:
    """Do what is missing on all nodes, at most `workers` tasks at once (default: as many as the cluster has cores).

    Every node sees `work` under the same path and has Talweg installed. A node may die or join at any time.
    """
    import ray

    stages, work = load(chain), work.resolve()
    started = not ray.is_initialized()
    if started:
        _connect(ray)
    try:
        for stage in stages.STAGES:
            tasks, total = stages.missing(work, stage), stages.num_tasks(work, stage)
            done = total - len(tasks)
            progress(stage, done, total)
            for _ in _spread(ray, work, stage, tasks, workers, chain):
                done += 1
                progress(stage, done, total)
            require_all(stages, work, stage, f"the nodes do not all see {work} as one folder, or its output is gone")
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any) -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():  # Ray itself takes five minutes to find out that nobody answers
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(runtime_env={"env_vars": {"PYTHONPATH": python_path()}}, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        where = address or "this machine"
        raise InputError(f"no Ray cluster answers at {where} ({reason}); start it, or set RAY_ADDRESS") from None


def _spread(ray: Any, work: Path, stage: str, tasks: Sequence[int], workers: int | None, chain: str) -> Iterator[None]:
    """Yields as each task is done, in any order. What is still at work when one fails is cancelled."""
    remote = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_task)
    todo, running = iter(tasks), dict[Any, int]()
    try:
        while True:
            most = workers or AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
            for index in islice(todo, max(most - len(running), 0)):
                running[remote.remote(chain, work, stage, index)] = index
            if not running:
                return
            for reference in ray.wait(list(running), timeout=LOOK)[0]:
                _answer(ray, reference, stage, running.pop(reference))
                yield
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _task(chain: str, work: Path, stage: str, index: int) -> None:
    load(chain).run_task(work, stage, index)


def _answer(ray: Any, reference: Any, stage: str, index: int) -> None:
    """Raise what a task raised, as itself, or say in a line how its process ended."""
    again = "the same command again does only what is missing"
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise
    except ray.exceptions.OutOfMemoryError:
        raise InputError(
            f"{stage}: the node of task {index} has too little memory; give fewer --workers; {again}"
        ) from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.RaySystemError):
        tries = RETRIES + 1
        raise InputError(f"{stage}: the process of task {index} died {tries} times, on any node; {again}") from None
    except ray.exceptions.RuntimeEnvSetupError as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{stage}: a node could not start task {index} ({reason}); {again}") from None
