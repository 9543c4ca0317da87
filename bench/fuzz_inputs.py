"""Mutated parquet and jsonl files, read as `talweg prepare` reads them: no traceback, no hang, no silent loss.

    .venv/bin/python bench/fuzz_inputs.py [INPUTS [SEED]]    default 10000 0

Each input is one of the originals with one to three changes: bits flipped, a stretch cut off, removed, doubled or
overwritten by another file's, a field that looks like a length set to another. It is read twice: with damage fatal,
and with damage passed over. Workers are processes of their own, with a limit of memory and of time for each input, so
that a crash of the process and a hang are counted too.

What "silent" means. Where nothing is told, the documents must be those of the original if the file has checksums (gzip,
zstd, parquet with page checksums): the same texts at the same rows. A parquet file without them must have as many rows.
A jsonl file that is not compressed has nothing to be checked against but itself: each of its lines that is not blank is
read, as json.loads reads it, or told. A parquet file's footer and page headers have no checksums in any file; what
changes there in silence is counted apart, as "footer".
"""

import bz2
import functools
import gzip
import json
import lzma
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talweg.corpus import inputs
from talweg.corpus.strings import texts
from talweg.errors import InputError

SECONDS, MEMORY = 20, 4 << 30  # for one input; of address space, for one worker
GROUPS, ROWS = 4, 30  # of each original


@dataclass(frozen=True)
class Original:
    name: str
    content: bytes
    texts: list[str]
    checked: bool  # by checksums of its content
    data: int = 0  # parquet: the bytes that lie before the footer


def originals(seed: int = 0) -> list[Original]:
    """Every form of parquet and of jsonl that differs in how it can be damaged."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyzé", k=rng.randint(2, 9))) for _ in range(500)]
    found = [" ".join(rng.choices(words, k=rng.randint(0, 80))) for _ in range(GROUPS * ROWS)]
    compress: dict[str, Callable[[bytes], bytes]] = {
        ".gz": functools.partial(gzip.compress, mtime=0),
        ".zst": _zstd,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    return [
        *(_parquet(found, compression, checksum) for compression in ("none", "snappy", "zstd") for checksum in (0, 1)),
        Original("a.jsonl", _lines(found), found, checked=False),
        *(Original(f"a.jsonl{end}", pack(_lines(found)), found, checked=True) for end, pack in compress.items()),
    ]


def _lines(found: list[str]) -> bytes:
    return "".join(json.dumps({"text": text, "url": f"http://h{i}"}) + "\n" for i, text in enumerate(found)).encode()


def _zstd(content: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def _parquet(found: list[str], compression: str, checksum: int) -> Original:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": found, "url": [f"http://h{i}" for i in range(len(found))], "n": list(range(len(found)))})
    sink = pa.BufferOutputStream()
    options: dict[str, Any] = {"compression": compression, "row_group_size": ROWS, "data_page_size": 2000}
    pq.write_table(table, sink, use_dictionary=["url"], write_page_checksum=bool(checksum), **options)
    content = sink.getvalue().to_pybytes()
    footer = int.from_bytes(content[-8:-4], "little")
    return Original(f"{compression}-{checksum}.parquet", content, found, bool(checksum), len(content) - 8 - footer)


def mutated(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """The content with one to three changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice((_flip, _flip, _flip, _cut_off, _remove, _double, _splice, _length, _zeros))(
            rng, content or b"\0", other
        )
    return content


def _stretch(rng: random.Random, content: bytes) -> tuple[int, int]:
    begin = rng.randrange(len(content))
    return begin, min(begin + rng.choice((1, 4, 30, 500, 4000)), len(content))


def _flip(rng: random.Random, content: bytes, _: bytes) -> bytes:
    changed = bytearray(content)
    late = rng.random() < 0.3  # where a parquet file's footer is
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        at = len(changed) - 1 - rng.randrange(min(len(changed), 3000)) if late else rng.randrange(len(changed))
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut_off(rng: random.Random, content: bytes, _: bytes) -> bytes:
    return content[: rng.randrange(len(content))] if rng.random() < 0.5 else content[: -rng.randint(1, 20)]


def _remove(rng: random.Random, content: bytes, _: bytes) -> bytes:
    begin, end = _stretch(rng, content)
    return content[:begin] + content[end:]


def _double(rng: random.Random, content: bytes, _: bytes) -> bytes:
    begin, end = _stretch(rng, content)
    return content[:end] + content[begin:]


def _splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    begin, end = _stretch(rng, content)
    start = rng.randrange(max(len(other) - (end - begin), 1))
    return content[:begin] + other[start : start + end - begin] + content[end:]


def _length(rng: random.Random, content: bytes, _: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(content))
    if rng.random() < 0.3:
        at = max(len(content) - 8, 0)  # the length of a parquet file's footer, the size that gzip tells
    value = rng.choice((0, 1, 127, 128, 255, (1 << (8 * size - 1)) - 1, 1 << (8 * size - 1), (1 << (8 * size)) - 1))
    return content[:at] + (value % (1 << (8 * size))).to_bytes(size, "little") + content[at + size :]


def _zeros(rng: random.Random, content: bytes, _: bytes) -> bytes:
    begin, end = _stretch(rng, content)
    return content[:begin] + bytes(end - begin) + content[end:]


def read(path: Path, on_damage: inputs.OnDamage) -> tuple[list[tuple[int, str]], list[str]]:
    """Row and text of each document, and what was told to be lost. Raises InputError."""
    lost: list[str] = []
    found: list[tuple[int, str]] = []
    for source in inputs.find([path], on_damage=on_damage, lost=lost.append):
        for piece in source.pieces:
            for batch in inputs.read(source, piece, ("url", "n"), on_damage=on_damage, lost=lost.append):
                found += zip(batch.rows.tolist(), texts(batch.strings), strict=True)
                assert all(len(values) == len(batch.rows) for values in batch.columns.values())
    return found, lost


def tried(original: Original, content: bytes, path: Path) -> str:
    """What became of an input: "same", "refused", "told", "unknowable", "footer", or "FAULT" and why."""
    path.write_bytes(content)
    try:
        refused = False
        try:
            strict, _ = read(path, "fatal")
        except InputError as error:
            refused = True
            if "\n" in str(error) or len(str(error)) > 700:
                return f"FAULT: not one line: {error}"
        try:
            found, lost = read(path, "skip")
        except InputError:
            return "refused" if refused else "FAULT: refused only where damage is passed over"
    except Exception:
        return f"FAULT: {traceback.format_exc()}"
    if refused != bool(lost):
        return f"FAULT: {'refused, but nothing is told' if refused else f'told, but not refused: {lost}'}"
    if not refused and strict != found:
        return "FAULT: read in two ways, it differs"
    return judged(original, content, found, lost)


def judged(original: Original, content: bytes, found: list[tuple[int, str]], lost: list[str]) -> str:
    if original.name == "a.jsonl":
        return _judged_lines(content, found, lost)
    if original.name.startswith("a.jsonl"):
        if lost:
            return "told"
        return "same" if [text for _, text in found] == original.texts else "FAULT: other documents, in silence"
    right = all(row < len(original.texts) and original.texts[row] == text for row, text in found)
    if lost:
        return "told" if right or not original.checked else "footer"
    if right and len(found) == len(original.texts):
        return "same"
    in_data = content[original.data :] == original.content[original.data :]
    if len(found) != len(original.texts):
        return "FAULT: rows are missing in silence" if in_data else "footer"
    return "footer" if original.checked else "unknowable"


def _judged_lines(content: bytes, found: list[tuple[int, str]], lost: list[str]) -> str:
    expected, bad = [], 0
    for row, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n")):
        try:
            pairs = json.loads(line.decode("utf-8", "replace"), object_pairs_hook=lambda pairs: pairs)
            assert [key for key, _ in pairs].count("text") == 1
            text = dict(pairs)["text"]
            assert text is None or isinstance(text, str)
            expected.append((row, (text or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")))
        except (ValueError, AssertionError, TypeError):
            bad += bool(line.strip())
    if found != expected:
        return "FAULT: other documents than its lines hold"
    if len(lost) != bad:
        return f"FAULT: {bad} lines are none, {len(lost)} were told"
    return "told" if lost else "unknowable" if len(expected) != GROUPS * ROWS else "same"


def made(index: int, seed: int, known: list[Original]) -> tuple[Original, bytes]:
    """Input number index of a seed."""
    rng = random.Random(f"{seed}-{index}")
    original = known[index % len(known)]
    return original, mutated(rng, original.content, rng.choice(known).content)


def work(begin: int, end: int, seed: int, results: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    known = originals()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(begin, end):
            original, content = made(index, seed, known)
            began = time.process_time()
            verdict = tried(original, content, Path(folder) / original.name)
            results.send((index, original.name, verdict, time.process_time() - began))


def main() -> None:
    total, seed = (int(sys.argv[1]) if len(sys.argv) > 1 else 10_000), (int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    context = multiprocessing.get_context("spawn")
    counts: Counter[tuple[str, str]] = Counter()
    done, slowest = 0, 0.0
    while done < total:
        results, sender = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(done, total, seed, sender))
        worker.start()
        sender.close()
        try:
            while results.poll(SECONDS + 10):
                index, name, verdict, seconds = results.recv()
                done, slowest = index + 1, max(slowest, seconds)
                counts[name, verdict.split(":")[0]] += 1
                if verdict.startswith("FAULT"):
                    print(f"input {index} ({name}): {verdict}", flush=True)
            print(f"input {done}: FAULT: it hangs", flush=True)
            counts["any", "HANG"] += 1
            done += 1
        except EOFError:
            worker.join()
            if done < total:
                print(f"input {done}: FAULT: the process ended with {worker.exitcode}", flush=True)
                counts["any", "CRASH"] += 1
                done += 1
        worker.kill()
        worker.join()
    verdicts = sorted({verdict for _, verdict in counts})
    print(f"{'':16}" + "".join(f"{verdict:>12}" for verdict in verdicts))
    for name in sorted({name for name, _ in counts}):
        print(f"{name:16}" + "".join(f"{counts[name, verdict]:12,}" for verdict in verdicts))
    print(f"{total:,} inputs; the slowest took {slowest:.2f} CPU s")


if __name__ == "__main__":
    main()
