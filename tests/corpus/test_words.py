"""Words and their hashes, against reading one document at a time."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from talweg.corpus import words as module
from talweg.corpus.words import Words, ngrams, words

LETTERS = st.sampled_from(
    [*"aAbBzZ09 \n.,-_'\x00\x7f", "é", "É", "漢", "🙂", "’", "“", "\u2003", "\u203f", "\u2040", "。", "あ"]
)
DOCUMENTS = st.lists(st.lists(LETTERS, max_size=40).map("".join), max_size=8)
MASK = 2**64 - 1


def joined(texts: Sequence[str], before: bytes = b"") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as one array of bytes, and the bounds of each."""
    encoded = [text.encode() for text in texts]
    ends = len(before) + np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(before + b"".join(encoded), dtype=np.uint8), ends


def spelled(text: str) -> list[str]:
    """The words of a text, one character after another."""
    return re.findall(
        r"[a-z0-9\u0080-\u1fff\u2040-\u2fff\u3040-\U0010ffff]+", re.sub("[A-Z]", lambda m: m[0].lower(), text)
    )


def mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def hashed(word: str) -> int:
    """The hash of one word, in Python's whole numbers."""
    data = word.encode()
    pieces = [data[at : at + 8] for at in range(0, len(data), 8)]
    golden = 0x9E3779B97F4A7C15
    return sum(mix((int.from_bytes(piece, "little") + i * golden) & MASK) for i, piece in enumerate(pieces)) & MASK


def texts_of(found: Words, data: NDArray[np.uint8], document: int) -> list[str]:
    at = np.flatnonzero(found.document == document)
    return [data[found.starts[i] : found.ends[i]].tobytes().decode() for i in at]


@settings(max_examples=300, deadline=None)
@given(documents=DOCUMENTS)
def test_the_words_and_hashes_are_those_of_each_document_alone(documents: list[str]) -> None:
    data, ends = joined(documents, before=b"not read")
    found = words(data, ends)
    for number, text in enumerate(documents):
        expected = spelled(text)
        assert [w.translate({i: i + 32 for i in range(65, 91)}) for w in texts_of(found, data, number)] == expected
        assert found.hashes[found.document == number].tolist() == [hashed(word) for word in expected]


def test_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    text = " ".join("x" * int(n) + str(n) for n in rng.integers(0, 40, size=900))
    data, ends = joined([text[:2000], "", text[2000:]])
    whole = words(data, ends)
    grams = ngrams(whole, 5)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert words(data, ends).hashes.tolist() == whole.hashes.tolist()
    assert ngrams(whole, 5)[0].tolist() == grams[0].tolist()


@pytest.mark.parametrize("n", [1, 2, 5, 13])
def test_ngrams_stay_within_their_document(n: int) -> None:
    documents = ["one two three four five six seven", "", "a b", "one two three four five six seven eight " * 3]
    found = words(*joined(documents))
    hashes, first = ngrams(found, n)
    counts = [len(spelled(text)) for text in documents]
    assert first.size == hashes.size == sum(max(count - n + 1, 0) for count in counts)
    alone = [ngrams(words(*joined([text])), n)[0].tolist() for text in documents]
    assert hashes.tolist() == [each for grams in alone for each in grams]
    texts: dict[tuple[str, ...], set[int]] = {}
    listed = [word for text in documents for word in spelled(text)]
    for gram, at in zip(hashes.tolist(), first.tolist(), strict=True):
        texts.setdefault(tuple(listed[at : at + n]), set()).add(gram)
    assert all(len(seen) == 1 for seen in texts.values())
    assert len({next(iter(seen)) for seen in texts.values()}) == len(texts)


def test_the_order_of_words_and_of_letters_counts() -> None:
    documents = [
        "ab ba ab",
        "a b c d e",
        "b a c d e",
        "e d c b a",
        "abcdefgh12345678",
        "12345678abcdefgh",
        "a" * 8,
        "a" * 9,
    ]
    found = words(*joined(documents))
    assert found.hashes[0] == found.hashes[2] != found.hashes[1]
    grams = ngrams(found, 5)[0]
    assert np.unique(grams).size == grams.size == 3
    assert np.unique(found.hashes[-4:]).size == 4


def test_quotes_may_be_curly_and_letters_large() -> None:
    plain, curly = words(*joined(['"Don\'t" stop...'])), words(*joined(["“DON’T” — stop…"]))
    assert plain.hashes.tolist() == curly.hashes.tolist()
    assert plain.hashes.size == 3


def test_numbers_tell_texts_apart() -> None:
    found = words(*joined(["version 2.12", "version 2.13"]))
    assert found.hashes[0] == found.hashes[3]
    assert found.hashes[1] == found.hashes[4]
    assert found.hashes[2] != found.hashes[5]


@pytest.mark.parametrize("documents", [[], [""], ["", "", ""], ["..."]])
def test_no_words_at_all(documents: list[str]) -> None:
    found = words(*joined(documents))
    assert found.hashes.size == found.document.size == found.starts.size == found.ends.size == 0
    assert ngrams(found, 5)[0].size == 0


def test_a_million_letters_without_a_space() -> None:
    long = "x" * 1_000_003
    found = words(*joined(["a " + long, long[:-1] + "y", long]))
    assert found.hashes.size == 4
    assert found.hashes[1] == found.hashes[3] != found.hashes[2]


def test_hashes_of_different_words_are_different() -> None:
    numbers = words(*joined([" ".join(f"{i} {i:014d}x" for i in range(200_000))]))
    assert np.unique(numbers.hashes).size == 400_000
