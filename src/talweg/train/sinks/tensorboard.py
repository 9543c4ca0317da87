"""TensorBoard: event files in the run folder's tensorboard/; `tensorboard --logdir runs` shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class _Events:
    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what a killed run wrote after its checkpoint is not shown
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step or None)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def open_sink(folder: Path, name: str, project: str, facts: Mapping[str, Any], first_step: int) -> _Events:
    return _Events(folder, first_step)
