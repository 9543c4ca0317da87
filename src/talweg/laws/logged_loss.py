"""How far a logged training loss lies above the loss of the same weights on the same text in evaluation mode.

    offset of dropout = 0.85 p                                   nats at dropout p, from 10 M parameters on; 0.6 p below
    offset of a mean  = b x mean age                             b: fall of the loss per update, nats

The mean age is (w - 1) / 2 updates for a mean over the last w, d / (1 - d) for a running mean m <- d m + (1 - d) L.

Known limit: the offset of dropout was measured at p = 0.1 on three kinds of run, and is taken to be linear in p.
"""

from talweg.estimate import Estimate

# Nats for each unit of dropout p. nanoGPT's printed loss lies .07 to .10 above its evaluated training loss at p = .1;
# the 40.6 M run of that kind in the public data .095, standard error .018 (notes/causes_measurement.md).
DROPOUT = Estimate(0.85, 0.6, 1.15)
# Below SMALL parameters: .29 at p = .1 for 0.37 M at 6.2 nats, half trained; the upper end is our choice.
SMALL_DROPOUT, SMALL = Estimate(0.6, 0.25, 1.15), 1e7


def dropout_offset(p: float, parameters: float | None) -> Estimate:
    """Nats by which dropout p lifts the loss while it is on. Of an unknown size: the range of both."""
    if parameters is None:
        rate = Estimate(DROPOUT.value, SMALL_DROPOUT.low, DROPOUT.high)
    else:
        rate = SMALL_DROPOUT if parameters < SMALL else DROPOUT
    return Estimate(p * rate.value, p * rate.low, p * rate.high)


def mean_age(*, window: float | None = None, decay: float | None = None) -> float:
    """Updates by which what is logged is older than the weights, on average.

    A mean over the last w updates: (w - 1) / 2. A running mean m <- d m + (1 - d) L: d / (1 - d). A loss that falls by
    b an update is logged b times that too high: exactly so for the running mean, whose own slope is b.
    """
    if window is not None:
        return max(window - 1, 0.0) / 2
    assert decay is not None
    return decay / (1 - decay)
