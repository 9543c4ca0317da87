"""A wave of one period in a curve, told from noise whose neighbours are alike.

The curve, in bins of equal length and rid of its fall (a polynomial in log(step)), has the periodogram

    I_k = |sum_j r_j exp(-2 pi i j k / n)|^2 / n,    k cycles in the stretch

Noise of any autocorrelation has a smooth spectrum S, and I_k / S_k is then exponentially distributed. S is the median
of I over neighbouring frequencies, over ln 2, the frequency itself and those beside it left out, so that no model of
the noise is needed; the chance of the largest of m ratios R is m (1 + R / nu)^-nu, since a median of few is no S.
"""

import math
from dataclasses import dataclass

import numpy as np

from talweg.curve.normal import cumulative, quantile_of_tail
from talweg.curve.points import Array, finite
from talweg.curve.smooth import without_outliers

FEWEST = 64  # points
BINS = 2048
EMPTY = 0.1  # share of the bins that may hold no point
SKIPPED = 0.08  # of the stretch at its beginning: the first fall
DEGREE = 6  # of the polynomial in log(step): it takes waves of up to about three cycles with the fall
CYCLES = 5  # fewer in the stretch are not told from the fall
AROUND = 12  # frequencies to either side from which S is taken
BESIDE = 1  # of them that are left out: a wave between two frequencies shows in both
FREEDOM = 10.0  # nu. Our choice, by the false alarms in notes/events.md


@dataclass(frozen=True)
class Wave:
    """amplitude: half of crest to trough, in the unit of the curve; significance in normal sd, search allowed for."""

    period: float  # steps
    first_step: float
    last_step: float
    amplitude: float
    significance: float


def wave(step: Array, value: Array, least: float = 3.0) -> Wave | None:
    """The most significant one; None where none reaches `least`, or where the log is too short or uneven."""
    x, y = finite(step, value)
    keep = (x >= x[0] + SKIPPED * (x[-1] - x[0])) & (x > 0) if x.size else np.zeros(0, dtype=bool)
    x, y = x[keep], y[keep]
    if x.size < FEWEST:
        return None
    even = _even(x, without_outliers(y))
    if even is None:
        return None
    x, y = even
    residual = _without_fall(x, y)
    n = residual.size
    power = np.abs(np.fft.rfft(residual)) ** 2 / n
    ratio = _over_background(power[1 : n // 2])
    low = CYCLES - 1
    if ratio.size <= low + 2 * AROUND:
        return None
    k = low + int(np.argmax(ratio[low:]))
    chance = (ratio.size - low) * (1 + float(ratio[k]) / FREEDOM) ** -FREEDOM
    if chance > cumulative(-least):
        return None
    cycles, amplitude = _refined(residual, k + 1)
    period = float(n * (x[1] - x[0]) / cycles)
    return Wave(period, float(x[0]), float(x[-1]), amplitude, quantile_of_tail(max(chance, 1e-300)))


def _even(x: Array, y: Array) -> tuple[Array, Array] | None:
    """(centres, means) of bins of equal length; None where too many are empty."""
    num = min(BINS, x.size)
    edges = np.linspace(x[0], np.nextafter(x[-1], np.inf), num + 1)
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, num - 1)
    count = np.bincount(place, minlength=num)
    full = count > 0
    if 1 - full.mean() > EMPTY:
        return None
    centre = (edges[1:] + edges[:-1]) / 2
    mean = np.bincount(place, weights=y, minlength=num)[full] / count[full]
    return centre, np.interp(centre, centre[full], mean)


def _without_fall(x: Array, y: Array) -> Array:
    u = np.log(x)
    u = 2 * (u - u[0]) / (u[-1] - u[0]) - 1
    v = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
    design = np.column_stack(
        [np.polynomial.legendre.legvander(u, DEGREE), np.polynomial.legendre.legvander(v, DEGREE)[:, 1:]]
    )
    fitted = design @ np.linalg.lstsq(design, y, rcond=1e-9)[0]
    return np.asarray(without_outliers(y - fitted))


def _over_background(power: Array) -> Array:
    """I over S at each frequency. (K,) to (K,)"""
    padded = np.concatenate([power[AROUND:0:-1], power, power[-2 : -AROUND - 2 : -1]])
    if power.size <= 2 * AROUND:
        return np.zeros(0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1)
    kept = np.abs(np.arange(-AROUND, AROUND + 1)) > BESIDE
    below, above = windows[:, : AROUND - BESIDE], windows[:, AROUND + BESIDE + 1 :]
    both = np.median(windows[:, kept], axis=1)
    # where the spectrum is steep, the higher side is nearer to the truth than the median of both
    background = np.maximum(both, np.maximum(np.median(below, axis=1), np.median(above, axis=1)) / 1.5)
    return np.asarray(power * math.log(2) / np.maximum(background, 1e-300))


def _refined(residual: Array, k: int) -> tuple[float, float]:
    """Cycles, between the frequencies too, and amplitude of the wave near k cycles."""
    place = np.arange(residual.size) / residual.size
    cycles = k + np.linspace(-0.6, 0.6, 25)
    found = np.abs(np.exp(-2j * math.pi * cycles[:, None] * place) @ residual) * 2 / residual.size
    best = int(np.argmax(found))
    return float(cycles[best]), float(found[best])
