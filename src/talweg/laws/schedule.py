"""What the shape of a schedule costs: a final rate above zero, a warm-up that is long, steps gathered at a low rate.

    cost = (L - E) (1 - (S1' / S1)^-beta) + g (D' - D)          nats per token

S1: steps times rate, D: decay digested (`annealing`), of the run; ' of the same steps under the other schedule.
L: the run's level at the end. E, beta: `undertrained`. g: what a whole decay gives (`gain`).

Checked against over 200 public pairs that differ in their warm-up alone: 3,000 updates of 0.5 M tokens, or a token for
each parameter (Porian et al. 2024, arXiv 2406.19146; 5 M to 900 M parameters, 0.05 to 1,000 tokens a parameter), not
one used to find E or beta: said over lost has a median of 1.0 and a scatter of 0.45 of its logarithm
(notes/causes_schedule.md).

Known limit: those pairs also set the width; that of a decay to nothing rests on no run (`annealing`).
"""

import math

import numpy as np

from talweg.estimate import SD_80, Estimate
from talweg.laws import annealing, undertrained
from talweg.laws.annealing import Array, Path

AREA_SD = 0.45  # of the logarithm, of the part that comes from S1: over those pairs
DECAY_ERROR = 0.15  # relative sd of g D beyond that of g: nine public decays against the law (notes/calibration.md)
LAST_DECAY = 0.2  # of the steps: a decay of 10 to 20 % is enough (Hägele et al. 2024, arXiv 2405.18392)
# The warm-up of a run whose author did not think about it: a tenth of a short run, at most 300 updates, in long runs a
# fiftieth: nanoGPT and GPT-3 warm up for 0.3 to 0.6 %, OLMo 1 %, Llama 2 0.4 %. Our choice, on the long side.
USUAL_SHARE, USUAL_MOST, USUAL_LEAST_SHARE = 0.1, 300, 0.02
SHORT_RUN = 2000  # updates. Our choice: the measured effect of the warm-up below is of 800
# Nats that a warm-up of 240 in place of 80 or 40 updates won in a run of 800, by the peak rate: 0.17 at 3e-3, 0.56 at
# 6e-3; classic GPT-2 form, 0.53 M parameters. In a modern form of 1.3 M it won nothing (notes/time_to_loss.md).
LONGER_WON = Estimate(0.17, 0.0, 0.56)


def usual_warmup(steps: float) -> float:
    """Updates of a warm-up that nobody would call long or short, for a plan of so many."""
    return max(min(USUAL_SHARE * steps, USUAL_MOST), USUAL_LEAST_SHARE * steps)


def peak_at(step: Array, rate: Array) -> float:
    """Where the warm-up is over: the first step at which the rate is within a hundredth of its highest."""
    return float(step[int(np.argmax(rate >= annealing.WARM * rate.max()))])


def with_warmup(step: Array, rate: Array, warmup: float) -> Array:
    """The rate after a linear warm-up of another length; what follows the peak is stretched to the same end. (K,)"""
    peak, end = peak_at(step, rate), float(step[-1])
    place = peak + (step - warmup) * (end - peak) / max(end - warmup, 1.0)
    after = np.interp(place, step, rate)
    return np.where(step < warmup, rate.max() * step / max(warmup, 1.0), after)


def with_final_rate(step: Array, rate: Array, final: float) -> Array:
    """The rate with its fall after the peak stretched so that it ends at `final`. (K,)"""
    highest, last = float(rate.max()), float(rate[-1])
    if highest <= last:
        return rate
    lower = highest - (highest - rate) * (highest - final) / (highest - last)
    return np.where(step < peak_at(step, rate), rate, np.maximum(lower, min(final, last)))


def with_last_decay(step: Array, rate: Array, share: float = LAST_DECAY) -> Array:
    """The rate brought to 0 in a straight line over the last `share` of the steps. (K,)"""
    return np.asarray(rate * np.clip((1 - step / step[-1]) / share, 0.0, 1.0))


def path(step: Array, rate: Array) -> Path:
    """The annealing path of a rate on a grid, its decay complete where it stops to fall."""
    return annealing.path(step, rate, annealing.complete(step, rate))


def cost(
    loss: float,
    own: Path,
    other: Path,
    *,
    gain: tuple[float, float],
    tokens_per_parameter: float | None = None,
    bytes_per_token: float | None = None,
) -> Estimate:
    """Nats that the path `own` loses at its end against `other` at its end; negative where it is the better one.

    loss: level at the end of `own`     gain: mean and sd of g, nats
    """
    area = max(float(own.area[-1]), 1e-9)
    ratio = max(float(other.area[-1]), 1e-9) / area
    won = undertrained.reducible(loss, bytes_per_token) * (1 - ratio ** -undertrained.power(tokens_per_parameter))
    mean, sd = gain
    share = float(other.decayed[-1] - own.decayed[-1])
    decay_sd = math.hypot(sd, DECAY_ERROR * mean) * abs(share)
    wide = math.exp(SD_80 * AREA_SD)
    near, far = abs(won) * (1 - 1 / wide), abs(won) * (wide - 1)
    below, above = (near, far) if won >= 0 else (far, near)
    value = won + mean * share
    return Estimate(value, value - math.hypot(below, SD_80 * decay_sd), value + math.hypot(above, SD_80 * decay_sd))
