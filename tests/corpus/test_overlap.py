"""Shared passages, against sets of tuples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.corpus import overlap
from talweg.corpus.overlap import Hashes, Sought

SEPARATOR = 9


def joined(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    parts = [np.array([*document, SEPARATOR]) for document in documents]
    return np.concatenate(parts).astype(np.uint16), np.cumsum([part.size for part in parts])


def grams(document: list[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(document[i : i + n]) for i in range(len(document) - n + 1)]


DOCUMENTS = st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(train=DOCUMENTS, val=DOCUMENTS, n=st.integers(1, 5), block=st.sampled_from([3, 7, 1 << 16]))
def test_what_is_found_is_what_sets_of_tuples_share(train, val, n, block) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "BLOCK", block)
        hashes = Hashes(10, n)
        tokens, ends = joined(val)
        windows, document = hashes.of_documents(tokens, ends)
        expected = [(d, gram) for d, each in enumerate(val) for gram in grams(each, n)]
        assert document.tolist() == [d for d, _ in expected]
        distinct, which = np.unique(windows, return_inverse=True)
        assert len(distinct) == len({gram for _, gram in expected})
        hit = Sought(distinct).found_in(joined(train)[0], hashes)
        held = {gram for each in train for gram in grams(each, n)}
        assert hit[which].tolist() == [gram in held for _, gram in expected]


def test_a_long_text_with_one_planted_passage() -> None:
    rng = np.random.default_rng(0)
    train, val = (rng.integers(0, 50_000, 300_000).astype(np.uint16) for _ in range(2))
    train[200_000:200_020] = val[70_000:70_020]
    train[65_530:65_543] = val[5:18]  # over the seam of two blocks
    hashes = Hashes(50_001)
    windows, _ = hashes.of_documents(np.append(val, 50_000), np.array([val.size + 1]))
    distinct, which = np.unique(windows, return_inverse=True)
    hit = Sought(distinct).found_in(train, hashes)
    assert np.flatnonzero(hit[which]).tolist() == [5, *range(70_000, 70_008)]


def test_nothing_to_look_for() -> None:
    hashes = Hashes(10)
    windows, _ = hashes.of_documents(*joined([[1, 2, 3]]))
    assert windows.size == 0
    assert Sought(windows).found_in(np.arange(10, dtype=np.uint16), hashes).size == 0
