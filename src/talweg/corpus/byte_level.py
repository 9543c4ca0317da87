"""Byte-level BPE as a file: merges from ranks, ranks from merges, and a vocabulary trained on text.

A tokenizer.json of HF tokenizers states a vocabulary and an ordered list of merges; a ranks file of tiktoken states
the vocabulary alone, and a pair may merge when its concatenation is in it, lowest rank first. The two are the same
wherever the merges make each token once and in the order of its id, which is what makes tiktoken's engine, several
times faster, usable for both. The separator is a token that no merge makes, so no text can produce it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

SEPARATOR = "<|endoftext|>"
# How GPT-2 cuts text into words before merging (Radford 2019); ByteLevel of HF tokenizers does the same.
WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
MIN_PAIRS = 2  # a pair seen once is not worth a token


def _alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: itself where it prints, else the next free character from 256 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


CHARACTER_OF = _alphabet()
BYTE_OF = {character: byte for byte, character in CHARACTER_OF.items()}


def to_text(token: bytes) -> str:
    return "".join(CHARACTER_OF[byte] for byte in token)


def to_bytes(token: str) -> bytes:
    """Raises KeyError for a token outside the alphabet."""
    return bytes(BYTE_OF[character] for character in token)


def merges_of(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The two parts of each token longer than a byte, in the order of rank: what is left of it just before its own
    merge. Raises ValueError where a token cannot be made of lower ones."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        halves = [
            (token[:i], token[i:])
            for i in range(1, len(token))
            if ranks.get(token[:i], rank) < rank and ranks.get(token[i:], rank) < rank
        ]
        # where two lower tokens make it in one way only, that is how it is made; else its merges tell
        merges.append(halves[0] if len(halves) == 1 else _last_merge(token, rank, ranks))
    return merges


def _last_merge(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """Merge the bytes of a token, lowest rank first, until two parts are left."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], rank))
        if ranks.get(parts[best] + parts[best + 1], rank) >= rank:
            raise ValueError(f"{token!r} is not made of tokens of lower rank")
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def pairs(merges: Iterable[Sequence[str]]) -> list[list[str]]:
    """The merges of a tokenizer.json; older ones write a pair as one string with a space."""
    return [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in merges]


def document(vocabulary: Mapping[str, int], merges: Iterable[Sequence[str]]) -> dict[str, Any]:
    """The content of a tokenizer.json, always the same for the same vocabulary and merges."""
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
        "merges": pairs(merges),
    }
    parts: dict[str, Any] = {"truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
    levels = {"pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": BYTE_LEVEL}
    return {"version": "1.0", **parts, **levels, "model": model}


def of_ranks(ranks: Mapping[bytes, int]) -> dict[str, Any]:
    """The tokenizer.json of a ranks file, with the separator after its last token."""
    vocabulary = {to_text(token): rank for token, rank in ranks.items()}
    merges = [(to_text(first), to_text(second)) for first, second in merges_of(ranks)]
    return document(vocabulary | {SEPARATOR: len(vocabulary)}, merges)


def ranks_of(content: Mapping[str, Any]) -> dict[bytes, int] | None:
    """The ranks that give the same tokens as this tokenizer.json; None where it is of another kind."""
    model, words = content.get("model") or {}, content.get("pre_tokenizer") or {}
    plain = model.get("type") == "BPE" and not any(
        [model.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")]
        + [content.get(key) for key in ("normalizer", "added_tokens")]
    )
    words_as_ours = words.get("type") == "ByteLevel" and words.get("use_regex", True)
    if not plain or not words_as_ours or words.get("add_prefix_space"):
        return None
    made = ["".join(pair) for pair in pairs(model["merges"])]
    vocabulary = {token: int(i) for token, i in model["vocab"].items() if token != SEPARATOR}
    ids = [vocabulary.get(token, -1) for token in made]
    in_order = all(first < second for first, second in pairwise([-1, *ids]))
    if not in_order or vocabulary.keys() != {*made, *BYTE_OF}:
        return None
    return {to_bytes(token): i for token, i in vocabulary.items()}


def train(texts: Iterable[str], vocabulary_size: int) -> dict[str, Any]:
    """The tokenizer.json of a byte-level BPE trained on `texts`; vocabulary_size counts the separator.

    It holds fewer tokens where the text has too few pairs that occur twice.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - 1,
        min_frequency=MIN_PAIRS,
        initial_alphabet=sorted(BYTE_OF),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return document(model["vocab"] | {SEPARATOR: len(model["vocab"])}, model["merges"])
