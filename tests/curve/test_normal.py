"""Against printed tables (Abramowitz and Stegun, tables 26.1 and 26.10) and hand calculation."""

import math

import pytest

from talweg.curve import normal


def test_the_normal_distribution_in_both_tails() -> None:
    assert normal.cumulative(0.0) == 0.5
    assert normal.cumulative(1.96) == pytest.approx(0.9750021, abs=1e-7)
    assert normal.cumulative(-10.0) == pytest.approx(7.619853e-24, rel=1e-6)
    assert normal.quantile_of_tail(0.1) == pytest.approx(normal.Z_80)
    assert normal.quantile_of_tail(1e-300) == pytest.approx(37.0471, abs=1e-3)


@pytest.mark.parametrize(("t", "freedom", "tail"), [(3.078, 1, 0.1), (2.353, 3, 0.05), (5.041, 8, 0.0005)])
def test_students_t_against_the_table(t: float, freedom: float, tail: float) -> None:
    assert normal.student_tail(t, freedom) == pytest.approx(tail, rel=2e-3)
    assert normal.student_quantile_of_tail(tail, freedom) == pytest.approx(t, rel=1e-3)


def test_one_degree_is_cauchy_and_many_are_normal() -> None:
    assert normal.student_tail(1e6, 1) == pytest.approx(1 / (math.pi * 1e6), rel=1e-6)
    assert normal.student_tail(2.0, 1e7) == pytest.approx(normal.cumulative(-2.0), rel=1e-5)
    assert normal.student_tail(0.0, 4) == 0.5


@pytest.mark.parametrize(("freedom", "t"), [(2, 1.886), (5, 1.476), (20, 1.325)])
def test_widening_of_an_80_percent_interval(freedom: float, t: float) -> None:
    assert normal.student_widening(freedom) * normal.Z_80 == pytest.approx(t, rel=0.01)
