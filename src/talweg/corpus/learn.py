"""The stage that trains a tokenizer, on a sample of the training text spread evenly over the input."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import decide, strings, survey
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.plan import Part, Plan
from talweg.corpus.split import TRAIN, sample
from talweg.corpus.work import Progress, load_array, making_folder, output

STAGE = "tokenizer"
# Of text that a tokenizer is trained on: twice as much takes twice as long for 0.2 % fewer tokens of held-out text.
SAMPLE_BYTES = 16_000_000
MOST_PARTS = 64  # places in the input that are read for it; our choice


def run(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """Train the tokenizer. The only task of its stage."""
    chosen = _sample(work, plan)
    total = float(sum(num_bytes[wanted].sum() for _, num_bytes, wanted in chosen))
    texts = _texts(plan, chosen, lambda done: progress(done, total))
    tokenizers.trained(texts, plan.options.vocabulary_size).save(work)
    with making_folder(output(work, STAGE, 0)):  # the mark that it is done
        pass


Chosen = tuple[Part, NDArray[np.int64], NDArray[np.bool_]]  # of a part's documents: their bytes, and those to read


def _sample(work: Path, plan: Plan) -> list[Chosen]:
    """Documents of train from parts at equal distances."""
    side = decide.load(work).side
    parts: list[tuple[Part, NDArray[np.int64]]] = []  # the bytes of each document, 0 where it is not in train
    position = 0
    for i, task in enumerate(plan.tasks):
        num_bytes = survey.column(work, i, "num_bytes")
        mine = np.where(side[position : position + num_bytes.size] == TRAIN, num_bytes, 0)
        position += num_bytes.size
        counts = load_array(output(work, survey.STAGE, i), "documents")
        parts += zip(task.parts, np.split(mine, np.cumsum(counts)[:-1]), strict=True)
    parts = [(part, num_bytes) for part, num_bytes in parts if num_bytes.any()]
    some = np.unique(np.linspace(0, len(parts) - 1, min(len(parts), MOST_PARTS)).round().astype(int))
    taken = [parts[i] for i in some.tolist()]
    wanted = sample(np.concatenate([num_bytes for _, num_bytes in taken]), SAMPLE_BYTES)
    masks = np.split(wanted, np.cumsum([num_bytes.size for _, num_bytes in taken])[:-1])
    return [(*each, mask) for each, mask in zip(taken, masks, strict=True)]


def _texts(plan: Plan, chosen: list[Chosen], progress: Callable[[float], None]) -> Iterator[str]:
    done = 0.0
    for part, num_bytes, wanted in chosen:
        position = 0
        last = int(np.flatnonzero(wanted)[-1]) if wanted.any() else -1
        for batch in survey.read_again(plan, part):
            if position > last:
                break
            rows = slice(position, position + len(batch.strings))
            position = rows.stop
            texts = strings.texts(batch.strings)
            yield from (texts[i] for i in np.flatnonzero(wanted[rows]))
            done += float(num_bytes[rows][wanted[rows]].sum())
            progress(done)
