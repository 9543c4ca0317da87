"""Which points are in force, and how finely numbers are printed: by hand, and against a slow rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.logs.columns import decimals, standing


def slow(steps: list[int], values: list[float]) -> list[int]:
    """Places in force: first of identical points, then whatever no later one stands at or before.

    One that was overtaken stands at its last place, where it fits between those in force.
    """
    pairs = list(zip(steps, values, strict=True))
    first = [i for i in range(len(steps)) if pairs[i] not in pairs[:i]]
    kept = [i for i in first if all(steps[j] > steps[i] for j in first if j > i)]
    last = [max(j for j in range(len(pairs)) if pairs[j] == pairs[i]) for i in first if i not in kept]
    last = [
        j
        for j in sorted(last)
        if all(steps[k] > steps[j] for k in first if k > j) and all(steps[k] < steps[j] for k in kept if k < j)
    ]
    return sorted(kept + [j for j in last if all(steps[k] > steps[j] for k in last if k > j)])


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([1.0, 2.0, 3.0])), max_size=14))
def test_against_the_slow_rule(pairs: list[tuple[int, float]]) -> None:
    steps, values = [step for step, _ in pairs], [value for _, value in pairs]
    stands = standing(np.array(steps, dtype=float), np.array(values))
    assert np.flatnonzero(stands.keep).tolist() == slow(steps, values)
    assert all(isinstance(note, str) for note in stands.notes("loss"))
    assert stands.num_repeated + stands.num_superseded + stands.keep.sum() == len(pairs)


def test_a_plain_log_stands_as_it_is() -> None:
    stands = standing(np.array([0.0, 5.0, 9.0]), np.array([3.0, np.nan, 1.0]))
    assert stands.keep.all()
    assert stands.notes("loss") == ()


def test_a_repeated_nan_counts_once() -> None:
    stands = standing(np.array([0.0, 1.0, 1.0]), np.array([3.0, np.nan, np.nan]))
    assert stands.keep.tolist() == [True, True, False]
    assert stands.notes("loss") == ("loss: points that stand in the log more than once were counted once (1 left out)",)


def test_a_resume_that_gives_a_value_again_loses_no_point() -> None:
    """Step 2 comes out as 2.5 both times; it stands between the new points of steps 1 and 3."""
    step, value = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), np.array([2.7, 2.5, 2.4, 2.6, 2.5, 2.3])
    stands = standing(step, value)
    assert stands.keep.tolist() == [False, False, False, True, True, True]
    assert stands.went_back_to == (1.0,)
    assert stands.num_repeated == 0


def test_the_same_step_with_another_value() -> None:
    stands = standing(np.array([0.0, 1.0, 1.0, 2.0]), np.array([3.0, 2.5, 2.6, 2.4]))
    assert stands.keep.tolist() == [True, False, True, True]
    assert stands.notes("loss") == (
        "loss: at 1 steps it stands there twice with different values; the later one was taken",
    )


@pytest.mark.parametrize(
    ("texts", "digits"),
    [(["3.5", "3.1234"], 4), (["1.5e-3"], 4), (["5"], 0), (["1e-4"], 4), (["nan", "inf"], 0), (["1.25e2"], 0), ([], 0)],
)
def test_decimals(texts: list[str], digits: int) -> None:
    assert decimals(texts) == digits
