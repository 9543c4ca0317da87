"""Encoding in pieces, against encoding each document whole."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.corpus import parquet, pieces
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.tokenizer import Tokenizer
from tests.conftest import shared
from tests.corpus.test_tokenizer import ODD, TEXTS

# Everything that GPT-2's word pattern tells apart, white space of Unicode and control characters too.
LETTERS = st.sampled_from(
    [*" \t\n\r\f\v", "\x1c", "\x85", "\xa0", "\u2003", "\u3000", *"aAé漢'’s.,-0٣Ⅷ\x00\x7f", "🙂", "'ll"]
)
DOCUMENTS = st.lists(st.lists(LETTERS, max_size=30).map("".join) | st.sampled_from(ODD), max_size=12)


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    """Its merges cross every border between two kinds of white space."""
    white = [f"x{a}{b}{b}{a}x" * 5 for a in "\xa0\u3000\x85 " for b in "\n\t \f"]
    return tokenizers.trained([*TEXTS, *ODD * 3, *white * 20], 420)


def check(tokenizer: Tokenizer, strings: pa.Array) -> None:
    tokens, lengths = tokenizer.encode_documents(*parquet.raw(strings))
    whole = [[*tokenizer.encode(each).tolist(), tokenizer.separator_id] for each in strings.to_pylist()]
    assert lengths.tolist() == [len(each) for each in whole]
    assert tokens.tolist() == [token for each in whole for token in each]
    assert tokens.dtype == tokenizer.dtype


@settings(max_examples=400, deadline=None)
@given(documents=DOCUMENTS.filter(bool), skip=st.integers(0, 3))
def test_the_tokens_are_those_of_whole_documents(bpe: Tokenizer, documents: list[str], skip: int) -> None:
    strings = pa.array(["not read"] * skip + documents, pa.large_string()).slice(skip)
    check(bpe, strings)
    check(tokenizers.raw_bytes(), strings)


def test_documents_without_any_text(bpe: Tokenizer) -> None:
    check(bpe, pa.array(["", "", ""], pa.large_string()))


def test_long_white_space(bpe: Tokenizer) -> None:
    check(bpe, pa.array(["a" + "\n" * 400_000 + "b c", " d"], pa.large_string()))


def test_gpt2_on_real_text() -> None:
    tokenizer = tokenizers.from_file(shared("data/gpt2/r50k_base.tiktoken"))
    source = parquet.sources([shared("data/corpus/tech_00000.parquet")])[0]
    for number, (_, strings) in enumerate(parquet.columns(source, source.column)):
        if number % 13 == 0:
            check(tokenizer, strings.slice(0, 150))


def test_a_piece_is_encoded_once(bpe: Tokenizer) -> None:
    strings = pa.array([" ".join(["the same words"] * 1000)] * 50, pa.large_string())
    asked: list[str] = []

    def encode(texts: list[str]) -> list[np.ndarray]:
        asked.extend(texts)
        return bpe.encode_batch(texts)

    tokens, _ = pieces.encode(*parquet.raw(strings), bpe.separator_id, bpe._engine._token_bytes, encode)
    assert sum(map(len, asked)) < 40
    assert bpe.decode(tokens.tolist()) == "<|endoftext|>".join([*strings.to_pylist(), ""])


def test_bytes_that_are_no_text_are_refused(bpe: Tokenizer) -> None:
    for tokenizer in (bpe, tokenizers.raw_bytes()):
        for raw in (b"a \xff b", b"\xe9", b"ab caf\xe9"):
            with pytest.raises(UnicodeDecodeError):
                tokenizer.encode_documents(np.frombuffer(raw, dtype=np.uint8), np.array([0, len(raw)]))
