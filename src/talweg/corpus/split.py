"""Which documents are for validation: whole groups, so that what is measured there was not learned by heart.

Pages of one host and manuals of one source share passages. On technical prose 66 % of randomly chosen validation
documents hold 13 tokens in a row that training text holds too, by source package 2.5 %. So the coarsest grouping is
taken that still gives validation its share; and a document of validation whose text is in train too is left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import near
from talweg.corpus.draw import key, mixed
from talweg.corpus.manifest import SplitFacts
from talweg.corpus.survey import Survey
from talweg.errors import InputError

LEFT_OUT, TRAIN, VAL = 0, 1, 2
# Our choice: validation may miss what was asked for by half, rather than be split by a finer grouping.
TOLERANCE = 0.5
BLOCK = 1 << 20  # documents looked through at once
MIN_GROUPS = 2  # for validation; one group says nothing of another


@dataclass(frozen=True, eq=False)
class Assignment:
    """side (D,): LEFT_OUT, TRAIN or VAL for each document of the survey."""

    side: NDArray[np.int8]
    facts: SplitFacts


def assign(
    survey: Survey,
    val_bytes: float,
    val_share: float,
    seed: int,
    *,
    wanted: NDArray[np.bool_] | None = None,
    clusters: NDArray[np.int64] | None = None,
) -> Assignment:
    """Split by the first grouping, from the coarsest to the finest, that gives validation about `val_bytes`.

    wanted (D,): documents that were not left out already. clusters (D,): the first near-duplicate of each document;
    groups that share a cluster are joined. Deterministic by seed. Raises InputError where there is one document only.
    """
    present = survey.num_bytes > 0 if wanted is None else wanted & (survey.num_bytes > 0)
    passed_over = []
    for name in survey.group_names:
        group = survey.groups(name)
        if clusters is not None:
            group = _joined(group, clusters, present)
        side, train_groups, val_groups = _sides(survey, group, present, val_bytes, seed)
        size = int(survey.num_bytes[side == VAL].sum())
        fits = abs(size / val_bytes - 1) <= TOLERANCE and val_groups >= MIN_GROUPS and train_groups >= MIN_GROUPS
        if fits or name == "text":
            break
        passed_over.append(f"{name} ({train_groups + val_groups:,} groups)")
    if not (side == VAL).any() or not (side == TRAIN).any():
        raise InputError(
            "all the text is one document, or nothing but copies of one, so none is left for validation; "
            "cut it into documents, one a row"
        )
    rule = f"whole groups by {name}"
    if clusters is not None:
        rule += ", joined where they share near-duplicates"
    rule += ", in an order drawn by the seed, until validation has its share"
    if passed_over:
        rule += f"; too coarse for that: {', '.join(passed_over)}"
    in_both = int(((side == LEFT_OUT) & present).sum())
    rule += "; documents of validation whose text is in train too are left out"
    empty = int((survey.num_bytes == 0).sum())
    return Assignment(side, SplitFacts(rule, name, val_share, train_groups, val_groups, empty, in_both))


def _joined(group: NDArray[np.uint64], clusters: NDArray[np.int64], present: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(D,) groups of which no two hold documents of one cluster; each is named by the least name of those it joins."""
    keys, member = np.unique(group[present], return_inverse=True)
    alike = clusters != np.arange(clusters.size)
    alike[clusters[alike]] = True  # the first of each cluster too
    some = np.flatnonzero(alike & present)
    mine = member[np.cumsum(present)[some] - 1]
    _, first, of_cluster = np.unique(clusters[some], return_index=True, return_inverse=True)
    pairs = np.stack([mine[first][of_cluster], mine], axis=1)
    component = near.clusters(keys.size, [np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)])
    joined = group.copy()
    joined[present] = keys[component][member]
    return joined


def _sides(
    survey: Survey, group: NDArray[np.uint64], present: NDArray[np.bool_], val_bytes: float, seed: int
) -> tuple[NDArray[np.int8], int, int]:
    """(D,) sides by this grouping, and how many groups each side has."""
    keys, member = np.unique(group[present], return_inverse=True)
    sizes = np.bincount(member, weights=survey.num_bytes[present])
    chosen = _chosen(sizes, np.argsort(mixed(keys ^ np.uint64(key(seed))), kind="stable"), val_bytes)
    side = np.full(group.size, LEFT_OUT, dtype=np.int8)
    side[present] = np.where(chosen[member], VAL, TRAIN)
    val = np.flatnonzero(side == VAL)
    side[val[_held(survey.hashes[val], survey.hashes, side == TRAIN)]] = LEFT_OUT
    return side, int((~chosen).sum()), int(chosen.sum())


def _held(few: NDArray[np.uint64], many: NDArray[np.uint64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(few,) which of these hashes the many have, of those that count: a block at a time."""
    sought, which = np.unique(few, return_inverse=True)
    hit = np.zeros(sought.size, dtype=bool)
    for first in range(0, many.size if few.size else 0, BLOCK):
        block = many[first : first + BLOCK][among[first : first + BLOCK]]
        at = np.minimum(np.searchsorted(sought, block), sought.size - 1)
        hit[at[sought[at] == block]] = True
    return hit[which]


def _chosen(sizes: NDArray[Any], order: NDArray[np.intp], wanted: float) -> NDArray[np.bool_]:
    """(G,) groups for validation: in this order, those that fit, until there is enough. Never none, never all."""
    chosen = np.zeros(sizes.size, dtype=bool)
    total = 0.0
    for i in order[: sizes.size - 1].tolist():
        if total + sizes[i] <= wanted * (1 + TOLERANCE):
            chosen[i] = True
            total += sizes[i]
        if total >= wanted and int(chosen.sum()) >= MIN_GROUPS:
            break
    if not chosen.any() and sizes.size > 1:
        chosen[np.argmin(sizes)] = True
    return chosen


def sample(num_bytes: NDArray[np.int64], max_bytes: int, block: int = 100) -> NDArray[np.bool_]:
    """(D,) documents that hold no more than about max_bytes, in blocks of neighbours at equal distances."""
    every = max(-(-int(num_bytes.sum()) // max_bytes), 1)
    taken: NDArray[np.bool_] = np.arange(num_bytes.size) // block % every == 0
    return taken & (num_bytes > 0)
