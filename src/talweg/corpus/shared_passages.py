"""Two stages that tell what validation shares with train: what to look for, and which of it each task's train holds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import encode
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.manifest import Overlap, Shard
from talweg.corpus.overlap import HEAVY, NGRAM, NGRAM_BYTES, Hashes, Sought
from talweg.corpus.plan import Plan
from talweg.corpus.work import Progress, load_array, output, save_arrays

SOUGHT_STAGE, STAGE = "sought", "overlap"


def seek(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """The different passages of all of validation. The only task of its stage."""
    hashes = _hashes(work)
    found = [np.empty(0, dtype=np.uint64)]
    for i in range(len(plan.tasks)):
        for tokens, ends in _val_shards(work, i):
            found.append(hashes.of_documents(tokens, ends)[0])
    every = np.sort(np.concatenate(found))
    distinct = every[np.append(True, every[1:] != every[:-1])[: every.size]]
    save_arrays(output(work, SOUGHT_STAGE, 0), {"hashes": distinct})


def run(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """Which of the sought passages the training shards of one task hold."""
    hashes = _hashes(work)
    sought = Sought(load_array(output(work, SOUGHT_STAGE, 0), "hashes"))
    folder = output(work, encode.STAGE, index)
    found = np.zeros(sought.hashes.size, dtype=bool)
    total = float(plan.bytes_of(plan.tasks[index]))
    shards = encode.load(work, index).train.shards
    for i, shard in enumerate(shards):
        found |= sought.found_in(np.load(folder / shard.file, mmap_mode="r"), hashes)
        progress(total * (i + 1) / len(shards), total)
    save_arrays(output(work, STAGE, index), {"found": np.packbits(found)})


def measure(work: Path, plan: Plan) -> tuple[Overlap, list[list[NDArray[np.float32]]]]:
    """The overlap of all of validation, and by task and shard the (documents,) share of each document's passages.

    A document of fewer tokens than a passage has none: NaN.
    """
    hashes = _hashes(work)
    sought = load_array(output(work, SOUGHT_STAGE, 0), "hashes")
    packed = np.zeros(-(-sought.size // 8), dtype=np.uint8)
    for i in range(len(plan.tasks)):
        packed |= load_array(output(work, STAGE, i), "found")
    found = np.unpackbits(packed, count=sought.size).astype(bool)
    counted = dict.fromkeys(("documents", "tokens", "heavy_documents", "ngrams", "ngrams_in_train"), 0)
    shares: list[list[NDArray[np.float32]]] = []
    for i in range(len(plan.tasks)):
        shares.append([])
        for tokens, ends in _val_shards(work, i):
            windows, document = hashes.of_documents(tokens, ends)
            hit = found[np.searchsorted(sought, windows)]
            all_of, hits = (np.bincount(each, minlength=ends.size) for each in (document, document[hit]))
            share = np.where(all_of > 0, hits / np.maximum(all_of, 1), np.nan)
            shares[-1].append(share.astype(np.float32))
            here = {
                "documents": (hits > 0).sum(),
                "tokens": np.diff(ends, prepend=0)[hits > 0].sum(),
                "heavy_documents": (share > HEAVY).sum(),
                "ngrams": windows.size,
                "ngrams_in_train": hit.sum(),
            }
            for name, number in here.items():
                counted[name] += int(number)
    return Overlap(**counted, ngram=hashes.n), shares


def _hashes(work: Path) -> Hashes:
    tokenizer = tokenizers.load(work)
    return Hashes(tokenizer.vocabulary_size, NGRAM_BYTES if tokenizer.name == "bytes" else NGRAM)


def _val_shards(work: Path, index: int) -> list[tuple[NDArray[np.generic], NDArray[np.int64]]]:
    """Tokens and document ends of the validation shards of one task."""
    folder = output(work, encode.STAGE, index)

    def opened(shard: Shard) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        return np.load(folder / shard.file, mmap_mode="r"), np.load(folder / shard.documents_file).astype(np.int64)

    return [opened(shard) for shard in encode.load(work, index).val.shards]
