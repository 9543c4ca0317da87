"""Windows by index arithmetic, against the stream written out as a list."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.corpus import windows as module
from talweg.corpus.draw import key
from talweg.corpus.shards import Split, Tokens
from talweg.corpus.windows import Windows, permuted, rank_slice
from talweg.errors import InputError


def text(lengths: list[int], num_shards: int = 1) -> Split:
    """Documents whose tokens are their own places in the text, over several shards."""
    ends = np.cumsum(lengths)
    parts = [part for part in np.array_split(np.array(lengths), num_shards) if part.size]
    borders = np.cumsum([part.sum() for part in parts])[:-1]
    shards = np.split(np.arange(ends[-1], dtype=np.uint32), borders)
    return Split("train", Tokens(shards), tuple(np.cumsum(part).astype(np.uint64) for part in parts))


def stream(lengths: list[int], seed: int, epochs: int) -> list[tuple[int, tuple[int, int]]]:
    """The tokens of epochs 0 .. epochs - 1 one after another, each with (epoch, place of its document there)."""
    documents = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    result = []
    for epoch in range(epochs):
        for place in range(len(lengths)):
            index = np.array([place], dtype=np.uint64)
            document = documents[int(permuted(index, len(lengths), key(seed, epoch, 1))[0])]
            result += [(int(token), (epoch, place)) for token in document]
    return result


def in_order(windows: Windows, total: int, epochs: int) -> list[int]:
    """For each window as it is visited, its number in the stream."""
    numbers: list[int] = []
    for epoch in range(epochs):
        first, last = -(-epoch * total // windows.context), -(-(epoch + 1) * total // windows.context)
        place = np.arange(last - first, dtype=np.uint64)
        numbers += [first + int(w) for w in permuted(place, last - first, key(windows._seed, epoch, 0))]
    return numbers


LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(lengths=LENGTHS, seed=st.integers(0, 9), shards=st.integers(1, 4), data=st.data())
def test_batches_are_those_of_the_stream_written_out(
    lengths: list[int], seed: int, shards: int, data: st.DataObject
) -> None:
    total = sum(lengths)
    S = data.draw(st.integers(1, total))
    windows = Windows(text(lengths, shards), S, seed)
    whole = stream(lengths, seed, 5)
    numbers = in_order(windows, total, 3)
    first = data.draw(st.integers(0, len(numbers) - 1))
    count = data.draw(st.integers(1, len(numbers) - first))
    batch = windows.batch(first, count)
    assert batch.inputs.shape == batch.targets.shape == batch.document.shape == (count, S)
    assert batch.inputs.dtype == batch.targets.dtype == batch.document.dtype == np.int64
    for row, w in enumerate(numbers[first : first + count]):
        expected = whole[w * S : (w + 1) * S]
        assert batch.targets[row].tolist() == [token for token, _ in expected]
        if w:
            assert batch.inputs[row].tolist() == [token for token, _ in whole[w * S - 1 : (w + 1) * S - 1]]
        same = [[a == b for _, b in expected] for _, a in expected]
        assert (batch.document[row][:, None] == batch.document[row]).tolist() == same


@settings(max_examples=100, deadline=None)
@given(lengths=LENGTHS, seed=st.integers(0, 99), data=st.data())
def test_every_token_is_a_target_once_in_every_epoch(lengths: list[int], seed: int, data: st.DataObject) -> None:
    """Windows reach over the end of an epoch by less than one window, and what they take is missing in the next."""
    total = sum(lengths)
    S = data.draw(st.integers(1, total))
    windows = Windows(text(lengths), S, seed)
    over = np.zeros(total, dtype=int)  # targets of this epoch that the epoch before took
    for epoch in range(3):
        first, last = windows.first_window(epoch), windows.first_window(epoch + 1)
        counts = over + np.bincount(windows.batch(first, last - first).targets.ravel(), minlength=total)
        over = counts - 1
        assert over.min() == 0
        assert over.sum() == (last * S) - (epoch + 1) * total < S
    assert windows.first_window(S) == total  # after S epochs the borders agree, and every count is even


def test_the_token_before_the_stream_ends_a_document() -> None:
    """So that the first target has an input, and no token of the text is without a prediction."""
    lengths = [3, 5, 2, 7, 4]
    for seed in range(20):
        windows = Windows(text(lengths), 4, seed)
        place = in_order(windows, sum(lengths), 1).index(0)
        assert int(windows.batch(place, 1).inputs[0, 0]) + 1 in np.cumsum(lengths)


def test_a_single_document_is_a_ring() -> None:
    windows = Windows(text([9]), 4, seed=0)
    batch = windows.batch(0, 27)
    assert (batch.targets == (batch.inputs + 1) % 9).all()
    assert np.bincount(batch.targets.ravel()).tolist() == [12] * 9


def test_a_document_without_tokens_changes_nothing() -> None:
    split = text([3, 5, 2])
    gaps = Split("train", split.tokens, (np.array([0, 3, 3, 8, 10, 10], dtype=np.uint64),))
    for seed in range(10):
        batch = Windows(gaps, 4, seed).batch(0, 30)
        assert np.bincount(batch.targets.ravel()).tolist() == [12] * 10
        assert batch.inputs.max() < 10


def test_a_table_made_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.random.default_rng(0).integers(1, 30, 200).tolist()
    whole = Windows(text(lengths, 3), 16, seed=5).batch(0, 400)
    monkeypatch.setattr(module, "PART", 7)
    parts = Windows(text(lengths, 3), 16, seed=5).batch(0, 400)
    assert (whole.inputs == parts.inputs).all()
    assert (whole.document == parts.document).all()


def test_epochs_and_seeds_give_documents_other_neighbours() -> None:
    lengths = [4] * 500
    pairs = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        windows = Windows(text(lengths), 8, seed)
        first, last = windows.first_window(epoch), windows.first_window(epoch + 1)
        batch = windows.batch(first, last - first)
        ends = batch.targets % 4 == 0  # the first token of a document, and the separator before it
        pairs.append({(int(a) // 4, int(b) // 4) for a, b in zip(batch.inputs[ends], batch.targets[ends], strict=True)})
    assert all(len(found) == 500 for found in pairs)
    assert all(len(a & b) < 10 for a, b in ((pairs[0], pairs[1]), (pairs[0], pairs[2]), (pairs[1], pairs[2])))


def test_the_pieces_of_a_long_document_are_no_neighbours_in_a_batch() -> None:
    batch = Windows(text([8000]), 8, seed=0).batch(0, 1000)
    assert np.mean(batch.targets[1:, 0] == batch.targets[:-1, 0] + 8) < 0.01


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("micro_batch", [1, 3, 16])
def test_ranks_and_micro_batches_share_one_global_batch(world: int, micro_batch: int) -> None:
    split, count = text(np.random.default_rng(1).integers(1, 40, 60).tolist(), 3), 13
    windows = Windows(split, 16, seed=2)
    for first in range(0, 260, count):  # over several epochs
        whole = windows.batch(first, count)
        pieces = []
        for rank in range(world):
            own = Windows(split, 16, seed=2)  # a process of its own
            begin, size = rank_slice(first, count, rank, world)
            pieces += [
                own.batch(i, min(micro_batch, begin + size - i)) for i in range(begin, begin + size, micro_batch)
            ]
        assert (np.concatenate([piece.inputs for piece in pieces]) == whole.inputs).all()
        assert (np.concatenate([piece.targets for piece in pieces]) == whole.targets).all()


def test_shares_of_ranks_differ_by_one_window_at_most() -> None:
    assert [rank_slice(100, 10, rank, 4) for rank in range(4)] == [(100, 2), (102, 3), (105, 2), (107, 3)]


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
    expected = [519, 933, 484, 861, 916, 499, 772, 445]
    assert permuted(np.arange(8, dtype=np.uint64), 1000, drawn_by=42).tolist() == expected
    batch = Windows(text([7, 3, 11, 2, 5]), 4, seed=1337).batch(5, 3)
    assert module.ORDER == "documents-1"
    assert batch.targets.tolist() == [[25, 26, 27, 10], [15, 16, 17, 18], [20, 7, 8, 9]]


def test_a_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(InputError, match="the train text has 8 tokens, fewer than one window of 9; shorten model"):
        Windows(text([8]), 9, seed=0)
    batch = Windows(text([8]), 8, seed=0).batch(0, 2)
    assert (batch.targets == (batch.inputs + 1) % 8).all()
