"""How far single values scatter about the trend of a curve."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.curve.smooth import smooth
from talweg.curve.trend import finite

Array = NDArray[np.float64]

MAD_TO_SD = 1.4826  # of a normal distribution
LATE = 0.5  # the last half of the points: the noise of the steep beginning is another one


@dataclass(frozen=True)
class Noise:
    """sd of one value in the unit of the curve; lag1: correlation of neighbours; num_effective: independent values."""

    sd: float
    lag1: float
    num_effective: float


def noise(step: Array, value: Array) -> Noise | None:
    """Scatter about the smoothed curve over its last half, robust to outliers. None below 6 points.

    Few points: from second differences, whose variance is 6 sd^2 where neighbours are independent. Many: the larger of
    that and the scatter of the residuals about the smooth, since positively correlated noise hides from differences.
    """
    s, v = finite(step, value)
    if s.size < 6:
        return None
    late = slice(int(LATE * s.size) if s.size >= 16 else 0, None)
    differences = v[2:] - 2 * v[1:-1] + v[:-2]
    differences = differences[-max(4, v[late].size - 2) :]
    by_differences = _robust_sd(differences) / math.sqrt(6)
    if s.size < 24:
        return Noise(by_differences, 0.0, float(s.size))
    residual = (v - smooth(s, v))[late]
    sd = max(by_differences, _robust_sd(residual))
    lag1 = _lag1(residual)
    independent = residual.size * (1 - max(lag1, 0)) / (1 + max(lag1, 0))
    return Noise(sd, lag1, float(max(independent, 1.0)))


def probability_of_rise(slope: float, interval: float, sd: float) -> float:
    """That a value lies above the one `interval` steps before: Phi(slope interval / (sd sqrt 2)).

    slope: unit per step, negative where the curve falls; sd: of one value
    """
    return 0.5 * math.erfc(-slope * interval / (2 * sd))


def _robust_sd(x: Array) -> float:
    return MAD_TO_SD * float(np.median(np.abs(x - np.median(x))))


def _lag1(x: Array) -> float:
    x = x - x.mean()
    total = float(x @ x)
    return float(x[1:] @ x[:-1]) / total if total > 0 else 0.0
