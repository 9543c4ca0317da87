"""Windows by index arithmetic, against tables that are written out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.corpus.shards import Split, Tokens
from talweg.corpus.windows import Windows, permuted
from talweg.errors import InputError


def text(size: int, num_shards: int = 1) -> Split:
    """A text whose token is its own position, over several shards."""
    shards = np.array_split(np.arange(size, dtype=np.uint32), num_shards)
    return Split("train", Tokens(shards), tuple(np.array([shard.size], dtype=np.uint64) for shard in shards))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_a_permutation_hits_everything_once(size: int, key: int) -> None:
    assert sorted(permuted(np.arange(size, dtype=np.uint64), size, key).tolist()) == list(range(size))


def test_a_permutation_of_many_is_one_too() -> None:
    assert np.unique(permuted(np.arange(700_001, dtype=np.uint64), 700_001, drawn_by=5)).size == 700_001


def test_all_orders_of_four_come_up_equally_often() -> None:
    orders = Counter(tuple(permuted(np.arange(4, dtype=np.uint64), 4, key).tolist()) for key in range(1200))
    chi_squared = sum((orders[order] - 50) ** 2 / 50 for order in orders)
    assert len(orders) == 24
    assert chi_squared < 49.7  # of 23 degrees of freedom, exceeded once in a thousand


def test_neighbours_are_sent_apart() -> None:
    place = permuted(np.arange(100_000, dtype=np.uint64), 100_000, drawn_by=1).astype(float)
    for lag in (1, 2, 1000):
        assert abs(np.corrcoef(place[lag:], place[:-lag])[0, 1]) < 0.013  # 4 sd of an independent order


def test_the_order_is_the_same_for_ever() -> None:
    """A resumed run must find the order it began with, whatever the versions; the numbers are from Python integers."""
    assert permuted(np.arange(8, dtype=np.uint64), 1000, drawn_by=42).tolist() == [
        519,
        933,
        484,
        861,
        916,
        499,
        772,
        445,
    ]
    assert Windows(text(1000), 10, seed=1337).starts(98, 5).tolist() == [388, 138, 296, 606, 176]


@pytest.mark.parametrize("num_shards", [1, 3, 7])
def test_an_epoch_reads_each_window_once_and_targets_are_the_next_tokens(num_shards: int) -> None:
    size, context = 1003, 8
    windows = Windows(text(size, num_shards), context, seed=3)
    assert windows.num_windows == 125
    inputs, targets = windows.batch(125, 125)  # the second epoch
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.shape == targets.shape == (125, context)
    assert np.unique(inputs).size == 125 * context  # no token twice; three of 1,003 wait for another epoch
    assert (targets == (inputs + 1) % size).all()
    assert (np.diff(inputs) % size == 1).all()


def test_one_large_batch_is_many_small_ones_across_epochs() -> None:
    windows = Windows(text(500, 2), 7, seed=0)
    whole, _ = windows.batch(0, 300)
    parts = [windows.batch(first, 3)[0] for first in range(0, 300, 3)]
    assert (whole == np.concatenate(parts)).all()


def test_epochs_and_seeds_differ_in_order_and_in_borders() -> None:
    windows = Windows(text(10_000), 10, seed=0)
    first, second = windows.starts(0, 1000), windows.starts(1000, 1000)
    other = Windows(text(10_000), 10, seed=1).starts(0, 1000)
    for starts in (second, other):
        assert (np.sort(first) != np.sort(starts)).any()
        assert np.mean(first == starts) < 0.01
    borders = {int(windows.starts(epoch * 1000, 1)[0]) % 10 for epoch in range(60)}
    assert borders == set(range(10))


def test_a_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(InputError, match="the train text has 8 tokens, fewer than one window of 8"):
        Windows(text(8), 8, seed=0)
    inputs, targets = Windows(text(9), 8, seed=0).batch(0, 2)
    assert (targets == (inputs + 1) % 9).all()
