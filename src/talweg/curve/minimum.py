"""The lowest level of a curve, and how far it has risen since."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.curve.trend import correlation_factor, finite

Array = NDArray[np.float64]

BLOCKS = 20  # the curve is compared as this many means of neighbours: fewer places to look, steadier levels


@dataclass(frozen=True)
class Minimum:
    """value at the lowest stretch; rise_since: last stretch minus lowest, with the error of that difference."""

    step: float
    value: float
    rise_since: float
    rise_standard_error: float


def minimum(step: Array, value: Array, sd: float) -> Minimum | None:
    """Lowest and last of BLOCKS stretches. None below 6 points.

    sd: of one value about the trend. The lowest of many noisy stretches lies below its true level by chance, by up to
    about two of their errors; the error of the rise therefore counts the lowest stretch twice.
    """
    s, v = finite(step, value)
    if s.size < 6:
        return None
    size = max(1, min(-(-s.size // BLOCKS), s.size // 3))
    whole = s.size // size * size
    steps, means = s[-whole:].reshape(-1, size).mean(axis=1), v[-whole:].reshape(-1, size).mean(axis=1)
    late = v[-max(8, s.size // 2) :]
    factor = correlation_factor(late - np.linspace(late[0], late[-1], late.size), 2) if size > 1 else 1.0
    error = sd * float(np.sqrt(factor / size))
    lowest = int(np.argmin(means))
    return Minimum(float(steps[lowest]), float(means[lowest]), float(means[-1] - means[lowest]), error * 5**0.5)
