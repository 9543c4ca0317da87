"""Many printed numbers into an array at once: what `float` gives for each, without a call for each."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from talweg.logs.long_digits import MOST_LONG_DIGITS, can_be_long, long_numbers

MOST_DIGITS = (
    15  # an integer of so many is exact in a double, and so is 10 to this power: their quotient is rounded once
)
DOT, ZERO = ord("."), ord("0")


EXACT = np.array([float(f"1e{power}") for power in range(23)])  # the powers of ten that a double holds exactly

Power = NDArray[np.float64] | int  # of ten, of each number or of all


def numbers(
    buffer: NDArray[np.uint8],  # (B,) text; digits and dots alone stand in the places below
    start: NDArray[np.intp],  # (T,) where each number begins
    end: NDArray[np.intp],  # (T,) and where it ends
    power: NDArray[np.float64] | None = None,  # (T,) the power of ten that each is multiplied by, as in 3.1e-05
) -> NDArray[np.float64]:
    """(T,) the numbers; NaN where there is none, as for a lone dot or for 1.2.3.

    With m the digits as one integer and k the power less the digits after the dot, m x 10^k is correctly rounded,
    because both factors are exact; where they are not, `float` is asked.
    """
    width = end - start
    widths = np.flatnonzero(np.bincount(width))
    if widths.size == 1:
        return _of_width(buffer, start, int(widths[0]), 0 if power is None else power)
    values = np.empty(start.size)
    for wide in map(int, widths):
        rows = np.flatnonzero(width == wide)
        values[rows] = _of_width(buffer, start[rows], wide, 0 if power is None else power[rows])
    return values


def _of_width(buffer: NDArray[np.uint8], start: NDArray[np.intp], wide: int, power: Power) -> NDArray[np.float64]:
    if not wide:
        return np.full(start.size, np.nan)
    text = sliding_window_view(buffer, wide)[start]
    if wide > MOST_LONG_DIGITS + 1:
        return _one_by_one(text, power)
    is_dot = text == DOT
    num_dots = int(np.count_nonzero(is_dot))
    if not num_dots:
        return _shifted(text, wide, power)
    dot = text[0].tobytes().find(b".")
    if num_dots == len(text) and dot >= 0 and bool(is_dot[:, dot].all()):  # one program prints one number of decimals
        return _shifted(text, dot, power)
    values = np.full(len(text), np.nan)
    dots = np.count_nonzero(is_dot, axis=1)
    first = np.where(dots == 0, wide, is_dot.argmax(axis=1))
    for place in map(int, np.flatnonzero(np.bincount(first))):
        rows = np.flatnonzero((first == place) & (dots < 2))
        if rows.size:
            values[rows] = _shifted(text[rows], place, power if isinstance(power, int) else power[rows])
    return values


def _shifted(text: NDArray[np.uint8], dot: int, power: Power) -> NDArray[np.float64]:
    """Of text (n, w) of digits with one dot in a place that all share, none if that is w; times ten to the power."""
    wide = text.shape[1]
    decimals = max(wide - 1 - dot, 0)
    count = wide - (dot < wide)
    if not count:
        return np.full(len(text), np.nan)
    shift = power - decimals
    if count > MOST_DIGITS and can_be_long(count, shift):
        return long_numbers(np.delete(text, dot, axis=1) if dot < wide else text, shift)
    if count > MOST_DIGITS or not np.abs(shift).max() < EXACT.size:  # not: a power that is NaN is none
        return _one_by_one(text, power)
    weight = 10.0 ** np.arange(count - 1, -1, -1)
    if dot < wide:
        weight = np.insert(weight, dot, 0.0)
    whole: NDArray[np.float64] = text.astype(np.float64) @ weight
    whole -= ZERO * weight.sum()
    value: NDArray[np.float64]
    if isinstance(shift, int):
        value = whole / EXACT[-shift] if shift < 0 else whole * EXACT[shift]
    else:
        exact = EXACT[np.abs(shift).astype(np.intp)]
        value = np.where(shift < 0, whole / exact, whole * exact)
    return value


def _one_by_one(text: NDArray[np.uint8], power: Power) -> NDArray[np.float64]:
    powers = np.broadcast_to(np.asarray(power, dtype=np.float64), len(text))
    return np.array([single(row.tobytes(), each) for row, each in zip(text, powers, strict=True)])


def single(text: bytes, power: float) -> float:
    """One number, by `float`."""
    try:
        return float(f"{text.decode()}e{power:.0f}")
    except ValueError:
        return float("nan")
