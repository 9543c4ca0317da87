"""Curves with a known truth, for the tests of this folder."""

import numpy as np

Array = np.ndarray


def autoregressive(rng: np.random.Generator, num: int, lag1: float) -> Array:
    """(num,) stationary first-order autoregression of variance 1."""
    shocks = rng.standard_normal(num + 1)
    out = np.empty(num + 1)
    out[0] = shocks[0]
    for i in range(1, num + 1):
        out[i] = lag1 * out[i - 1] + (1 - lag1**2) ** 0.5 * shocks[i]
    return out[1:]


def power_law(step: Array) -> Array:
    return 3 + 6 * (step + 20.0) ** -0.3


def power_law_slope(step: float) -> float:
    return -1.8 * (step + 20.0) ** -1.3


def steps(num: int, last: float) -> Array:
    return np.linspace(last / num, last, num)
