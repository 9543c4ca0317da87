"""A quick turn of the fuzzer: some hundred inputs for each format, changed at random; atheris is not needed."""

import random

import pytest

from tests.fuzz.fuzz_binary import formats, mutated, tried, unpacked

NUM = 120  # of each seed


@pytest.mark.parametrize("name", sorted(formats()))
def test_mutated_files_are_read_or_refused(name: str) -> None:
    how = formats()[name]
    rng = random.Random(0)
    runs = 0
    for seed in how.seeds:
        assert tried(name, unpacked(seed, how), how) is not None
        for _ in range(NUM):
            runs += tried(name, unpacked(mutated(rng, seed), how), how) is not None
    assert runs > NUM // 2  # most damage leaves a run
