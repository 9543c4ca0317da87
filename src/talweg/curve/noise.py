"""How far single values scatter about the trend of a curve, and how much a value says about the next."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve.normal import cumulative
from talweg.curve.points import Array, finite
from talweg.curve.smooth import without_outliers

FEWEST = 6
PIECES = 4  # the last half is followed by this many parabolas. Our choice: see tests/curve/test_noise.py
SHORT = 48  # points in the last half under which second differences are used
DRAWN_TO_ZERO = 15.0  # degrees of freedom that the prior r = 0 counts for. Our choice
LONGEST_PIECE = 64  # points; slower waves than this count as trend
MAD_TO_SD = 1.482602218505602  # of a normal distribution
CLIP = 3.5  # robust sd at which residuals are cut before their correlation is taken
LAG1_GRID = np.array([-0.5, -0.25, 0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.87, 0.92, 0.96])


@dataclass(frozen=True)
class Noise:
    """sd of one value in the unit of the curve; lag1: correlation of neighbours; num_effective: independent values."""

    sd: float
    lag1: float
    num_effective: float  # of the whole curve


def noise(step: ArrayLike, value: ArrayLike) -> Noise | None:
    """Scatter about a smooth trend over the last half of the points, robust to outliers. None below 6 points.

    The last half, since the noise of the steep beginning is another one and the question is always about now. It is
    cut into equal pieces, each followed by a parabola. With M the projection off a parabola and W_ij = r^|i-j|, the
    residuals e of a first-order autoregression of correlation r and variance s^2 have

        E[e'e] = s^2 tr(M W),    E[sum e_i e_(i+1)] = s^2 tr(S M W M)        S: the shift by one

    so their ratio, inverted, gives r, and the median of |e| gives s, both without the bias that the fit causes.

    Under 48 points a half, the scatter is read from second differences, which follow any bend (their variance is
    s^2 (6 - 8 r + 2 r^2)), and r is drawn towards 0: so few points cannot tell it.
    """
    _, y = finite(step, value)
    if y.size < FEWEST:
        return None
    late = y[-max(y.size // 2, min(y.size, 8)) :]
    late = late - np.median(late)  # a huge offset would cost the digits of the noise
    length = min(max(late.size // PIECES, min(late.size, 16)), LONGEST_PIECE)
    residual = _residuals(without_outliers(late), length)
    deviation = MAD_TO_SD * float(np.median(np.abs(residual)))
    ratio, share = _expected(length)
    lag1 = _lag1(residual, deviation, ratio)
    if late.size < SHORT:
        freedom = residual.size * (1 - 3 / length)
        lag1 = max(lag1, 0.0) * freedom / (freedom + DRAWN_TO_ZERO)
        second = late[2:] - 2 * late[1:-1] + late[:-2]
        sd = MAD_TO_SD * float(np.median(np.abs(second - np.median(second))))
        sd /= math.sqrt(6 - 8 * lag1 + 2 * lag1**2)
    else:
        sd = deviation / math.sqrt(float(np.interp(lag1, LAG1_GRID, share)))
    positive = max(lag1, 0.0)
    return Noise(sd, lag1, max(1.0, y.size * (1 - positive) / (1 + positive)))


def _residuals(late: Array, length: int) -> Array:
    """(pieces, length) residuals of (T,) finite values about one parabola for each piece; the oldest left over."""
    pieces = late[late.size % length :].reshape(-1, length)
    basis = _basis(length)
    return np.asarray(pieces - (pieces @ basis) @ basis.T)


def _lag1(residual: Array, deviation: float, ratio: Array) -> float:
    cut = np.clip(residual, -CLIP * deviation, CLIP * deviation)
    total = float((cut * cut).sum())
    if total == 0.0:
        return 0.0
    return float(np.interp(float((cut[:, 1:] * cut[:, :-1]).sum()) / total, ratio, LAG1_GRID))


@lru_cache(maxsize=64)
def _basis(length: int) -> Array:
    """(length, 3) orthonormal polynomials of degree 0, 1, 2."""
    place = np.linspace(-1.0, 1.0, length)
    return np.asarray(np.linalg.qr(np.column_stack([np.ones(length), place, place**2]))[0])


@lru_cache(maxsize=64)
def _expected(length: int) -> tuple[Array, Array]:
    """For each r of LAG1_GRID: the ratio that r is read from, and tr(M W)/length. Both (len(LAG1_GRID),)."""
    basis = _basis(length)
    off = np.eye(length) - basis @ basis.T
    place = np.arange(length)
    distance = np.abs(place[:, None] - place[None, :])
    ratio, share = [], []
    for lag1 in LAG1_GRID:
        left = off @ lag1 ** distance.astype(np.float64) @ off
        ratio.append(np.trace(left, offset=1) / np.trace(left))
        share.append(np.trace(left) / length)
    return np.maximum.accumulate(np.array(ratio)), np.array(share)


def probability_of_rise(slope: float, interval: float, sd: float) -> float:
    """That a value lies above the one `interval` steps before it: Phi(slope interval / (sd sqrt 2)).

    slope: unit of the curve per step, negative where it falls (which gives less than a half)
    sd:    of one value about the trend; 0: certain, by the sign of the slope
    """
    expected = slope * interval
    if sd <= 0:
        return 0.5 if expected == 0 else float(expected > 0)
    return cumulative(expected / (sd * math.sqrt(2.0)))
