"""Whether the same batches came again: the scatter of a loss curve is that of its batches, so it comes again with them.

With r(s) the residual of the loss about its trend, in local standard deviations, and S a shift in steps,

    z(S) = sum r(s) r(s - S) / sqrt(n)          over n pairs

is normal with sd 1 where the batches are others, whatever the shift; where neighbours are correlated (a running mean)
it is wider, so it is divided by its own robust scatter over the shifts. Batches that are read again are as hard as they
were the first time: the correlation is then 0.4 to 0.9 (notes/causes_resume.md). All shifts at once by two
convolutions; the chance of the largest z is multiplied by the number of shifts.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.curve.normal import cumulative, quantile_of_tail
from talweg.curve.points import Array, finite
from talweg.curve.smooth import running_median, smooth

FEWEST = 16  # pairs. Our choice
CLIP = 2.5  # sd: one spike is no proof
SLOW = 10  # points to either side: slower waves than this are of the curve, not of its batches
MAD_TO_SD = 1.482602218505602
AROUND = 100  # points about each from which its scatter is taken
ON_GRID = 0.9  # of the points that must lie on the even grid of steps
LONGEST = 1 << 20  # places of that grid


@dataclass(frozen=True)
class Replay:
    """The shift at which the scatter of the curve returns most surely."""

    shift: float  # steps
    at: float  # the step from which on it returns: as given, else where it begins
    correlation: float  # of the pairs from there on
    num: int  # pairs
    significance: float  # normal sd, after the correction for the number of shifts
    earlier: float  # z of the same shift among the pairs before `at`: large where the text is always read in one order


@dataclass(frozen=True, eq=False)
class _Scores:
    """Residuals in sd by place on an even grid of steps; 0 where nothing is known."""

    first: float
    spacing: float
    score: Array  # (K,)
    known: NDArray[np.bool_]  # (K,)


def replay(step: ArrayLike, value: ArrayLike, at: float | None = None) -> Replay | None:
    """What is read from step `at` on against all that was read before; with None, all against all before it.

    None where too little was logged, or not at even steps.
    """
    found = _placed(step, value)
    if found is None:
        return None
    size = found.score.size
    cut = 0 if at is None else math.ceil((at - found.first) / found.spacing - 1e-9)
    late = np.arange(size) >= cut
    early = ~late if at is not None else late
    if int(late.sum()) < FEWEST or int(early.sum()) < FEWEST:
        return None
    products = _at_shifts(np.where(late, found.score, 0.0), np.where(early, found.score, 0.0))
    pairs = np.rint(_at_shifts((late & found.known).astype(float), (early & found.known).astype(float)))
    enough = np.flatnonzero(pairs >= FEWEST)
    enough = enough[enough >= FEWEST]
    if enough.size == 0:
        return None
    z = products[enough] / np.sqrt(pairs[enough])
    z = z / max(1.0, MAD_TO_SD * float(np.median(np.abs(z))))
    best = int(np.argmax(z))
    significance = quantile_of_tail(min(max(cumulative(-float(z[best])) * enough.size, 1e-300), 0.5))
    return _told(found, int(enough[best]), cut if at is not None else None, at, significance)


def _told(found: _Scores, shift: int, cut: int | None, at: float | None, significance: float) -> Replay:
    product = found.score[shift:] * found.score[:-shift]  # (K - shift,) at place shift + i
    both = found.known[shift:] & found.known[:-shift]
    if cut is None:  # the stretch of at most `shift` places that holds most of it
        gathered = np.concatenate([[0.0], np.cumsum(product)])
        ends = np.minimum(np.arange(product.size) + shift, product.size)
        cut = shift + int(np.argmax(gathered[ends] - gathered[:-1] - 0.2 * (ends - np.arange(product.size))))
    first, last = max(cut - shift, 0), min(cut, product.size)
    here, before = both[first:last], both[:first]
    num = int(here.sum())
    sizes = found.score[shift:][first:last] ** 2, found.score[:-shift][first:last] ** 2
    scale = math.sqrt(max(float(sizes[0][here].sum() * sizes[1][here].sum()), 1e-300))
    earlier = float(product[:first][before].sum()) / math.sqrt(max(int(before.sum()), 1))
    step = found.first + cut * found.spacing if at is None else at
    correlation = float(product[first:last][here].sum()) / scale
    return Replay(shift * found.spacing, step, correlation, num, significance, earlier)


def _placed(step: ArrayLike, value: ArrayLike) -> _Scores | None:
    x, y = finite(step, value)
    if x.size < 2 * FEWEST:
        return None
    spacing = float(np.median(np.diff(x)))
    if spacing <= 0:
        return None
    place = np.rint((x - x[0]) / spacing)
    even = np.abs((x - x[0]) / spacing - place) < 0.01
    if float(even.mean()) < ON_GRID or place[-1] >= LONGEST:
        return None
    x, y, index = x[even], y[even], place[even].astype(np.intp)
    score = np.zeros(int(index[-1]) + 1)
    known = np.zeros(score.size, dtype=bool)
    score[index], known[index] = _scores(x, y), True
    return _Scores(float(x[0]), spacing, score, known)


def _scores(x: Array, y: Array) -> Array:
    """Residuals about the local trend in local sd, clipped. (T,)"""
    residual = y - smooth(x, y)
    residual = residual - _mean_around(np.clip(residual, *np.quantile(residual, (0.02, 0.98))), SLOW)
    level = _mean_around(running_median(np.abs(residual)), AROUND // 2)
    return np.asarray(np.clip(residual / np.maximum(MAD_TO_SD * level, 1e-12), -CLIP, CLIP))


def _mean_around(y: Array, half: int) -> Array:
    """(T,) mean of up to `half` points to either side."""
    gathered = np.concatenate([[0.0], np.cumsum(y)])
    place = np.arange(y.size)
    low, high = np.maximum(place - half, 0), np.minimum(place + half + 1, y.size)
    return np.asarray((gathered[high] - gathered[low]) / (high - low))


def _at_shifts(late: Array, early: Array) -> Array:
    """sum over s of late(s) early(s - S), by shift S in places. (K,)"""
    size = 1 << (2 * late.size - 1).bit_length()
    product = np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size))
    return np.asarray(np.fft.irfft(product, size)[: late.size])
