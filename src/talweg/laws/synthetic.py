"""Healthy curves made from the laws: for the examples of causes and for counting false alarms.

    L(s) = floor + amplitude (S1(s) / S1_tenth)^-exponent - decay_gain D(s)

with S1 and D of `annealing`, left exponentially from ln V in the first steps, and three noises of the sizes that public
runs show: of a batch, of an evaluation, and of the weights, which fades with the rate.

Known limit: a curve from a law cannot show what the law misses. So false alarms are counted on curves of another make,
and on public runs, as well (notes/calibration.md).
"""

from dataclasses import dataclass

import numpy as np

from talweg.laws import annealing
from talweg.laws.annealing import Array
from talweg.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Curve:
    """A simulated run. Losses in nats per token."""

    step: Array  # (T,) every logged step
    train: Array  # (T,) one batch each
    eval_step: Array  # (E,)
    val: Array  # (E,)
    train_eval: Array  # (E,) training text in evaluation mode
    rate: Array  # (T,) learning rate


def curve(
    rng: np.random.Generator,
    *,
    steps: int,
    schedule: Schedule,
    floor: float = 3.2,
    amplitude: float = 1.2,
    exponent: float = 0.506,
    decay_gain: float = 0.178,
    start: float = 10.83,
    log_every: int = 10,
    eval_every: int | None = None,
    eval_sd: float = 0.009,
    iterate_sd: float = 0.004,
    batch_sd: float = 0.05,
    heavy_tail: float = 0.002,
    planned_steps: int | None = None,
) -> Curve:
    """A power law in the gathered learning rate, annealing, and noise of the sizes that public runs show.

    floor, amplitude: asymptote at the peak rate, and what is left above it when S1 is a tenth of the plan's; nats
    start:      loss of the fresh model (ln of the vocabulary size); the curve leaves it exponentially
    eval_sd:    sampling noise of one evaluation; batch_sd: of one logged training batch
    iterate_sd: noise of the weights at the peak rate, shared by train and val; it fades with the rate
    heavy_tail: probability that a single training batch is an outlier of 4 to 10 batch_sd
    """
    plan = planned_steps or steps
    grid = annealing.grid(plan)
    rate = schedule.at(grid)
    path = annealing.path(grid, rate, annealing.complete(grid, rate))
    reference = max(float(path.area[-1]) / 10, 1.0)

    def level(step: Array) -> Array:
        area, decayed = path.at(step)
        law = floor + amplitude * ((area + 0.02 * reference) / reference) ** -exponent - decay_gain * decayed
        leaving = np.exp(-area / (0.02 * reference))
        return np.asarray(np.minimum(law * (1 - leaving) + start * leaving, start))

    logged = np.arange(0, steps + 1, log_every, dtype=np.float64)
    evaluated = np.arange(0, steps + 1, eval_every or max(1, plan // 40), dtype=np.float64)
    heat = schedule.at(evaluated) / schedule.peak_lr
    iterate = iterate_sd * heat * rng.standard_normal(evaluated.size)
    outlier = (rng.random(logged.size) < heavy_tail) * rng.uniform(4, 10, logged.size)
    return Curve(
        step=logged,
        train=level(logged) + batch_sd * (rng.standard_normal(logged.size) + outlier),
        eval_step=evaluated,
        val=level(evaluated) + iterate + eval_sd * rng.standard_normal(evaluated.size),
        train_eval=level(evaluated) - 0.002 + iterate + eval_sd * rng.standard_normal(evaluated.size),
        rate=schedule.at(logged),
    )
