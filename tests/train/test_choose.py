"""Choosing a token: each filter against a slow plain computation, and what is drawn against its probabilities."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from talweg.errors import InputError
from talweg.train.choose import Choice, choose, probabilities


def plain(logits: list[float], choice: Choice) -> list[float]:
    """The definition, token by token."""
    weight = {token: math.exp(x / choice.temperature) for token, x in enumerate(logits)}
    if choice.top_k is not None:
        least = sorted(logits, reverse=True)[min(choice.top_k, len(logits)) - 1]
        weight = {token: w for token, w in weight.items() if logits[token] >= least}
    if choice.top_p is not None:
        total, kept, together = sum(weight.values()), {}, 0.0
        for token, w in sorted(weight.items(), key=lambda item: -item[1]):
            if together < choice.top_p:
                kept[token] = w
            together += w / total
        weight = kept
    if choice.min_p is not None:
        weight = {token: w for token, w in weight.items() if w >= choice.min_p * max(weight.values())}
    return [weight.get(token, 0.0) / sum(weight.values()) for token in range(len(logits))]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 5, 100])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.7, 1.0])
@pytest.mark.parametrize("min_p", [None, 0.0, 0.1, 1.0])
def test_each_filter_and_all_together(
    temperature: float, top_k: int | None, top_p: float | None, min_p: float | None
) -> None:
    choice = Choice(temperature, top_k, top_p, min_p)
    for seed in range(3):
        logits = np.random.default_rng(seed).normal(size=20).astype(np.float32) * 2
        found = probabilities(torch.from_numpy(logits), choice)
        assert found.tolist() == pytest.approx(plain(logits.tolist(), choice), abs=1e-5)


def test_by_hand() -> None:
    logits = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()
    assert probabilities(logits, Choice(1.0)).tolist() == pytest.approx([0.5, 0.1, 0.3, 0.1])
    assert probabilities(logits, Choice(1.0, top_k=2)).tolist() == pytest.approx([0.625, 0, 0.375, 0])
    assert probabilities(logits, Choice(1.0, top_k=3)).tolist() == pytest.approx([0.5, 0.1, 0.3, 0.1])  # a tie
    assert probabilities(logits, Choice(1.0, top_p=0.6)).tolist() == pytest.approx([0.625, 0, 0.375, 0])
    assert probabilities(logits, Choice(1.0, top_p=0.4)).tolist() == pytest.approx([1, 0, 0, 0])
    assert probabilities(logits, Choice(1.0, min_p=0.5)).tolist() == pytest.approx([0.625, 0, 0.375, 0])
    assert probabilities(logits, Choice(0.5)).tolist() == pytest.approx([25 / 36, 1 / 36, 9 / 36, 1 / 36])
    # of 5 / 8 and 3 / 8, which are left of two, the first has 0.6
    assert probabilities(logits, Choice(1.0, top_k=2, top_p=0.6)).tolist() == pytest.approx([1, 0, 0, 0])


def test_a_tiny_temperature_is_the_most_probable() -> None:
    logits = torch.tensor([90.0, 100.0, -1e4])
    assert probabilities(logits, Choice(1e-4)).tolist() == [0, 1, 0]
    assert probabilities(logits, Choice(0.0)).tolist() == [0, 1, 0]


@pytest.mark.parametrize("choice", [Choice(1.0), Choice(2.0, top_k=4), Choice(1.0, top_p=0.8), Choice(0.8, min_p=0.1)])
def test_what_is_drawn_has_these_probabilities(choice: Choice) -> None:
    """Pearson's chi-square, the mean of ten times 2,000 draws: its mean is f, the degrees of freedom."""
    logits = 1.5 * torch.randn(8, generator=torch.Generator().manual_seed(1))
    exact, squares, draws = plain(logits.tolist(), choice), [], 2000
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        counts = Counter(choose(logits, choice, generator) for _ in range(draws))
        assert set(counts) == {token for token, p in enumerate(exact) if p > 0}
        squares.append(sum((counts[token] - draws * p) ** 2 / (draws * p) for token, p in enumerate(exact) if p > 0))
    freedom = sum(p > 0 for p in exact) - 1
    assert freedom > 1
    assert np.mean(squares) == pytest.approx(freedom, abs=4 * math.sqrt(2 * freedom / 10))


def test_the_seed_decides() -> None:
    logits = torch.zeros(50)
    drawn = [[choose(logits, Choice(1.0), torch.Generator().manual_seed(s)) for _ in range(3)] for s in range(8)]
    assert all(len(set(each)) == 1 for each in drawn)
    assert len({each[0] for each in drawn}) > 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -1.0}, "temperature = -1.0: needed 0 or more"),
        ({"temperature": math.nan}, "temperature = nan: needed 0 or more"),
        ({"top_k": 0}, "top_k = 0: needed 1 or more"),
        ({"top_p": 0.0}, "top_p = 0.0: needed more than 0 and at most 1"),
        ({"top_p": 1.5}, "top_p = 1.5: needed more than 0 and at most 1"),
        ({"min_p": 1.1}, "min_p = 1.1: needed a share from 0 to 1"),
    ],
)
def test_what_is_out_of_range(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Choice(**values)  # type: ignore[arg-type]
