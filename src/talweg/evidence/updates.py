"""The run as causes may read it where the steps of its log are no optimizer updates."""

from dataclasses import replace

from talweg.run import PER_UPDATE, Run


def by_step(run: Run) -> Run:
    """The run without the facts that count updates, where its columns count something else: epochs, micro-batches.

    A token count, a warm-up or a plan would be wrong by the number of updates in such a step, which nobody stated.
    """
    if run.facts.step_unit is None:
        return run
    return replace(run, facts=replace(run.facts, **dict.fromkeys(PER_UPDATE)))  # type: ignore[arg-type]


def length(run: Run, steps: float) -> dict[str, object]:
    """The settings of a run that ends at this step of the log; none where its steps are neither updates nor epochs."""
    key = {None: "run.steps", "epoch": "run.epochs"}.get(run.facts.step_unit)
    return {} if key is None else {key: round(steps)}
