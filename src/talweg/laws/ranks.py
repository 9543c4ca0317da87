"""What is lost when N ranks do the work of one: the batch that counts is 1/N of the one that is paid for.

The loss that S steps of B tokens reach falls short of what S noiseless steps would reach by a factor in steps,

    S_effective = S / (1 + B_c / B)           B_c: critical batch, tokens (McCandlish et al. 2018, arXiv 1812.06162)

so with B / N in place of B the same steps are worth the share

    (B + B_c) / (B + N B_c)                   between 1 / N (B far below B_c) and 1 (far above)

of themselves. What that share of the tokens loses is told by the size laws, below their reach by the law of
undertrained models.

Known limit: B_c is taken for the best batch, known to a factor 4, and the interval spans it.
"""

from talweg.estimate import Estimate
from talweg.laws import batch as batches
from talweg.laws import size, undertrained


def critical_batch(tokens: float) -> Estimate:
    """B_c in tokens. The best batch is taken for it: there steps and tokens are in balance."""
    return batches.optimum(tokens)


def worth(batch: float, num: float, critical: float) -> float:
    """The share of their steps that steps of `batch` / `num` tokens are worth against steps of `batch` tokens."""
    return (batch + critical) / (batch + num * critical)


def cost(
    num: float,
    batch: float,
    tokens: float,
    *,
    parameters: float | None,
    loss: float | None,
    bytes_per_token: float | None = None,
) -> Estimate | None:
    """Nats lost at the end of `tokens` tokens in steps of `batch` where only 1 / `num` of each batch counts.

    loss: the level reached, for where the size laws do not reach. None where neither is known.
    """
    critical = critical_batch(tokens)
    shares = [worth(batch, num, c) for c in (critical.low, critical.value, critical.high)]
    found = [_cost(share, tokens, parameters, loss, bytes_per_token) for share in shares]
    low, value, high = found
    if low is None or value is None or high is None:
        return None
    return Estimate(value.value, min(low.low, value.low), max(high.high, value.high)).at_least(0.0)


def _cost(
    share: float, tokens: float, parameters: float | None, loss: float | None, bytes_per_token: float | None
) -> Estimate | None:
    if (
        parameters is not None
        and not size.in_range(parameters, tokens)
        and not size.in_range(parameters, share * tokens)
    ):
        return size.difference(parameters, share * tokens, parameters, tokens)
    if loss is None:
        return None
    per_parameter = None if parameters is None else share * tokens / parameters
    return undertrained.fall(loss, 1 / share, per_parameter, bytes_per_token)
