"""The data folder and its manifest: what `talweg prepare` writes, and what everything else reads.

    DATA/
      manifest.json              written last: a folder without it is not finished
      tokenizer.json             HF tokenizers' format; the separator is a token that no text can produce
      train-00000.npy            (tokens,) uint16, or uint32 where the vocabulary needs it; plain .npy
      train-00000.documents.npy  (documents,) uint64: where each document of that shard ends, in tokens
      train-00001.npy ...        a shard is closed by the first document that fills it; documents are never cut
      val-00000.npy ...          the same for validation

A document is its tokens and then the separator, which `tokens` counts and `bytes` does not. Documents stand in the
order of the input. The manifest holds, in nats per token, tokens and UTF-8 bytes:

    format, talweg   "talweg-tokens-1" and the version that wrote it
    tokenizer        name, sha256 (of tokenizer.json), vocabulary_size (with the separator), separator_id
    dtype, seed      of the shards; of the split
    split            rule (in words), group_by, val_share (asked for), groups on either side, and how many
                     documents were left out: empty ones, and those of val whose text is in train too
    train, val       tokens, documents, bytes, unique_documents, unique_tokens (without exact repetitions: the same
                     text but for white space and the case of ASCII letters), near_unique_documents, near_unique_tokens
                     (without near-duplicates too; null: not looked for), largest_token_id, documents_by_length,
                     tokens_by_length (entry k: of documents of 2^k to 2^(k+1) - 1 tokens), shards (file,
                     documents_file, tokens, documents, sha256, documents_sha256, overlap_file, overlap_sha256)
    duplicates       what was looked for and what was left out of the whole input: dedup (off, exact or near), and
                     documents and bytes of exact and of near-duplicates of an earlier text
    overlap          of val with train: ngram tokens in a row that both hold (13, of single bytes 52). documents and
                     tokens of val that hold at least one, heavy_documents (more than a fifth of theirs), ngrams,
                     ngrams_in_train. The overlap_file of a val shard, (documents,) float32, has the share of each
                     document
    quality          by rule, the documents and bytes of the input that it rejects; noisy_*: by any of those that mean
                     noise, such as mojibake or text repeated; filters: the rules that were in force. The whole
                     report is quality.json, and report.html for the eye
    unigram_nats     entropy of the training tokens, H(X)
    bigram_nats      entropy of a training token given the one before it, H(X | previous), from counts of all pairs;
                     bigram_share is 1. Where the pairs are too many to hold they are counted after a sample of first
                     tokens only, which hold bigram_share of the text
    bytes_per_token  of the training text
    inputs           path, bytes and rows of each file that was read
    left_out         left_out.parquet lists every document that is in no shard: input, row, reason, and of a copy the
                     place of the one that was kept; begin: the byte of a large text file that its rows count from
    warnings         what a person should know before trusting the data

Where the tokens were another trainer's (train.bin, val.bin, shards of llm.c), repetitions are of the same tokens, bytes
are those of the tokens in the tokenizer's table, and rows are documents, told at the first file of a side.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from talweg.corpus.records import build
from talweg.errors import InputError
from talweg.files import write_text

FORMAT = "talweg-tokens-1"
FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class TokenizerFacts:
    name: str
    sha256: str
    vocabulary_size: int
    separator_id: int


@dataclass(frozen=True)
class SplitFacts:
    rule: str
    group_by: str
    val_share: float
    train_groups: int = 0
    val_groups: int = 0
    empty_documents: int = 0
    documents_in_both: int = 0


@dataclass(frozen=True)
class Shard:
    file: str
    documents_file: str
    tokens: int
    documents: int
    sha256: str
    documents_sha256: str
    overlap_file: str | None = None
    overlap_sha256: str | None = None


@dataclass(frozen=True)
class Side:
    """One side of the split."""

    tokens: int
    documents: int
    bytes: int
    unique_documents: int
    unique_tokens: int
    shards: tuple[Shard, ...]
    near_unique_documents: int | None = None
    near_unique_tokens: int | None = None
    largest_token_id: int | None = None
    documents_by_length: tuple[int, ...] = ()
    tokens_by_length: tuple[int, ...] = ()


@dataclass(frozen=True)
class Duplicates:
    """Of the whole input, before anything was left out. near_*: not counting the exact ones; None: not looked for."""

    dedup: str  # off, exact, near: what is left out
    exact_documents: int
    exact_bytes: int
    near_documents: int | None = None
    near_bytes: int | None = None


@dataclass(frozen=True)
class Overlap:
    """Of validation with training text."""

    documents: int
    tokens: int
    heavy_documents: int
    ngrams: int
    ngrams_in_train: int
    ngram: int = 13


@dataclass(frozen=True)
class RuleCount:
    """What one rule of quality rejects."""

    name: str
    documents: int
    bytes: int


@dataclass(frozen=True)
class Quality:
    """Documents and bytes that the rules reject; those of noisy_* by at least one that means noise."""

    rules: tuple[RuleCount, ...]
    documents: int  # measured
    bytes: int
    noisy_documents: int
    noisy_bytes: int
    filters: tuple[str, ...] = ()  # rules that were in force
    file: str = "quality.json"


@dataclass(frozen=True)
class Input:
    path: str
    bytes: int
    rows: int


@dataclass(frozen=True)
class Manifest:
    """manifest.json, field by field; the module's docstring says what each means."""

    format: str
    talweg: str
    tokenizer: TokenizerFacts
    dtype: str
    seed: int
    split: SplitFacts
    train: Side
    val: Side
    unigram_nats: float
    bigram_nats: float
    bytes_per_token: float
    inputs: tuple[Input, ...]
    bigram_share: float = 1.0
    warnings: tuple[str, ...] = ()
    duplicates: Duplicates | None = None
    overlap: Overlap | None = None
    quality: Quality | None = None
    left_out: str | None = None


def write(data: Path, manifest: Manifest) -> None:
    """Write DATA/manifest.json, whole or not at all."""
    write_text(data / FILE, json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n")


def read(data: Path) -> Manifest:
    """The manifest of a data folder; the shards themselves are looked at by `shards.open_split`.

    Raises InputError when the folder or its manifest is missing, cut off, or written by something else.
    """
    data = Path(data)
    path = data / FILE
    if not data.is_dir():
        raise InputError(f"{data} is no folder; give the one that talweg prepare wrote (its --out)")
    if not path.is_file():
        raise InputError(f"{data} has no {FILE}: talweg prepare did not write it, or was stopped; run it again")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError(f"{path} is cut off or damaged; run talweg prepare again") from None
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        what = f'has the format "{found}"' if found else "is no manifest of Talweg"
        raise InputError(f'{path} {what}; needed "{FORMAT}": run talweg prepare again')
    return build(Manifest, value, path)
