"""How the learning rate's path shows in the loss: area gathered, and decay already turned into gain.

The form is Tissue et al. 2024 (arXiv 2408.11029), with a memory that scales with the run:

    L(s) = L0 + A S1(s)^-alpha - g D(s)
    S1(s) = sum_{k<s} eta_k / eta_peak                                            in steps
    D(s)  = sum_{k<=s} (eta_{k-1} - eta_k) / eta_peak (1 - exp(-(s - k) / tau))   between 0 and 1

tau = T / 12, where T is the step at which the decay is complete: with the memory left free, fits to runs of 7k to 70k
steps gave 333 to 10,000 steps, in proportion to T. (Of a rate that drops and then stays, T is the drop, not the end of
the run: that cuts the error of such forecasts by half or more; bench/forecast.py.) g (nats) is what a decay to zero
gives in all; D = 1 once it is complete and digested.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MEMORY_SHARE = 1 / 12  # tau as a share of T; see above
WARM = 0.99  # of the peak: where the warm-up is over. Less than 1, since a logged rate is seen between steps
STILL = 0.02  # of the peak: a rate this close to its last value has come down
GRID = 4096  # knots of a path; a schedule is smooth on this scale


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


def memory(step: Array, rate: Array) -> float:
    """tau for a learning rate on a grid of steps: a twelfth of the step at which its decay is complete, at least 1.

    A rate that never changes after its peak has its whole length for T.
    """
    peak = float(rate.max())
    away = np.flatnonzero(np.abs(rate - rate[-1]) > STILL * peak)
    decays = away.size > 0 and rate[-1] < (1 - STILL) * peak
    complete = step[min(int(away[-1]) + 1, step.size - 1)] if decays else step[-1]
    return max(1.0, float(complete) * MEMORY_SHARE)


def path(step: Array, rate: Array, memory: float) -> Path:
    """The path of a learning rate.

    step:   (K,) ascending and evenly spaced, from 0
    rate:   (K,) learning rate of the update after that step, any unit
    memory: tau, in steps
    """
    share = rate / max(float(rate.max()), 1e-300)
    width = step[1] - step[0] if step.size > 1 else 1.0
    area = np.concatenate([[0.0], np.cumsum((share[1:] + share[:-1]) / 2 * width)])
    drop = np.concatenate([[0.0], share[:-1] - share[1:]])
    falls = np.flatnonzero((drop > 0) & (np.maximum.accumulate(share) >= WARM))
    drop[: int(falls[0]) if falls.size else None] = 0.0  # the warm-up anneals nothing
    return Path(step, area, np.cumsum(drop) - _fading_sum(drop, width / memory))


def _fading_sum(drop: Array, rate: float) -> Array:
    """sum_k drop_k exp(-rate (i - k)) for each i, in blocks so that the exponentials stay within range."""
    out = np.empty_like(drop)
    block = max(1, int(50 / max(rate, 1e-12)))
    carry = 0.0
    for first in range(0, drop.size, block):
        part = drop[first : first + block]
        age = np.arange(1, part.size + 1) * rate
        out[first : first + block] = np.exp(-age) * (carry + np.cumsum(part * np.exp(age)))
        carry = float(out[min(first + block, drop.size) - 1])
    return out
