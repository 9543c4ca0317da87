"""Entropies, against hand calculation and a slow count in dictionaries."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from talweg.corpus import entropy
from talweg.corpus.entropy import Counts, Entropies


def counted(tokens: np.ndarray, size: int, piece: int = 1000, max_pairs: int = entropy.MAX_PAIRS) -> Entropies:
    counts = Counts(size, max_pairs)
    for start in range(0, len(tokens), piece):
        counts.add(tokens[start : start + piece])
    return counts.entropies()


def slowly(tokens: list[int]) -> tuple[float, float]:
    def entropy_of(items: list) -> float:
        return -sum(n / len(items) * math.log(n / len(items)) for n in Counter(items).values())

    pairs = list(pairwise(tokens))
    return entropy_of(tokens), entropy_of(pairs) - entropy_of(tokens[:-1])


def language(size: int, length: int, seed: int = 0) -> np.ndarray:
    """Tokens of Zipf's frequencies; each is followed by one of a few."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, size + 1)
    tokens = rng.choice(size, size=length, p=share / share.sum())
    follow = rng.random(length) < 0.7
    for i in np.flatnonzero(follow[1:]) + 1:
        tokens[i] = (tokens[i - 1] * 7 + tokens[i] % 3) % size
    return tokens.astype(np.uint16 if size <= 65_536 else np.uint32)


def test_by_hand() -> None:
    # a a b a: p(a) = 3/4; pairs aa, ab, ba: after a two different ones once each, after b always a
    found = counted(np.array([0, 0, 1, 0], dtype=np.uint16), 2)
    assert found.unigram == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert found.bigram == pytest.approx(2 / 3 * math.log(2))
    assert found.bigram_share == 1


def test_a_fair_coin_has_ln_2_and_an_alternation_has_nothing() -> None:
    coin = np.random.default_rng(0).integers(0, 2, 1_000_000).astype(np.uint16)
    assert counted(coin, 2, piece=99_999).bigram == pytest.approx(math.log(2), abs=1e-5)
    alternation = np.arange(1000, dtype=np.uint16) % 2
    assert counted(alternation, 2).unigram == pytest.approx(math.log(2))
    assert counted(alternation, 2).bigram == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("size", [300, 65_536, 70_000])
@pytest.mark.parametrize("stretch", [1, 37, 5000, 1 << 22])
def test_a_slow_count_says_the_same(size: int, stretch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "STRETCH", stretch)
    tokens = language(size, 3000)
    found = counted(tokens, size, piece=101)
    assert (found.unigram, found.bigram) == pytest.approx(slowly(tokens.tolist()), rel=1e-12)


def test_the_highest_pair_fits() -> None:
    tokens = np.full(10, 65_535, dtype=np.uint16)
    found = counted(tokens, 65_536)
    assert (found.unigram, found.bigram) == (0, 0)


def test_one_token_and_pieces_of_nothing() -> None:
    counts = Counts(4)
    for piece in ([], [2], []):
        counts.add(np.array(piece, dtype=np.uint16))
    assert counts.entropies() == Entropies(0.0, 0.0, 1.0)


@pytest.mark.parametrize("max_pairs", [30_000, 16_000])
def test_too_many_pairs_are_counted_after_a_sample_of_first_tokens(
    max_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entropy, "STRETCH", 10_000)
    tokens = language(5000, 200_000)
    counts = Counts(5000, max_pairs)
    counts.add(tokens[:150_000])
    counts.add(tokens[150_000:])
    found, exact = counts.entropies(), counted(tokens, 5000)
    assert counts._pairs.size <= max_pairs
    assert exact.bigram_share == 1
    assert found.unigram == exact.unigram
    assert 0.2 < found.bigram_share < 1
    assert found.bigram == pytest.approx(exact.bigram, rel=0.03)
    assert counted(tokens[:50_000], 5000).bigram < exact.bigram * 0.95  # what a sample of the text would say


def test_the_sample_is_exact_for_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of a vocabulary that never meet: each first token that stays keeps its own entropy."""
    monkeypatch.setattr(entropy, "STRETCH", 1000)
    tokens = np.random.default_rng(0).integers(0, 64, 200_000).astype(np.uint16)
    found = counted(tokens, 64, max_pairs=2000)  # of 4,096
    assert found.bigram_share < 0.5
    assert found.bigram == pytest.approx(math.log(64), abs=0.02)


def test_no_room_at_all_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "STRETCH", 1000)
    found = counted(language(500, 20_000), 500, max_pairs=1)
    assert math.isfinite(found.unigram)
    assert found.bigram_share < 0.05


@pytest.mark.parametrize("size", [300, 70_000])
def test_parts_merge_into_the_whole(size: int) -> None:
    """Parts of any length, one of a single token and one of none: the pairs over the seams are counted too."""
    tokens = language(size, 3000)
    whole = Counts(size)
    for part in np.split(tokens, [1, 700, 700, 2000]):
        counts = Counts(size)
        counts.add(part)
        whole.merge(counts.arrays())
    assert whole.entropies() == counted(tokens, size)


def test_parts_without_pairs_lower_the_share() -> None:
    tokens = language(300, 4000)
    whole = Counts(300)
    for i, part in enumerate(np.split(tokens, 4)):
        counts = Counts(300, with_pairs=i % 2 == 0)
        counts.add(part)
        whole.merge(counts.arrays())
    found = whole.entropies()
    assert found.unigram == counted(tokens, 300).unigram
    joined = [pair for i in (0, 2) for pair in pairwise(tokens[1000 * i - (i > 0) : 1000 * i + 1000].tolist())]
    assert found.bigram_share == len(joined) / 3999
    first = Counter(a for a, _ in joined)
    expected = sum(n / len(joined) * math.log(first[a] / n) for (a, _), n in Counter(joined).items())
    assert found.bigram == pytest.approx(expected, rel=1e-12)


def test_merged_parts_that_are_too_many_are_thinned_out() -> None:
    tokens = language(5000, 200_000)
    whole = Counts(5000, max_pairs=16_000)
    for part in np.split(tokens, 20):
        counts = Counts(5000)
        counts.add(part)
        whole.merge(counts.arrays())
    found, exact = whole.entropies(), counted(tokens, 5000)
    assert found.bigram_share < 1
    assert found.bigram == pytest.approx(exact.bigram, rel=0.03)
