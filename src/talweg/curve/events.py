"""Things that happen to a curve: spikes, jumps that stay, divergence, stretches that are not finite or never change."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve.excursions import excursions
from talweg.curve.minimum import minimum
from talweg.curve.points import Array, finite
from talweg.curve.smooth import running_median
from talweg.curve.stretches import constant, not_finite

SIGNIFICANT = 3.0  # normal sd, after the correction for the number of places looked at: 0.13 % a curve
DIVERGED = 0.25  # of what the curve had fallen: a rise that is less leaves the run usable. Our choice
DIVERGED_SD = 8.0  # and standard errors of that rise (already widened for the search of the minimum). Our choice


@dataclass(frozen=True)
class CurveEvent:
    """Something that happened between two steps (both included).

    kind:         spike                a departure that came back to where the curve was going (negative size: downward)
                  spike_not_recovered  a spike after which the curve goes on higher; size is what stays
                  rise, drop           a jump between neighbours that stays
                  diverged_from        the curve left its lowest level here and ends far above; size is the whole rise
                  not_finite           NaN or inf
                  constant_stretch     the very same number again and again
    size:         in the unit of the curve; nan for not_finite, 0 for constant_stretch
    significance: as many normal sd as the chance of finding such a thing anywhere in such a curve corresponds to;
                  inf for what noise cannot do
    """

    kind: str
    first_step: float
    last_step: float
    size: float
    significance: float


def events(step: ArrayLike, value: ArrayLike) -> tuple[CurveEvent, ...]:
    """All events of one curve, (T,) and (T,), in the order of their steps. O(T log T).

    Single noisy batches are no events: scatter is taken locally, with the tails of Student's t (see
    `talweg.curve.excursions`), and corrected for the length of the curve. The first and last five points have
    no neighbours to be compared with on one side, and are not judged.

    Measured false alarms: none in 93 public healthy logs (115 curves of up to 20,344 points). Simulated power laws of
    30 to 2,000 points: with autoregressive noise of correlation 0 to 0.9, 2 of 3,000; with the tails of Student's t
    with three or four degrees, a spike in 56 of 2,400 and a drop in 2. Measured power, in sd of a single value: a jump
    that stays is always found from 8 in 1,000 points and from 12 in 200 (in 60 a fourth of those of 20); a spike of one
    point from 12 in 1,000 and from 20 in 60.
    """
    steps, values = np.asarray(step, dtype=np.float64).ravel(), np.asarray(value, dtype=np.float64).ravel()
    found = [CurveEvent("not_finite", a, b, np.nan, np.inf) for a, b in not_finite(steps, values)]
    x, y = finite(steps, values)
    same = [(a, b, z) for a, b, z in constant(y) if z > SIGNIFICANT]
    found += [CurveEvent("constant_stretch", float(x[a]), float(x[b]), 0.0, z) for a, b, z in same]
    diverged = _diverged(x, y)
    found += [diverged] if diverged is not None else []
    onset = np.inf if diverged is None else diverged.first_step
    alive = np.ones(x.size, dtype=bool)  # what never changes says nothing of how the rest scatters
    for a, b, _ in same:
        alive[a + 1 : b] = False
    x, y = (x, y) if alive.all() else (x[alive], y[alive])
    for e in excursions(x, y, SIGNIFICANT):
        if x[e.last] < onset:
            found.append(CurveEvent(e.kind, float(x[e.first]), float(x[e.last]), e.size, e.significance))
    return tuple(sorted(found, key=lambda e: (e.first_step, e.last_step)))


def _diverged(x: Array, y: Array) -> CurveEvent | None:
    """From where the curve left its lowest level for good, when it ends far above it."""
    low = minimum(x, y)
    if low is None or not low.significant or low.rise_since < DIVERGED_SD * low.rise_standard_error:
        return None
    fallen = float(running_median(y[x <= low.step]).max()) - low.value
    if low.rise_since < DIVERGED * fallen:
        return None
    below = np.flatnonzero(y <= low.value + 0.1 * low.rise_since)
    onset = min(int(below[-1]) + 1, x.size - 1) if below.size else 0
    z = low.rise_since / low.rise_standard_error if low.rise_standard_error > 0 else np.inf
    return CurveEvent("diverged_from", float(x[onset]), float(x[-1]), low.rise_since, float(z))
