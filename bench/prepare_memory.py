"""Time and peak memory of `talweg prepare` at default settings: the text once, four and twenty times, and a million
short documents.

    .venv/bin/python bench/prepare_memory.py [PARQUET]    default ../shared/data/corpus/tech_00000.parquet

The peak is that of the largest process of the command. Of a larger text, each part is the file with lower-case words in
the places of words about as frequent: parts are no near-duplicates and encode about as the file does; hosts of urls get
a prefix. Of the short documents, every tenth is the one before it with another last word. Twenty times 120 MB of text
need 5 GB of room for temporary files.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Only what the standard library has: a process that measures must be small, for a child counts what its parent held.

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
DEFAULT = SHARED / "corpus/tech_00000.parquet"
PROCESSES = 2
WORD = re.compile(r"\b[a-z]+\b")
NEIGHBOURS = 8  # words that change places: so many of successive ranks
SHORT_DOCUMENTS = 1_000_000


@dataclass(frozen=True)
class Run:
    """wall, cpu: seconds; peak: bytes resident in the largest process."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Side:
    """command: for an output folder; counted: the tokens in it."""

    name: str
    command: Callable[[Path], list[str]]
    counted: Callable[[Path], int]


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


def told(*arguments: str | Path, python: str | Path = sys.executable, script: str | Path = __file__) -> Any:
    """What a step of a file here, in a process of its own, prints as JSON."""
    command = [str(python), str(script), *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def taken(side: Side, folder: Path) -> tuple[Run, int]:
    out = folder / "out"
    out.mkdir()
    try:
        run = measure(side.command(out), {"PYTHONPATH": str(ROOT / "src")})
        return run, side.counted(out)
    finally:
        shutil.rmtree(out)


def text_of(path: Path, copies: int, whole: Path) -> dict[str, int]:
    """Write the file, or that many parts like it, to `whole`. The text's documents and bytes."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if copies == 1:
        shutil.copyfile(path, whole)
    else:
        write_copies(path, copies, whole)
    size = 0
    with pq.ParquetFile(whole) as file:
        for batch in file.iter_batches(1000, columns=["text"]):
            size += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
        return {"documents": file.metadata.num_rows, "bytes": size}


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
    with multiprocessing.Pool(PROCESSES, _keep, (ranked,)) as pool, pq.ParquetWriter(whole, schema) as writer:
        for table in pool.imap(rewritten, todo):
            writer.write_table(table)


RANKED: list[str] = []


def _keep(ranked: list[str]) -> None:
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
        rng = random.Random(copy)
        made: dict[str, str] = {}
        for first in range(0, len(RANKED), NEIGHBOURS):
            words = RANKED[first : first + NEIGHBOURS]
            made.update(zip(words, rng.sample(words, len(words)), strict=True))
        EXCHANGED[copy] = made
    return EXCHANGED[copy]


def short_documents(path: Path) -> dict[str, int]:
    """Texts of twenty words of six digits each, from fifty thousand hosts; every tenth is the one before it, but for
    the last word."""
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


def ours(text: Path, *options: str) -> Callable[[Path], list[str]]:
    command = [sys.executable, "-m", "talweg", "prepare", str(text), *options]
    return lambda out: [*command, "--out", str(out / "data")]


def our_tokens(out: Path) -> int:
    manifest = json.loads((out / "data" / "manifest.json").read_text())
    return int(manifest["train"]["tokens"] + manifest["val"]["tokens"])


def memory(parquet: Path, folder: Path) -> None:
    print("| text | MB | documents | wall s | CPU s | peak MB of the largest process |\n|---|---|---|---|---|---|")
    for name in ("1", "4", "short", "20"):
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            into = Path(inner)
            if name == "short":
                path, options = into / "text.jsonl", ["--tokenizer", "bytes"]
                size = told("--write-short", path)
            else:
                path, options = into / "text.parquet", []
                size = told("--write-text", parquet, name, path)
            run, _ = taken(Side(name, ours(path, *options), our_tokens), into)
        title = "short documents, `--tokenizer bytes`" if name == "short" else f"{name} times"
        print(
            f"| {title} | {size['bytes'] / 1e6:.0f} | {size['documents']:,} | {run.wall:.1f} | {run.cpu:.1f} |"
            f" {run.peak / 1e6:.0f} |",
            flush=True,
        )


def step() -> bool:
    """Whether this process is one of the steps above, which is then done."""
    match sys.argv[1:]:
        case ["--measured", result, *command]:
            measured(Path(result), command)
        case ["--write-text", path, copies, whole]:
            print(json.dumps(text_of(Path(path), int(copies), Path(whole))))
        case ["--write-short", path]:
            print(json.dumps(short_documents(Path(path))))
        case _:
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parquet", nargs="?", type=Path, default=DEFAULT)
    given = parser.parse_args()
    if not given.parquet.exists():
        raise SystemExit(f"{given.parquet} is not there; give a parquet file")
    with tempfile.TemporaryDirectory() as folder:
        memory(given.parquet, Path(folder))


if __name__ == "__main__":
    if not step():
        main()
