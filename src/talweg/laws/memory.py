"""The two memories of AdamW against the length of the run: that of weight decay, and that of beta2.

Weight decay makes the weights a mean of their last updates, 1 / (eta lambda) steps of them (Wang and Aitchison 2024,
arXiv 2405.13698). The best memory, as a share of the steps of the run, is

    tau = 1.084 TPP^-0.527          TPP: tokens a parameter

(Bergsma et al. 2025, arXiv 2505.13738, figure 1). Below 20 tokens a parameter it is held: at 0.8, runs of ours were
best between .16 and .49, where the law says 1.2. A memory that is too short is as if the run had read fewer tokens:

    w = 1 / (1 + e)                 share of the tokens that counts; e by octaves below tau

beta2 is a mean of squared gradients over 1 / (1 - beta2) steps. Where that is longer than the run, the large gradients
of its start hold the steps small to its end.

Both tables come from one size of ours, 0.33 M parameters in 256 steps (notes/causes_batch.md), and are widened for it.
"""

import math

import numpy as np

from talweg.estimate import Estimate
from talweg.laws import batch

BEST, BEST_POWER, FITTED_TPP = 1.084, -0.527, 20.0
# Tokens lost for each that counts, by octaves of the decay's memory below the best.
DECAY_OCTAVES, DECAY_EXCESS = (0.0, 1.7, 3.3), (0.0, 0.3, 3.4)
# The same by octaves of 1 / (1 - beta2) over the steps of the run: nothing at .39 of them, seen at 3.9.
LONG_OCTAVES, LONG_EXCESS = (-1.36, 1.96), (0.0, 1.3)
WIDER = 4.0  # times more, or less, excess at the ends of the intervals: one size, and that a small one. Our choice


def decay_memory(rate: float, decay: float) -> float:
    """Steps that the weights remember."""
    return 1 / (rate * decay)


def best_share(tokens_per_parameter: float) -> float:
    """tau, of the steps of the run."""
    return float(BEST * max(tokens_per_parameter, FITTED_TPP) ** BEST_POWER)


def decay_worth(ratio: float) -> Estimate:
    """The share of its tokens that a run is worth whose decay remembers `ratio` times the best share of it."""
    return _worth(float(np.interp(-math.log2(ratio), DECAY_OCTAVES, DECAY_EXCESS)))


def second_moment_steps(beta2: float) -> float:
    """Steps that Adam's mean of squared gradients goes back."""
    return 1 / (1 - beta2)


def long_worth(share: float) -> Estimate:
    """The share of its tokens that a run is worth whose beta2 remembers `share` times its steps."""
    return _worth(float(np.interp(math.log2(share), LONG_OCTAVES, LONG_EXCESS)))


def cost(
    worth: Estimate, n: float | None, d: float, *, loss: float | None = None, bytes_per_token: float | None = None
) -> Estimate | None:
    """Nats lost where a run over D tokens is worth that share of them. None where no law reaches."""
    return batch.cost_of_share(worth, n, d, loss=loss, bytes_per_token=bytes_per_token)


def _worth(excess: float) -> Estimate:
    return Estimate(1 / (1 + excess), 1 / (1 + excess * WIDER), 1 / (1 + excess / WIDER))
