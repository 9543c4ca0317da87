"""Which documents are for validation: whole groups, so that what is measured there was not learned by heart.

Pages of one host and manuals of one source share passages. On technical prose 66 % of randomly chosen validation
documents hold 13 tokens in a row that training text holds too, by source package 2.5 %. So the coarsest grouping is
taken that still gives validation its share; and a document of validation whose text is in train too is left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.draw import key, mixed
from talweg.corpus.manifest import SplitFacts
from talweg.corpus.survey import Survey, groups
from talweg.errors import InputError

LEFT_OUT, TRAIN, VAL = 0, 1, 2
# Our choice: validation may miss what was asked for by half, rather than be split by a finer grouping.
TOLERANCE = 0.5
MIN_GROUPS = 2  # for validation; one group says nothing of another


@dataclass(frozen=True, eq=False)
class Assignment:
    """side (D,): LEFT_OUT, TRAIN or VAL for each document of the survey."""

    side: NDArray[np.int8]
    facts: SplitFacts


def assign(survey: Survey, val_bytes: float, val_share: float, seed: int) -> Assignment:
    """Split by the first grouping, from the coarsest to the finest, that gives validation about `val_bytes`.

    Deterministic by seed. Raises InputError where there is only one document to split.
    """
    passed_over = []
    for name in survey.group_names:
        side, train_groups, val_groups = _sides(survey, groups(survey, name), val_bytes, seed)
        size = int(survey.num_bytes[side == VAL].sum())
        fits = abs(size / val_bytes - 1) <= TOLERANCE and val_groups >= MIN_GROUPS and train_groups >= MIN_GROUPS
        if fits or name == "text":
            break
        passed_over.append(f"{name} ({train_groups + val_groups:,} groups)")
    if not (side == VAL).any() or not (side == TRAIN).any():
        raise InputError(
            f"{survey.sources[0].path}: all the text is one document, so none is left for validation; "
            "cut it into documents, one a row"
        )
    rule = f"whole groups by {name}, in an order drawn by the seed, until validation has its share"
    if passed_over:
        rule += f"; too coarse for that: {', '.join(passed_over)}"
    in_both = int(((side == LEFT_OUT) & (survey.num_bytes > 0)).sum())
    rule += "; documents of validation whose text is in train too are left out"
    empty = int((survey.num_bytes == 0).sum())
    return Assignment(side, SplitFacts(rule, name, val_share, train_groups, val_groups, empty, in_both))


def _sides(survey: Survey, group: NDArray[np.uint64], val_bytes: float, seed: int) -> tuple[NDArray[np.int8], int, int]:
    """(D,) sides by this grouping, and how many groups each side has."""
    full = survey.num_bytes > 0
    keys, member = np.unique(group[full], return_inverse=True)
    sizes = np.bincount(member, weights=survey.num_bytes[full])
    chosen = _chosen(sizes, np.argsort(mixed(keys ^ np.uint64(key(seed))), kind="stable"), val_bytes)
    side = np.full(group.size, LEFT_OUT, dtype=np.int8)
    side[full] = np.where(chosen[member], VAL, TRAIN)
    in_train = np.isin(survey.hashes, survey.hashes[side == TRAIN])
    side[(side == VAL) & in_train] = LEFT_OUT
    return side, int((~chosen).sum()), int(chosen.sum())


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


def sample(survey: Survey, side: NDArray[np.int8], max_bytes: int, block: int = 100) -> NDArray[np.bool_]:
    """(D,) training documents, no more than about max_bytes of them, in blocks of neighbours at equal distances."""
    train = np.where(side == TRAIN, survey.num_bytes, 0)
    every = max(-(-int(train.sum()) // max_bytes), 1)
    taken: NDArray[np.bool_] = np.arange(side.size) // block % every == 0
    taken &= side == TRAIN
    return taken
