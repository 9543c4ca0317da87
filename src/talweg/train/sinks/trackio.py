"""trackio: a local database that `trackio show` draws; no account, no network."""

from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from talweg.train.sinks import remembered


class _Run:
    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        with redirect_stdout(StringIO()):  # what it has to say of itself would stand in the diagnosis
            self._run.finish()


def open_sink(folder: Path, name: str, project: str, facts: Mapping[str, Any], first_step: int) -> _Run:
    import uuid

    import trackio

    unique = remembered(folder, "trackio", lambda: f"{name}-{uuid.uuid4().hex[:6]}")
    config = {key: value for key, value in facts.items() if not isinstance(value, list)}
    with redirect_stdout(StringIO()):
        return _Run(trackio.init(project=project, name=unique, config=config, resume="allow", embed=False))
