"""Whether the same batches came again: the scatter of a loss curve is that of its batches, so it comes again with them.

With r(s) the residual of the loss about its trend, in local standard deviations, and S a shift in steps,

    z(S) = sum r(s) r(s - S) / sqrt(n),     over the n pairs with s from the seam on, s - S before it

is normal with sd 1 where the batches are others, whatever the shift. Batches that are read again are as hard as they
were the first time: the correlation is then 0.4 to 0.9 (notes/causes_resume.md). All shifts at once by two
convolutions; the chance of the largest z is multiplied by the number of shifts.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve.normal import cumulative, quantile_of_tail
from talweg.curve.points import Array, finite
from talweg.curve.smooth import running_median, smooth

FEWEST = 16  # pairs. Our choice
CLIP = 4.0  # sd: one wild batch is no proof
MAD_TO_SD = 1.482602218505602
AROUND = 100  # points about each from which its scatter is taken
ON_GRID = 0.9  # of the points that must lie on the even grid of steps
LONGEST = 1 << 20  # places of that grid


@dataclass(frozen=True)
class Replay:
    """The shift at which the scatter of the curve returns most surely."""

    shift: float  # steps
    correlation: float
    num: int  # pairs
    significance: float  # normal sd, after the correction for the number of shifts


def replay(step: ArrayLike, value: ArrayLike, at: float) -> Replay | None:
    """What is read from step `at` on against all that was read before it. None where too little was logged evenly."""
    placed = _placed(step, value)
    if placed is None:
        return None
    first, spacing, score, known = placed
    cut = math.ceil((at - first) / spacing - 1e-9)
    if cut < FEWEST or score.size - cut < FEWEST:
        return None
    before, after = np.arange(score.size) < cut, np.arange(score.size) >= cut
    products = _at_shifts(np.where(after, score, 0.0), np.where(before, score, 0.0))
    pairs = np.rint(_at_shifts((after & known).astype(float), (before & known).astype(float)))
    return _best(products, pairs, spacing)


def _placed(step: ArrayLike, value: ArrayLike) -> tuple[float, float, Array, Array] | None:
    """First step, spacing, (K,) residual in sd by place on an even grid of steps, (K,) whether it is known."""
    x, y = finite(step, value)
    if x.size < 2 * FEWEST:
        return None
    spacing = float(np.median(np.diff(x)))
    if spacing <= 0:
        return None
    place = np.rint((x - x[0]) / spacing)
    even = np.abs((x - x[0]) / spacing - place) < 0.01
    if even.mean() < ON_GRID or place[-1] >= LONGEST:
        return None
    x, y, index = x[even], y[even], place[even].astype(np.intp)
    score = np.zeros(int(index[-1]) + 1)
    known = np.zeros(score.size, dtype=bool)
    score[index], known[index] = _scores(x, y), True
    return float(x[0]), spacing, score, known


def _scores(x: Array, y: Array) -> Array:
    """Residuals about the local trend in local sd, clipped. (T,)"""
    residual = y - smooth(x, y)
    size = running_median(np.abs(residual))
    width = min(AROUND, x.size)
    level = np.convolve(np.pad(size, width // 2, mode="edge"), np.ones(width) / width, mode="same")
    level = level[width // 2 : width // 2 + x.size]
    return np.clip(residual / np.maximum(MAD_TO_SD * level, 1e-12), -CLIP, CLIP)


def _at_shifts(late: Array, early: Array) -> Array:
    """sum over s of late(s) early(s - S), by shift S in places. (K,)"""
    size = 1 << (2 * late.size - 1).bit_length()
    product = np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size))
    return np.asarray(np.fft.irfft(product, size)[: late.size])


def _best(products: Array, pairs: Array, spacing: float) -> Replay | None:
    enough = np.flatnonzero(pairs >= FEWEST)
    enough = enough[enough > 0]
    if enough.size == 0:
        return None
    z = products[enough] / np.sqrt(pairs[enough])
    best = int(np.argmax(z))
    shift = int(enough[best])
    chance = min(cumulative(-float(z[best])) * enough.size, 0.5)
    correlation = float(products[shift] / pairs[shift])
    return Replay(shift * spacing, correlation, int(pairs[shift]), quantile_of_tail(max(chance, 1e-300)))
