"""What repeating the training text costs: Muennighoff et al. 2023 (arXiv 2305.16264), equations 5 and 6.

    D' = U + U R_D (1 - exp(-R / R_D)),   R = D / U - 1 repetitions of U unique tokens,   R_D = 15.388
    N' = likewise with U_N, the parameters that U tokens could feed, and R_N = 5.310, where N > U_N

Up to about four epochs are almost as good as fresh text; after about sixteen they are worth nothing more. The law was
fitted on C4 with GPT-2's tokenizer and has no term for overfitting, so beyond ten epochs it is a lower bound.

    cost = mean over the size laws of L(N', D') - L(N'_fresh, D)                    nats per token

N'_fresh: the same for D fresh tokens. Known limit: below the reach of the size laws it is carried on, and too high: it
charges a small model that passes once more over a short text.
"""

import math

from talweg.estimate import Estimate
from talweg.laws.size import LAWS, TOKENS_PER_PARAMETER

R_TOKENS, R_PARAMETERS = 15.388, 5.310
RELATIVE_SD = 0.25  # of the cost. Our choice, until it is measured on runs of our own
FINEWEB_PARQUET = 0.73e9  # GPT-2 tokens in one full file of FineWeb's 10BT sample: 2.15 GB, 1.04 M documents; counted
FRESH_EPOCHS = 4.0  # up to here the cost is below what a seed changes


def effective_tokens(unique: float, seen: float) -> float:
    """D': how many fresh tokens `seen` tokens of a text of `unique` tokens are worth."""
    return _worth(unique, seen, R_TOKENS)


def effective_parameters(n: float, unique: float) -> float:
    """N': how many of N parameters a text of `unique` tokens can put to use."""
    return _worth(unique / TOKENS_PER_PARAMETER, n, R_PARAMETERS)


def cost(n: float, unique: float, seen: float) -> Estimate:
    """Nats lost by seeing `unique` tokens several times, `seen` in all, instead of `seen` fresh ones."""
    if seen <= unique:
        return Estimate(0.0, 0.0, 0.0)
    tokens, parameters = effective_tokens(unique, seen), effective_parameters(n, unique)
    fresh = effective_parameters(n, seen)
    losses = [law.loss(parameters, tokens) - law.loss(fresh, seen) for law in LAWS]
    mean = sum(losses) / len(losses)
    spread = sum((x - mean) ** 2 for x in losses) / (len(losses) - 1)
    return Estimate.normal(mean, math.sqrt(spread + (RELATIVE_SD * mean) ** 2)).at_least(0.0)


def _worth(unique: float, used: float, half_life: float) -> float:
    if used <= unique:
        return used
    repetitions = used / unique - 1
    return unique + unique * half_life * (1 - math.exp(-repetitions / half_life))
