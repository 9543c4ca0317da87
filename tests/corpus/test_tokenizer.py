"""Tokenizers, against the libraries that define them and against the text itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from talweg.corpus import byte_level
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError
from tests.conftest import shared
from tests.corpus.texts import text

TEXTS = [text(np.random.default_rng(seed), 300) for seed in range(60)]
ODD = [
    "",
    " ",
    "<|endoftext|>",
    "a\u0301 ńé 漢字 🙂🏽",
    "\x00\x7f\x80",
    "  \t\n\n x  ",
    "don't I'LL we'Ve",
    "٣4Ⅷ",
    "-" * 500,
]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return tokenizers.trained(TEXTS, 360)


@pytest.fixture(scope="module")
def gpt2() -> Tokenizer:
    return tokenizers.from_file(shared("data/gpt2/r50k_base.tiktoken"))


def test_gpt2_gives_its_known_tokens(gpt2: Tokenizer) -> None:
    assert (gpt2.name, gpt2.vocabulary_size, gpt2.separator_id) == ("gpt2", 50_257, 50_256)
    assert gpt2.encode("Hello world").tolist() == [15496, 995]
    assert gpt2.encode("Hello world").dtype == np.uint16
    assert gpt2.decode([15496, 995]) == "Hello world"


def test_gpt2_from_either_file_is_the_same(gpt2: Tokenizer) -> None:
    other = tokenizers.from_file(shared("data/gpt2/tokenizer_nospecial.json"))
    assert (other.name, other.sha256, other.separator_id) == ("gpt2", gpt2.sha256, 50_256)


def test_gpt2_agrees_with_the_file_that_hf_reads(gpt2: Tokenizer) -> None:
    reference = HuggingFaceTokenizer.from_file(str(shared("data/gpt2/tokenizer_nospecial.json")))
    ours = HuggingFaceTokenizer.from_str(gpt2.source)
    for each in [*ODD, *TEXTS[:5]]:
        expected = reference.encode(each, add_special_tokens=False).ids
        assert gpt2.encode(each).tolist() == expected
        assert ours.encode(each).ids == expected


def test_the_separator_in_a_text_is_text(gpt2: Tokenizer, bpe: Tokenizer) -> None:
    for tokenizer in (gpt2, bpe, tokenizers.raw_bytes()):
        tokens = tokenizer.encode("a<|endoftext|>b").tolist()
        assert tokenizer.separator_id not in tokens
        assert tokenizer.decode(tokens) == "a<|endoftext|>b"


def test_gpt2_as_hugging_face_writes_it_is_the_same(gpt2: Tokenizer, tmp_path: Path) -> None:
    """Their file makes <|endoftext|> special, and holds merges as text."""
    content = json.loads(gpt2.source)
    content["added_tokens"] = [
        {"id": 50256, "content": "<|endoftext|>", "special": True, "normalized": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    ]
    content["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert HuggingFaceTokenizer.from_file(str(path)).encode("<|endoftext|>").ids == [50256]  # the trap
    assert tokenizers.from_file(path).sha256 == gpt2.sha256


def test_our_bpe_is_the_one_that_hf_trains(bpe: Tokenizer) -> None:
    """The same text through HF's own trainer and engine gives the same tokens as our file through ours."""
    reference = HuggingFaceTokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=359, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    reference.train_from_iterator(TEXTS, trainer)
    assert (bpe.name, bpe.vocabulary_size, bpe.separator_id) == ("bpe", 360, 359)
    assert isinstance(bpe._engine, tokenizers._ByteLevel)
    for each in [*ODD, *TEXTS]:
        assert bpe.encode(each).tolist() == reference.encode(each).ids
    assert HuggingFaceTokenizer.from_str(bpe.source).encode(TEXTS[0]).ids == bpe.encode(TEXTS[0]).tolist()


def test_two_trainings_on_one_text_are_the_same_file(bpe: Tokenizer) -> None:
    assert tokenizers.trained(iter(TEXTS), 360).source == bpe.source


def test_a_text_too_small_for_the_vocabulary_gives_a_smaller_one() -> None:
    small = tokenizers.trained(["abab abab"], 5000)
    assert small.vocabulary_size < 270
    assert small.separator_id == small.vocabulary_size - 1


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_any_text_comes_back(bpe: Tokenizer, each: str) -> None:
    for tokenizer in (bpe, tokenizers.raw_bytes()):
        assert tokenizer.decode(tokenizer.encode(each)) == each.encode("utf-8", "replace").decode()


def test_half_a_surrogate_pair_is_replaced(bpe: Tokenizer) -> None:
    assert bpe.decode(bpe.encode("a\ud800b")) == "a?b"


def test_very_long_white_space_and_words_are_encoded(bpe: Tokenizer) -> None:
    """tiktoken's regex gives up on the first of these."""
    for each in ("\n" * 1_000_000 + "x", " " * 200_000, "ba" * 100_000):
        assert bpe.decode(bpe.encode(each)) == each


def test_bytes_are_their_own_tokens() -> None:
    tokenizer = tokenizers.raw_bytes()
    assert (tokenizer.name, tokenizer.vocabulary_size, tokenizer.separator_id) == ("bytes", 257, 256)
    assert tokenizer.encode("hé").tolist() == [104, 195, 169]
    assert tokenizer.decode([104, 256, 195]) == "h<|endoftext|>\ufffd"
    hf = HuggingFaceTokenizer.from_str(tokenizer.source)
    assert hf.encode("hé <|endoftext|>").ids == list("hé <|endoftext|>".encode())


def test_a_batch_is_each_of_its_texts(bpe: Tokenizer) -> None:
    batch = bpe.encode_batch(TEXTS[:3])
    assert [tokens.tolist() for tokens in batch] == [bpe.encode(each).tolist() for each in TEXTS[:3]]


def test_what_is_saved_is_loaded(bpe: Tokenizer, gpt2: Tokenizer, tmp_path: Path) -> None:
    for tokenizer in (bpe, gpt2, tokenizers.raw_bytes()):
        tokenizer.save(tmp_path)
        loaded = tokenizers.load(tmp_path)
        assert (loaded.name, loaded.sha256) == (tokenizer.name, tokenizer.sha256)
        assert (loaded.vocabulary_size, loaded.separator_id) == (tokenizer.vocabulary_size, tokenizer.separator_id)
        assert loaded.encode(TEXTS[0]).tolist() == tokenizer.encode(TEXTS[0]).tolist()


def foreign(path: Path, *special: str) -> HuggingFaceTokenizer:
    """A tokenizer that is no byte-level BPE: whole words."""
    tokenizer = HuggingFaceTokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=["[UNK]", *special]))
    tokenizer.save(str(path))
    return tokenizer


def test_another_kind_of_tokenizer_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    reference = foreign(path, "[CLS]", "</s>")
    reference.post_processor = processors.BertProcessing(("</s>", 2), ("[CLS]", 1))
    reference.save(str(path))
    tokenizer = tokenizers.from_file(path)
    assert tokenizer.name == "wordlevel"
    assert tokenizer.separator_id == reference.token_to_id("</s>") == 2
    assert tokenizer.vocabulary_size == reference.get_vocab_size()
    expected = reference.encode(TEXTS[0], add_special_tokens=False).ids
    assert tokenizer.encode(TEXTS[0]).tolist() == expected
    assert tokenizer.source == path.read_text(encoding="utf-8")
    assert 2 not in tokenizer.encode("ba </s> ba").tolist()


def test_one_that_ends_no_document_gets_one_token_more(tmp_path: Path) -> None:
    reference = foreign(tmp_path / "tokenizer.json")
    tokenizer = tokenizers.load(tmp_path)
    assert tokenizer.separator_id == reference.get_vocab_size() == tokenizer.vocabulary_size - 1
    assert tokenizers.load(tmp_path).sha256 == tokenizer.sha256


def test_the_type_of_the_shards_follows_the_vocabulary() -> None:
    sizes = {256: "uint16", 65_536: "uint16", 65_537: "uint32"}
    assert {size: Tokenizer("x", "", size, 0).dtype.name for size in sizes} == sizes


def test_ranks_and_merges_are_the_same_thing(bpe: Tokenizer) -> None:
    content = json.loads(bpe.source)
    ranks = byte_level.ranks_of(content)
    assert ranks is not None
    merges = [[byte_level.to_text(a), byte_level.to_text(b)] for a, b in byte_level.merges_of(ranks)]
    assert merges == content["model"]["merges"]


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}},
        {"added_tokens": [{"id": 400, "content": "ba"}]},
    ],
)
def test_a_bpe_that_ranks_cannot_express_is_not_taken_for_one(bpe: Tokenizer, change: dict) -> None:
    assert byte_level.ranks_of(json.loads(bpe.source)) is not None
    assert byte_level.ranks_of(json.loads(bpe.source) | change) is None


def test_merges_out_of_order_are_not_taken_for_ranks(bpe: Tokenizer) -> None:
    content = json.loads(bpe.source)
    content["model"]["merges"].reverse()
    assert byte_level.ranks_of(content) is None


def test_a_token_made_twice_is_not_taken_for_a_rank(bpe: Tokenizer) -> None:
    content = json.loads(bpe.source)
    content["model"]["merges"].append(content["model"]["merges"][-1])
    assert byte_level.ranks_of(content) is None


def test_a_rank_that_no_lower_ones_make_is_refused() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"abc": 256}
    with pytest.raises(ValueError, match="not made of tokens of lower rank"):
        byte_level.merges_of(ranks)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", None, "cannot be read: No such file"),
        ("tokenizer.json", '{"model": ', "is cut off or no JSON; needed a tokenizer.json"),
        ("tokenizer.json", "[]", "is no tokenizer.json of HF tokenizers: it has no model"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "it has no model with a vocabulary"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": 0}}}', "that HF tokenizers can read"),
        ("cl100k.tiktoken", "IQ== 0\n", r"does not hold GPT-2's ranks \(r50k_base\)"),
    ],
)
def test_a_file_that_is_no_tokenizer(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        tokenizers.from_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_gpt2_without_a_network_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("tiktoken.get_encoding", offline)
    with pytest.raises(InputError, match=r"could not be downloaded \(ConnectionError\); give its file: --tokenizer"):
        tokenizers.gpt2()
