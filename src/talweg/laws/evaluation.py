"""How far an evaluation can be off, from how it is made.

    se of one evaluation = 0.44 / sqrt(windows)                  random windows of 1,024 tokens, drawn anew each time
    se of the level      = 0.7 / sqrt(V / 1,024)                 of a validation text of V tokens, however often read

Nats per token. The first shrinks with more windows; the second does not: only more text makes it smaller. The first
stays when the learning rate comes down; what a fixed set of windows scatters comes from the weights, and fades with it.

Known limit: both deviations are of English web text. Short or mixed documents, code and poems scatter otherwise, so
where a log has enough evaluations their scatter is measured on the curve instead.
"""

import math

from talweg.estimate import Estimate

# Sd of the mean loss of one random 1,024-token window, model fixed, in nats: .37 on OpenWebText at 124 M parameters,
# .51 on FineWeb at 40 M.
WINDOW_SD = Estimate(0.44, 0.37, 0.51)
WINDOW = 1024  # tokens
# The level of a validation file of V tokens is uncertain by .5 to 1 / sqrt(V / 1,024): a document is longer than a
# window, and its tokens share one offset.
FILE_SD = Estimate(0.7, 0.5, 1.0)


def standard_error(windows: float, context: float = WINDOW) -> Estimate:
    """Standard error of the mean over `windows` random windows of `context` tokens, nats per token.

    The table is for windows of 1,024 tokens. For another length the sd lies between no change (all tokens of a document
    share one offset) and the square root of the lengths' ratio (tokens independent): the interval spans both.
    """
    longer = math.sqrt(WINDOW / context)
    low, high = sorted((WINDOW_SD.low * min(1.0, longer), WINDOW_SD.high * max(1.0, longer)))
    root = math.sqrt(windows)
    return Estimate(WINDOW_SD.value * math.sqrt(longer) / root, low / root, high / root)


def level_uncertainty(val_tokens: float) -> Estimate:
    """Standard error of the level of a validation file that holds this many tokens, however often it is read."""
    root = math.sqrt(max(val_tokens, 1.0) / WINDOW)
    return Estimate(FILE_SD.value / root, FILE_SD.low / root, FILE_SD.high / root)
