"""Ending a run early: on a signal after the step at hand, and on numbers that are not finite."""

import math
import signal
import threading
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

import torch

from talweg.train.ranks import Ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """While open, the first Ctrl-C or SIGTERM only sets `caught`; a second one acts as it always did.

    Outside the main thread Python handles no signals, so nothing is caught there.
    """

    def __init__(self) -> None:
        self.caught: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._catch) for number in SIGNALS}
        return self

    def seen_by_any(self, ranks: Ranks) -> str | None:
        """What was caught here or, where several ranks train together, by another: all stop at the same step."""
        if ranks.world == 1:
            return self.caught
        seen = ranks.added(torch.tensor([float(self.caught is not None)], device=ranks.device))
        return self.caught or ("a signal to another rank" if float(seen) else None)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.caught = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()


def not_finite(record: Mapping[str, Any]) -> str:
    """Which number of this update was not finite; "" when all are."""
    for name, words in (("loss", "the loss"), ("grad_norm", "the norm of the gradient")):
        value = record.get(name, 0.0)
        if not math.isfinite(value):
            return f"{words} is {value} at step {record['step']}"
    return ""
