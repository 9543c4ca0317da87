"""The bytes of each token, read from a tokenizer's file with nothing but numpy installed."""

import base64
import binascii
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import byte_level
from talweg.corpus.tokenizer import SEPARATORS
from talweg.errors import InputError

GPT2_URL = "https://openaipublic.blob.core.windows.net/encodings/r50k_base.tiktoken"
# <|endoftext|> by the number of ranks in a .tiktoken file: r50k_base, cl100k_base, o200k_base
SEPARATOR_OF_RANKS = {50256: 50256, 100256: 100257, 199998: 199999}
BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # how SentencePiece writes a byte


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """pieces: (V,) the bytes of each id; empty for special tokens and for ids that no token has."""

    name: str
    pieces: tuple[bytes, ...]
    separator_id: int | None

    @property
    def size(self) -> int:
        return len(self.pieces)

    @cached_property
    def num_bytes(self) -> NDArray[np.int64]:
        """(V,) bytes of each token."""
        return np.array([len(piece) for piece in self.pieces], dtype=np.int64)

    @cached_property
    def ids(self) -> dict[bytes, int]:
        return {piece: i for i, piece in enumerate(self.pieces) if piece}


def read(tokenizer: str) -> Vocabulary:
    """`gpt2`, or the path of a tokenizer.json or .tiktoken file. Raises InputError for anything else."""
    if tokenizer == "gpt2":
        return _of_ranks("gpt2", _gpt2_file())
    path = Path(tokenizer)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        raise InputError(f"there is no tokenizer {tokenizer!r}; give gpt2, a tokenizer.json or a .tiktoken file")
    raw = path.read_bytes()
    if path.suffix == ".tiktoken":
        return _of_ranks(path.name, raw)
    try:
        content = json.loads(raw)
        return _of_json(path.name, content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is no tokenizer.json with a vocabulary; give gpt2 or a .tiktoken file") from None


def _gpt2_file() -> bytes:
    """GPT-2's ranks from the folder that tiktoken keeps them in, else by its download."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    cached = (
        Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache") / hashlib.sha1(GPT2_URL.encode()).hexdigest()
    )
    if cached.is_file():
        return cached.read_bytes()
    try:
        from tiktoken.load import read_file

        return bytes(read_file(GPT2_URL))
    except Exception as error:  # not installed, or no network: either way it is not there
        raise InputError(
            f"GPT-2's tokenizer could not be had ({type(error).__name__}); give its file: "
            "--tokenizer r50k_base.tiktoken or tokenizer.json"
        ) from None


def _of_ranks(name: str, raw: bytes) -> Vocabulary:
    try:
        rows = (line.split() for line in raw.splitlines() if line.strip())
        ranks = {int(rank): base64.b64decode(token) for token, rank in rows}
    except (ValueError, binascii.Error):
        ranks = {}
    if not ranks:
        raise InputError(f"{name} holds no ranks of tiktoken (a token in base64 and its number in each line)")
    separator = SEPARATOR_OF_RANKS.get(len(ranks), max(ranks) + 1)
    size = max(separator, *ranks) + 1
    return Vocabulary(name, tuple(ranks.get(i, b"") for i in range(size)), separator)


def _of_json(name: str, content: Mapping[str, Any]) -> Vocabulary:
    vocabulary = content["model"]["vocab"]
    if not isinstance(vocabulary, Mapping):  # Unigram lists tokens with their scores
        vocabulary = {token: i for i, (token, _) in enumerate(vocabulary)}
    added = {token["content"]: int(token["id"]) for token in content.get("added_tokens") or []}
    every = {**vocabulary, **added}
    separator = next((every[token] for token in SEPARATORS if token in every), None)
    as_bytes = _bytes_of if any(token in vocabulary for token in ("\u0120", "\u010a")) else _sentence_piece
    pieces = [b""] * (max(every.values()) + 1)
    for token, i in vocabulary.items():
        if token not in added and i != separator:
            pieces[i] = as_bytes(token)
    return Vocabulary(name, tuple(pieces), separator)


def _bytes_of(token: str) -> bytes:
    """Of a byte-level BPE; what is outside its alphabet stands for itself."""
    return b"".join(bytes([byte_level.BYTE_OF[c]]) if c in byte_level.BYTE_OF else c.encode() for c in token)


def _sentence_piece(token: str) -> bytes:
    byte = BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("\u2581", " ").encode("utf-8", "replace")
