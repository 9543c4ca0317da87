"""What a whole decay of the learning rate gives, before any of it has been seen.

    g = 0.193 (nu / 1e-9)^0.23 (N / 2e8)^0.10 nats,   nu = eta_peak / B

B: tokens per update. A rate keeps the weights hot, and the batch cools them, so what a decay can still win depends on
their ratio: fitted freely, the powers of eta_peak and of B are 0.21 and -0.26. Fitted to 36 public runs with AdamW of
25 M to 3 B parameters, of nu from 1.3e-10 to 1.9e-9; scatter 5 % about it, 7 % with a size left out, where one g for
all scatters 17 % (bench/forecast.py, notes/forecast.md). g is that of the law in `annealing`, not of another memory.

Known limits: outside that range of nu and N the interval widens with the distance. Of an optimizer that is no Adam the
rate says little: then g is taken for 0.178 within a factor of 1.7 either way (80 %). Weight decay is not in it.
"""

import math

G, NU_POWER, SIZE_POWER = 0.193, 0.23, 0.10
NU, SIZE = 1e-9, 2e8  # where g is G
SD = 0.08  # of the logarithm, of one run about the law; what makes the intervals of forecasts hold what they say
FITTED_NU, FITTED_SIZE = (1.3e-10, 1.9e-9), (2.5e7, 3e9)
# Outside the range of the fit: the uncertainty of a power, for each factor e beyond. Our choice: half of the power.
NU_POWER_SD, SIZE_POWER_SD = 0.12, 0.05
UNSTATED = (0.178, 0.20)  # median and sd of the logarithm where size, rate or batch is not known: over the same runs
OTHER_OPTIMIZER = 0.4  # sd of the logarithm where the rate is not one of AdamW, and says little of the heat. Our choice


def prior(
    parameters: float | None, peak_rate: float | None, tokens_per_step: float | None, optimizer: str | None = None
) -> tuple[float, float]:
    """Median of g in nats and sd of its logarithm, by what is known of the run. `optimizer` None: AdamW."""
    if optimizer is not None and "adam" not in optimizer.lower():
        return UNSTATED[0], OTHER_OPTIMIZER
    if not parameters or not peak_rate or not tokens_per_step:
        return UNSTATED
    nu = peak_rate / tokens_per_step
    median = G * (nu / NU) ** NU_POWER * (parameters / SIZE) ** SIZE_POWER
    beyond = NU_POWER_SD * _outside(nu, FITTED_NU), SIZE_POWER_SD * _outside(parameters, FITTED_SIZE)
    return median, math.hypot(SD, *beyond)


def _outside(value: float, fitted: tuple[float, float]) -> float:
    """How far a value lies outside a range, in factors of e."""
    return max(0.0, math.log(fitted[0] / value), math.log(value / fitted[1]))
