"""Which checkpoints stay: the newest, one every so many steps, and the one of the lowest validation loss.

    checkpoints/best             the name of that one: the lowest among those that were evaluated at their very step

Nothing is removed before a newer one has been read back and found right.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from talweg.files import write_text


@dataclass(frozen=True)
class Retention:
    """What stays beside the one just written."""

    last: int = 2
    every: int = 0  # steps; 0: none
    best: bool = False


def apply(found: Sequence[Path], newest: Path, retention: Retention) -> None:
    """Remove what need not stay. found: the complete checkpoints, the newest first; newest: the one just verified.

    One of a later step than `newest` belongs to a course that the run has left.
    """
    steps = {path: int(path.name.removeprefix("step_")) for path in found}
    here = [path for path in found if steps[path] <= steps[newest]]
    stay = {newest, *here[: retention.last]}
    if retention.every:
        stay |= {path for path in here if steps[path] % retention.every == 0}
    pointer, best = newest.parent / "best", lowest(here) if retention.best else None
    if best is not None:
        stay.add(best)
        if not pointer.is_file() or pointer.read_text(encoding="utf-8") != f"{best.name}\n":
            write_text(pointer, f"{best.name}\n")
    else:
        pointer.unlink(missing_ok=True)
    for path in found:
        if path not in stay:
            shutil.rmtree(path, ignore_errors=True)


def lowest(found: Sequence[Path]) -> Path | None:
    """The one of the lowest validation loss, of equal ones the earliest; None where none was evaluated."""
    losses = {path: _val_loss(path) for path in reversed(found)}
    known = [path for path, loss in losses.items() if math.isfinite(loss)]
    return min(known, key=lambda path: losses[path]) if known else None


def _val_loss(path: Path) -> float:
    try:
        value = json.loads((path / "state.json").read_text(encoding="utf-8"))["val_loss"]
    except (OSError, ValueError, KeyError, TypeError):
        return math.nan
    return float(value) if isinstance(value, int | float) else math.nan
