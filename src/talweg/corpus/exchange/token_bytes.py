"""How many bytes of text each token stands for, from the tokenizer's own table: text is counted without decoding it."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import byte_level
from talweg.corpus.tokenizer import Tokenizer

SPACE = "\u2581"  # what SentencePiece writes for a space
CONTINUES = "##"  # what WordPiece begins the rest of a word with


def token_bytes(tokenizer: Tokenizer) -> tuple[NDArray[np.int64], bool]:
    """(V,) bytes of each token, 0 for the separator and for numbers without a token; and whether this is exact.

    Exact for byte-level BPE. A tokenizer that changes or drops white space when it decodes gives an estimate.
    """
    content = json.loads(tokenizer.source)
    vocabulary = content["model"]["vocab"]
    if not isinstance(vocabulary, dict):  # Unigram lists tokens with their scores
        vocabulary = {token: i for i, (token, _) in enumerate(vocabulary)}
    exact = _kind(content) == "ByteLevel"
    sizes = np.zeros(tokenizer.vocabulary_size, dtype=np.int64)
    for token, i in vocabulary.items():
        sizes[i] = _length(token, exact)
    for added in content.get("added_tokens") or []:  # written out in full
        sizes[added["id"]] = len(added["content"].encode())
    sizes[tokenizer.separator_id] = 0
    return sizes, exact


def _length(token: str, byte_per_character: bool) -> int:
    if byte_per_character and all(character in byte_level.BYTE_OF for character in token):
        return len(token)
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):  # a byte that has no token of its own
        return 1
    return len(token.replace(SPACE, " ").removeprefix(CONTINUES).encode())


def _kind(content: dict[str, Any]) -> str:
    """ByteLevel where every character of a token is a byte."""
    parts = [content.get("decoder") or {}, content.get("pre_tokenizer") or {}]
    parts += [part for each in parts for part in each.get("pretokenizers") or each.get("decoders") or []]
    return "ByteLevel" if any(part.get("type") == "ByteLevel" for part in parts) else "other"
