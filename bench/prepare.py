"""Speed of `talweg prepare`: each of its steps alone, and the whole.

    .venv/bin/python bench/prepare.py [PARQUET [TOKENIZER]]    default ../shared/data/corpus/tech_00000.parquet, bpe

Prints megabytes of text a second by wall clock, and by CPU seconds, which other work on the machine disturbs less.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from talweg.corpus import parquet
from talweg.corpus.encode import encoded
from talweg.corpus.entropy import Counts
from talweg.corpus.prepare import prepare
from talweg.corpus.shards import open_split
from talweg.corpus.tokenizer import load
from talweg.corpus.windows import Windows

MEGABYTE = 1e6
DEFAULT = Path(__file__).parents[2] / "shared/data/corpus/tech_00000.parquet"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    tokenizer = sys.argv[2] if len(sys.argv) > 2 else "bpe"
    if not path.exists():
        raise SystemExit(f"{path} is not there; give a parquet file")
    sources = parquet.sources([path])
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter(), time.process_time()
        manifest = prepare([path], Path(folder), tokenizer=tokenizer)
        whole = time.perf_counter() - began[0], time.process_time() - began[1]
        size = (manifest.train.bytes + manifest.val.bytes) / MEGABYTE
        tokens = open_split(Path(folder), "train").tokens
        used = load(Path(folder))
        batches = [strings for source in sources for _, strings in parquet.columns(source, source.column)]

        def count() -> None:
            counts = Counts(used.vocabulary_size)
            for start in range(0, len(tokens), 1 << 18):
                counts.add(tokens[start : start + (1 << 18)])
            counts.entropies()

        used.encode("warm")
        steps: dict[str, Callable[[], Any]] = {
            "read": lambda: sum(len(s) for _, s in parquet.columns(sources[0], sources[0].column)),
            "hash": lambda: [parquet.text_hashes(strings) for strings in batches],
            "encode, 1 thread": lambda: sum(part.tokens.size for part in encoded(sources, used, 1)),
            "encode, 2 threads": lambda: sum(part.tokens.size for part in encoded(sources, used, 2)),
            "count": count,
        }
        print(f"{path.name}: {size:.0f} MB of text, {manifest.train.tokens / 1e6:.1f} M tokens of {used.name}")
        for name, step in steps.items():
            show(name, size, *timed(step))
        show("whole", size, *whole)
        windows = Windows(open_split(Path(folder), "train"), 1024, seed=0)
        wall, cpu = timed(lambda: [windows.batch(first, 64) for first in range(0, 6400, 64)])
        print(f"{'windows of 1,024':<18} {6400 * 1024 / wall / 1e6:8.1f} M tokens/s  ({cpu:.2f} CPU s)")


def timed(step: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def show(name: str, size: float, wall: float, cpu: float) -> None:
    print(f"{name:<18} {size / wall:8.1f} MB/s {wall:8.2f} s   {size / cpu:8.1f} MB per CPU s")


if __name__ == "__main__":
    main()
