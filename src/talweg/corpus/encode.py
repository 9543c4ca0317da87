"""Documents to shards: each task encodes the documents that stay, and writes them where they belong.

Beside the shards stands what was counted: tokens, documents and lengths of each side, and tokens and pairs of train.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import decide, strings, survey
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.entropy import Counts
from talweg.corpus.manifest import Side
from talweg.corpus.plan import Plan
from talweg.corpus.records import build
from talweg.corpus.shards import SHARD_TOKENS, ShardWriter
from talweg.corpus.split import LEFT_OUT, TRAIN, VAL
from talweg.corpus.tokenizer import Tokenizer
from talweg.corpus.work import Progress, making_folder, output, save_arrays
from talweg.files import write_text

STAGE = "encode"
SIDES = {"train": TRAIN, "val": VAL}
COUNTS_FILE, RESULT_FILE = "counts.npz", "result.json"
LENGTH_BINS = 40  # of powers of two
COUNTED = (
    "tokens",
    "documents",
    "bytes",
    *(f"{kind}_{what}" for kind in ("unique", "near_unique") for what in ("documents", "tokens")),
)


@dataclass(frozen=True)
class Result:
    """What one task wrote. tried, unfaithful: documents that were decoded again, and those that came out different."""

    train: Side
    val: Side
    tried: int
    unfaithful: int


@dataclass
class _Tally:
    """One side while it is written."""

    writer: ShardWriter
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    largest: int = -1
    documents_by_length: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LENGTH_BINS, dtype=np.int64))
    tokens_by_length: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LENGTH_BINS, dtype=np.int64))

    def add(self, tokens: NDArray[Any], lengths: NDArray[np.int64], num_bytes: int, kinds: "_Kinds") -> None:
        """Whole documents of this side."""
        self.writer.add(tokens, lengths)
        self.largest = max(self.largest, int(tokens.max()))
        length_bin = np.frexp(lengths.astype(np.float64))[1] - 1  # floor of the logarithm to base 2
        self.documents_by_length += np.bincount(length_bin, minlength=LENGTH_BINS)
        self.tokens_by_length += np.bincount(length_bin, weights=lengths, minlength=LENGTH_BINS).astype(np.int64)
        here = {"tokens": tokens.size, "documents": lengths.size, "bytes": num_bytes}
        for name, first in (("unique", kinds.exact), ("near_unique", kinds.near)):
            here[f"{name}_documents"] = int(first.sum())
            here[f"{name}_tokens"] = int(lengths[first].sum())
        for name, number in here.items():
            self.counted[name] += number

    def side(self, near: bool) -> Side:
        self.writer.close()
        counted: dict[str, Any] = dict(self.counted)
        if not near:
            counted |= {"near_unique_documents": None, "near_unique_tokens": None}
        return Side(
            **counted,
            shards=tuple(self.writer.shards),
            largest_token_id=self.largest if self.largest >= 0 else None,
            documents_by_length=tuple(self.documents_by_length.tolist()),
            tokens_by_length=tuple(self.tokens_by_length.tolist()),
        )


@dataclass(frozen=True, eq=False)
class _Kinds:
    """(documents,) the first of each text, and of each set of near-duplicates."""

    exact: NDArray[np.bool_]
    near: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Some documents, each followed by the separator."""

    tokens: NDArray[Any]  # (T,)
    lengths: NDArray[np.int64]  # (documents,) tokens of each, its separator counted
    num_bytes: NDArray[np.int64]  # (documents,) UTF-8 bytes of its text
    faithful: bool  # whether the first document reads the same after encoding and decoding


def run(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """Write the shards of one task into a folder of its own."""
    tokenizer, decision = tokenizers.load(work), decide.load(work)
    documents = survey.task_documents(work, plan)
    position = int(documents[:index].sum())  # of the next document, among those of all tasks
    counts = Counts(tokenizer.vocabulary_size, with_pairs=plan.counts_pairs(index))
    tried = unfaithful = 0
    done, total = 0.0, float(plan.bytes_of(plan.tasks[index]))
    with making_folder(output(work, STAGE, index)) as folder:
        tallies = {name: _Tally(ShardWriter(folder, name, tokenizer.dtype, SHARD_TOKENS)) for name in SIDES}
        try:
            for batch in _batches(plan, index):
                rows = slice(position, position + len(batch))
                position = rows.stop
                part = _wanted(batch, decision.side[rows], tokenizer)
                done += float(np.ptp(strings.raw(batch)[1]))
                progress(min(done, total), total)
                if part is None:
                    continue
                tried, unfaithful = tried + 1, unfaithful + (not part.faithful)
                _distribute(part, decision, rows, tallies, counts)
            sides = {name: tally.side(decision.near_kind is not None) for name, tally in tallies.items()}
        finally:
            for tally in tallies.values():
                tally.writer.abandon()
        save_arrays(folder / COUNTS_FILE, counts.arrays())
        write_text(folder / RESULT_FILE, json.dumps(asdict(Result(**sides, tried=tried, unfaithful=unfaithful))))


def load(work: Path, index: int) -> Result:
    path = output(work, STAGE, index) / RESULT_FILE
    return build(Result, json.loads(path.read_text(encoding="utf-8")), path)


def _batches(plan: Plan, index: int) -> Any:
    for part in plan.tasks[index].parts:
        for batch in survey.read_again(plan, part):
            yield batch.strings


def _wanted(batch: Any, side: NDArray[np.int8], tokenizer: Tokenizer) -> Encoded | None:
    """The documents of a batch that stay, encoded; None where none does."""
    import pyarrow as pa

    stays = side != LEFT_OUT
    if not stays.any():
        return None
    return encode(batch if stays.all() else batch.filter(pa.array(stays)), tokenizer)


def encode(texts: Any, tokenizer: Tokenizer) -> Encoded:
    """The documents of an Arrow array of large strings. Bytes that are no UTF-8 become U+FFFD."""
    data, ends = strings.raw(texts)
    try:
        tokens, lengths = tokenizer.encode_documents(data, ends)
    except UnicodeDecodeError:
        data, ends = strings.raw(strings.repaired(texts))
        tokens, lengths = tokenizer.encode_documents(data, ends)
    text = data[ends[0] : ends[1]].tobytes().decode("utf-8")
    faithful = tokenizer.decode(tokens[: lengths[0] - 1].tolist()) == text
    return Encoded(tokens, lengths, np.diff(ends), faithful)


def _distribute(
    part: Encoded, decision: decide.Decision, rows: slice, tallies: dict[str, _Tally], counts: Counts
) -> None:
    """Each document to the side it belongs to."""
    stays = decision.side[rows] != LEFT_OUT
    side, exact = decision.side[rows][stays], decision.kind[rows][stays]
    near = exact if decision.near_kind is None else decision.near_kind[rows][stays]
    for name, which in SIDES.items():
        mine = side == which
        if not mine.any():
            continue
        tokens = part.tokens if mine.all() else part.tokens[np.repeat(mine, part.lengths)]
        kinds = _Kinds(exact[mine], near[mine])
        tallies[name].add(tokens, part.lengths[mine], int(part.num_bytes[mine].sum()), kinds)
        if which == TRAIN:
            counts.add(tokens)
