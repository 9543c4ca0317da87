"""Edges and clusters, against one dictionary and one union after another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from talweg.corpus import near
from talweg.corpus.near import clusters, edges

BANDS = st.lists(st.lists(st.integers(0, 5), min_size=9, max_size=9), min_size=1, max_size=4)


def slow_edges(band: list[int], present: list[bool]) -> list[list[int]]:
    lowest: dict[int, int] = {}
    found = []
    for document, value in enumerate(band):
        if present[document] and lowest.setdefault(value, document) != document:
            found.append([lowest[value], document])
    return found


def slow_clusters(num_documents: int, pairs: list[list[int]]) -> list[int]:
    label = list(range(num_documents))
    for left, right in pairs:
        old, new = max(label[left], label[right]), min(label[left], label[right])
        label = [new if each == old else each for each in label]
    return label


def spread(values: list[int], rng: np.random.Generator) -> NDArray[np.uint64]:
    """Hashes for these values, some of which differ in their lowest bits alone."""
    table = rng.integers(0, 2**64, size=6, dtype=np.uint64)
    table[1:3] = table[0] + np.array([1, 2], dtype=np.uint64)
    return table[values]


@settings(max_examples=300, deadline=None)
@given(bands=BANDS, present=st.lists(st.booleans(), min_size=9, max_size=9), seed=st.integers(0, 99))
def test_edges_and_clusters_are_the_slow_ones(bands: list[list[int]], present: list[bool], seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = [edges(spread(band, rng), np.array(present)) for band in bands]
    slow = [slow_edges(band, present) for band in bands]
    assert [each.tolist() for each in found] == slow
    expected = slow_clusters(9, [pair for each in slow for pair in each])
    assert clusters(9, found).tolist() == expected
    assert clusters(9, [each[::-1, ::-1] for each in reversed(found)]).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60), parts=st.integers(1, 4))
def test_any_graph_keeps_exactly_one_of_each_component(pairs: list[tuple[int, int]], parts: int) -> None:
    arrays = [np.array(pairs[i::parts], dtype=np.int64).reshape(-1, 2) for i in range(parts)]
    found = clusters(40, arrays)
    assert found.tolist() == slow_clusters(40, [list(pair) for pair in pairs])
    kept = found == np.arange(40)
    assert kept.sum() == np.unique(found).size
    assert kept[found].all()


def graph(name: str, num: int) -> NDArray[np.int64]:
    """The edges of a connected graph that is hard on those who go one step at a time."""
    order = np.arange(num)
    if name == "star":  # around the highest, whose last edge goes to the highest of the others
        return np.column_stack([np.full(num - 1, num - 1), order[:-1]])
    if name == "descending":
        order = order[::-1]
    elif name == "random":
        order = np.random.default_rng(0).permutation(num)
    elif name == "zigzag":
        order = np.column_stack([order[: num // 2], order[num // 2 :]]).reshape(-1)
    return np.column_stack([order[:-1], order[1:]])


@pytest.mark.parametrize("name", ["star", "ascending", "descending", "random", "zigzag"])
def test_a_hundred_thousand_in_one_cluster_take_few_rounds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    num, steps = 100_000, 0

    def counted(left: NDArray[np.int64], right: NDArray[np.int64]) -> bool:
        nonlocal steps
        steps += 1
        assert steps < 100
        return left.tobytes() == right.tobytes()

    monkeypatch.setattr(np, "array_equal", counted)  # asked once in each step along all paths
    pairs = graph(name, num)
    assert not clusters(num, [pairs]).any()
    steps = 0
    assert not clusters(num, [pairs[:, ::-1]]).any()
    steps = -500
    assert not clusters(num, np.array_split(pairs, 14)).any()


def test_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    band = rng.integers(0, 300, size=1000).astype(np.uint64) << np.uint64(40)
    present = rng.random(1000) < 0.8
    monkeypatch.setattr(near, "BLOCK", 7)
    monkeypatch.setattr(near, "PAIRS", 5)
    found = edges(band, present, lambda pairs: np.ones(len(pairs), dtype=bool))
    assert found.tolist() == slow_edges(band.tolist(), present.tolist())
    assert clusters(1000, [found]).tolist() == slow_clusters(1000, found.tolist())


def test_unlike_documents_of_one_hash_are_told_apart() -> None:
    kind = np.array([0, 1, 0, 2, 1, 0, 2, 3])
    band = np.full(8, 77, dtype=np.uint64)
    found = edges(band, None, lambda pairs: kind[pairs[:, 0]] == kind[pairs[:, 1]])
    assert found.tolist() == [[0, 2], [1, 4], [0, 5], [3, 6]]
    assert clusters(8, [found]).tolist() == [0, 1, 0, 3, 1, 0, 3, 7]


def test_a_thousand_documents_that_are_all_unlike_are_not_tried_for_ever() -> None:
    calls = []

    def never(pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        calls.append(len(pairs))
        return np.zeros(len(pairs), dtype=bool)

    assert edges(np.full(1000, 5, dtype=np.uint64), None, never).shape == (0, 2)
    assert calls == [999 - i for i in range(near.TRIES)]


@pytest.mark.parametrize("num", [0, 1, 2])
def test_few_documents(num: int) -> None:
    found = edges(np.arange(num, dtype=np.uint64))
    assert found.shape == (0, 2)
    assert clusters(num, [found]).tolist() == list(range(num))
    assert clusters(num, []).tolist() == list(range(num))
