"""The best global batch, as well as it is known, and what another one costs.

    B* = 0.58 D^0.571                                            D: tokens of the run; B: tokens per update
    B* = (0.58 s^0.571)^(1 / (1 - 0.571))                        for a run of s updates: the B that is best for D = s B

At equal tokens a batch off the best one is as if the run had seen fewer tokens. The share that it is worth,

    w(r) = 1 / (1 + e(r)),   r = B / B_best,   e = EXCESS by |log2 r|

is alike in all cells of the StepLaw grid (arXiv 2503.04715; 17 cells of 215 M to 1.07 B parameters and 4 B to 100 B
tokens, each batch at its best learning rate, Adam's betas fixed), on both sides, where the cost in nats itself is five
times as much at 19 tokens a parameter as at 100. It holds far below: for 30 M parameters and 0.6 B tokens it says .93,
.63 and .24 at 2.2, 8.8 and 35 times the best batch; .95, .63 and .12 was measured (Marek et al. 2025, arXiv 2507.07101,
the minima in its repository's adam_1d.ipynb). None of that is in the fit.

Below the best batch the cost is one of Adam's memory: where the half-life of beta2 was held at 10 M tokens, and beta1
tuned too, 1/117 of the best batch cost nothing (the same runs).

Known limit: other laws have other powers, and the loss is flat about the optimum, so B* is evidence of a factor 4.
"""

import math

import numpy as np

from talweg.estimate import SD_80, Estimate
from talweg.laws import size, undertrained

# StepLaw (arXiv 2503.04715): .58 D^.571 tokens, fitted on 215 M to 1 B parameters and 2 B to 100 B tokens.
FACTOR_TOKENS, POWER = 0.58, 0.571
# The laws disagree on the power (Bergsma 2025: D^.383) and the optimum is flat, so it is known to about this factor.
FACTOR = 4.0

# Tokens that are lost for each that counts, by octaves off the best: medians of both sides over the 17 cells. Beyond, a
# factor 2.2 an octave is carried on. bench/batch.py counts them again.
EXCESS = (0.0, 0.063, 0.23, 0.51, 1.13)
BEYOND, BEYOND_SD = 2.2, 0.4  # the second: of ln e, for each octave beyond. Our choice: nothing was measured there
# sd of ln e of one cell about the medians of the others at two octaves and more. It holds what the law misses of the
# cell's own best batch, .29 octaves.
EXCESS_SD = 0.3
FITTED_TOKENS = (4e9, 1e11)
# Octaves of the best batch for each octave of tokens beyond. The two laws' powers differ by .19; a little more, so that
# .26 M tokens in batches of 4,096 of ours lie within, .76 nats above the best (notes/causes_batch.md).
POWER_SD = 0.25
FLATTEST = 2.0  # d ln e / d octave near the best batch: an octave of doubt is this much doubt of ln e. By EXCESS
HALF_LIFE = 10e6  # tokens: of beta2, best or within noise of it at 30 M parameters for batches of 512 to 0.5 M tokens


def optimum(d: float) -> Estimate:
    """The best batch in tokens for a run of D tokens, where it is trained with AdamW at its best learning rate.

    0.58 D^0.571: 0.3 M tokens for 10 B. It is carried far below the range of its fit: 5,800 for 10 M.
    """
    return _known_to_a_factor(FACTOR_TOKENS * d**POWER)


def optimum_of_steps(steps: float) -> Estimate:
    """The best batch for a run of so many updates: the B that is best for D = steps x B.

    B = c (s B)^p has the one positive solution B = (c s^p)^(1 / (1 - p)).
    """
    return _known_to_a_factor((FACTOR_TOKENS * steps**POWER) ** (1 / (1 - POWER)))


def worth(ratio: float, d: float) -> Estimate:
    """The share of its D tokens that a run is worth at `ratio` times the best batch; wider beyond the fit."""
    octaves = abs(math.log2(ratio))
    last = len(EXCESS) - 1
    excess = float(np.interp(octaves, range(len(EXCESS)), EXCESS)) * BEYOND ** max(octaves - last, 0.0)
    beyond = max(0.0, math.log2(FITTED_TOKENS[0] / d), math.log2(d / FITTED_TOKENS[1]))
    doubt = EXCESS_SD, math.log(FLATTEST) * POWER_SD * beyond, BEYOND_SD * max(octaves - last, 0.0)
    factor = math.exp(SD_80 * math.hypot(*doubt))
    least = excess if ratio > 1 else min(excess, EXCESS[-1])  # a smaller batch than 1/16 of the best was not measured
    return Estimate(1 / (1 + excess), 1 / (1 + excess * factor), 1 / (1 + least / factor))


def cost(
    ratio: float, n: float | None, d: float, *, loss: float | None = None, bytes_per_token: float | None = None
) -> Estimate | None:
    """Nats lost by D tokens in batches of `ratio` times the best, at the best learning rate of each.

    n: parameters. loss: the level reached, for where the size laws do not reach. None where neither is known.
    """
    return cost_of_share(worth(ratio, d), n, d, loss=loss, bytes_per_token=bytes_per_token)


def cost_of_share(
    share: Estimate, n: float | None, d: float, *, loss: float | None = None, bytes_per_token: float | None = None
) -> Estimate | None:
    """Nats lost by a run over D tokens that are worth this share of themselves."""
    found = [_lost(w, n, d, loss, bytes_per_token) for w in (share.high, share.value, share.low)]
    low, value, high = found
    if low is None or value is None or high is None:
        return None
    return Estimate(value.value, min(low.low, value.low), max(high.high, value.high)).at_least(0.0)


def half_life(beta2: float, tokens_per_step: float) -> float:
    """Tokens after which a squared gradient has half its weight in Adam's mean: B ln 2 / -ln beta2."""
    return tokens_per_step * math.log(2) / -math.log(beta2)


def beta2_of(tokens: float, tokens_per_step: float) -> float:
    """The beta2 whose half-life is so many tokens: 2^(-B / tokens)."""
    return float(2 ** (-tokens_per_step / tokens))


def _lost(
    share: float, n: float | None, d: float, loss: float | None, bytes_per_token: float | None
) -> Estimate | None:
    """What D tokens lose where they are worth this share of themselves."""
    if n is not None and not size.in_range(n, d):
        return size.difference(n, share * d, n, d)
    if loss is None:
        return None
    return undertrained.fall(loss, 1 / share, None if n is None else share * d / n, bytes_per_token)


def _known_to_a_factor(best: float) -> Estimate:
    return Estimate(best, best / FACTOR, best * FACTOR)
