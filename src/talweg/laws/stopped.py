"""Has the curve stopped where the law says that it goes on: the share of the expected fall that is missing at its end.

For each window of last points the annealing law is fitted to what came before, and carried on through the window under
the run's own learning rate. With f_i the fall that it expects from the window's start to point i (0 before it) and r_i
what the points lie above it, over the window and as many points before it

    r_i = a + w f_i + noise          w = 0: the fall goes on as expected, w = 1: it has stopped

so w is the share of the fall that is missing. Its error holds the noise, its autocorrelation, and the spread of the
expected fall itself. Where a stop begins is not known, so there are windows of many lengths.

Known limit: a fall that the noise would hide is not told from a stop, and a law that is off by half is not either.
"""

import math
from dataclasses import dataclass

import numpy as np

from talweg.curve.noise import Noise, noise
from talweg.curve.points import binned
from talweg.laws import forecast as law
from talweg.laws.annealing import Array, Path

SHORTEST = 6  # points of a window
LONGER = 1.3  # from one window to the next
BEFORE = 10  # points before a window, at least: the law is fitted to them
BINS = 600  # points, of a curve with more
TRUST = 0.25  # of the expected fall: what the law itself may be off by, beyond its own spread. Our choice


@dataclass(frozen=True)
class Stopped:
    """What the last window says. missing: 0 none of the expected fall, 1 all of it; error: one standard error."""

    first_step: float  # of the window
    num: int  # points of the window
    missing: float
    error: float  # of `missing`, the law's own part included
    left_error: float  # of the noise alone: with it 1 - missing is told from nothing
    expected: float  # nats, the fall that was expected over the window

    @property
    def z(self) -> float:
        return self.missing / self.error


def windows(step: Array, value: Array, path: Path, *, gain_prior: tuple[float, float]) -> tuple[Stopped, ...]:
    """What each window says, the one that tells most of a stop first. Empty where none has an expected fall, or too few
    points come before.

    step, value: (T,) finite, ascending
    path:        of the learning rate, to the last step or beyond
    """
    x, y = binned(step, value, BINS)
    scatter = noise(x, y)
    if scatter is None or scatter.sd <= 0:
        return ()
    found, size = [], float(SHORTEST)
    while size <= x.size / 2 and x.size - int(size) >= BEFORE:
        found.append(_window(x, y, int(size), path, scatter, gain_prior))
        size *= LONGER
    return tuple(sorted((w for w in found if w is not None), key=lambda w: -w.z))


def _window(
    x: Array, y: Array, num: int, path: Path, scatter: Noise, gain_prior: tuple[float, float]
) -> Stopped | None:
    start, sd, lag1 = x.size - num, scatter.sd, max(scatter.lag1, 0.0)
    fitted = law.fit(x[:start], y[:start], path, noise_sd=sd, gain_prior=gain_prior)
    if fitted is None:
        return None
    part = slice(max(start - max(num, BEFORE), 0), None)
    level, _ = fitted.on(path, x[part])
    inside = x[part] > x[start - 1]
    ahead = float(fitted.on(path, x[start - 1])[0][0])
    fall = np.where(inside, ahead - level, 0.0)
    fall = np.maximum.accumulate(np.maximum(fall, 0.0))
    centred = fall - fall.mean()
    power = float(centred @ centred)
    total, total_sd = fitted.difference(path, float(x[-1]), path, float(x[start - 1]))
    if fall[-1] <= 0 or power <= 0 or total >= 0:
        return None
    missing = float(centred @ (y[part] - level)) / power
    inflation = math.sqrt((1 + lag1) / (1 - lag1))
    error = sd * inflation / math.sqrt(power)
    off = math.hypot(total_sd / -total, TRUST)
    return Stopped(float(x[start]), num, missing, math.hypot(error, off), error, float(fall[-1]))
