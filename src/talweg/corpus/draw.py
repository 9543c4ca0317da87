"""Random numbers that are pure functions: the same for ever, on any machine, whatever the version of numpy."""

import numpy as np
from numpy.typing import NDArray


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def key(*parts: int) -> int:
    """64 random bits that depend on every one of these numbers."""
    bits = np.zeros(1, dtype=np.uint64)
    for part in parts:
        bits = mixed(bits + np.uint64(part % 2**64) + np.uint64(0x9E3779B97F4A7C15))
    return int(bits[0])
