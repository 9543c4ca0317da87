"""Numbers as `repr` prints them: bit for bit what `float` gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.logs.digits import numbers
from talweg.logs.long_digits import HAS_LONG, can_be_long


def taken(texts: list[str]) -> np.ndarray:
    joined = "|".join(texts).encode()
    width = np.array([len(text) for text in texts])
    end = np.cumsum(width + 1) - 1
    return numbers(np.frombuffer(joined, dtype=np.uint8), end - width, end)


def same(texts: list[str]) -> None:
    assert np.array_equal(taken(texts), np.array([float(text) for text in texts]))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 12.0, 1e4, 1e9])
def test_doubles_of_all_sizes(scale: float) -> None:
    rng = np.random.default_rng(7)
    same([text for text in map(repr, (rng.uniform(0, scale, 20_000)).tolist()) if "e" not in text])


def test_numbers_in_the_middle_between_two_doubles() -> None:
    """Rounding twice would take the wrong neighbour of some of these."""
    middles = [2**53 + 1, 2**54 + 2, 2**60 + 2**7, *range(2**53 + 1, 2**53 + 2001, 2)]
    same([str(number + off) for number in middles for off in (-1, 0, 1)])
    same([str(number) + tail for number in range(2**52 + 1, 2**52 + 500) for tail in (".49", ".5", ".51")])


def test_just_below_a_power_of_two() -> None:
    numbers = [2.0**power * (1 - 2.0**-53) for power in range(-9, 60)]
    same([text for number in numbers if "e" not in (text := repr(number))])
    same(["8589934591.999999523"])  # a hair above the middle of 2^33 and the double below it, where doubles lie closer


@given(st.lists(st.tuples(st.integers(0, 10**19 - 1), st.integers(0, 19)), min_size=1, max_size=50))
def test_any_digits_with_a_point_anywhere(cases: list[tuple[int, int]]) -> None:
    texts = []
    for number, place in cases:
        digits = f"{number:019d}"
        texts.append(f"{digits[:place]}.{digits[place:]}")
    same(texts)


def test_two_points_are_no_number() -> None:
    assert np.isnan(taken(["1.2345678901.234567"])).all()


@pytest.mark.skipif(not HAS_LONG, reason="this processor's long double is no longer than its double")
def test_what_is_taken_at_once() -> None:
    assert can_be_long(17, np.array([-16.0]))
    assert not can_be_long(20, np.array([-16.0]))
    assert not can_be_long(17, np.array([-28.0]))
