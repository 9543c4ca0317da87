"""The tasks as Slurm job arrays, one a stage, each waiting for the one before: by datatrove's Slurm executor.

datatrove writes paths into the batch script as they are, so the script is written here. Only `work` is asked what is
done; the queue is asked whether there is anybody left who might do more.
"""

import contextlib
import getpass
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from talweg.corpus.engines import STAGES, Chain, Progress, load, python_path, require_all
from talweg.corpus.engines.datatrove import Step, forget, logs, raise_refusal, ranks
from talweg.errors import InputError
from talweg.files import write_text

OURS = ("array", "dependency", "error", "export", "job-name", "output")  # sbatch options that the engine needs itself
LOOK = 5.0  # seconds between two looks at the folder and the queue
SETTLE = 60.0  # seconds that a shared file system may take to show what a machine has written; NFS: acdirmax
PATIENCE = 20  # looks in a row at which the queue may fail to answer


def run(work: Path, *, workers: int | None, progress: Progress, sbatch: str = "", chain: str = STAGES) -> None:
    """Submit what is missing and wait for it, at most `workers` ranks of a stage at once (default: no limit).

    sbatch: options for every job as on the command line, "--partition=cpu --time=4:00:00 --mem-per-cpu=4G". What they
    leave out, the cluster decides. When the waiting is stopped the jobs go on, and the next call waits for them.
    """
    stages, work, options = load(chain), work.resolve(), parsed(sbatch)
    if re.search(r"[\n\\]", str(work)):
        raise InputError(
            f"Slurm cannot be told of a folder with a line break or a backslash in its name: {str(work)!r}"
        )
    if not any(stages.missing(work, stage) for stage in stages.STAGES):
        return
    if not _queued(jobs := _recorded(work)):
        jobs = _submitted(stages, chain, work, options, workers)
    for stage in stages.STAGES:
        _wait(stages, work, stage, jobs, progress)
        raise_refusal(work, stage)
        require_all(stages, work, stage, f"see {logs(work, stage) / 'slurm_logs'}")


def parsed(sbatch: str) -> dict[str, str]:
    """Options of sbatch as datatrove takes them: {"time": "4:00:00", "exclusive": ""}."""
    try:
        words = shlex.split(sbatch)
    except ValueError as error:
        raise InputError(f"sbatch options {sbatch!r} cannot be read ({error}); close the quotes") from None
    options = {}
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        if not re.fullmatch(r"--[a-z][a-z0-9-]*(=.*)?", word):
            raise InputError(f"{word!r} is no option for sbatch; write each as --name=value, as in --partition=cpu")
        if name in OURS:
            raise InputError(
                f"--{name} is what this engine sets for each stage; leave it out of the options for sbatch"
            )
        options[name] = value
    return options


def _submitted(
    stages: Chain, chain: str, work: Path, options: Mapping[str, str], workers: int | None
) -> dict[str, str]:
    """Submit the stages that lack something, each depending on the one before; their job numbers, also written down."""
    jobs: dict[str, str] = {}
    before = None
    for stage in stages.STAGES:
        tasks = stages.missing(work, stage)
        if tasks:
            forget(work, stage, tasks, ranks(stages, work, stage))
            before = executor(Step(chain, work, stage), ranks(stages, work, stage), options, workers, before)
            with _complaints_of_sbatch(stage):
                before.launch_job()
            jobs[stage] = before.job_id
            write_text(_record(work), json.dumps(jobs))
    return jobs


def executor(step: Step, world_size: int, options: Mapping[str, str], workers: int | None, depends: Any) -> Any:
    """datatrove's executor for one stage. depends: that of the stage before."""
    folder = str(logs(step.work, step.stage))
    memory = {} if {"mem", "mem-per-cpu", "mem-per-gpu"} & set(options) else {"mem-per-cpu": "2G"}
    return _executor_class()(
        [step],
        tasks=world_size,
        time=None,
        partition=None,
        qos=None,
        workers=workers or -1,
        job_name=f"talweg-{step.stage}",
        sbatch_args={"mem-per-cpu": None, **memory, **options},
        depends_job_id=depends.job_id if depends else None,
        job_id_retriever=_job_number,
        logging_dir=folder,
        max_array_size=world_size,
        requeue_signals=None,
    )


class _Script:
    """How the batch script reads: every value is quoted, and nothing runs but this Python with datatrove's launcher."""

    logging_dir: Any

    def get_launch_file_contents(self, sbatch_args: dict[str, Any], run_script: str) -> str:
        lines = [_directive(name, value) for name, value in sbatch_args.items() if value is not None]
        lines.append(_directive("kill-on-invalid-dep", "yes"))  # else a stage whose forerunner failed waits for ever
        launcher = [sys.executable, "-P", "-m", "datatrove.tools.launch_pickled_pipeline"]
        path = f"export PYTHONPATH={shlex.quote(python_path())}"
        command = shlex.join([*launcher, self.logging_dir.resolve_paths("executor.pik")])
        return "\n".join(["#!/bin/bash", *lines, "set -e", path, f"exec {command}"]) + "\n"

    def launch_merge_stats(self) -> None:
        """A job that datatrove submits after each stage; our steps have no statistics to merge."""


def _directive(name: str, value: object) -> str:
    if value == "":
        return f"#SBATCH --{name}"
    text = str(value)
    if name in ("output", "error"):
        folder, _, file = text.rpartition("/")
        text = folder.replace("%", "%%") + "/" + file
    return f'#SBATCH --{name}="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@cache
def _executor_class() -> Any:
    """Made when first needed, as datatrove is an extra; the jobs rebuild it from its two bases."""
    from datatrove.executor import SlurmPipelineExecutor

    return type("SlurmExecutor", (_Script, SlurmPipelineExecutor), {})


def _job_number(said: str) -> str:
    found = re.search(r"batch job (\d+)", said)
    if found is None:
        raise InputError(f"sbatch gave no job number but {said.strip()!r}; is it Slurm's own?")
    return found[1]


@contextlib.contextmanager
def _complaints_of_sbatch(stage: str) -> Iterator[None]:
    """What sbatch says on stderr becomes one line, and what datatrove logs there is left out."""
    from loguru import logger

    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as said:
            os.dup2(said.fileno(), 2)
            logger.disable("datatrove")
            try:
                yield
            except FileNotFoundError as error:
                if error.filename != "sbatch":
                    raise
                raise InputError(
                    "there is no sbatch on this machine; run this on a login node of the cluster"
                ) from None
            except subprocess.CalledProcessError:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                reason = lines[-1].removeprefix("sbatch: error: ") if lines else "it gave no reason"
                raise InputError(
                    f"sbatch refused the jobs of {stage}: {reason}; change the options for sbatch"
                ) from None
    finally:
        logger.enable("datatrove")
        os.dup2(kept, 2)
        os.close(kept)


def _record(work: Path) -> Path:
    return work / "logs" / "slurm.json"


def _recorded(work: Path) -> dict[str, str]:
    """The job numbers of an earlier call, by stage."""
    try:
        jobs: dict[str, str] = json.loads(_record(work).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return jobs


def _queued(jobs: Mapping[str, str]) -> set[str] | None:
    """Which of the jobs wait or run; None where the queue does not answer."""
    if not jobs:
        return set()
    try:
        command = ["squeue", "--noheader", "--format=%F", f"--user={getpass.getuser()}"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return set(said.split()) & set(jobs.values())


def _wait(stages: Chain, work: Path, stage: str, jobs: Mapping[str, str], progress: Progress) -> None:
    """Until the stage is complete, or its job and those before it are gone from the queue and the disk has settled."""
    total, silent, gone_since = stages.num_tasks(work, stage), 0, None
    mine = {name: jobs[name] for name in stages.STAGES[: stages.STAGES.index(stage) + 1] if name in jobs}
    while lacking := stages.missing(work, stage):
        progress(stage, total - len(lacking), total)
        queued = _queued(mine)
        silent = silent + 1 if queued is None else 0
        if silent > PATIENCE:
            raise InputError("squeue does not answer, so it is not known whether the jobs still run; try again later")
        if queued == set():
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since >= SETTLE or next((logs(work, stage) / "refused").glob("[0-9]*"), None):
                break
        time.sleep(LOOK)
    progress(stage, total - len(lacking), total)
