"""The stage that finds near-duplicates: one task for each band of the signatures, over all documents."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import minhash, near, survey
from talweg.corpus.minhash import BANDS
from talweg.corpus.plan import Plan
from talweg.corpus.work import Progress, load_array, output, save_arrays

STAGE = "bands"


def run(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """Pairs of documents that agree in this band, and in enough cells of their signatures."""
    present = np.concatenate([survey.column(work, task, "num_bytes") for task in range(len(plan.tasks))]) > 0
    sketches = survey.Sketches(work, plan)

    def alike(pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        return minhash.alike(sketches[pairs[:, 0]], sketches[pairs[:, 1]])

    save_arrays(output(work, STAGE, index), {"edges": near.edges(survey.band(work, plan, index), present, alike)})


def clusters(work: Path, hashes: NDArray[np.uint64], full: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(D,) the first of the near-duplicates of each document, itself where it is the first or alone.

    hashes, full (D,): of the text of each, and whether there is any. Exact duplicates are near ones too; signatures
    alone may part them, since words that are joined or parted otherwise are other words.
    """

    def edges() -> Iterator[NDArray[np.int64]]:
        yield near.edges(hashes, full)
        for i in range(BANDS):
            yield load_array(output(work, STAGE, i), "edges")

    return near.clusters(hashes.size, edges())
