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
    values = np.full(start.size, np.nan)
    width = end - start
    for wide in map(int, np.flatnonzero(np.bincount(width))):
        rows = np.flatnonzero(width == wide)
        powers = np.zeros(rows.size) if power is None else power[rows]
        if wide > MOST_LONG_DIGITS + 1:
            texts = [buffer[start[row] : end[row]].tobytes() for row in rows]
            values[rows] = [_single(text, power) for text, power in zip(texts, powers, strict=True)]
        elif wide > 0:
            values[rows] = _same_width(sliding_window_view(buffer, wide)[start[rows]], powers)
    return values


def _same_width(text: NDArray[np.uint8], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of text (n, w), times ten to the power (n,)."""
    wide = text.shape[1]
    dot = text[0].tobytes().find(b".")
    if dot >= 0 and bool((text[:, dot] == DOT).all()):  # one program prints one number of decimals
        return _shifted(np.delete(text, dot, axis=1), power - (wide - 1 - dot))
    dots = text == DOT
    first = np.where(dots.any(axis=1), dots.argmax(axis=1), wide)
    values = np.full(len(text), np.nan)
    for place in np.flatnonzero(np.bincount(first)):
        rows = np.flatnonzero(first == place)
        digits = np.delete(text[rows], place, axis=1) if place < wide else text[rows]
        values[rows] = _shifted(digits, power[rows] - max(wide - 1 - int(place), 0))
    return values


def _shifted(digits: NDArray[np.uint8], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) of (n, w) digits as integers, times ten to the power (n,); NaN where one is a dot."""
    count = digits.shape[1]
    if not count:
        return np.full(len(digits), np.nan)
    dots = digits == DOT
    broken = dots.any(axis=1) if dots.any() else np.zeros(len(digits), dtype=np.bool_)
    if count > MOST_DIGITS and can_be_long(count, power):
        return np.where(broken, np.nan, long_numbers(digits, power))
    if count > MOST_DIGITS or np.abs(power).max() > 22:
        texts = [row.tobytes() for row in digits]
        values = np.array([_single(text, shift) for text, shift in zip(texts, power, strict=True)])
        return np.where(broken, np.nan, values)
    whole = digits.astype(np.float64) @ 10.0 ** np.arange(count - 1, -1, -1)
    whole -= float(ZERO * ((10**count - 1) // 9))
    exact = EXACT[np.abs(power).astype(np.intp)]
    return np.where(broken, np.nan, np.where(power < 0, whole / exact, whole * exact))


def _single(text: bytes, power: float) -> float:
    try:
        return float(f"{text.decode()}e{power:.0f}")
    except ValueError:
        return float("nan")
