"""Small parquet files with text to prepare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from talweg.corpus import inputs, plan
from talweg.corpus.plan import Options, Plan

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


def options(**changes: Any) -> Options:
    """A preparation into bytes that leaves nothing out and looks for nothing."""
    values: dict[str, Any] = {
        "tokenizer": "bytes",
        "vocabulary_size": 300,
        "val_share": 0.1,
        "val_tokens": 10**9,
        "seed": 0,
        "dedup": "off",
        "near": False,
        "quality": False,
        "filters": (),
        "on_damage": "fatal",
    }
    return Options(**{**values, **changes})


def planned(work: Path, given: Sequence[Path], **changes: Any) -> Plan:
    """The plan of a preparation, written into its work folder."""
    made = plan.make(options(**changes), inputs.find(given, on_damage=changes.get("on_damage", "fatal")))
    work.mkdir(parents=True, exist_ok=True)
    plan.write(work, made)
    plan.read.cache_clear()
    return made
