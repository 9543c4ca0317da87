"""How the learning rate's path shows in the loss: area gathered, and decay already turned into gain.

    L(s) = L0 + A S1(s)^-alpha - g D(s)
    S1(s) = sum_{k<s} h_k                                                         in steps at the peak rate
    D(s)  = sum_{k<=s} (h_{k-1} - h_k) G((S1(s) - S1(k)) / (T h_k))               between 0 and 1
    G(x)  = 1 - (1 + 2 K x)^(-1/2),   K = 100

h = eta / eta_peak; T is the step at which the decay is complete. The form is the multi-power law of Luo et al. 2025
(arXiv 2503.12811) with the exponents that they fitted (0.58 to 0.60, 0.64) rounded to 1/2 and 1, and with a memory that
scales with the run: a drop of the rate gives half of its gain within T/67 steps at the lower rate, and the rest ever
more slowly. With these constants one g describes cosine, linear, abrupt and stepped decays of one model alike; an
exponential memory (Tissue et al. 2024, arXiv 2408.11029) does not (notes/forecast.md). g (nats) is what a decay to zero
gives in all; D = 1 once it is complete and digested.

Known limits: none of those runs ends below a tenth of its peak; what the last tenth gives is carried on from above.
S1 counts steps at this run's own peak, so the law says nothing of another peak rate: by its form it would call every
higher one better (`learning_rate` prices that). Below about ten tokens a parameter a curve is no such power law yet
(`undertrained`). It has no term for text that is seen again (`repetition`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

RELAXATION = 100.0  # K; chosen with the exponents by the scatter of g over 36 public runs, a family of sizes left out
DIGESTED = 1 / 12  # of T: about the time in which three quarters of a drop's gain are there
LOWEST = 1e-3  # share of the peak below which a rate counts as this: at none at all there is no more to wait for
WARM = 0.99  # of the peak: where the warm-up is over. Less than 1, since a logged rate is seen between steps
STILL = 0.02  # of the peak: a rate this close to its last value has come down
GRID = 4096  # knots of a path; a schedule is smooth on this scale
DROPS = 512  # and its drops are summed in no more parts than this


@dataclass(frozen=True, eq=False)
class Path:
    """Area and digested decay on a grid of steps."""

    step: Array  # (K,)
    area: Array  # (K,) S1, in steps at the peak rate
    decayed: Array  # (K,) D, as a share of the peak rate

    def at(self, step: ArrayLike) -> tuple[Array, Array]:
        """S1 and D at these steps. Same shape as `step`."""
        s = np.asarray(step, dtype=np.float64)
        return np.interp(s, self.step, self.area), np.interp(s, self.step, self.decayed)


def grid(last_step: float) -> Array:
    """The steps at which a path of this length is evaluated."""
    return np.linspace(0.0, last_step, int(min(GRID, max(last_step, 1))) + 1)


def complete(step: Array, rate: Array) -> float:
    """T: the step at which the decay of a learning rate on a grid of steps is complete, at least 1.

    A rate that never changes after its peak has its whole length for T.
    """
    peak = float(rate.max())
    away = np.flatnonzero(np.abs(rate - rate[-1]) > STILL * peak)
    decays = away.size > 0 and rate[-1] < (1 - STILL) * peak
    return max(1.0, float(step[min(int(away[-1]) + 1, step.size - 1)] if decays else step[-1]))


def path(step: Array, rate: Array, complete: float) -> Path:
    """The path of a learning rate.

    step:     (K,) ascending and evenly spaced, from 0
    rate:     (K,) learning rate of the update after that step, any unit
    complete: T, in steps
    """
    share = rate / max(float(rate.max()), 1e-300)
    width = step[1] - step[0] if step.size > 1 else 1.0
    area = np.concatenate([[0.0], np.cumsum((share[1:] + share[:-1]) / 2 * width)])
    drop = np.concatenate([[0.0], share[:-1] - share[1:]])
    falls = np.flatnonzero((drop > 0) & (np.maximum.accumulate(share) >= WARM))
    drop[: int(falls[0]) if falls.size else None] = 0.0  # the warm-up anneals nothing
    return Path(step, area, _digested(area, drop, share, complete))


def _digested(area: Array, drop: Array, share: Array, complete: float) -> Array:
    """D at every knot. Drops are taken together, DROPS knots' worth at most, at their mean place."""
    places = np.flatnonzero(drop)
    if not places.size:
        return np.zeros_like(area)
    group = places * DROPS // area.size
    first = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    size = np.add.reduceat(drop[places], first)
    count = np.diff(np.append(first, places.size))
    at = np.add.reduceat(area[places], first) / count
    rate = np.maximum(np.add.reduceat(share[places], first) / count, LOWEST)
    digested = np.zeros_like(area)
    for gain, gathered, pace in zip(size, at, 2 * RELAXATION / (complete * rate), strict=True):
        since = area[int(np.searchsorted(area, gathered)) :] - gathered
        digested[area.size - since.size :] += gain * (1.0 - 1.0 / np.sqrt(1.0 + pace * since))
    return digested
