"""The stages of `talweg prepare`, in their order, and their tasks.

A stage begins when the one before is complete; the tasks of a stage need nothing of each other. A task's output
depends on the plan and on the stages before alone, and appears whole under its name, so a task may be done on any
machine that sees the work folder, again after a crash, or twice at once.
"""

from collections.abc import Callable
from pathlib import Path

from talweg.corpus import bands, decide, encode, learn, plan, publish, shared_passages, survey
from talweg.corpus.minhash import BANDS
from talweg.corpus.plan import Plan
from talweg.corpus.work import Progress, output

Run = Callable[[Path, Plan, int, Progress], None]

RUNS: dict[str, Run] = {
    survey.STAGE: survey.run,
    bands.STAGE: bands.run,
    decide.STAGE: decide.run,
    learn.STAGE: learn.run,
    encode.STAGE: encode.run,
    shared_passages.SOUGHT_STAGE: shared_passages.seek,
    shared_passages.STAGE: shared_passages.run,
    publish.STAGE: publish.run,
}
STAGES: tuple[str, ...] = tuple(RUNS)
BY_TASK = (survey.STAGE, encode.STAGE, shared_passages.STAGE)  # one for each task of the plan
WORDS = {  # what a person reads while it works
    survey.STAGE: "reading",
    bands.STAGE: "finding near-duplicates",
    decide.STAGE: "splitting",
    learn.STAGE: "training the tokenizer",
    encode.STAGE: "encoding",
    shared_passages.SOUGHT_STAGE: "listing validation's passages",
    shared_passages.STAGE: "comparing passages",
    publish.STAGE: "writing the manifest",
}


def num_tasks(work: Path, stage: str) -> int:
    """How many tasks a stage has; known as soon as the plan is written."""
    planned = plan.read(work)
    if stage == bands.STAGE:
        return BANDS if planned.options.near else 0
    if stage == learn.STAGE:
        return int(planned.options.tokenizer == "bpe")
    return len(planned.tasks) if stage in BY_TASK else 1


def missing(work: Path, stage: str) -> list[int]:
    """The tasks that are still to be done."""
    return [index for index in range(num_tasks(work, stage)) if not output(work, stage, index).exists()]


def run_task(work: Path, stage: str, index: int, progress: Progress | None = None) -> None:
    """Do one task, unless its output is there already. progress is told bytes of text done, and in all."""
    if not output(work, stage, index).exists():
        RUNS[stage](work, plan.read(work), index, progress or (lambda done, total: None))
