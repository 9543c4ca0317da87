"""What every tokenizer promises, held against tiktoken and HF tokenizers, whichever engine does the work.

Texts are drawn from what engines are known to disagree on: white space of all kinds, NUL, halves of surrogate pairs,
CJK, emoji joined by ZWJ, combining marks, digits of other scripts, apostrophes, and the separator written out.
"""

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers

from talweg.corpus import byte_level
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.tokenizer import Tokenizer
from tests.conftest import shared
from tests.corpus.texts import text

TEXTS = [text(np.random.default_rng(seed), 200) for seed in range(20)]
SNIPPETS = [
    *(
        "<|endoftext|>",
        "<|end",
        "oftext|>",
        "[SEP]",
        "</s>",
        "<s>",
        "\x00",
        "\x7f",
        "\x85",
        "\u00a0",
        "\u2028",
        "\u3000",
    ),
    *(" ", "  ", "\t", "\n", "\r\n", "\n\n\n", " " * 70, "\n" * 70, "\ufeff", "\u200b", "\ufffd", "\U0010ffff"),
    *(
        "漢字かな",
        "한국어",
        "👩\u200d👩\u200d👧\u200d👦",
        "🙂🏽",
        "e\u0301\u0323",
        "\u0301",
        "\u202eabc",
        "ﷺ",
        "ǅ",
        "ß",
        "İ",
    ),
    *("don't", "I'LL", "we've", "'s", "’s", "''", "1234567890", "٣٤", "Ⅷ", "½", "3.14", "-" * 40, "_", "a", "The"),
]
nasty = st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=6)), max_size=12).map("".join)
with_halves = st.text(st.characters(codec=None, categories=None), max_size=20)  # surrogates too


@lru_cache
def made(name: str) -> Tokenizer:
    """The tokenizers of each kind that the module gives."""
    if name == "gpt2 ranks":
        return tokenizers.from_file(shared("data/gpt2/r50k_base.tiktoken"))
    if name == "gpt2 json":
        return tokenizers.from_file(shared("data/gpt2/tokenizer_nospecial.json"))
    if name == "bytes":
        return tokenizers.raw_bytes()
    if name == "bpe":
        return tokenizers.trained(TEXTS, 400)
    if name == "bpe by tiktoken":  # as on machines that have no wheel of the faster engine
        tokenizer = tokenizers.trained(TEXTS, 400)
        tokenizer._engine.__dict__["_encode"] = tokenizer._engine._by_tiktoken  # type: ignore[attr-defined]
        return tokenizer
    if name == "bpe of another word pattern":  # so that HF's own engine has to do it
        content = json.loads(made("bpe").source)
        content["pre_tokenizer"] = {**byte_level.BYTE_LEVEL, "use_regex": False}
        return tokenizers._foreign(json.dumps(content), content)
    words = HuggingFaceTokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=["[UNK]", "</s>"]))
    return tokenizers._foreign(words.to_str(), json.loads(words.to_str()))


NAMES = ("gpt2 ranks", "gpt2 json", "bytes", "bpe", "bpe by tiktoken", "bpe of another word pattern", "words")
LOSSLESS = NAMES[:-1]


@lru_cache
def reference(name: str) -> HuggingFaceTokenizer:
    """HF's own engine, on the file that the tokenizer is saved as, without special tokens."""
    return HuggingFaceTokenizer.from_str(json.dumps(tokenizers._without_special(json.loads(made(name).source))))


@lru_cache
def tiktoken_reference(name: str) -> Any:
    from tiktoken import Encoding

    ranks = byte_level.ranks_of(json.loads(made(name).source))
    assert ranks is not None
    return Encoding("reference", pat_str=byte_level.WORDS, mergeable_ranks=ranks, special_tokens={})


def valid(each: str) -> str:
    """Halves of surrogate pairs read as question marks, as no UTF-8 can hold them."""
    return each.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "bytes"])
@settings(max_examples=80, deadline=None)
@given(each=st.one_of(nasty, with_halves))
def test_tokens_are_those_of_hf_tokenizers(name: str, each: str) -> None:
    assert made(name).encode(each).tolist() == reference(name).encode(valid(each), add_special_tokens=False).ids


@pytest.mark.parametrize("name", ["gpt2 ranks", "gpt2 json", "bpe"])
@settings(max_examples=80, deadline=None)
@given(each=nasty)
def test_tokens_are_those_of_tiktoken(name: str, each: str) -> None:
    assert made(name).encode(each).tolist() == tiktoken_reference(name).encode(each, disallowed_special=())


@pytest.mark.parametrize("name", LOSSLESS)
@settings(max_examples=80, deadline=None)
@given(each=st.one_of(nasty, with_halves))
def test_a_text_comes_back(name: str, each: str) -> None:
    assert made(name).decode(made(name).encode(each).tolist()) == valid(each)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(batch=st.lists(nasty, min_size=1, max_size=6))
def test_documents_are_each_text_and_one_separator(name: str, batch: list[str]) -> None:
    """The place of every document is kept, no text makes a separator, and no token is beyond the vocabulary."""
    tokenizer = made(name)
    encoded = [each.encode() for each in batch]
    data = np.frombuffer(b"before" + b"".join(encoded) + b"after", dtype=np.uint8)
    ends = np.cumsum([len(b"before"), *map(len, encoded)]).astype(np.int64)
    tokens, lengths = tokenizer.encode_documents(data, ends)
    assert tokens.dtype == tokenizer.dtype
    assert int(tokens.max()) < tokenizer.vocabulary_size
    parts = np.split(tokens, np.cumsum(lengths)[:-1])
    assert [part.tolist() for part in parts] == [
        [*tokenizer.encode(each).tolist(), tokenizer.separator_id] for each in batch
    ]
    assert int((tokens == tokenizer.separator_id).sum()) == len(batch)


@pytest.mark.parametrize("name", NAMES)
def test_every_tokenizer_has_a_separator_inside_its_vocabulary(name: str) -> None:
    tokenizer = made(name)
    assert 0 <= tokenizer.separator_id < tokenizer.vocabulary_size
    assert np.iinfo(tokenizer.dtype).max >= tokenizer.vocabulary_size - 1


@pytest.mark.parametrize("name", NAMES)
def test_bytes_that_are_no_utf8_are_refused(name: str) -> None:
    data = np.frombuffer(b"ab\xff\xfecd", dtype=np.uint8)
    with pytest.raises(UnicodeDecodeError):
        made(name).encode_documents(data, np.array([0, data.size], dtype=np.int64))


@pytest.mark.parametrize("name", ["gpt2 ranks", "gpt2 json"])
def test_gpt2_from_either_file(name: str) -> None:
    tokenizer = made(name)
    assert (tokenizer.name, tokenizer.vocabulary_size, tokenizer.separator_id) == ("gpt2", 50_257, 50_256)
    assert tokenizer.encode("Hello world").tolist() == [15496, 995]


@pytest.mark.parametrize("name", ["gpt2 ranks", "bpe", "bytes"])
@pytest.mark.parametrize("each", ["\n" * 300_000, " " * 300_000 + "x", "a" * 300_000, "<|endoftext|>" * 20_000])
def test_long_runs(name: str, each: str) -> None:
    tokens = made(name).encode(each)
    assert made(name).separator_id not in tokens
    assert made(name).decode(tokens.tolist()) == each


def test_a_token_beyond_the_vocabulary_is_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that gave one would be stopped before uint16 could make another token of it."""
    tokenizer = Tokenizer("bytes", made("bytes").source, 257, 256)

    class Wrong:
        def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
            return [np.array([65_536 + 5], dtype=np.uint32) for _ in texts]

    monkeypatch.setitem(tokenizer.__dict__, "_engine", Wrong())
    with pytest.raises(AssertionError, match="a token outside the vocabulary"):
        tokenizer.encode("x")
