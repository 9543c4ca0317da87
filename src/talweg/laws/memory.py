"""The memories of AdamW: that of weight decay against the run, and those of its two means against each other.

Weight decay makes the weights a mean of their last updates, 1 / (eta lambda) steps of them (Wang and Aitchison 2024,
arXiv 2405.13698). The best memory, as a share of the steps of the run, is

    tau = 1.084 TPP^-0.527          TPP: tokens a parameter

(Bergsma et al. 2025, arXiv 2505.13738, figure 1). Below 20 tokens a parameter it is held: at 0.8, runs of ours were
best between .16 and .49, where the law says 1.2. A memory that is too short is as if the run had read fewer tokens:

    w = 1 / (1 + e)                 share of the tokens that counts; e by octaves below tau

Adam's two means reach back m1 = 1 / (1 - beta1) and m2 = 1 / (1 - beta2) steps. Where the first outlives the second by
far, a step is large for no reason; e by octaves of m1 / m2 above 2.

Both tables come from one size of ours, 0.33 M parameters in 256 and 512 steps (notes/causes_batch.md), and are widened.

Known limit: they are one model in two short runs; what a public run of another size loses was not measured.
"""

import math

import numpy as np

from talweg.estimate import Estimate
from talweg.laws import batch

BEST, BEST_POWER, FITTED_TPP = 1.084, -0.527, 20.0
# Tokens lost for each that counts, by octaves of the decay's memory below the best: the middle of two forms of model,
# .3 and 3.4 at 2.2 and 3.8 octaves, 3.6 and 14 at 2.5 and 4.1.
DECAY_OCTAVES, DECAY_EXCESS = (0.0, 1.0, 2.3, 3.9), (0.0, 0.3, 1.0, 6.9)
# So many times less, or more, of it at the ends of the interval. The two forms differ by 4; less still where as short a
# share of a longer run is more steps than the 4 to 20 of those runs. Our choice.
DECAY_LESS, DECAY_MORE = 12.0, 4.0
# The same by octaves of m1 / m2: nothing at 2; .3 to 2 at 5 with m2 = 20, and two runs of a shorter m2 diverged.
OUTLIVED_OCTAVES, OUTLIVED_EXCESS = (1.0, 2.32), (0.0, 0.8)
OUTLIVED_LESS, OUTLIVED_MORE = 4.0, 10.0  # our choice


def decay_memory(rate: float, decay: float) -> float:
    """Steps that the weights remember."""
    return 1 / (rate * decay)


def best_share(tokens_per_parameter: float) -> float:
    """tau, of the steps of the run."""
    return float(BEST * max(tokens_per_parameter, FITTED_TPP) ** BEST_POWER)


def decay_worth(ratio: float) -> Estimate:
    """The share of its tokens that a run is worth whose decay remembers `ratio` times the best share of it."""
    return _worth(float(np.interp(-math.log2(ratio), DECAY_OCTAVES, DECAY_EXCESS)), DECAY_LESS, DECAY_MORE)


def moment_steps(beta: float) -> float:
    """Steps that one of Adam's means reaches back."""
    return 1 / (1 - beta)


def outlived_worth(ratio: float) -> Estimate:
    """The share of its tokens that a run is worth whose beta1 remembers `ratio` times the steps of its beta2."""
    return _worth(float(np.interp(math.log2(ratio), OUTLIVED_OCTAVES, OUTLIVED_EXCESS)), OUTLIVED_LESS, OUTLIVED_MORE)


def cost(
    worth: Estimate, n: float | None, d: float, *, loss: float | None = None, bytes_per_token: float | None = None
) -> Estimate | None:
    """Nats lost where a run over D tokens is worth that share of them. None where no law reaches."""
    return batch.cost_of_share(worth, n, d, loss=loss, bytes_per_token=bytes_per_token)


def _worth(excess: float, less: float, more: float) -> Estimate:
    return Estimate(1 / (1 + excess), 1 / (1 + excess * more), 1 / (1 + excess / less))
