"""The best global batch, as well as it is known.

    B* = 0.58 D^0.571                                            D: tokens of the run; B: tokens per update
    B* = (0.58 s^0.571)^(1 / (1 - 0.571))                        for a run of s updates: the B that is best for D = s B

Known limit: other laws have other powers, and the loss is flat about the optimum, so B* is evidence of a factor 4 and
no cause rests on it alone.
"""

from talweg.estimate import Estimate

# StepLaw (arXiv 2503.04715): .58 D^.571 tokens, fitted on 215 M to 1 B parameters and 2 B to 100 B tokens.
FACTOR_TOKENS, POWER = 0.58, 0.571
# The laws disagree on the power (Bergsma 2025: D^.383) and the optimum is flat, so it is known to about this factor.
FACTOR = 4.0


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


def _known_to_a_factor(best: float) -> Estimate:
    return Estimate(best, best / FACTOR, best * FACTOR)
