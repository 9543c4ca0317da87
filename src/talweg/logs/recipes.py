"""Where in a line its numbers stand, and how those of all lines like it are taken out of the text at once."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.logs.digits import numbers, single

NUMBER = r"[-+]?(?:[0-9][0-9,]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?(?:[nN]a[nN]|NAN|[iI]nf(?:inity)?|INF)"
NOT_FINITE = re.compile(r"[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
LARGEST_POWER = 9_999.0  # of ten, beyond that of any double: what is larger is infinite just the same
PLAIN = re.compile(r"([-+]?)([0-9.]+(?:,[0-9]{3})*(?:\.[0-9]*)?)(?:[eE]([-+]?)([0-9]+))?")


@dataclass(frozen=True)
class Span:
    """Where in a line a number stands, and what it is multiplied by: 1e-3 for milliseconds, 1e3 for a K after it."""

    start: int
    end: int
    scale: float = 1.0


# By the name of a field. "step" and "rank" are known to the engine; a line without a step belongs to the last one seen.
Fields = Mapping[str, Span]
Parse = Callable[[str], Fields | None]


def of_match(match: re.Match[str], scales: Mapping[str, float] = {}) -> dict[str, Span]:
    """The named groups that took part in a match."""
    return {
        name: Span(match.start(name), match.end(name), scales.get(name, 1.0))
        for name, text in match.groupdict().items()
        if text is not None
    }


@dataclass(frozen=True)
class Recipe:
    """How one number is made of the runs of digits and dots in its line."""

    whole: tuple[int, ...]  # runs of the mantissa: several where commas separate thousands
    sign: float
    exponent: int | None  # run of the exponent
    exponent_sign: int
    scale: float
    constant: float | None = None  # nan, inf: the same in every line with this skeleton


def runs(line: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[0-9.]+", line)]


def recipes(line: str, fields: Fields) -> dict[str, Recipe] | None:
    """How each field's number is made of the runs of digits in this line; None where one is not."""
    places = {run: place for place, run in enumerate(runs(line))}
    found: dict[str, Recipe] = {}
    for name, span in fields.items():
        text = line[span.start : span.end]
        if NOT_FINITE.fullmatch(text):
            found[name] = Recipe((), 1.0, None, 1, span.scale, constant=float(text))
            continue
        match = PLAIN.fullmatch(text)
        if match is None:
            return None
        inside = [places.get((span.start + start, span.start + end)) for start, end in runs(text)]
        if None in inside:
            return None
        slots = [place for place in inside if place is not None]
        exponent = slots.pop() if match[4] is not None else None
        if len(slots) != match[2].count(",") + 1:
            return None
        found[name] = Recipe(
            tuple(slots),
            -1.0 if match[1] == "-" else 1.0,
            exponent,
            -1 if match[3] == "-" else 1,
            span.scale,
        )
    return found


def values_of(
    recipe: Recipe,
    num: int,
    base: NDArray[np.int64],
    text: NDArray[np.uint8],
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
) -> NDArray[np.float64]:
    """One field of all lines of a kind."""
    if recipe.constant is not None:
        return np.full(num, recipe.constant)
    power = None
    if recipe.exponent is not None:
        power = numbers(text, starts[base + recipe.exponent], ends[base + recipe.exponent]) * recipe.exponent_sign
        power = np.clip(power, -LARGEST_POWER, LARGEST_POWER)
    value = np.zeros(num)
    for slot in recipe.whole:
        part = numbers(text, starts[base + slot], ends[base + slot], power)
        value = part if slot == recipe.whole[0] else value * 1000.0 + part
    if len(recipe.whole) > 1 and (power is not None or not _all_whole(value)):
        value = _of_groups(recipe, base, text, starts, ends, power)
    if recipe.sign < 0:
        value = -value
    return value * recipe.scale if recipe.scale != 1.0 else value


def _all_whole(value: NDArray[np.float64]) -> bool:
    return bool(np.all((value == np.round(value)) & (np.abs(value) < 2**53)))


def _of_groups(
    recipe: Recipe,
    base: NDArray[np.int64],
    text: NDArray[np.uint8],
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
    power: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Numbers such as 1,234.56, whose groups cannot be added up without rounding twice."""
    values = np.empty(base.size)
    for row, first in enumerate(base):
        digits = b"".join(text[starts[first + slot] : ends[first + slot]].tobytes() for slot in recipe.whole)
        values[row] = single(digits, 0.0 if power is None else float(power[row]))
    return values
