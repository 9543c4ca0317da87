"""`talweg prepare`: parquet in, a data folder out (its form: `manifest`).

The text is read twice: once for hashes and lengths, which decide the split, and once to be encoded. Between them a
tokenizer is trained where one is asked for, on training text alone. Everything is written to a folder of its own
inside the target and moved there at the end, the manifest last, so whatever stops the command leaves no folder that
could be taken for a finished one. The same input gives the same bytes.
"""

import errno
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg import __version__
from talweg.corpus import manifest as manifests
from talweg.corpus import parquet
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.encode import Encoded, encoded
from talweg.corpus.entropy import Counts, Entropies
from talweg.corpus.manifest import FORMAT, Manifest, Side, TokenizerFacts
from talweg.corpus.shards import SHARD_TOKENS, ShardWriter
from talweg.corpus.split import TRAIN, VAL, Assignment, assign, sample
from talweg.corpus.survey import Survey, survey
from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError
from talweg.files import sync_folder

Progress = Callable[[str, float, float], None]  # stage, done, total
UNITS = {"reading": "documents", "training the tokenizer": "MB", "encoding": "MB"}  # of done and total, by stage

PARTIAL = ".partial-"
SHARD = re.compile(r"(train|val)-\d{5}(\.documents)?\.npy")
OURS = re.compile(rf"{SHARD.pattern}|{re.escape(manifests.TOKENIZER_FILE)}|\..*")
MEGABYTE = 1e6
VAL_TOKENS = 2_000_000  # validation is never larger, unless asked for: its level is then sure to about 0.02 nats
FEW_VAL_TOKENS = 200_000
FEW_VAL_GROUPS = 5  # our choice
# Of text that a tokenizer is trained on: twice as much takes twice as long for 0.2 % fewer tokens of held-out text.
BPE_SAMPLE_BYTES = 16_000_000
SMALLEST_BPE, LARGEST_BPE = 257 + 1, 1_000_000  # every byte, the separator and a merge; our choice
# Bytes per token before anything is counted: English web text under a BPE of 4,096 and of 16,384 tokens.
BYTES_PER_TOKEN = ((math.log(4096), math.log(16384)), (3.73, 4.41))
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare(
    inputs: Sequence[Path | str],
    out: Path,
    *,
    tokenizer: str = "bpe",
    vocabulary_size: int = 8192,
    val_share: float = 0.01,
    val_tokens: int = VAL_TOKENS,
    text_column: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Manifest:
    """Write the data folder `out` from parquet files, folders of them or patterns, and return its manifest.

    tokenizer: "bpe" (trained on this text), "gpt2", "bytes", or the path of a tokenizer.json or .tiktoken file.
    val_share: of the text, in whole groups, but no more than about val_tokens. progress(stage, done, total) is called
    as the work goes on. Raises InputError for what cannot be read or written; `out` is then as it was.
    """
    if not 0 < val_share <= 0.5:
        raise InputError(f"a share of {val_share:g} for validation leaves one side empty; give 0 < val_share <= 0.5")
    report = progress or (lambda stage, done, total: None)
    sources = parquet.sources([inputs] if isinstance(inputs, str | Path) else inputs, text_column)
    given = _given_tokenizer(tokenizer, vocabulary_size)
    with _staging(Path(out)) as stage:
        found = survey(sources, lambda done, total: report("reading", done, total))
        wanted = min(val_share * found.total_bytes, val_tokens * _bytes_per_token(given, vocabulary_size))
        assignment = assign(found, wanted, val_share, seed)
        chosen = given or _trained(found, assignment, vocabulary_size, report)
        chosen.save(stage)
        sides, entropies, unfaithful = _write(found, assignment, chosen, stage, report)
        manifest = Manifest(
            format=FORMAT,
            talweg=__version__,
            tokenizer=TokenizerFacts(chosen.name, chosen.sha256, chosen.vocabulary_size, chosen.separator_id),
            dtype=chosen.dtype.name,
            seed=seed,
            split=assignment.facts,
            train=sides["train"],
            val=sides["val"],
            unigram_nats=entropies.unigram,
            bigram_nats=entropies.bigram,
            bigram_share=entropies.bigram_share,
            bytes_per_token=sides["train"].bytes / sides["train"].tokens,
            inputs=tuple(source.facts for source in sources),
            warnings=tuple(_warnings(sides, assignment, chosen, unfaithful, vocabulary_size, tokenizer)),
        )
        _publish(stage, Path(out), manifest)
    return manifest


def _given_tokenizer(tokenizer: str, vocabulary_size: int) -> Tokenizer | None:
    """The tokenizer that needs no text; None where one is to be trained."""
    if tokenizer == "bpe":
        if not SMALLEST_BPE <= vocabulary_size <= LARGEST_BPE:
            raise InputError(
                f"a vocabulary of {vocabulary_size:,} tokens; a byte-level BPE needs {SMALLEST_BPE} to {LARGEST_BPE:,}"
            )
        return None
    if tokenizer == "gpt2":
        return tokenizers.gpt2()
    if tokenizer == "bytes":
        return tokenizers.raw_bytes()
    if not Path(tokenizer).exists():
        raise InputError(f"{tokenizer} is no tokenizer: give bpe, gpt2, bytes, or the path of a tokenizer.json")
    return tokenizers.from_file(Path(tokenizer))


def _bytes_per_token(given: Tokenizer | None, vocabulary_size: int) -> float:
    """A guess before anything is encoded; it only decides how much text the largest validation set takes."""
    if given is not None and given.name == "bytes":
        return 1.0
    size = given.vocabulary_size if given is not None else vocabulary_size
    return float(np.interp(math.log(size), *BYTES_PER_TOKEN))


def _trained(found: Survey, assignment: Assignment, vocabulary_size: int, report: Progress) -> Tokenizer:
    """A byte-level BPE of a sample of the training text."""
    wanted = sample(found, assignment.side, BPE_SAMPLE_BYTES)
    total = float(found.num_bytes[wanted].sum()) / MEGABYTE

    def texts() -> Iterator[str]:
        done = 0.0
        for source in found.sources:
            rows = wanted[found.rows_of(source)]
            for first, strings in parquet.columns(source, source.column, rows):
                batch, num_bytes = parquet.texts(strings), np.diff(parquet.raw(strings)[1])
                here = rows[first : first + len(batch)]
                yield from (batch[i] for i in np.flatnonzero(here))
                done += float(num_bytes[here].sum()) / MEGABYTE
                report("training the tokenizer", done, total)

    return tokenizers.trained(texts(), vocabulary_size)


@dataclass
class _Tally:
    """What is counted of one side while it is written."""

    writer: ShardWriter
    tokens: int = 0
    documents: int = 0
    bytes: int = 0
    unique_documents: int = 0
    unique_tokens: int = 0

    def add(self, part: Encoded, mine: NDArray[np.bool_], first_of_its_kind: NDArray[np.bool_]) -> NDArray[np.generic]:
        """Write the documents that are `mine` of this part; returns their tokens."""
        lengths = part.lengths[mine]
        tokens = part.tokens if mine.all() else part.tokens[np.repeat(mine, part.lengths)]
        if lengths.size:
            self.writer.add(tokens, lengths)
        self.tokens += tokens.size
        self.documents += lengths.size
        self.bytes += int(part.num_bytes[mine].sum())
        self.unique_documents += int((mine & first_of_its_kind).sum())
        self.unique_tokens += int(part.lengths[mine & first_of_its_kind].sum())
        return tokens

    def finished(self) -> Side:
        self.writer.close()
        counts = (self.tokens, self.documents, self.bytes, self.unique_documents, self.unique_tokens)
        return Side(*counts, shards=tuple(self.writer.shards))


def _write(
    found: Survey, assignment: Assignment, tokenizer: Tokenizer, stage: Path, report: Progress
) -> tuple[dict[str, Side], Entropies, tuple[int, int]]:
    """Encode everything into shards. Last comes how many of the documents tried did not survive decoding."""
    tallies = {
        side: _Tally(ShardWriter(stage, name, tokenizer.dtype, SHARD_TOKENS))
        for name, side in (("train", TRAIN), ("val", VAL))
    }
    fresh = np.zeros(found.hashes.size, dtype=bool)  # the first of its kind; one kind is never on both sides
    kept = np.flatnonzero(assignment.side)
    fresh[kept[np.unique(found.hashes[kept], return_index=True)[1]]] = True
    counts, done, total = Counts(tokenizer.vocabulary_size), 0.0, found.total_bytes / MEGABYTE
    tried = unfaithful = 0
    with ExitStack() as failing:
        for tally in tallies.values():
            failing.callback(tally.writer.abandon)
        for part in encoded(found.sources, tokenizer, os.cpu_count() or 1):
            rows = slice(part.first, part.first + part.lengths.size)
            side = assignment.side[rows]
            for which, tally in tallies.items():
                tokens = tally.add(part, side == which, fresh[rows])
                if which == TRAIN:
                    counts.add(tokens)
            tried, unfaithful = tried + 1, unfaithful + (not part.faithful)
            done += float(part.num_bytes.sum()) / MEGABYTE
            report("encoding", min(done, total), total)
        report("counting", 0, 0)
        sides = {"train": tallies[TRAIN].finished(), "val": tallies[VAL].finished()}
    return sides, counts.entropies(), (unfaithful, tried)


def _warnings(
    sides: dict[str, Side],
    assignment: Assignment,
    tokenizer: Tokenizer,
    unfaithful: tuple[int, int],
    vocabulary_size: int,
    asked: str,
) -> Iterable[str]:
    tokens = sides["val"].tokens
    if tokens < FEW_VAL_TOKENS:
        low, high = (nats / math.sqrt(tokens / 1024) for nats in (0.5, 1.0))  # of one window of 1,024 tokens
        yield (
            f"validation has {tokens:,} tokens, under {FEW_VAL_TOKENS:,}: its loss level is uncertain by about "
            f"{low:.2f} to {high:.2f} nats (one standard error); a larger val_share or more text helps"
        )
    facts = assignment.facts
    if facts.val_groups < FEW_VAL_GROUPS:
        yield (
            f"validation is {facts.val_groups} whole groups (by {facts.group_by}): its loss says little of others, "
            "and less than its tokens suggest; a larger val_share helps"
        )
    if facts.group_by == "text":
        yield (
            "the split is by document, as no column groups the text finely enough: passages that documents share "
            "may stand on both sides and make validation look better than it is"
        )
    if unfaithful[0]:
        yield (
            f"the tokenizer does not give back what it read: {unfaithful[0]} of {unfaithful[1]} documents differ "
            "after decoding, so bits per byte cannot be compared with other tokenizers"
        )
    if asked == "bpe" and tokenizer.vocabulary_size < vocabulary_size:
        yield (
            f"the tokenizer has {tokenizer.vocabulary_size:,} tokens, not {vocabulary_size:,}: "
            "the text has no more pairs that occur twice"
        )


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder to write into, inside `out`; removed with all it holds unless it was published. Cleans up after a
    command that was killed. A disk that is full becomes one clear line."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(out)
        for left in out.glob(f"{PARTIAL}*"):
            shutil.rmtree(left)
        for file in out.glob(f".{manifests.FILE}.*.partial"):
            file.unlink()
        stage = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=out))
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        if error.errno in FULL:
            raise InputError(f"{out}: {os.strerror(error.errno or 0)}; make room or give another --out") from None
        if isinstance(error, FileNotFoundError) and PARTIAL in str(error.filename):
            raise InputError(f"{out} was changed while it was written; is another talweg prepare at work?") from None
        if isinstance(error, PermissionError | FileExistsError | NotADirectoryError):
            raise InputError(f"{out} cannot be written: {error.strerror}; give another --out") from None
        raise


def _refuse_foreign(out: Path) -> None:
    """A folder of something else is not written into: a tokenizer.json there may be a model's."""
    if (out / manifests.FILE).exists() or any(out.glob(f"{PARTIAL}*")):
        return
    others = sorted(path.name for path in out.iterdir() if not OURS.fullmatch(path.name))
    if others:
        raise InputError(f"{out} holds other files ({others[0]}); give a folder that is empty or not there yet")


def _publish(stage: Path, out: Path, manifest: Manifest) -> None:
    """Move what was written to its place, the manifest last; what an earlier preparation left goes first."""
    (out / manifests.FILE).unlink(missing_ok=True)
    sync_folder(out)
    for old in [path for path in out.iterdir() if SHARD.fullmatch(path.name)]:
        old.unlink()
    for path in sorted(stage.iterdir()):
        path.replace(out / path.name)
    sync_folder(out)
    manifests.write(out, manifest)
