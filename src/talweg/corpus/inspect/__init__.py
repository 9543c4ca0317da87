"""What token files of another's making are: `inspect(path, tokenizer)` measures them in bounded memory and time.

Nothing is executed, unpickled or written. Where a file is larger than SCAN tokens, blocks spread evenly over it stand
for it, and the share that was scanned is said. Needs numpy alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import overlap
from talweg.corpus.entropy import Counts
from talweg.corpus.inspect import files, vocabulary
from talweg.corpus.inspect.context import Context, Kept
from talweg.corpus.inspect.documents import Documents
from talweg.corpus.inspect.files import TokenFile
from talweg.corpus.inspect.fit import joinable_ratio, undecodable_share
from talweg.corpus.inspect.order import Drift, Order
from talweg.corpus.inspect.vocabulary import Vocabulary
from talweg.errors import InputError

BLOCK = 1 << 20  # tokens
SCAN = 100 * BLOCK  # tokens of training text that are read
CLOSE = 8 * BLOCK  # of these, tokens looked at more closely: entropy, context
FEWEST_PARTS = 8  # that context is measured on, so that its error is known
VAL_SCAN = 2 * BLOCK
GPT2_SEPARATOR, GPT2_LARGEST = 50256, 50256
STRETCH = 1024  # tokens of which the bytes are counted together
NOISE_BYTES = 2.0  # a token. Random characters and base64 have 1.3 to 1.4, code 2.4, English 4.4 under GPT-2's
LARGE_VOCABULARY = 30_000  # below, good text may have so few bytes a token


@dataclass(frozen=True)
class Inspection:
    """Of the training files but where val stands in the name. None: not measured, or nothing to measure it on."""

    path: str
    tokens: int
    scanned: int  # of these
    stored: str  # the type of the numbers, and how it is known
    largest_storable_id: int
    largest_id: int
    documents: int | None  # by separators, scaled to the whole; 0: none was found; None: no separator is known
    repeated_share: float | None  # of the tokens, in documents that stood before word for word
    tokens_by_length: tuple[float, ...] | None
    unigram_nats: float
    bigram_nats: float
    context: Kept | None
    drift: Drift | None
    val_tokens: int | None = None
    val_documents: int | None = None
    val_overlap_share: float | None = None  # of 13-grams of val, those in the scanned part of train
    tokenizer: str | None = None
    tokenizer_vocabulary: int | None = None
    outside_vocabulary_share: float | None = None  # of the tokens
    undecodable_share: float | None = None  # of the characters
    joinable_ratio: float | None = None
    bytes_per_token: float | None = None
    noisy_share: float | None = None  # of the tokens, in stretches of under NOISE_BYTES a token

    @property
    def scanned_share(self) -> float:
        return self.scanned / self.tokens


def inspect(path: Path, tokenizer: str | None = None) -> Inspection:
    """A folder with train.bin and val.bin (nanoGPT, llm.c, .npy), or one such file.

    tokenizer: gpt2, or the path of a tokenizer.json or .tiktoken file. Raises InputError for what cannot be read.
    """
    path = Path(path)
    train_paths, val_paths = files.find(path)
    if not train_paths:
        raise InputError(
            f"{path} holds no train*.bin or train*.npy; give the folder of token files, or the file itself"
        )
    train, val = files.read_all(train_paths), files.read_all(val_paths)
    words = vocabulary.read(tokenizer) if tokenizer is not None else None
    return _Scan(train, val, words).inspection(str(path))


class _Scan:
    def __init__(self, train: Sequence[TokenFile], val: Sequence[TokenFile], words: Vocabulary | None) -> None:
        self.train, self.val, self.words = train, val, words
        kind = train[0].tokens.dtype
        if kind.itemsize > 4:
            kind = np.dtype(np.uint32)
        self.storable = int(np.iinfo(kind).max)
        self.size = _bound(train, val)  # all ids that are looked at are below
        self.separator = words.separator_id if words is not None else self._likely_separator()
        self.documents = Documents(self.separator, self.size)
        self.order = Order(self.separator, min(sum(file.tokens.size for file in train), SCAN))
        self.counts = Counts(self.size)
        newlines = [piece.count(b"\n") for piece in words.pieces] if words is not None else [0]
        self.context = Context(np.array(newlines, dtype=np.int64), self.separator)
        self.of_id = np.zeros(self.size, dtype=np.int64)
        self.scanned, self.negative, self.noisy, self.stretches = 0, 0, 0, 0
        self.sample: NDArray[Any] | None = None

    def _likely_separator(self) -> int | None:
        """GPT-2's, where the largest id of a first block says that the vocabulary is GPT-2's."""
        first = self.train[0].tokens[:BLOCK]
        return GPT2_SEPARATOR if int(first.max()) == GPT2_LARGEST else None

    def inspection(self, path: str) -> Inspection:
        total = sum(file.tokens.size for file in self.train)
        val_tokens = sum(file.tokens.size for file in self.val) if self.val else None
        hashes = overlap.Hashes(self.size)
        sought, val_documents, num_windows = self._sought(hashes)
        found = np.zeros(sought.hashes.size, dtype=bool) if sought is not None else None
        close_every = max(1, math.ceil(min(total, SCAN) / CLOSE))
        parts = max(1, math.ceil(FEWEST_PARTS * min(BLOCK, total) / min(total, CLOSE)))  # of a block, for context
        for i, block in enumerate(_blocks(self.train, SCAN)):
            tokens = self._take(block)
            if sought is not None and found is not None:
                found |= sought.found_in(tokens, hashes)
            if i % close_every == 0:
                self.counts.add(tokens)
                if self.words is not None:
                    for part in np.array_split(tokens, parts):
                        self.context.add(part)
        share = self.scanned / total
        entropies = self.counts.entropies()
        documents = None if self.separator is None else round(self.documents.num_separators / share)
        repeated = self.documents.repeated_share()
        return Inspection(
            path=path,
            tokens=total,
            scanned=self.scanned,
            stored=self.train[0].because,
            largest_storable_id=self.storable,
            largest_id=int(np.flatnonzero(self.of_id)[-1]),
            documents=documents,
            # a copy is met only where both lie in what was scanned, so pairs of copies are rarer there by its share
            repeated_share=None if repeated is None else min(repeated / share, 1.0),
            tokens_by_length=self.documents.shares_by_length(),
            unigram_nats=entropies.unigram,
            bigram_nats=entropies.bigram,
            context=self.context.kept(),
            drift=self.order.drift(),
            val_tokens=val_tokens,
            val_documents=val_documents,
            val_overlap_share=None if found is None else self._overlap(found, num_windows),
            **self._by_tokenizer(),
        )

    def _take(self, block: NDArray[Any]) -> NDArray[Any]:
        """Count one block, and give it back with its ids as they are looked at: none negative."""
        if block.dtype.kind == "i":
            self.negative += int((block < 0).sum())
        tokens = _within(block, self.size)
        self.of_id += np.bincount(tokens, minlength=self.size)
        self.scanned += tokens.size
        self.documents.add(tokens)
        self.order.add(tokens)
        if self.sample is None:
            self.sample = tokens[: 1 << 19].copy()
        if self.words is not None and self.words.size >= LARGE_VOCABULARY:
            whole = tokens[: tokens.size // STRETCH * STRETCH].reshape(-1, STRETCH)[::8]  # one stretch in eight
            num_bytes = self.words.num_bytes[np.minimum(whole.astype(np.int64), self.words.size - 1)].sum(axis=1)
            self.noisy += int((num_bytes < NOISE_BYTES * STRETCH).sum())
            self.stretches += num_bytes.size
        return tokens

    def _sought(self, hashes: overlap.Hashes) -> tuple[overlap.Sought | None, int | None, int]:
        """The windows of validation, its documents, and how many different windows there are."""
        if not self.val:
            return None, None, 0
        found, documents = [], 0
        for block in _blocks(self.val, VAL_SCAN):
            tokens = _within(block, self.size)
            ends = np.flatnonzero(tokens == self.separator) + 1 if self.separator is not None else np.empty(0, np.int64)
            documents += int(ends.size)
            if not ends.size or ends[-1] < tokens.size:
                ends = np.append(ends, tokens.size)
            found.append(hashes.of_documents(tokens, ends)[0])
        unique = np.unique(np.concatenate(found))
        return overlap.Sought(unique), documents or None, int(unique.size)

    @staticmethod
    def _overlap(found: NDArray[np.bool_], num: int) -> float | None:
        return float(found.sum() / num) if num else None

    def _by_tokenizer(self) -> dict[str, Any]:
        """What only the tokenizer can tell."""
        words = self.words
        if words is None or self.sample is None:
            return {}
        inside = self.of_id[: words.size]
        plain = inside.copy()
        if words.separator_id is not None and words.separator_id < plain.size:
            plain[words.separator_id] = 0
        num_bytes = float((plain * words.num_bytes[: plain.size]).sum() / max(plain.sum(), 1))
        return {
            "tokenizer": words.name,
            "tokenizer_vocabulary": words.size,
            "outside_vocabulary_share": float((self.of_id[words.size :].sum() + self.negative) / self.scanned),
            "undecodable_share": undecodable_share(self.sample[: 1 << 16], words),
            "joinable_ratio": joinable_ratio(self.sample, words),
            "bytes_per_token": num_bytes,
            "noisy_share": self.noisy / self.stretches if self.stretches else None,
        }


def _bound(train: Sequence[TokenFile], val: Sequence[TokenFile]) -> int:
    """One more than the largest id to look at: of two-byte tokens all, of wider ones what is there, up to a million."""
    if train[0].tokens.dtype.itemsize <= 2:
        return 1 << 16
    largest = max(int(block.max()) for side in (train, val) if side for block in _blocks(side, 4 * BLOCK))
    return min(max(largest + 1, 1 << 16), 1 << 20)


def _within(tokens: NDArray[Any], size: int) -> NDArray[Any]:
    """The ids below `size`, those outside moved to its ends, in the narrowest type that is wide enough."""
    kind = np.uint32 if size > 2**16 else np.uint16
    if tokens.dtype.kind == "i" or tokens.dtype.itemsize > 2:
        tokens = np.clip(tokens.astype(np.int64), 0, size - 1)
    return tokens.astype(kind, copy=False)


def _blocks(side: Sequence[TokenFile], budget: int) -> Iterator[NDArray[Any]]:
    """Contiguous blocks of at most BLOCK tokens, in the order of the files: all of them, or `budget` spread evenly."""
    total = sum(file.tokens.size for file in side)
    step = 1 if total <= budget else total / budget
    starts = [(file, start) for file in side for start in range(0, file.tokens.size, BLOCK)]
    for i in np.unique((np.arange(0, len(starts), step)).astype(np.int64)):
        file, start = starts[i]
        yield np.asarray(file.tokens[start : start + BLOCK])
