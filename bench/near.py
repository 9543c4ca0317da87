"""Speed and recall of near-duplicate search: ours, and that of others where they are installed.

    .venv/bin/python bench/near.py [PARQUET]    default ../shared/data/corpus/tech_00000.parquet

CPU milliseconds a megabyte of text for each step, and for the signatures of 2,000 documents, ours and others'; the
share of copies found in which no word, 1 % or 3 % of the words were replaced; and the share of neighbours in the file
that meet. The others make 14 bands of 8 rows from 5 words too; datasketch and rensa leave it to the caller to split
words, which is done as ours does it. Install datasketch, rensa or datatrove to see theirs.
"""

import itertools
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import minhash
from talweg.corpus.minhash import BANDS, CELLS, ROWS, SHINGLE
from talweg.corpus.words import ngrams, words

MEGABYTE = 1e6
DEFAULT = Path(__file__).parents[2] / "shared/data/corpus/tech_00000.parquet"
DOCUMENTS, BATCH = 2000, 4_000_000
RATES = (0.0, 0.01, 0.03)
WORD = re.compile(r"[a-z0-9\u0080-\U0010ffff]+")
Bands = NDArray[Any]  # (documents, BANDS, ...): documents meet where all of a band is equal


def ours(texts: Sequence[str]) -> Bands:
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    return minhash.signatures(data, np.cumsum([0, *map(len, encoded)])).bands


def shingles(text: str) -> list[str]:
    found = WORD.findall(text.lower())
    return [" ".join(found[i : i + SHINGLE]) for i in range(max(len(found) - SHINGLE + 1, 1))]


def with_datasketch() -> Callable[[Sequence[str]], Bands]:
    from datasketch import MinHash

    def signed(texts: Sequence[str]) -> Bands:
        sets = [[each.encode() for each in shingles(text)] for text in texts]
        return np.stack([each.digest() for each in MinHash.generator(sets, num_perm=CELLS)]).reshape(-1, BANDS, ROWS)

    return signed


def with_rensa() -> Callable[[Sequence[str]], Bands]:
    from rensa import RMinHash

    def one(text: str) -> list[int]:
        made = RMinHash(num_perm=CELLS, seed=1)
        made.update(shingles(text))
        return list(made.digest())

    return lambda texts: np.array([one(text) for text in texts]).reshape(-1, BANDS, ROWS)


def with_datatrove() -> Callable[[Sequence[str]], Bands]:
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

    step = MinhashDedupSignature("/tmp", MinhashConfig())
    none = np.random.default_rng(0)

    def one(text: str) -> Any:
        found = step.get_shingles(text)
        return step.get_signature(found) if found.size else none.integers(0, 2**60, (BANDS, ROWS))

    return lambda texts: np.array([one(text) for text in texts], dtype=np.uint64)


def edited(text: str, rate: float, rng: np.random.Generator) -> str:
    pieces = re.split(r"(\s+)", text)
    for i in range(0, len(pieces), 2):
        if pieces[i] and rng.random() < rate:
            pieces[i] = f"zq{rng.integers(10**9)}"
    return "".join(pieces)


def meet(left: Bands, right: Bands) -> float:
    same = (left == right).reshape(len(left), BANDS, -1).all(axis=2)
    return float(same.any(axis=1).mean())


def compare(texts: Sequence[str], copies: Sequence[Sequence[str]]) -> None:
    size = sum(len(text.encode()) for text in texts) / MEGABYTE
    makers = {"ours": lambda: ours, "datasketch": with_datasketch, "rensa": with_rensa, "datatrove": with_datatrove}
    print(f"{'':<12}{'ms/MB':>8}   found of copies: " + "".join(f"{rate:>8.0%}" for rate in RATES) + "   neighbours")
    for name, make in makers.items():
        try:
            sign = make()
        except ImportError:
            print(f"{name:<12}is not installed")
            continue
        sign(texts[:10])
        began = time.process_time()
        bands = sign(texts)
        cpu = time.process_time() - began
        recall = "".join(f"{meet(bands, sign(each)):>8.1%}" for each in copies)
        print(f"{name:<12}{cpu / size * 1e3:>8.1f}{'':<20}{recall}{meet(bands[1:], bands[:-1]):>13.2%}")


def steps(texts: Sequence[str]) -> None:
    """Each step alone, on batches as `prepare` reads them."""
    data = np.frombuffer("".join(texts).encode(), dtype=np.uint8)
    ends = np.cumsum([0, *(len(text.encode()) for text in texts)])
    cuts = np.unique(np.searchsorted(ends, np.arange(0, int(ends[-1]) + BATCH, BATCH)).clip(max=ends.size - 1))
    batches = [ends[a : b + 1] for a, b in itertools.pairwise(cuts)]
    todo: dict[str, Callable[[], Any]] = {
        "words": lambda: [words(data, each) for each in batches],
        "words, n-grams": lambda: [ngrams(words(data, each), SHINGLE) for each in batches],
        "signatures": lambda: [minhash.signatures(data, each) for each in batches],
    }
    for name, step in todo.items():
        times = []
        for _ in range(3):
            began = time.process_time()
            step()
            times.append(time.process_time() - began)
        print(f"{name:<20}{min(times) / data.size * MEGABYTE * 1e3:6.1f} ms/MB")


def main() -> None:
    import pyarrow.parquet as pq

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    if not path.exists():
        raise SystemExit(f"{path} is not there; give a parquet file with a column text")
    with pq.ParquetFile(path) as file:
        groups = range(min(10, file.num_row_groups))
        texts = file.read_row_groups(list(groups), columns=["text"]).column("text").to_pylist()
    steps(texts)
    rng = np.random.default_rng(0)
    some = [texts[i] for i in rng.choice(len(texts), size=min(DOCUMENTS, len(texts)), replace=False)]
    compare(some, [[edited(text, rate, rng) for text in some] for rate in RATES])


if __name__ == "__main__":
    main()
