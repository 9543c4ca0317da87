"""The level of a curve at its end."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg.curve import line
from talweg.curve.points import finite
from talweg.curve.trend import tail


@dataclass(frozen=True)
class Level:
    """value at the last step, in the unit of the curve."""

    value: float
    standard_error: float
    first_step: float  # where the stretch begins that it was read from
    num: int  # points in that stretch


def level(step: ArrayLike, value: ArrayLike, *, halfwidth: float | None = None) -> Level | None:
    """The local line's value at the last step, robust to single outliers. None below four points.

    halfwidth: the last 2 halfwidth steps are fitted; None: as far back as a line is honest (`talweg.curve.trend.tail`)

    1.28 standard errors hold 80 %, autocorrelation and few points allowed for (`talweg.curve.line`). Where
    even the shortest stretch is bent, the bend is added to the error.
    """
    x, y = finite(step, value)
    if x.size < 4:
        return None
    part = tail(x, y) if halfwidth is None else slice(int(np.searchsorted(x, x[-1] - 2 * halfwidth)), x.size)
    found = line.fit(x[part], y[part], float(x[-1]))
    if found is None:
        return None
    error = math.hypot(found.value_error, found.bend_in_value)
    return Level(found.value, error, float(x[part][0]), found.num)
