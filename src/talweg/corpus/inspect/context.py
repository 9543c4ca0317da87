"""How much of the context that a text has within its lines reaches beyond them.

Rare tokens come in clusters: a text that names a thing names it again soon. Of pairs of places d tokens apart that
hold the same rare token, count those with a border between them and those without, each against chance:

    lift = pairs found / pairs expected where the n places of each token are strewn over the block at random
    kept = (lift across - 1) / (lift within - 1)        at the same distances; no unit

1: a border is nothing to the text. 0: what follows a border knows nothing of what went before, as where lines were
shuffled. Lines and paragraphs are tried; a pair with a separator between is left out, since documents may be strangers.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

RARE = 1e-4  # of the tokens. Frequent ones recur everywhere
RARE_PLACES = 0.02  # of all, at least, that are to hold a rare token
FEWEST, RARE_IN_SHORT = 2, 10  # occurrences in a block: at least, and how many are rare in a short one
DISTANCES = (4, 8, 16, 32, 64, 128)  # edges of the classes of distance, in tokens
FEWEST_FOUND = 20.0  # pairs within, of a class of distance. Our choice
LARGEST_ERROR = 0.05  # of kept by the chance pairs of a class alone (Poisson), else it is left out. Our choice
LEAST_LIFT = 1.5  # within; a text whose words do not cluster even there says nothing. Our choice


@dataclass(frozen=True)
class Kept:
    """border: line or paragraph, whichever keeps less; spacing: tokens from one to the next, on average."""

    value: float
    standard_error: float  # from the scatter between blocks; infinite for one block
    border: str
    spacing: float


class Context:
    """Pairs counted block by block."""

    def __init__(self, newlines: NDArray[np.int64], separator_id: int | None) -> None:
        """newlines: (V,) how many line ends the bytes of each token hold."""
        self._newlines, self._separator = newlines, separator_id
        self._counts: dict[str, list[NDArray[np.float64]]] = {"line": [], "paragraph": []}
        self._borders = {"line": 0, "paragraph": 0}
        self._tokens = 0

    def add(self, tokens: NDArray[Any]) -> None:
        """One contiguous block, (T,)."""
        inside = np.minimum(tokens.astype(np.int64), self._newlines.size - 1)
        ends = self._newlines[inside]
        line = ends > 0
        follows = np.append(False, line[:-1])
        paragraph = (ends > 1) | (line & follows)
        separators = tokens == self._separator if self._separator is not None else np.zeros(tokens.size, dtype=bool)
        document = np.cumsum(separators)
        first, second = _pairs(tokens, line | separators)
        self._tokens += tokens.size
        for name, border in (("line", line), ("paragraph", paragraph)):
            index = np.cumsum(border | separators)
            self._counts[name].append(_count(tokens, first, second, index, document, line | separators))
            self._borders[name] += int(border.sum())

    def kept(self) -> Kept | None:
        """Of the border that keeps less. None where there are too few borders or pairs to tell."""
        found = [k for name in ("line", "paragraph") if (k := self._kept(name)) is not None]
        return min(found, key=lambda k: k.value) if found else None

    def _kept(self, name: str) -> Kept | None:
        blocks = self._counts[name]
        if not blocks or self._borders[name] < self._tokens / 2000:  # rarer borders leave nothing to count
            return None
        whole = np.sum(blocks, axis=0)
        value = _ratio(whole)
        if value is None:
            return None
        left_out = [r for block in blocks if (r := _ratio(whole - block)) is not None] if len(blocks) > 1 else []
        n = len(left_out)
        spread = (
            math.inf if n < 2 else math.sqrt((n - 1) / n * float(np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))
        )
        return Kept(value, spread, name, self._tokens / self._borders[name])


def _rare(tokens: NDArray[Any], skip: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(T,) which places hold a rare token that occurs again, and (V,) how often each token occurs."""
    counts = np.bincount(tokens[~skip])
    ascending = np.sort(counts)
    least = np.searchsorted(np.cumsum(ascending), RARE_PLACES * counts.sum())  # of a small vocabulary none are so rare
    most = max(RARE * tokens.size, RARE_IN_SHORT, ascending[min(least, ascending.size - 1)] if counts.size else 0)
    rare = (counts >= FEWEST) & (counts <= most)
    rare = np.append(rare, np.zeros(max(int(tokens.max(initial=0)) + 1 - rare.size, 0), dtype=bool))
    counts = np.append(counts, np.zeros(rare.size - counts.size, dtype=counts.dtype))
    return rare[tokens] & ~skip, np.where(rare, counts, 0)


def _pairs(tokens: NDArray[Any], skip: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of each pair of equal rare tokens that lie no further apart than the largest distance."""
    places = np.flatnonzero(_rare(tokens, skip)[0])
    order = places[np.argsort(tokens[places], kind="stable")]
    kinds = tokens[order]
    firsts, seconds = [], []
    for step in range(1, order.size):
        near = (kinds[step:] == kinds[:-step]) & (order[step:] - order[:-step] < DISTANCES[-1])
        if not near.any():
            break
        firsts.append(order[:-step][near])
        seconds.append(order[step:][near])
    empty = np.empty(0, dtype=np.int64)
    return (np.concatenate(firsts), np.concatenate(seconds)) if firsts else (empty, empty)


def _count(
    tokens: NDArray[Any],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    index: NDArray[np.int64],
    document: NDArray[np.int64],
    skip: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(4, classes): pairs found within, expected within, found across, expected across, by class of distance."""
    same_document = document[first] == document[second]
    first, second = first[same_document], second[same_document]
    within = index[first] == index[second]
    class_of = np.searchsorted(DISTANCES, second - first, side="right") - 1
    classes = len(DISTANCES) - 1
    good = class_of >= 0
    found = [np.bincount(class_of[good & side], minlength=classes) for side in (within, ~within)]
    counts = _rare(tokens, skip)[1].astype(np.float64)
    num = max(int((~skip).sum()), 2)
    chance = float((counts * (counts - 1)).sum()) / (num * (num - 1.0))  # that two places hold the same rare token
    places = np.array([_places(index, document, skip, near, far) for near, far in pairwise(DISTANCES)]).T
    return np.array([found[0], chance * places[0], found[1], chance * places[1]], dtype=np.float64)


def _places(
    index: NDArray[np.int64], document: NDArray[np.int64], skip: NDArray[np.bool_], near: int, far: int
) -> tuple[float, float]:
    """Pairs of places from `near` to below `far` tokens apart in one document: with no border between, and with."""
    within = across = 0.0
    distances = [near + (far - near) * (2 * k + 1) // 8 for k in range(4)]  # these stand for the class
    for d in distances:
        counted = ~skip[d:] & ~skip[:-d] & (document[d:] == document[:-d])
        same = int((counted & (index[d:] == index[:-d])).sum())
        within += same
        across += int(counted.sum()) - same
    share = (far - near) / len(distances)
    return within * share, across * share


def _ratio(counts: NDArray[np.float64]) -> float | None:
    """kept, over the classes with enough pairs on both sides, each weighted by the lesser of its expectations."""
    within, by_chance_within, across, by_chance_across = counts
    excess = within / np.maximum(by_chance_within, 1e-9) - 1
    enough = (within >= FEWEST_FOUND) & (excess >= LEAST_LIFT - 1) & (by_chance_across >= 1)
    enough &= LARGEST_ERROR * excess * np.sqrt(by_chance_across) >= 1
    if not enough.any():
        return None
    lift_across = across[enough] / by_chance_across[enough]
    weight = np.minimum(by_chance_within[enough], by_chance_across[enough])
    return float(np.sum(weight * (lift_across - 1)) / np.sum(weight * excess[enough]))
