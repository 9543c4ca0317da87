"""`talweg prepare` against what people use instead, in one go, on the same text: time, CPU, memory, tokens.

    .venv/bin/python bench/prepare_rivals.py [PARQUET] [--copies 4] [--repeats 3] [--tokenizer RANKS --json TOKENIZER]

Sides: ours without and with near-duplicates and quality; a nanoGPT-style prepare (load_dataset, train_test_split, map
with tiktoken, a uint16 memmap); datatrove's ParquetReader and DocumentTokenizer. Each with two processes, as a child of
its own: wall clock and CPU of the whole command, and the peak of its largest process. Repeats take turns, so that
other work on the machine disturbs all alike. Token counts are compared with ours when no copy is left out (by default
exact copies are, so that ours may fall short by theirs).

datasets and tiktoken live in a virtual environment of their own, made in --rivals when missing; datatrove is taken from
the environment at hand. A side that cannot run is named. datatrove gives each task whole files, so it gets the text as
two files, and does not shuffle; the nanoGPT-style side gets the text column alone. Both are given less work for it.
--copies makes a larger text, as `prepare_memory.py` does. Every side reads and writes temporary files, and what
load_dataset caches is made anew each time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prepare_memory import DEFAULT, PROCESSES, SHARED, Run, Side, our_tokens, ours, taken, told

# Only what the standard library has: this file runs in the rivals' environment too.
NEEDS = {"nanogpt": ("datasets", "tiktoken"), "datatrove": ("datatrove", "tokenizers")}
TITLES = {"nanogpt": "nanoGPT-style", "datatrove": "datatrove, the text as two files"}
HERE = Path(__file__).resolve()
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def nanogpt(text: Path, out: Path, ranks: Path) -> None:
    """As prepare.py files do: a dataset, split at random by documents, encoded by two processes, then joined."""
    import base64

    import numpy as np
    import tiktoken
    from datasets import load_dataset

    lines = ranks.read_bytes().split(b"\n")
    ids = {base64.b64decode(word): int(rank) for word, rank in (line.split() for line in lines if line)}
    encoding = tiktoken.Encoding(
        "gpt2-of-a-file", pat_str=GPT2_PATTERN, mergeable_ranks=ids, special_tokens={"<|endoftext|>": 50256}
    )

    def encoded(row: dict[str, Any]) -> dict[str, Any]:
        tokens = encoding.encode_ordinary(row["text"])
        tokens.append(encoding.eot_token)
        return {"tokens": tokens, "length": len(tokens)}

    dataset = load_dataset("parquet", data_files=str(text), split="train", columns=["text"], cache_dir=str(out / "hf"))
    sides = dataset.train_test_split(test_size=0.0005, seed=1, shuffle=True)
    sides = sides.map(encoded, remove_columns=["text"], num_proc=PROCESSES)
    for name, side in {"train": sides["train"], "val": sides["test"]}.items():
        total = int(np.sum(side["length"], dtype=np.uint64))
        target = np.memmap(out / f"{name}.bin", dtype=np.uint16, mode="w+", shape=(total,))
        parts, filled = min(1024, len(side)), 0
        for index in range(parts):
            rows = side.shard(num_shards=parts, index=index, contiguous=True).with_format("numpy")
            joined = np.concatenate(list(rows["tokens"]))
            target[filled : filled + len(joined)] = joined
            filled += len(joined)
        target.flush()


def halve(folder: Path) -> None:
    """Write text.parquet once more, as two files in halves/."""
    import pyarrow.parquet as pq

    (folder / "halves").mkdir()
    with pq.ParquetFile(folder / "text.parquet") as file:
        groups = range(file.num_row_groups)
        for name, part in {"a": groups[: len(groups) // 2], "b": groups[len(groups) // 2 :]}.items():
            with pq.ParquetWriter(folder / "halves" / f"{name}.parquet", file.schema_arrow) as writer:
                for group in part:
                    writer.write_table(file.read_row_group(group))


def datatrove(halves: Path, out: Path, tokenizer: Path) -> None:
    """Its own steps and executor, a task for each file."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    steps = [
        ParquetReader(str(halves), read_metadata=False),
        DocumentTokenizer(str(out / "tokens"), str(tokenizer), shuffle_documents=False),
    ]
    LocalPipelineExecutor(steps, tasks=PROCESSES, workers=PROCESSES, logging_dir=str(out / "logs")).run()


def environment(folder: Path) -> Path:
    """The Python of the rivals' own environment, made when missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, stdout=subprocess.DEVNULL)
        install = [str(python), "-m", "pip", "install", "-q", *NEEDS["nanogpt"]]
        done = subprocess.run(install, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"datasets and tiktoken cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


def versions(names: Sequence[str]) -> dict[str, str | None]:
    import importlib.metadata

    found: dict[str, str | None] = dict.fromkeys(names)
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def sides(given: argparse.Namespace, folder: Path) -> Iterator[Side]:
    """Those that can run here; of the others, prints what is missing."""
    text = folder / "text.parquet"
    encode = "--tokenizer", str(given.tokenizer), "--workers", str(PROCESSES)
    yield Side("ours, bare", ours(text, *encode, "--no-near", "--no-quality"), our_tokens)
    yield Side("ours, near-duplicates and quality", ours(text, *encode), our_tokens)
    rivals = {"nanogpt": environment(given.rivals), "datatrove": Path(sys.executable)}
    sources = {"nanogpt": (text, given.tokenizer), "datatrove": (folder / "halves", given.json)}
    outputs = {"nanogpt": "*.bin", "datatrove": "tokens/*.ds"}
    for name, python in rivals.items():
        found = told("--versions", *NEEDS[name], python=python, script=HERE) if python.exists() else {}
        lacking = [need for need in NEEDS[name] if not found.get(need)]
        lacking += [str(path) for path in sources[name] if not path.exists()]
        if lacking:
            print(f"{name}: absent, for want of {' and '.join(lacking)}")
            continue
        print(f"{name}: {', '.join(f'{need} {version}' for need, version in found.items())}")
        start = [str(python), str(HERE), "--side", name, *map(str, sources[name])]
        yield Side(TITLES[name], partial(_started, start), partial(_tokens, outputs[name]))


def _started(start: list[str], out: Path) -> list[str]:
    return [*start, str(out)]


def _tokens(pattern: str, out: Path) -> int:
    """In files of uint16 without a header."""
    return sum(path.stat().st_size for path in out.glob(pattern)) // 2


def spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def compare(given: argparse.Namespace, folder: Path) -> None:
    text = told("--write-text", given.parquet, given.copies, folder / "text.parquet")
    subprocess.run([sys.executable, str(HERE), "--halve", str(folder)], check=True)
    megabytes = text["bytes"] / 1e6
    print(f"{megabytes:.1f} MB of text in {text['documents']:,} documents; load before: {os.getloadavg()[0]:.2f}")
    every = list(sides(given, folder))
    nothing_left_out = "--no-near", "--no-quality", "--dedup", "off", "--tokenizer", str(given.tokenizer)
    tokens = taken(Side("", ours(folder / "text.parquet", *nothing_left_out), our_tokens), folder)[1]
    runs: dict[str, list[Run]] = {side.name: [] for side in every}
    counts: dict[str, int] = {}
    for _ in range(given.repeats):
        for side in every:
            run, counts[side.name] = taken(side, folder)
            runs[side.name].append(run)
            print(f"{side.name}: {run.wall:.1f} s, {run.cpu:.1f} CPU s", file=sys.stderr)
    bare = runs[every[0].name]
    print(f"load after: {os.getloadavg()[0]:.2f}\n")
    print("| side | wall s | CPU s | MB/s | MB a CPU s | wall, times ours | CPU, times ours | peak MB | tokens |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, each in runs.items():
        wall, cpu = [run.wall for run in each], [run.cpu for run in each]
        middle = statistics.median(wall), statistics.median(cpu)
        times = [
            middle[0] / statistics.median(r.wall for r in bare),
            middle[1] / statistics.median(r.cpu for r in bare),
        ]
        more = counts[name] - tokens
        print(
            f"| {name} | {spread(wall, '.1f')} | {spread(cpu, '.1f')} | {megabytes / middle[0]:.1f} |"
            f" {megabytes / middle[1]:.1f} | {times[0]:.1f} | {times[1]:.1f} |"
            f" {max(run.peak for run in each) / 1e6:.0f} | {counts[name]:,} ({agreement(more, text['documents'])}) |"
        )


def agreement(more: int, documents: int) -> str:
    """Of a count with ours when nothing is left out; datatrove's tokenizer.json has no separator."""
    return {0: "equal", -documents: "equal but for separators"}.get(more, f"{more:+,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parquet", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--tokenizer", type=Path, default=SHARED / "gpt2/r50k_base.tiktoken", help="GPT-2's ranks")
    parser.add_argument("--json", type=Path, default=SHARED / "gpt2/tokenizer_nospecial.json", help="for datatrove")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rivals", type=Path, default=Path(tempfile.gettempdir()) / f"talweg-rivals-{os.getuid()}")
    given = parser.parse_args()
    for path in (given.parquet, given.tokenizer):
        if not path.exists():
            raise SystemExit(f"{path} is not there; give a parquet file, and GPT-2's ranks with --tokenizer")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        compare(given, Path(folder))


def step() -> bool:
    """Whether this process is one of the steps above, which is then done."""
    match sys.argv[1:]:
        case ["--versions", *names]:
            print(json.dumps(versions(names)))
        case ["--halve", folder]:
            halve(Path(folder))
        case ["--side", name, source, tokenizer, out]:
            {"nanogpt": nanogpt, "datatrove": datatrove}[name](Path(source), Path(out), Path(tokenizer))
        case _:
            return False
    return True


if __name__ == "__main__":
    if not step():
        main()
