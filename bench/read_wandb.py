"""Seconds, memory and points kept of a .wandb file: Talweg beside W&B's own messages, parsed record by record.

python bench/read_wandb.py [ROWS]    default 100000, of 10 values: a million (and W&B's own three in each row)

wandb itself has no reader of these files since 0.31, so its part is a plain scan of the blocks with its messages.
The file is written by the encoder below. It is compared first, byte for byte: its records with W&B's messages, its
blocks with those of a file that wandb wrote offline.
"""

import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

KEYS = ("train/loss", "val/loss", "train/lr", "train/grad_norm", "global_step", *(f"x/{i}" for i in range(5)))
HEADER = b":W&B\xe1\xbe\x00"
OURS = """
import sys
from talweg.readers import read
run = read(sys.argv[1])
columns = [run.train_loss, run.val_loss, run.learning_rate, run.grad_norm, *run.others.values()]
num = sum(len(column) for column in columns)
"""
THEIRS = """
import json, struct, sys
from wandb.proto.wandb_internal_pb2 import Record
data, at, part, columns = open(sys.argv[1], "rb").read(), 7, b"", {}
while at + 7 <= len(data):
    rest = 32768 - at % 32768
    if rest < 7:
        at += rest
        continue
    _, length, kind = struct.unpack_from("<IHB", data, at)
    part = data[at + 7 : at + 7 + length] if kind < 3 else part + data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):
        record = Record.FromString(part)
        for item in record.history.item:
            columns.setdefault(item.key or ".".join(item.nested_key), []).append(json.loads(item.value_json))
num = sum(len(values) for name, values in columns.items() if name not in ("_step", "_timestamp", "global_step"))
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


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def history(num: int, values: dict[str, float]) -> bytes:
    items = [field(1, field(2, name.encode()) + field(16, repr(value).encode())) for name, value in values.items()]
    return b"\x08" + varint(num) + field(2, b"".join(items))


def values(row: int) -> dict[str, float]:
    loss = 3.0 + 8.0 / (1 + row / 100)
    own = {"_step": row, "_runtime": row * 0.37, "_timestamp": 1.7e9 + row * 0.37}
    logged = {key: row * 10 if key == "global_step" else loss + place * 0.1 for place, key in enumerate(KEYS)}
    return {**logged, **own}


def framed(records: list[bytes]) -> bytes:
    """The file that holds these records."""
    file = bytearray(HEADER)
    for record in records:
        rest, begun = record, False
        while True:
            room = 32_768 - len(file) % 32_768
            if room < 7:
                file += bytes(room)
                continue
            data, rest = rest[: room - 7], rest[room - 7 :]
            kind = (3 if rest else 4) if begun else (2 if rest else 1)
            body = bytes([kind]) + data
            file += struct.pack("<IH", zlib.crc32(body), len(data)) + body
            begun = True
            if not rest:
                break
    return bytes(file)


def records_of(data: bytes) -> list[bytes]:
    found, part, at = [], b"", 7
    while at + 7 <= len(data):
        room = 32_768 - at % 32_768
        if room < 7:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        part = (b"" if kind < 3 else part) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(part)
    return found


def same_as_the_library(folder: str) -> bool:
    """Records beside W&B's messages; blocks beside those of a file of wandb's own that is longer than one."""
    from wandb.proto.wandb_internal_pb2 import HistoryItem, HistoryRecord, Record

    for row in range(1, 200):
        items = [HistoryItem(nested_key=[name], value_json=repr(value)) for name, value in values(row).items()]
        if Record(num=row, history=HistoryRecord(item=items)).SerializeToString() != history(row, values(row)):
            return False
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    import wandb

    with wandb.init(project="bench", dir=folder) as run:
        for row in range(300):
            run.log({**{f"k{i}": row / 7 for i in range(30)}, "text": "x" * 40_000 if row == 50 else ""})
    for _ in range(100):  # the end of the file may come late
        genuine = next(Path(folder).rglob("*.wandb")).read_bytes()
        if len(genuine) > 2 * 32_768 and framed(records_of(genuine)) == genuine:
            return True
        time.sleep(0.1)
    return False


def timed(code: str, path: Path) -> tuple[float, int, int]:
    """Seconds of the whole process, points kept, MB at most."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code + REPORT, path], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    num, memory = map(int, done.stdout.split()[-2:])
    return seconds, num, memory


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        print(f"written as the library writes it: {same_as_the_library(folder)}")
        path = Path(folder) / "run-bench.wandb"
        path.write_bytes(
            framed([b"\x08\x01" + field(17, field(1, b"bench")), *(history(i + 2, values(i)) for i in range(rows))])
        )
        print(f"{rows:,} rows of {len(KEYS)} values, {path.stat().st_size / 1e6:.0f} MB")
        ours = min((timed(OURS, path) for _ in range(3)), key=lambda result: result[0])
        theirs = timed(THEIRS, path)
        for name, (seconds, num, memory) in (("talweg", ours), ("W&B's messages", theirs)):
            print(f"{name:18}{seconds:7.2f} s{memory:7,} MB at most{num:12,} points kept")
        print(f"{theirs[0] / ours[0]:.1f} times as fast")


if __name__ == "__main__":
    main()
