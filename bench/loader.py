"""Tokens a second of the loader, beside what a model of 1 M weights trains at, and what its table of an epoch costs.

    .venv/bin/python bench/loader.py [DATA ...]    folders that talweg prepare wrote, beside the texts made here

Two texts of 60 M tokens are made: many documents (mean 700 tokens, two thirds of them shorter) and few long ones (mean
300,000). All by CPU seconds on one core: other work on the machine disturbs them less than the wall clock.
"""

import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from trainer import MODELS, configuration

from talweg.corpus.manifest import Shard
from talweg.corpus.shards import ShardWriter, Split, Tokens, open_split
from talweg.corpus.windows import Windows
from talweg.train import hardware, start
from talweg.train.update import accumulate, apply

TEXT = 60_000_000  # tokens
STEP = 8192  # tokens of an update, and of one batch
CONTEXTS = (64, 256, 1024, 4096)
SECONDS = 2.0  # of each measurement


def main() -> None:
    rates = {precision: training_rate(precision) for precision in ("fp32", "bf16")}
    rate = max(rates.values())
    said = ", ".join(f"{rate:,.0f} tokens/s in {precision}" for precision, rate in rates.items())
    print(f"a model of 1 M weights, context 256, one thread, trains at {said}\n")
    print(f"{'text':<26}{'context':>9}{'M tokens/s':>12}{'x training':>12}{'of a step':>12}")
    with tempfile.TemporaryDirectory() as folder:
        splits = {f"mean {mean:,} tokens": made(Path(folder), mean) for mean in (700, 300_000)}
        splits |= {name: open_split(Path(name), "train") for name in sys.argv[1:]}
        for name, split in splits.items():
            for context in CONTEXTS:
                speed = loader_rate(split, context)
                of_step = (1 / speed) / (1 / speed + 1 / rate)
                print(f"{name[-25:]:<26}{context:>9,}{speed / 1e6:>12.1f}{speed / rate:>12,.0f}{of_step:>12.2%}")
    print(f"\n{'documents':<26}{'table, CPU s':>13}{'held, bytes each':>18}{'at most':>9}")
    for documents in (1_000_000, 15_000_000):
        show_table(documents)


def training_rate(precision: str) -> float:
    """Tokens a second of whole updates."""
    hardware.prepare(1)
    config = configuration(dict(MODELS["1 M"]), precision, 1)
    training = start.fresh(config)
    tokens = np.random.default_rng(0).integers(0, 4096, STEP + 1)
    ready = Windows(_split([tokens.astype(np.uint16)], [np.array([tokens.size])]), 256, seed=0)
    ready.batch(0, 1)
    return per_second(lambda: apply(training, config, 1e-3, accumulate(training, config, ready)))


def loader_rate(split: Split, context: int) -> float:
    """The first batch, which makes the table of the epoch, is not counted."""
    windows, place, count = Windows(split, context, seed=0), 0, STEP // context
    windows.batch(0, count)

    def following() -> None:
        nonlocal place
        windows.batch(place, count)
        place = (place + count) % (windows.first_window(1) - count)

    return per_second(following)


def per_second(step: Callable[[], object]) -> float:
    """Tokens by CPU second, of calls that handle STEP tokens each."""
    step()
    begin, calls = time.process_time(), 0
    while time.process_time() - begin < SECONDS:
        step()
        calls += 1
    return calls * STEP / (time.process_time() - begin)


def made(folder: Path, mean: int) -> Split:
    """A text in shards of 10 M tokens on the disk; the lengths are log-normal, the sd of their logarithm 1."""
    rng = np.random.default_rng(mean)
    lengths = np.maximum(rng.lognormal(np.log(mean) - 0.5, 1.0, TEXT // mean), 2).astype(np.int64)
    writer = ShardWriter(folder, f"mean{mean}", np.dtype(np.uint16), shard_tokens=10_000_000)
    for part in np.array_split(lengths, min(50, lengths.size)):
        writer.add(rng.integers(0, 4096, int(part.sum()), dtype=np.uint16), part)
    writer.close()
    return _opened(folder, writer.shards)


def _opened(folder: Path, shards: list[Shard]) -> Split:
    tokens = [np.load(folder / shard.file, mmap_mode="r") for shard in shards]
    return Split("train", Tokens(tokens), tuple(np.load(folder / s.documents_file, mmap_mode="r") for s in shards))


def _split(tokens: list[np.ndarray], lengths: list[np.ndarray]) -> Split:
    return Split("train", Tokens(tokens), tuple(np.cumsum(part).astype(np.uint64) for part in lengths))


def show_table(documents: int) -> None:
    """Documents of 700 tokens in a text that takes no memory: only the table is measured."""
    num_shards = 10
    size = documents // num_shards
    nothing = np.broadcast_to(np.uint16(0), size * 700)
    split = _split([nothing] * num_shards, [np.full(size, 700)] * num_shards)
    begin = time.process_time()
    windows = Windows(split, 1024, seed=0)
    windows.batch(0, 1)
    seconds = time.process_time() - begin
    tracemalloc.start()
    again = Windows(split, 1024, seed=0)
    again.batch(0, 1)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{documents:<26,}{seconds:>13.2f}{held / documents:>18.1f}{most / documents:>9.1f}")


if __name__ == "__main__":
    main()
