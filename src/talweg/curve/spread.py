"""The spread of the losses of several ranks: is it that of different batches?"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve.normal import cumulative


@lru_cache(maxsize=64)
def expected_range(num: int) -> float:
    """Highest minus lowest of `num` independent standard normal values, on average (d2 of quality control)."""
    x = np.linspace(-8.0, 8.0, 4001)
    phi = np.array([cumulative(float(z)) for z in x])
    return float((1 - phi**num - (1 - phi) ** num).sum() * (x[1] - x[0]))


def relative_spread(spread: ArrayLike, num: int, mean_sd: float) -> float:
    """Median spread over what `num` ranks with batches of their own would have; 0.85 to 1 where they do, 0 where not.

    spread:  (T,) highest minus lowest loss of the ranks
    mean_sd: scatter of the mean of their losses, so that one rank's is sqrt(num) times as large. Where the loss logged
             is that of one rank alone, the result is sqrt(num) too small.
    """
    return float(np.median(np.asarray(spread, dtype=np.float64))) / (expected_range(num) * math.sqrt(num) * mean_sd)
