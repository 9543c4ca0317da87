"""Numbers of 16 to 19 digits, as `repr` prints a double, into an array at once."""

import numpy as np
from numpy.typing import NDArray

ZERO = ord("0")
# An x86 processor's long double has 64 bits of mantissa: it holds 19 digits, and these powers of ten, exactly.
HAS_LONG = bool(np.finfo(np.longdouble).nmant >= 63)
MOST_LONG_DIGITS = 19
POWERS = np.cumprod(np.append(np.longdouble(1), np.full(27, np.longdouble(10))))
LOW = 10  # digits that are taken apart from those above them, so that both parts are exact in a double


def can_be_long(num_digits: int, power: NDArray[np.float64] | int) -> bool:
    """Whether `long_numbers` takes so many digits, times ten to these powers."""
    return HAS_LONG and LOW < num_digits <= MOST_LONG_DIGITS and bool(np.abs(power).max() < POWERS.size)


def long_numbers(
    digits: NDArray[np.uint8],  # (T, w) digits alone
    power: NDArray[np.float64] | int,  # (T,) the power of ten that each is multiplied by, or that of all
) -> NDArray[np.float64]:
    """(T,) what `float` gives for each: m x 10^k in long doubles, both exact there, then rounded to a double.

    Rounded twice a number may end beside the nearest double, but only where the first result lies within one unit of
    its own last place from the middle between two doubles; there `float` is asked.
    """
    whole = _whole(digits[:, :-LOW]).astype(np.longdouble) * POWERS[LOW] + _whole(digits[:, -LOW:])
    power = np.broadcast_to(np.asarray(power, dtype=np.float64), len(digits))
    exact = POWERS[np.abs(power).astype(np.intp)]
    long = whole / exact if bool((power <= 0).all()) else np.where(power < 0, whole / exact, whole * exact)
    values: NDArray[np.float64] = long.astype(np.float64)
    unit = np.spacing(values)
    off = np.abs((long - values).astype(np.float64))
    near = 2.0**-10 * unit
    middle = np.abs(off - unit / 2) <= near
    middle |= np.abs(off - unit / 4) <= near  # below a power of two the doubles lie twice as close
    for row in np.flatnonzero(middle):
        values[row] = float(f"{digits[row].tobytes().decode()}e{power[row]:.0f}")
    return values


def _whole(digits: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(T,) of (T, w) digits as integers; w is 15 at most."""
    count = digits.shape[1]
    whole: NDArray[np.float64] = digits.astype(np.float64) @ 10.0 ** np.arange(count - 1, -1, -1)
    return whole - float(ZERO * ((10**count - 1) // 9))
