"""Seconds, memory and points kept of TensorBoard event files: Talweg beside TensorBoard's own EventAccumulator.

python bench/read_tensorboard.py [STEPS]    default 100000, of 10 tags: a million scalars

Each reads in a process of its own, as a whole, with nothing sampled away. The file is written by the encoder below,
which is compared first, byte for byte, with what TensorBoard's own messages and writer give for the same scalars.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from talweg.readers.tensorboard.records import crc32c

TAGS = (
    "train/loss",
    "val/loss",
    "train/lr",
    "train/grad_norm",
    "perf/tokens_per_second",
    *(f"x/{i}" for i in range(5)),
)
OURS = """
import sys
from talweg.readers import read
run = read(sys.argv[1])
columns = [run.train_loss, run.val_loss, run.learning_rate, run.grad_norm, run.tokens_per_second, *run.others.values()]
num = sum(len(column) for column in columns)
"""
THEIRS = """
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
read.Reload()
num = sum(len(read.Scalars(tag)) for tag in read.Tags()["scalars"])
"""
REPORT = """
status = open("/proc/self/status").read()  # a process's ru_maxrss counts that of the one it was forked from
print(num, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def event(wall: float, step: int, tag: bytes, value: float) -> bytes:
    inner = b"\x0a" + varint(len(tag)) + tag + b"\x15" + np.float32(value).tobytes()
    summary = b"\x0a" + varint(len(inner)) + inner
    at = b"\x10" + varint(step) if step else b""
    return b"\x09" + np.float64(wall).tobytes() + at + b"\x2a" + varint(len(summary)) + summary


def framed(messages: list[bytes]) -> bytes:
    """The messages as records; the checksums of those of one length are computed together."""
    sums, headers = np.zeros(len(messages), dtype="<u4"), {}
    lengths = np.array([len(message) for message in messages])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        joined = np.frombuffer(b"".join(messages[row] for row in rows), dtype=np.uint8).reshape(rows.size, length)
        sums[rows] = crc32c(joined)
        size = int(length).to_bytes(8, "little")
        headers[int(length)] = size + crc32c(np.frombuffer(size, dtype=np.uint8)[None])[0].tobytes()
    return b"".join(headers[len(m)] + m + s.tobytes() for m, s in zip(messages, sums, strict=True))


def scalars(steps: int) -> list[tuple[float, int, bytes, float]]:
    return [
        (1.7e9 + step + tag / 100, step, name.encode(), 3.0 + 8.0 / (1 + step / 100) + tag)
        for step in range(steps)
        for tag, name in enumerate(TAGS)
    ]


def content(steps: int) -> bytes:
    version = b"\x09" + np.float64(1.7e9).tobytes() + b"\x1a\x0dbrain.Event:2"
    return framed([version, *(event(*scalar) for scalar in scalars(steps))])


def same_as_the_library(folder: Path) -> bool:
    """A small file of ours beside TensorBoard's messages through its own writer of records."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = folder / "small"
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString())
        for wall, step, tag, value in scalars(200):
            summary = Summary(value=[Summary.Value(tag=tag.decode(), simple_value=value)])
            writer.write(Event(wall_time=wall, step=step, summary=summary).SerializeToString())
    return path.read_bytes() == content(200)


def timed(code: str, path: Path) -> tuple[float, int, int]:
    """Seconds of the whole process, points kept, MB at most."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code + REPORT, path], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    num, memory = map(int, done.stdout.split()[-2:])
    return seconds, num, memory


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        print(f"written as the library writes it: {same_as_the_library(Path(folder))}")
        path = Path(folder) / "events.out.tfevents.1700000000.bench.1.0"
        path.write_bytes(content(steps))
        print(f"{steps * len(TAGS):,} scalars, {path.stat().st_size / 1e6:.0f} MB")
        ours = min((timed(OURS, path) for _ in range(3)), key=lambda result: result[0])
        theirs = timed(THEIRS, path)
        for name, (seconds, num, memory) in (("talweg", ours), ("EventAccumulator", theirs)):
            print(f"{name:18}{seconds:7.2f} s{memory:7,} MB at most{num:12,} points kept")
        print(f"{theirs[0] / ours[0]:.1f} times as fast")


if __name__ == "__main__":
    main()
