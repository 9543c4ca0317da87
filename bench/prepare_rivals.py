"""`talweg prepare` against what people use instead, in one go, on the same text: time, CPU, memory, tokens.

    .venv/bin/python bench/prepare_rivals.py [PARQUET] [--copies 4] [--repeats 3] [--tokenizer RANKS --json TOKENIZER]
    .venv/bin/python bench/prepare_rivals.py --memory      peak memory of ours alone, default settings: 1, 4, 20 copies
                                                           of the text, and a million short documents

Sides: ours without and with near-duplicates and quality; a nanoGPT-style prepare (load_dataset, train_test_split, map
with tiktoken, a uint16 memmap); datatrove's ParquetReader and DocumentTokenizer. Each with two processes, as a child of
its own: wall clock and CPU of the whole command, and the peak of its largest process. Repeats take turns, so that
other work on the machine disturbs all alike. Token counts are compared with ours, nothing left out.

datasets and tiktoken live in a virtual environment of their own, made in --rivals when missing; datatrove is taken from
the environment at hand. A side that cannot run is named. datatrove gives each task whole files, so it gets the text as
two files, and does not shuffle; the nanoGPT-style side gets the text column alone. Both are given less work for it.
--copies writes a larger file: in each copy, lower-case words change places with words about as frequent, so copies
are no near-duplicates and encode about as the text does; hosts of urls get a prefix.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Only what the standard library has: this file runs in the rivals' environment too, and a process that measures must
# be small, for a child counts what its parent held.

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
NEEDS = {"nanogpt": ("datasets", "tiktoken"), "datatrove": ("datatrove", "tokenizers")}
PROCESSES = 2
WORD = re.compile(r"\b[a-z]+\b")
NEIGHBOURS = 8  # words that change places: so many of successive ranks
SHORT_DOCUMENTS = 1_000_000
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


@dataclass(frozen=True)
class Run:
    """wall, cpu: seconds; peak: bytes resident in the largest process."""

    wall: float
    cpu: float
    peak: int


# Measuring


def measure(command: Sequence[str], environment: dict[str, str]) -> Run:
    """The whole command, orphans too: a helper adopts and awaits them. Raises RuntimeError with its last words."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result", Path(folder) / "log"
        helper = [sys.executable, str(Path(__file__).resolve()), "--measured", str(result), *command]
        with log.open("wb") as told:
            code = subprocess.run(helper, stdout=told, stderr=told, env={**os.environ, **environment}).returncode
        if code:
            raise RuntimeError(f"exit code {code}: {log.read_text(errors='replace').strip()[-600:]}")
        return Run(**json.loads(result.read_text()))


def measured(result: Path, command: Sequence[str]) -> None:
    """In the helper: run, await whatever is left, note what it took."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become ours
    began = time.perf_counter()
    code = subprocess.run(command).returncode
    wall = time.perf_counter() - began
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    result.write_text(
        json.dumps({"wall": wall, "cpu": spent.ru_utime + spent.ru_stime, "peak": spent.ru_maxrss * 1024})
    )
    sys.exit(code)


def told(*arguments: str | Path, python: str | Path = sys.executable) -> Any:
    """What a step of this file, in a process of its own, prints as JSON."""
    command = [str(python), str(Path(__file__).resolve()), *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# The text


def text_of(path: Path, copies: int, folder: Path) -> dict[str, int]:
    """Write text.parquet, and two halves of it in halves/. The text's documents and bytes."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    whole, halves = folder / "text.parquet", folder / "halves"
    halves.mkdir()
    if copies == 1:
        shutil.copyfile(path, whole)
    else:
        write_copies(path, copies, whole)
    size = documents = 0
    with pq.ParquetFile(whole) as file:
        groups = file.num_row_groups
        for name, part in {"a": range(groups // 2), "b": range(groups // 2, groups)}.items():
            with pq.ParquetWriter(halves / f"{name}.parquet", file.schema_arrow) as writer:
                for group in part:
                    table = file.read_row_group(group)
                    size += pc.sum(pc.binary_length(table["text"])).as_py() or 0
                    documents += table.num_rows
                    writer.write_table(table)
    return {"documents": documents, "bytes": size}


def write_copies(path: Path, copies: int, whole: Path) -> None:
    import multiprocessing

    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        counts: Counter[str] = Counter()
        for batch in file.iter_batches(1000, columns=["text"]):
            for text in batch["text"].to_pylist():
                counts.update(WORD.findall(text or ""))
        ranked = [word for word, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
        todo = [(path, copy, group) for copy in range(copies) for group in range(file.num_row_groups)]
        schema = file.schema_arrow
    with multiprocessing.Pool(PROCESSES, prepare_words, (ranked,)) as pool, pq.ParquetWriter(whole, schema) as writer:
        for table in pool.imap(rewritten, todo):
            writer.write_table(table)


RANKED: list[str] = []


def prepare_words(ranked: list[str]) -> None:
    RANKED[:] = ranked


def rewritten(given: tuple[Path, int, int]) -> Any:
    """A row group, its words exchanged; copy 0 is the text itself."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path, copy, group = given
    with pq.ParquetFile(path) as file:
        table = file.read_row_group(group)
    if copy == 0:
        return table
    new = exchanged(copy)
    texts = [
        None if text is None else WORD.sub(lambda found: new[found[0]], text) for text in table["text"].to_pylist()
    ]
    table = table.set_column(table.column_names.index("text"), "text", pa.array(texts, table.schema.field("text").type))
    if "url" in table.column_names:
        urls = pc.replace_substring(table["url"], "://", f"://copy{copy}.", max_replacements=1)
        table = table.set_column(table.column_names.index("url"), "url", urls)
    return table


EXCHANGED: dict[int, dict[str, str]] = {}


def exchanged(copy: int) -> dict[str, str]:
    """Of every word, the one that stands for it in this copy."""
    import random

    if copy not in EXCHANGED:
        EXCHANGED.clear()
        rng, made = random.Random(copy), {}
        for first in range(0, len(RANKED), NEIGHBOURS):
            words = RANKED[first : first + NEIGHBOURS]
            made.update(zip(words, rng.sample(words, len(words)), strict=True))
        EXCHANGED[copy] = made
    return EXCHANGED[copy]


def short_documents(path: Path) -> dict[str, int]:
    """Texts of their own, twenty words of six digits each, from fifty thousand hosts; every tenth is one before it
    with the last word replaced."""
    import random

    rng, size, earlier = random.Random(0), 0, ""
    with path.open("w") as file:
        for i in range(SHORT_DOCUMENTS):
            text = rng.randbytes(60).hex(" ", 3)
            if i % 10 == 9:
                text = f"{earlier.rpartition(' ')[0]} {i}"
            earlier, size = text, size + len(text)
            file.write(f'{{"text": "{text}", "url": "https://host{i % 50_000}.org/{i}"}}\n')
    return {"documents": SHORT_DOCUMENTS, "bytes": size}


# The rivals


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


# The comparison


@dataclass(frozen=True)
class Side:
    """command: for an output folder; counted: the tokens in it."""

    name: str
    command: Callable[[Path], list[str]]
    counted: Callable[[Path], int]


def ours(text: Path, *options: str) -> Callable[[Path], list[str]]:
    command = [sys.executable, "-m", "talweg", "prepare", str(text), *options]
    return lambda out: [*command, "--out", str(out / "data")]


def our_tokens(out: Path) -> int:
    manifest = json.loads((out / "data" / "manifest.json").read_text())
    return int(manifest["train"]["tokens"] + manifest["val"]["tokens"])


def sides(given: argparse.Namespace, folder: Path) -> Iterator[Side]:
    """Those that can run here; of the others, prints what is missing."""
    text, here = folder / "text.parquet", str(Path(__file__).resolve())
    encode = "--tokenizer", str(given.tokenizer), "--workers", str(PROCESSES)
    yield Side("ours, bare", ours(text, *encode, "--no-near", "--no-quality"), our_tokens)
    yield Side("ours, near-duplicates and quality", ours(text, *encode), our_tokens)
    python = environment(given.rivals)
    for name, executable in {"nanogpt": python, "datatrove": Path(sys.executable)}.items():
        found = told("--versions", *NEEDS[name], python=executable) if executable.exists() else {}
        lacking = [need for need in NEEDS[name] if not found.get(need)]
        if name == "datatrove" and not given.json.exists():
            lacking.append(str(given.json))
        if lacking:
            print(f"{name}: absent, for want of {' and '.join(lacking)}")
            continue
        print(f"{name}: {', '.join(f'{need} {version}' for need, version in found.items())}")
        with_what = given.tokenizer if name == "nanogpt" else given.json
        source = text if name == "nanogpt" else folder / "halves"
        start = [str(executable), here, "--side", name, str(source), str(with_what)]
        pattern = "*.bin" if name == "nanogpt" else "tokens/*.ds"
        yield Side(
            {"nanogpt": "nanoGPT-style", "datatrove": "datatrove, the text as two files"}[name],
            lambda out, start=start: [*start, str(out)],
            lambda out, pattern=pattern: sum(path.stat().st_size for path in out.glob(pattern)) // 2,
        )


def taken(side: Side, folder: Path) -> tuple[Run, int]:
    out = folder / "out"
    out.mkdir()
    try:
        run = measure(side.command(out), {"PYTHONPATH": str(ROOT / "src")})
        return run, side.counted(out)
    finally:
        shutil.rmtree(out)


def spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def compare(given: argparse.Namespace, folder: Path) -> None:
    text = told("--write-text", given.parquet, given.copies, folder)
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


def memory(given: argparse.Namespace, folder: Path) -> None:
    print("| text | MB | documents | wall s | CPU s | peak MB of the largest process |\n|---|---|---|---|---|---|")
    for name in ("1", "4", "20", "short"):
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            into = Path(inner)
            if name == "short":
                path, options = into / "text.jsonl", ("--tokenizer", "bytes")
                size = told("--write-short", path)
            else:
                path, options = into / "text.parquet", ()
                size = told("--write-text", given.parquet, name, into)
            run, _ = taken(Side(name, ours(path, *options), our_tokens), into)
        title = "short documents, `--tokenizer bytes`" if name == "short" else f"{name} times"
        print(
            f"| {title} | {size['bytes'] / 1e6:.0f} | {size['documents']:,} | {run.wall:.1f} | {run.cpu:.1f} |"
            f" {run.peak / 1e6:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parquet", nargs="?", type=Path, default=SHARED / "corpus/tech_00000.parquet")
    parser.add_argument("--tokenizer", type=Path, default=SHARED / "gpt2/r50k_base.tiktoken", help="GPT-2's ranks")
    parser.add_argument("--json", type=Path, default=SHARED / "gpt2/tokenizer_nospecial.json", help="for datatrove")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rivals", type=Path, default=Path(tempfile.gettempdir()) / f"talweg-rivals-{os.getuid()}")
    parser.add_argument("--memory", action="store_true")
    given = parser.parse_args()
    for path in (given.parquet, given.tokenizer):
        if not path.exists():
            raise SystemExit(f"{path} is not there; give a parquet file, and GPT-2's ranks with --tokenizer")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        (memory if given.memory else compare)(given, Path(folder))


def step() -> bool:
    """Whether this process is one of the steps above, which is then done."""
    match sys.argv[1:]:
        case ["--measured", result, *command]:
            measured(Path(result), command)
        case ["--write-text", path, copies, folder]:
            print(json.dumps(text_of(Path(path), int(copies), Path(folder))))
        case ["--write-short", path]:
            print(json.dumps(short_documents(Path(path))))
        case ["--versions", *names]:
            print(json.dumps(versions(names)))
        case ["--side", name, source, tokenizer, out]:
            {"nanogpt": nanogpt, "datatrove": datatrove}[name](Path(source), Path(out), Path(tokenizer))
        case _:
            return False
    return True


if __name__ == "__main__":
    if not step():
        main()
