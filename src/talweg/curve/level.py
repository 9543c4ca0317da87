"""The level of a curve at its end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.curve.trend import finite, line, tail

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """value at the last step, in the unit of the curve."""

    value: float
    standard_error: float
    first_step: float  # where the stretch begins that it was read from
    num: int


def level(step: Array, value: Array, *, halfwidth: float | None = None) -> Level | None:
    """The value of a local line at the last step, with an error that allows for autocorrelation. None below 4 points.

    step, value: (T,) NaN and inf are left out
    halfwidth:   steps before the last that count; None: as far as a line is honest (see `tail`)
    """
    s, v = finite(step, value)
    part = (
        tail(s, v) if halfwidth is None else slice(int(np.searchsorted(s, s[-1] - halfwidth)), None) if s.size else None
    )
    if part is None or s[part].size < 4:
        return None
    fitted = line(s[part], v[part])
    return Level(fitted.at_end, fitted.error_at_end, float(s[part][0]), int(s[part].size))
