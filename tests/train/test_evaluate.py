"""Evaluation against hand calculation."""

import math
from pathlib import Path

import numpy as np
import pytest

from talweg.corpus.shards import open_split
from talweg.train.evaluate import bits_per_byte, clustered_mean, text


def test_the_clustered_error_by_hand() -> None:
    # Documents (1, 3), (2), (6): mean 3; sums of deviations -2, -1, 3; var = 3/2 (4 + 1 + 9) / 16
    loss = clustered_mean(np.array([1.0, 3.0, 2.0, 6.0]), np.array([7, 7, 2, 9]))
    assert loss.value == 3.0
    assert loss.standard_error == pytest.approx(math.sqrt(1.5 * 14 / 16))


def test_the_clustered_error_is_the_scatter_over_repetitions() -> None:
    """Documents with a level of their own: the naive error would be five times too small."""
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(40), 50)
    draws = [clustered_mean(rng.normal(size=40)[document] + rng.normal(size=2000), document) for _ in range(400)]
    true = np.std([d.value for d in draws])
    assert np.mean([d.standard_error for d in draws]) == pytest.approx(true, rel=0.1)
    assert true > 4 / math.sqrt(2000)


def test_one_document_has_no_error() -> None:
    assert math.isnan(clustered_mean(np.ones(3), np.zeros(3, dtype=int)).standard_error)


def test_bits_per_byte_by_hand() -> None:
    assert bits_per_byte(math.log(2) * 3, tokens=100, num_bytes=150) == pytest.approx(2.0)


def test_every_token_but_the_first_is_predicted_once(data: Path) -> None:
    split = open_split(data, "val")
    whole = text(split, 32, 10**9)
    tokens = np.asarray(split.tokens[:])
    counted = whole.targets >= 0
    assert np.array_equal(whole.targets[counted], tokens[1:])
    assert np.array_equal(whole.inputs[counted], tokens[:-1])
    document = np.searchsorted(split.document_ends, np.arange(1, tokens.size), side="right")
    assert np.array_equal(whole.document[counted], document)


def test_a_part_is_full_windows_spread_over_the_text(data: Path) -> None:
    split = open_split(data, "train")
    part = text(split, 32, 32 * 10)
    assert part.num_tokens == 320
    assert part.document[0, 0] == 0
    assert part.document[-1, -1] > 0.9 * len(split.document_ends)
