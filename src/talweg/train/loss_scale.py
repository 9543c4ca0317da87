"""The factor by which an fp16 run multiplies its loss, so that small gradients are not rounded to zero.

An update whose gradient overflows is not lost: the scale is halved, and the same batch is tried again. The rule is that
of Micikevicius et al. 2018 (arXiv 1710.03740); its constants are those that PyTorch uses.
"""

from dataclasses import dataclass

FIRST = 2.0**16
BACK_OFF, GROWTH = 0.5, 2.0
PATIENCE = 2000  # updates without an overflow until the scale grows
SMALLEST = 2.0**-10  # our choice: a loss that overflows so far below 1 is not saved by any scale


@dataclass
class LossScale:
    """The scale now, and what moves it."""

    value: float = FIRST
    since: int = 0  # updates since the last overflow or growth
    skipped: int = 0  # overflows so far

    def overflowed(self) -> bool:
        """Halve the scale; False when that has no hope any more."""
        self.skipped += 1
        self.since = 0
        self.value *= BACK_OFF
        return self.value >= SMALLEST

    def succeeded(self) -> None:
        self.since += 1
        if self.since == PATIENCE:
            self.value, self.since = self.value * GROWTH, 0
