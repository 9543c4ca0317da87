"""The best peak learning rate, as well as it is known, and what a wrong one costs.

    eta* = sqrt(1.79 N^-0.713 D^0.307 x 0.3118 (6 N D)^-0.125)          N: parameters, D: tokens; AdamW
    cost = 0.037, 0.021, 0.007, 0, 0.019, 0.097 nats                    at eta_peak / eta* = 1/8, 1/4, 1/2, 1, 2, 4

eta* is the geometric mean of two published laws, which differ by up to a factor 5. Between its places the cost is
interpolated in the logarithm of the ratio.

Known limits: eta* is evidence of a factor 4 only, so no run is accused by it alone: its curve must show that the rate
hurts. The cost is a median at the best batch; a rate above twice the best may diverge, and the table cannot say where.
"""

import math

import numpy as np

from talweg.estimate import Estimate

# Final loss above the best at that multiple of the best peak rate, at the best batch: medians over 16 (N, D) cells of
# the StepLaw grid (arXiv 2503.04715). Above 2 x the tail runs to divergence.
# Below 1/8 few cells reach: three at 1/16 (0.051 to 0.063), one at 1/32.
RATIO = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0)
COST = (0.079, 0.057, 0.037, 0.021, 0.007, 0.0, 0.019, 0.097)
# The laws below differ by up to 5 x, so the optimum is known to about this factor either way. Both were fitted from
# tens of millions of parameters on; for 1 M and 2 M tokens they say 7.5e-3, our own sweep 5e-3 to 8e-3 (notes/LOG.md).
FACTOR = 4.0
# Muon's best peak over AdamW's law, its updates scaled to AdamW's: 2.4 at 1.3 M weights and 0.6 M tokens, where the law
# itself loses 0.06 and twice the law less than 0.01 (notes/time_to_loss.md).
MUON_OVER_ADAMW = 2.0
MUON_HIGHEST = 0.02  # our choice: nothing above it was measured, and the laws have no end for small models

UNKNOWN_WIDTH = 1024.0
OTHER_SCALES = ("lion", "sgd", "adafactor", "shampoo", "soap", "normuon", "muonh", "aurora")  # no law is known here


def optimum(n: float, d: float) -> Estimate:
    """The best peak rate of AdamW for N parameters and D tokens: the geometric mean of two laws, a factor 4 either way.

    StepLaw: 1.79 N^-0.713 D^0.307 (arXiv 2503.04715). DeepSeek: 0.3118 C^-0.125, C = 6 N D (arXiv 2401.02954).
    """
    step_law = 1.79 * n**-0.713 * d**0.307
    deepseek = 0.3118 * (6 * n * d) ** -0.125
    best = math.sqrt(step_law * deepseek)
    return Estimate(best, best / FACTOR, best * FACTOR)


def optimum_of_muon(n: float, d: float) -> Estimate:
    """The best peak rate of Muon with AdamW for the rest, where its updates are scaled to AdamW's."""
    law = optimum(n, d)
    best = min(MUON_OVER_ADAMW * law.value, MUON_HIGHEST)
    return Estimate(best, best / FACTOR, best * FACTOR)


def optimum_for(
    optimizer: str | None, n: float, d: float, *, scaled_to_adamw: bool, width: float | None = None
) -> Estimate | None:
    """The best peak rate by the name of an optimizer, None for AdamW; None where no law for it is known.

    Muon's matrices: its updates scaled to AdamW's take AdamW's rate to twice as much. Where it is not known whether
    they are, the interval reaches up to the rate of unscaled ones, 0.2 sqrt(longest side) times as high (Liu et al.
    2025, arXiv 2502.16982): 4 times the width, 1,024 where it is not known.
    """
    name = (optimizer or "adamw").lower()
    if any(other in name for other in OTHER_SCALES):
        return None
    if "muon" not in name:
        return optimum(n, d)
    best = optimum_of_muon(n, d)
    reach = 1.0 if scaled_to_adamw else max(1.0, 0.2 * math.sqrt(4 * (width or UNKNOWN_WIDTH)))
    return Estimate(best.value, min(optimum(n, d).low, best.low), best.high * reach)


def cost_of_peak(ratio: float) -> Estimate:
    """Nats lost by a peak rate of `ratio` times the best, between half and twice the median of the table.

    Beyond the table its last slopes are carried on; above 4 x the upper end is open to divergence (3 x).
    """
    x = math.log2(ratio)
    table = [math.log2(r) for r in RATIO]
    value = float(np.interp(x, table, COST))
    if x > table[-1]:
        value = COST[-1] + (x - table[-1]) * (COST[-1] - COST[-2])
    if x < table[0]:
        value = COST[0] + (table[0] - x) * (COST[0] - COST[1])
    return Estimate(value, value / 2, value * (3 if ratio > 2 else 2))
