"""The lowest level of a curve, and how far and how surely it has risen since."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve.noise import MAD_TO_SD, Noise, noise
from talweg.curve.normal import student_quantile_of_tail
from talweg.curve.points import Array, finite

FEWEST = 6
BLOCKS = 20  # the curve is compared as this many means of neighbours: fewer places to look, steadier levels
SIGNIFICANT = 3.0  # rise_standard_errors: the threshold whose false alarms are measured
FALSE_ALARM = 0.005  # aimed at, over the whole search; what is measured stands in `minimum`
FREEDOM_PER_POINT = 0.3  # degrees of freedom of a robust sd for each independent point. Our choice, calibrated


@dataclass(frozen=True)
class Minimum:
    """value: mean of the lowest block, at `step`; rise_since: last block minus lowest, 0 when the last is lowest."""

    step: float
    value: float
    rise_since: float
    rise_standard_error: float  # widened, so that SIGNIFICANT of them hold in spite of the search; see `minimum`

    @property
    def significant(self) -> bool:
        """Whether the curve has risen since its minimum by more than noise and the search for a minimum explain."""
        return self.rise_since > SIGNIFICANT * self.rise_standard_error


def minimum(step: ArrayLike, value: ArrayLike, sd: float = 0.0) -> Minimum | None:
    """Lowest and last of up to twenty blocks of neighbours. None below six points.

    sd: of one value about the trend; 0 or less: measured (`talweg.curve.noise.noise`)

    The lowest of many noisy levels lies below its true level by chance, and sd itself is an estimate. So the error is
    widened until three of it are exceeded, over the whole search, no more often than FALSE_ALARM: with se the error of
    the difference of two blocks (autocorrelation included), M blocks and nu degrees of freedom of sd,

        rise_standard_error = se t_nu(FALSE_ALARM / (M - 1)) / SIGNIFICANT         t_nu: upper quantile of Student's t

    Measured false alarms at SIGNIFICANT on curves that only fall, or are flat, with noise of lag-1 correlation 0 to
    0.9 and 8 to 2,000 points, sd measured: 0.21 % of 29,250; worst 2.2 %, where 200 points of correlation 0.9 leave ten
    independent ones, else at most 0.8 %. tests/curve/test_minimum.py repeats a part.
    """
    x, y = finite(step, value)
    measured = noise(x, y)
    if x.size < FEWEST or measured is None:
        return None
    size = max(1, min(-(-x.size // BLOCKS), x.size // 3))
    first = x.size % size
    steps, means = x[first:].reshape(-1, size).mean(axis=1), y[first:].reshape(-1, size).mean(axis=1)
    lowest = int(np.argmin(means))
    error = _error(sd if sd > 0 else measured.sd, measured, size, means)
    last = lowest == steps.size - 1
    rise = 0.0 if last else float(means[-1] - means[lowest])
    return Minimum(float(x[-1] if last else steps[lowest]), float(means[lowest]), rise, error)


def _error(sd: float, measured: Noise, size: int, means: Array) -> float:
    """The larger of what the noise of single values and what the scatter of the blocks themselves imply."""
    lag = np.arange(1, size, dtype=np.float64)
    lag1 = max(measured.lag1, 0.0)
    inflation = 1 + 2 * float(((1 - lag / size) * lag1**lag).sum())
    second = means[2:] - 2 * means[1:-1] + means[:-2]
    scatter = MAD_TO_SD * float(np.median(np.abs(second - np.median(second)))) / math.sqrt(6)
    freedom = max(3.0, FREEDOM_PER_POINT * measured.num_effective)
    widening = student_quantile_of_tail(FALSE_ALARM / (means.size - 1), freedom) / SIGNIFICANT
    return max(sd * math.sqrt(inflation / size), scatter if size > 1 else 0.0) * math.sqrt(2.0) * widening
