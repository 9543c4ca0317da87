"""Speed of `talweg prepare`: stage by stage, and the whole.

    .venv/bin/python bench/prepare.py [PARQUET [TOKENIZER]]    default ../shared/data/corpus/tech_00000.parquet, bpe

Prints CPU seconds of each stage and megabytes of text a CPU second, which other work on the machine disturbs less than
the clock; without near-duplicates and quality, and with them. All tasks run in this process.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from talweg.corpus.processor import avoid_slow_sorts

avoid_slow_sorts()

from talweg.corpus import stages  # noqa: E402  (numpy must not be there before)
from talweg.corpus.prepare import prepare  # noqa: E402

DEFAULT = Path(__file__).parents[2] / "shared/data/corpus/tech_00000.parquet"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    tokenizer = sys.argv[2] if len(sys.argv) > 2 else "bpe"
    if not path.exists():
        raise SystemExit(f"{path} is not there; give a parquet file")
    spent: dict[str, float] = {}
    for stage, run in stages.RUNS.items():
        stages.RUNS[stage] = timed(stage, run, spent)
    for name, options in {"bare": {"near": False, "quality": False}, "near-duplicates and quality": {}}.items():
        spent.clear()
        folder = Path(tempfile.mkdtemp())
        began = time.perf_counter(), time.process_time()
        manifest = prepare([path], folder / "data", tokenizer=tokenizer, workers=1, **options)
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        shutil.rmtree(folder)
        size = (manifest.train.bytes + manifest.val.bytes) / 1e6
        print(f"{path.name}, {name}: {size:.0f} MB of text, {manifest.train.tokens / 1e6:.1f} M tokens")
        spent["the rest"] = cpu - sum(spent.values())
        for stage, seconds in spent.items():
            print(f"  {stage:<12} {seconds:8.2f} CPU s {1000 * seconds / size:8.2f} ms a MB")
        print(f"  {'whole':<12} {cpu:8.2f} CPU s {size / cpu:8.1f} MB a CPU s   {size / wall:8.1f} MB/s on one core")


def timed(stage: str, run: stages.Run, spent: dict[str, float]) -> stages.Run:
    def measured(*arguments) -> None:
        began = time.process_time()
        run(*arguments)
        spent[stage] = spent.get(stage, 0.0) + time.process_time() - began

    return measured


if __name__ == "__main__":
    main()
