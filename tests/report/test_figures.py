"""How numbers are written, by hand."""

import pytest

from talweg.estimate import Estimate
from talweg.report import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (40_560_000, "40.6 M"),
        (7_602_176_000, "7.60 B"),
        (123_600_000, "124 M"),
        (999_600_000, "1.00 B"),
        (999_400_000, "999 M"),
        (9_996_000, "10.0 M"),
        (524_288, "524,288"),
        (1_300_000, "1.30 M"),
        (15e12, "15.0 T"),
        (2.5e15, "2,500 T"),
        (0, "0"),
    ],
)
def test_counts_carry_three_digits(value: float, text: str) -> None:
    assert figures.count(value) == text


def test_a_loss_has_three_decimals_and_no_minus_zero() -> None:
    assert [figures.nats(x) for x in (3.5696, -0.0121, -0.0002, 10.8727)] == ["3.570", "-0.012", "0.000", "10.873"]


def test_an_interval_is_short_where_it_is_even_and_full_where_it_is_not() -> None:
    assert figures.with_interval(Estimate(3.5712, 3.5652, 3.5772)) == "3.571 ±0.006"
    assert figures.with_interval(Estimate(0.05, 0.0, 0.2)) == "0.050 (0.000–0.200)"
    assert figures.interval(Estimate(-0.012, -0.014, -0.010)) == "-0.014 to -0.010"


def test_a_chance_is_never_certain_by_rounding() -> None:
    assert [figures.percent(p) for p in (0.36, 0.001, 0.999, 0.0, 1.0)] == [
        "36 %",
        "under 1 %",
        "over 99 %",
        "0 %",
        "100 %",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "0.0001"), (6e-5, "6e-05"), (524288.0, "524,288"), (False, "no"), (1024, "1024"), (50304, "50,304")],
)
def test_facts_are_written_as_a_person_would(value: object, text: str) -> None:
    assert figures.fact(value) == text


def test_text_of_a_log_can_neither_colour_nor_break_the_page() -> None:
    assert figures.plain("a\x1b[31mred\x1b[0m\nb\r\x07\u202ec\udcff") == "a\ufffd[31mred\ufffd[0m b \ufffd\ufffdc\ufffd"


def test_a_shortened_text_ends_at_a_word() -> None:
    assert figures.shortened("the tail is straight on log(step)", 24) == "the tail is straight on…"
    assert figures.shortened("short", 24) == "short"
    assert len(figures.shortened("x" * 50, 24)) == 24
