"""Weights & Biases. Without a network or an account: WANDB_MODE=offline, and `wandb sync` later."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talweg.train.sinks import remembered


class _Run:
    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({**figures, "step": step})  # its own count must rise, ours goes back on a resume

    def close(self) -> None:
        self._run.finish()


def open_sink(folder: Path, name: str, project: str, facts: Mapping[str, Any], first_step: int) -> _Run:
    import uuid

    import wandb

    identity = remembered(folder, "wandb", lambda: uuid.uuid4().hex[:8])
    run = wandb.init(
        project=project,
        name=name,
        id=identity,
        resume="allow",
        dir=str(folder),
        config=dict(facts),
        settings=wandb.Settings(silent=True, console="off"),
    )
    run.define_metric("*", step_metric="step")
    return _Run(run)
