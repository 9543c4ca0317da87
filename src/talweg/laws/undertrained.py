"""How far the loss falls with more steps while a model has seen few tokens for each of its parameters.

Below about ten tokens a parameter a curve is not yet a power law of the gathered learning rate, and what is fitted
to it says too little (by 2.5 times at 0.7 tokens a parameter). What is left above the entropy E of the text falls
slowly and much alike in all runs:

    L(S) - E = (L - E) (S / S_now)^-beta        S: steps times learning rate; annealed alike; nats per token

beta between annealed ends of runs that differ in their length alone: 0.11 to 0.14 at 0.7 to 4.5 tokens a parameter (0.2
to 0.7 M parameters), 0.08 to 0.12 at 10, 0.05 to 0.10 beyond (190 M to 3 B parameters). notes/calibration.md
"""

from talweg.estimate import SD_80, Estimate

POWER_LAW_FROM = 10.0  # tokens a parameter: from here on a run's own curve is fitted well
FLOOR, FLOOR_BYTES = 1.8, 4.5  # nats per token of that many bytes: E of Besiroglu et al. 2024, arXiv 2404.10102
BETA, BETA_ERROR = 0.12, 0.25  # and its relative sd


def fall(loss: float, ratio: float, bytes_per_token: float | None = None) -> Estimate:
    """Nats that the loss, annealed at `loss` now, falls by when steps times learning rate grow `ratio` times."""
    floor = FLOOR * (bytes_per_token or FLOOR_BYTES) / FLOOR_BYTES
    reducible = max(loss - floor, 0.0)
    low, value, high = (reducible * (1 - ratio ** -(BETA * (1 + s * SD_80 * BETA_ERROR))) for s in (-1, 0, 1))
    return Estimate(value, low, high)
