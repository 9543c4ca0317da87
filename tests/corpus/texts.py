"""Small parquet files with text to prepare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = [f"{a}{b}{c}" for a in ("ba", "ko", "mi", "tu", "ré") for b in ("n", "l", "st", "") for c in ("a", "o", "is")]


def text(rng: np.random.Generator, num_words: int) -> str:
    """Words drawn with Zipf's frequencies, in sentences."""
    share = 1 / np.arange(1, len(WORDS) + 1)
    words = rng.choice(WORDS, size=num_words, p=share / share.sum())
    return " ".join(word + (".\n" if i % 11 == 10 else "") for i, word in enumerate(words))


def rows(num: int, *, hosts: int = 40, seed: int = 0, num_words: int = 60) -> list[dict[str, Any]]:
    """FineWeb's columns, as far as a split looks at them."""
    rng = np.random.default_rng(seed)
    return [
        {
            "text": text(rng, int(rng.integers(num_words // 2, num_words * 2))),
            "id": f"{seed}-{i}",
            "url": f"https://www.host{i % hosts}.org/page/{seed}-{i}?q=1",
            "file_path": f"warc-{i % 5}",
            "source": "web",
        }
        for i in range(num)
    ]


def write(path: Path, table: Sequence[dict[str, Any]] | pa.Table, row_group_size: int = 100) -> Path:
    made = table if isinstance(table, pa.Table) else pa.Table.from_pylist(list(table))
    pq.write_table(made, path, row_group_size=row_group_size)
    return path
