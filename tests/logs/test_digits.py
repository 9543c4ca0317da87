"""Many printed numbers at once: each of them against `float`, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.logs.digits import MOST_DIGITS, numbers

TOKENS = st.one_of(
    st.text("0123456789", min_size=1, max_size=20),
    st.text("0123456789.", min_size=1, max_size=20),
    st.integers(0, 2**63).map(str),
    st.floats(0, 1e15, allow_subnormal=False).map(lambda value: f"{value:.4f}"),
    st.floats(0, 1, allow_subnormal=False).map(lambda value: f"{value:.17f}"),
)


def taken(tokens: list[str], powers: list[int] | None = None) -> list[float]:
    text = " ".join(["", *tokens, ""]).encode()
    ends = np.cumsum([len(token) + 1 for token in tokens])
    starts = ends - [len(token) for token in tokens]
    power = None if powers is None else np.array(powers, dtype=np.float64)
    return numbers(np.frombuffer(text, dtype=np.uint8), starts, ends, power).tolist()


def expected(token: str, power: int = 0) -> float:
    try:
        return float(f"{token}e{power}")
    except ValueError:
        return float("nan")


def same(found: list[float], wanted: list[float]) -> None:
    assert np.array_equal(np.array(found).view(np.int64), np.array(wanted).view(np.int64)), (found, wanted)


@given(st.lists(TOKENS, min_size=1, max_size=30))
def test_each_number_is_what_float_makes_of_it(tokens: list[str]) -> None:
    same(taken(tokens), list(map(expected, tokens)))


@given(st.lists(st.tuples(TOKENS, st.integers(-330, 330)), min_size=1, max_size=30))
def test_with_an_exponent_too(tokens: list[tuple[str, int]]) -> None:
    texts, powers = [text for text, _ in tokens], [power for _, power in tokens]
    same(taken(texts, powers), [expected(text, power) for text, power in tokens])


@given(st.integers(1, 12), st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_a_column_as_one_program_prints_it(whole: int, decimals: int, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(0, 10**whole, size=50)
    tokens = [f"{value:.{decimals}f}" for value in values]
    same(taken(tokens), list(map(float, tokens)))


@pytest.mark.parametrize(
    ("token", "value"), [("0", 0.0), (".", None), ("..", None), (".5", 0.5), ("5.", 5.0), ("1.2.3", None), ("007", 7.0)]
)
def test_by_hand(token: str, value: float | None) -> None:
    same(taken([token]), [float("nan") if value is None else value])


def test_what_is_broken_does_not_break_its_neighbours() -> None:
    same(taken(["1.5", "1.2.3", "...", "12.34", "1.3.2"]), [1.5, *[float("nan")] * 2, 12.34, float("nan")])


def test_where_a_double_ends_to_be_exact() -> None:
    tokens = ["9" * size for size in range(MOST_DIGITS - 1, MOST_DIGITS + 6)] + [
        "9007199254740993",
        "0.30000000000000004",
    ]
    same(taken(tokens), list(map(float, tokens)))


def test_exponents_at_the_edge_of_exact_powers() -> None:
    tokens, powers = ["3.1", "3.1", "3.1", "3.1"], [22, 23, 24, -22]
    same(taken(tokens, powers), [3.1e22, 3.1e23, 3.1e24, 3.1e-22])


def test_none_and_nothing() -> None:
    empty = np.empty(0, dtype=np.intp)
    assert numbers(np.frombuffer(b"abc", dtype=np.uint8), empty, empty).size == 0
    place = np.array([1], dtype=np.intp)
    assert np.isnan(numbers(np.frombuffer(b"abc", dtype=np.uint8), place, place)).all()
