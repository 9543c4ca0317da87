"""Every measure against plain Python, on documents made by hand and at random."""

import numpy as np
import pytest

from talweg.corpus.quality.measures import COMPRESSED_FROM, Measures, measure
from talweg.corpus.words import words
from tests.corpus.plain_quality import slow

BY_HAND = {
    "empty": "",
    "white": " \n\t\r\n ",
    "one word": "word",
    "one byte": "x",
    "no letter": "12 3.4 -- | a1 é",
    "crlf": "First line here.\r\nSecond line here.\r\n\r\nFirst line here.\r\n",
    "no last line feed": "one\n\ntwo\n\none",
    "bullets": "- one\n* two\n• three\n‣ four\n  - five\nsix",
    "ellipses": "wait... what…\nand so on...\n.... ......\n#one ## three",
    "sentences": 'He said "no." Then (yes!) e.g. this one.\nShort one.\nThe javascript was on.\nNo end here\nA b c…',
    "quoted": "so he said “stop.”\nit’s the people’s’\n日本語です。\nwhat？",
    "braces": "{ { } Lorem Ipsum lorem ipsu JavaScript javascrip",
    "mojibake": "cafÃ© itâ€™s Ã Ã© ðŸ˜€ SPÄSS» Spaß» déjà « vu » Ã",
    "control": "\x00\x01 a\x1b[1mb \x7f \x85 \ufffd\ufffd",
    "long words": "https://example.org/" + "a" * 40 + " " + "é" * 60 + " " + "b" * 41 + " " + "c" * 40,
    "overlap": "a b a b a b a b a b a b a b a b",
    "same": "spam " * 60,
    "stop words": "The be TO of. and-that have with that",
    "emoji": "😀😀 é\u2003x \u3000 y\u00a0z",
    "ends in a lead": "x é",
}


def measured(texts: list[str]) -> Measures:
    parts = [text.encode() for text in texts]
    return measure(np.frombuffer(b"".join(parts), dtype=np.uint8), np.cumsum([0, *map(len, parts)]))


def agree(texts: list[str]) -> None:
    found = measured(texts)
    for d, text in enumerate(texts):
        for name, value in slow(text).items():
            assert found[name][d] == pytest.approx(value, abs=1e-12), (name, text[:200])


def at_random(rng: np.random.Generator) -> str:
    pieces = [
        "the",
        "of",
        "a",
        "be",
        "end.",
        "why?",
        "x1",
        "42",
        "…",
        "...",
        "#",
        "-",
        "\n",
        "\n",
        "\n\n",
        "\r\n",
        " ",
        "é",
    ]
    pieces += [
        "’",
        "Ã©",
        "â€™",
        "日本",
        "。",
        "\ufffd",
        "\x02",
        "\u0085",
        "{",
        "javascript",
        "the cat sat on the mat today, he said",
    ]
    drawn = rng.choice(len(pieces), size=rng.integers(0, 80), p=rng.dirichlet(np.full(len(pieces), 0.4)))
    return "".join(pieces[k] + (" " if rng.random() < 0.7 else "") for k in drawn)


def test_every_measure_of_documents_made_by_hand() -> None:
    agree(list(BY_HAND.values()))


@pytest.mark.parametrize("name", BY_HAND)
def test_a_document_is_measured_by_itself(name: str) -> None:
    agree([BY_HAND[name]])


def test_every_measure_of_documents_at_random() -> None:
    rng = np.random.default_rng(0)
    agree([at_random(rng) for _ in range(400)])


def test_a_line_of_a_megabyte() -> None:
    rng = np.random.default_rng(1)
    vocabulary = ["".join(map(chr, rng.integers(97, 123, rng.integers(1, 9)))) for _ in range(300)]
    text = " ".join(vocabulary[k] for k in rng.zipf(1.3, 220_000) % 300)
    found, expected = measured(["a", text, "b"]), slow(text)
    assert len(text) > 1_000_000
    for name in ("words", "mean_word_length", "top_2gram_characters", "duplicate_5gram_characters", "stop_word_share"):
        assert found[name][1] == pytest.approx(expected[name])
    assert found["words_per_line"].tolist() == [1, 220_000, 1]


def test_a_document_does_not_depend_on_its_neighbours_or_on_where_the_batch_begins() -> None:
    rng = np.random.default_rng(2)
    texts = [at_random(rng) * 4 for _ in range(40)]
    together = measured(texts)
    data, ends = (
        np.frombuffer("".join(texts).encode(), dtype=np.uint8),
        np.cumsum([0, *(len(t.encode()) for t in texts)]),
    )
    inside = measure(data, ends[7:19])
    given = measure(data, ends[7:19], words(data, ends[7:19]))
    for name, values in together.items():
        np.testing.assert_array_equal(values[7:18], inside[name], err_msg=name)
        np.testing.assert_array_equal(inside[name], given[name], err_msg=name)


def test_no_documents() -> None:
    found = measure(np.empty(0, dtype=np.uint8), np.array([0]))
    assert all(values.shape == (0,) for values in found.values())


def test_compression_is_measured_of_a_kilobyte_and_more() -> None:
    rng = np.random.default_rng(3)
    random = "".join(map(chr, rng.integers(33, 127, COMPRESSED_FROM)))
    found = measured([random[1:], random, "The same passage once more. " * 200])["compression"]
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(8 / np.log2(94), rel=0.08)  # bits a character hold that much: 1.22
    assert found[2] > 50
