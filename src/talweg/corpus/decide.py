"""Which documents stay, and on which side of the split: decided once, for all tasks, from what the survey found.

A text that is left out is a copy of one that stays, is rejected by a rule that was asked for, or is empty; the first of
several copies stays, so the only copy of a text is never lost. Everything left out is listed in left_out.parquet.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import bands, near, survey
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.draw import mixed
from talweg.corpus.manifest import Duplicates, SplitFacts
from talweg.corpus.plan import Plan
from talweg.corpus.records import build
from talweg.corpus.split import LEFT_OUT, assign
from talweg.corpus.survey import Survey
from talweg.corpus.work import Progress, output, save_arrays
from talweg.errors import InputError
from talweg.files import replacing

STAGE = "decide"
LEFT_OUT_FILE = "left_out.parquet"
# Why a document is in no shard. A copy in train of a text in val is left out of val.
STAYS, EMPTY, FILTERED, EXACT, NEAR, IN_BOTH = range(6)
REASONS = ("", "empty", "filtered", "exact duplicate", "near-duplicate", "in train too")
# English web text under a BPE of 4,096 and of 16,384 tokens, by the logarithm of the vocabulary.
BYTES_PER_TOKEN = ((math.log(4096), math.log(16384)), (3.73, 4.41))


@dataclass(frozen=True, eq=False)
class Decision:
    """Arrays of length D. kind and near_kind mark the first document of its kind among those that stay."""

    side: NDArray[np.int8]  # split.LEFT_OUT, TRAIN or VAL
    kind: NDArray[np.bool_]  # of its text
    near_kind: NDArray[np.bool_] | None  # of its near-duplicates; None: not looked for
    duplicates: Duplicates
    split: SplitFacts


def run(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """Decide, and list what is left out. The only task of its stage."""
    options, found = plan.options, survey.load(work, plan)
    full = found.num_bytes > 0
    clusters = bands.clusters(work, found.hashes, full) if options.near else None
    passed = full & ~_filtered(work, plan, found)
    exact_first = _first_of(found.hashes, passed)
    near_first = _first_of(clusters, passed) if clusters is not None else None
    kept = passed.copy()
    if options.dedup in ("exact", "near"):
        kept &= exact_first
    if options.dedup == "near" and near_first is not None:
        kept &= near_first
    kept_bytes = float(found.num_bytes[kept].sum())
    if not kept_bytes:
        raise InputError(f"the filters ({', '.join(options.filters)}) reject every document; give fewer of them")
    wanted = min(options.val_share * kept_bytes, options.val_tokens * _bytes_per_token(work, plan))
    # without near-duplicates no group shares any
    join = clusters if options.dedup != "near" else None
    assignment = assign(found, wanted, options.val_share, options.seed, wanted=kept, clusters=join)
    side = assignment.side
    reason = np.full(side.size, IN_BOTH, dtype=np.int8)
    for why, those in ((NEAR, ~kept), (EXACT, ~exact_first & ~kept), (FILTERED, ~passed), (EMPTY, ~full)):
        reason[those] = why
    reason[side != LEFT_OUT] = STAYS
    _list(work, plan, found, reason, clusters)
    stays = side != LEFT_OUT
    arrays = {"side": side, "kind": _first_of(found.hashes, stays)}
    if clusters is not None:
        arrays["near_kind"] = _first_of(clusters, stays)
    duplicates = _duplicates(options.dedup, found, full, clusters)
    about = json.dumps({"duplicates": asdict(duplicates), "split": asdict(assignment.facts)}).encode()
    save_arrays(output(work, STAGE, 0), arrays | {"about": np.frombuffer(about, dtype=np.uint8)})


def load(work: Path) -> Decision:
    path = output(work, STAGE, 0)
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        near_kind = arrays.get("near_kind")
        parts = (build(Duplicates, about["duplicates"], path), build(SplitFacts, about["split"], path))
        return Decision(arrays["side"], arrays["kind"], near_kind, *parts)


def _bytes_per_token(work: Path, plan: Plan) -> float:
    """A guess before anything is encoded; it only decides how much text the largest validation set takes."""
    size = plan.options.vocabulary_size
    if plan.options.tokenizer != "bpe":
        tokenizer = tokenizers.load(work)
        if tokenizer.name == "bytes":
            return 1.0
        size = tokenizer.vocabulary_size
    return float(np.interp(math.log(size), *BYTES_PER_TOKEN))


def _filtered(work: Path, plan: Plan, found: Survey) -> NDArray[np.bool_]:
    """(D,) what the rules that were asked for reject."""
    if not plan.options.filters:
        return np.zeros(found.hashes.size, dtype=bool)
    return survey.rejected(work, plan, plan.options.filters)


def _first_of(kind: NDArray[Any], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(D,) the first document of each kind, of those that count."""
    first = among.copy()
    first[near.edges(mixed(kind.astype(np.uint64)), among)[:, 1]] = False
    return first


def _duplicates(dedup: str, found: Survey, full: NDArray[np.bool_], clusters: NDArray[np.int64] | None) -> Duplicates:
    """Of the whole input, whatever rules and splits make of it."""
    exact = full & ~_first_of(found.hashes, full)
    counts = int(exact.sum()), int(found.num_bytes[exact].sum())
    if clusters is None:
        return Duplicates(dedup, *counts)
    close = full & ~exact & ~_first_of(clusters, full)
    return Duplicates(dedup, *counts, int(close.sum()), int(found.num_bytes[close].sum()))


def _list(work: Path, plan: Plan, found: Survey, reason: NDArray[Any], clusters: NDArray[np.int64] | None) -> None:
    """left_out.parquet: input, begin, row, reason, and of a copy the place of the one that stays.

    begin is the first byte of the stretch of a large text file that rows are counted from; 0 in any other file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = np.flatnonzero(reason != STAYS)
    instead = _kept_instead(found, reason, out, clusters)
    known = instead >= 0
    file, begin, row = survey.places(work, plan, out)
    kept_file, kept_begin, kept_row = survey.places(work, plan, np.maximum(instead, 0))
    names = pa.array([source.url for source in plan.sources])
    table = pa.table(
        {
            "input": pa.DictionaryArray.from_arrays(pa.array(file.astype(np.int32)), names),
            "begin": begin,
            "row": row,
            "reason": pa.DictionaryArray.from_arrays(pa.array(reason[out]), pa.array(REASONS)),
            "kept_input": pa.DictionaryArray.from_arrays(pa.array(kept_file.astype(np.int32), mask=~known), names),
            "kept_begin": pa.array(kept_begin, mask=~known),
            "kept_row": pa.array(kept_row, mask=~known),
        }
    )
    with replacing(work / LEFT_OUT_FILE) as target:
        pq.write_table(table, target, compression="zstd")


def _kept_instead(
    found: Survey, reason: NDArray[np.int8], out: NDArray[np.int64], clusters: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """(left out,) the document that stays in place of each of these; -1 where none does."""
    instead = np.full(out.size, -1, dtype=np.int64)
    # by its cluster also an exact copy of a near-duplicate that is left out itself
    for reasons, kind in (((EXACT, IN_BOTH), found.hashes), ((NEAR, EXACT), clusters)):
        mine = np.isin(reason[out], reasons) & (instead < 0)
        if kind is None or not mine.any():
            continue
        wanted = kind[out[mine]]
        stays = np.flatnonzero((reason == STAYS) & np.isin(kind, wanted))
        kinds, first = np.unique(kind[stays], return_index=True)
        if kinds.size:
            at = np.minimum(np.searchsorted(kinds, wanted), kinds.size - 1)
            instead[mine] = np.where(kinds[at] == wanted, stays[first[at]], -1)
    return instead
