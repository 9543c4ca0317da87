"""What each stage of `talweg prepare` costs: CPU seconds, bytes left in the work folder, memory for each document.

    .venv/bin/python bench/stages.py [PARQUET [TOKENIZER]] > notes/rates.json    default: the technical prose, gpt2

Runs in one process, with near-duplicates looked for. CPU seconds and bytes are those of the file; memory is that of
stages that see all documents at once, measured on a million short ones. docs/scale.py plans from what this prints.
"""

import json
import random
import sys
import tempfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

from talweg.corpus.processor import avoid_slow_sorts

avoid_slow_sorts()

from talweg.corpus import inputs, plan, stages  # noqa: E402  (numpy must not be there before)
from talweg.corpus.manifest import Manifest  # noqa: E402
from talweg.corpus.prepare import prepare  # noqa: E402

SHARED = Path(__file__).parents[2] / "shared" / "data"
do_task = stages.run_task
WHOLE = ("bands", "decide", "publish")  # stages of which one task sees all documents
DOCUMENTS = 1_000_000  # on which memory is measured
PIECES = 20_000  # row groups of the plan that is measured
SPENT: dict[str, dict[str, float]] = {}
MEMORY: dict[str, int] = {}  # most bytes held at once; filled instead of SPENT once it has its stages


def run_task(work: Path, stage: str, index: int, progress: Any = None) -> None:
    """A task of the chain, measured."""
    if MEMORY and stage not in WHOLE:
        do_task(work, stage, index)
        return
    if MEMORY:
        tracemalloc.start(1)
        do_task(work, stage, index)
        MEMORY[stage] = max(MEMORY[stage], tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return
    spent = SPENT.setdefault(stage, {"cpu_seconds": 0.0, "bytes": 0, "tasks": 0})
    began = time.process_time()
    do_task(work, stage, index)
    spent["cpu_seconds"] += time.process_time() - began
    spent["bytes"] = sum(path.stat().st_size for path in (work / stage).rglob("*") if path.is_file())
    spent["tasks"] += 1


def prepared(path: Path, tokenizer: str) -> Manifest:
    with tempfile.TemporaryDirectory() as folder:
        return prepare(path, Path(folder), tokenizer=tokenizer, workers=1)


def plan_cost(path: Path) -> dict[str, float]:
    """What each row group costs every process that reads the plan of many."""
    [source] = inputs.find([path])
    many = replace(source, pieces=tuple(source.pieces[i % len(source.pieces)] for i in range(PIECES)))
    options = plan.Options("gpt2", 50257, 0.01, 2_000_000, 0, "exact", True, True, (), "fatal")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        plan.write(work, plan.make(options, [many]))
        began = time.process_time()
        plan.read(work)
        spent = time.process_time() - began
        plan.read.cache_clear()
        tracemalloc.start(1)
        plan.read(work)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        size = (work / plan.FILE).stat().st_size
    return {"bytes": round(size / PIECES), "cpu_seconds": round(spent / PIECES, 7), "memory": round(held / PIECES)}


def short_documents(path: Path) -> None:
    """Texts of their own, a hundred bytes each, from fifty thousand hosts."""
    rng = random.Random(0)
    with path.open("w") as file:
        for i in range(DOCUMENTS):
            text = rng.randbytes(50).hex(" ", 4)
            file.write(f'{{"text": "{text}", "url": "https://host{i % 50_000}.org/{i}"}}\n')


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "corpus/tech_00000.parquet"
    tokenizer = sys.argv[2] if len(sys.argv) > 2 else str(SHARED / "gpt2/r50k_base.tiktoken")
    stages.run_task = run_task
    manifest = prepared(path, tokenizer)
    sides = manifest.train, manifest.val
    told: dict[str, Any] = {
        "text_bytes": sum(side.bytes for side in sides),
        "documents": sum(given.rows for given in manifest.inputs),
        "tokens": sum(side.tokens for side in sides),
        "stages": {stage: {name: round(value, 3) for name, value in spent.items()} for stage, spent in SPENT.items()},
    }
    told["plan_for_a_row_group"] = plan_cost(path)
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "short.jsonl"
        short_documents(short)
        MEMORY.update(dict.fromkeys(WHOLE, 0))
        prepared(short, "bytes")
    told["bytes_in_memory_for_a_document"] = {stage: round(MEMORY[stage] / DOCUMENTS) for stage in WHOLE}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
