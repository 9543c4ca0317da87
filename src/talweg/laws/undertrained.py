"""How far the loss falls with more steps while a model has seen few tokens for each of its parameters.

Below about ten tokens a parameter a curve is not yet a power law of the gathered learning rate, and what is fitted
to it says too little (by 2.5 times at 0.7 tokens a parameter). What is left above the entropy E of the text falls
slowly and much alike in all runs:

    L(S) - E = (L - E) (S / S_now)^-beta,   beta = 0.115 (D / N)^-0.11

S: steps times learning rate, annealed alike; D, N: tokens seen now and parameters; nats per token. Found between the
annealed ends of runs that differ in their length alone, within 20 %: 0.2 to 1.3 M parameters at 0.3 to 4.5 tokens a
parameter, 190 M to 3 B at 10 to 40 (notes/calibration.md).

Known limit: it was chosen on the pairs on which its error was measured, so 20 % is no held-out figure.
"""

from talweg.estimate import SD_80, Estimate

POWER_LAW_FROM = 10.0  # tokens a parameter: from here on a run's own curve is fitted well
FLOOR, FLOOR_BYTES = 1.8, 4.5  # nats per token of that many bytes: E of Besiroglu et al. 2024, arXiv 2404.10102
BETA, BETA_SLOPE = 0.115, -0.11
BETA_ERROR = 0.2  # relative sd


def fall(loss: float, ratio: float, tokens_per_parameter: float | None, bytes_per_token: float | None) -> Estimate:
    """Nats that the loss, annealed at `loss` now, falls by when steps times learning rate grow `ratio` times.

    What is not known is taken for 1 token a parameter and 4.5 bytes a token.
    """
    beta, above = power(tokens_per_parameter), reducible(loss, bytes_per_token)
    low, value, high = (above * (1 - ratio ** -(beta * (1 + s * SD_80 * BETA_ERROR))) for s in (-1, 0, 1))
    return Estimate(value, low, high)


def power(tokens_per_parameter: float | None) -> float:
    """beta, for so many tokens a parameter."""
    return float(BETA * (tokens_per_parameter or 1.0) ** BETA_SLOPE)


def reducible(loss: float, bytes_per_token: float | None) -> float:
    """L - E: nats above the entropy of the text, at least 0."""
    return max(loss - FLOOR * (bytes_per_token or FLOOR_BYTES) / FLOOR_BYTES, 0.0)
