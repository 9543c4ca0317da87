"""Mutated binary logs: a reader gives a run or an InputError, in bounded time and memory, and never anything else.

    .venv/bin/python tests/fuzz/fuzz_binary.py FORMAT SECONDS [FOLDER]

FORMAT is the name of a reader: tensorboard or wandb, or another one's (mlflow, trackio, pickled, ...) with a FOLDER of
small files to begin with. Inputs are chosen by the code that they reach (atheris; Linux). Checksums would keep nearly
all of them out, so the first byte of an input says whether the rest is a file, or messages that are put into one with
right checksums. What fails is written to the folder that is printed, and is replayed by giving it as FOLDER with 0
SECONDS.
"""

import importlib
import random
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talweg.errors import InputError
from talweg.logs.given import Asked, Log
from talweg.run import COLUMN_NAMES, Run

MEMORY = 2048  # MB of the process
SLOWEST = 10.0  # seconds of one input
LARGEST = 1 << 16  # bytes of one input


@dataclass(frozen=True)
class Format:
    """How inputs of a format are made. frame: a file of these messages, with its checksums; None: there are none."""

    seeds: Sequence[bytes]
    frame: Callable[[Sequence[bytes]], bytes] | None = None
    suffix: str = ""
    on_disk: bool = False  # the reader needs a path


def tried(name: str, data: bytes, how: Format) -> Run | None:
    """The run of this input, None where it was refused. Raises AssertionError where the property does not hold."""
    reader = importlib.import_module(f"talweg.readers.{name}")
    began, refused, run = time.process_time(), "", None
    try:
        if how.on_disk:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"log{how.suffix}"
                path.write_bytes(data)
                run = reader.read(Log(str(path), path), Asked())
        else:
            run = reader.read(Log(f"log{how.suffix}", content=data), Asked())
    except InputError as error:
        refused = str(error)
    assert time.process_time() - began < SLOWEST, "too slow"
    if refused:
        assert "\n" not in refused, "an error of several lines"
        assert len(refused) < 2_000, "a long error"
        return None
    assert isinstance(run, Run)
    for series in [getattr(run, column) for column in COLUMN_NAMES] + list(run.others.values()):
        assert np.isfinite(series.step).all(), "a step that is not finite"
        assert (np.diff(series.step) > 0).all(), "steps that do not ascend"
        assert series.step.size == series.value.size
    return run


def unpacked(data: bytes, how: Format) -> bytes:
    """The file that an input stands for."""
    if not data or data[0] % 2 == 0 or how.frame is None:
        return data[1:]
    messages, at = [], 1
    while at + 2 <= len(data):
        (length,) = struct.unpack_from("<H", data, at)
        messages.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return how.frame(messages)


def packed(messages: Sequence[bytes]) -> bytes:
    """The input that stands for a file of these messages."""
    return b"\1" + b"".join(struct.pack("<H", len(message)) + message for message in messages)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The same with one to four changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(changed) or 1), rng.choice((1, 2, 8, 40))
        kind = rng.randrange(5)
        if kind == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + size]
        elif kind == 2:
            changed[at:at] = changed[at : at + size]
        elif kind == 3:
            changed[at : at + size] = rng.choice((b"\0", b"\xff", b"\x80", b"\x7f")) * size
        else:
            changed[at:at] = rng.randbytes(size)
    return bytes(changed)


# ---------------------------------------------------------------- the formats


def varint(value: int) -> bytes:
    found = bytearray()
    value %= 1 << 64
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(number: int, value: bytes | int | float) -> bytes:
    """A field of a message: bytes, a number as varint, or a float as 64 bits."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    return varint(number << 3) + varint(value)


def event(step: int, *values: bytes, wall: float = 1.7e9) -> bytes:
    """An event of TensorBoard with the values of a summary."""
    at = field(2, step) if step else b""
    return field(1, wall + step) + at + field(5, b"".join(field(1, value) for value in values))


def simple(tag: str, value: float) -> bytes:
    return field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)


def tensor(tag: str, dtype: int, holds: bytes, plugin: str | None = "scalars", shape: bytes = b"") -> bytes:
    """A value as TensorFlow 2 logs it; `holds`: the field of the tensor with its number."""
    said = b"" if plugin is None else field(9, field(1, field(1, plugin.encode())))
    return field(1, tag.encode()) + said + field(8, field(1, dtype) + field(2, shape) + holds)


def hyperparameters(**settings: float) -> bytes:
    """What add_hparams of PyTorch logs at the start."""
    entries = [field(1, field(1, name.encode()) + field(2, field(2, value))) for name, value in settings.items()]
    content = field(3, b"".join(entries))
    said = field(9, field(1, field(1, b"hparams") + field(2, content)))
    return field(1, b"_hparams_/session_start_info") + said


def written_text(tag: str, text: str) -> bytes:
    return tensor(tag, 7, field(8, text.encode()), "text")


VERSION = field(1, 1.7e9) + field(3, b"brain.Event:2")


def _of_byte(state: int) -> int:
    for _ in range(8):
        state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state


CRC32C = [_of_byte(byte) for byte in range(256)]


def tfrecords(messages: Sequence[bytes]) -> bytes:
    """An event file of these messages."""
    parts = []
    for message in messages:
        size = struct.pack("<Q", len(message))
        parts += [size, struct.pack("<I", _masked(size)), message, struct.pack("<I", _masked(message))]
    return b"".join(parts)


def _masked(message: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in message:
        state = CRC32C[(state ^ byte) & 0xFF] ^ state >> 8
    state ^= 0xFFFFFFFF
    return ((state >> 15 | state << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(number: int, content: bytes, num: int = 1) -> bytes:
    return field(1, num) + field(number, content)


def row(**values: str) -> bytes:
    """A row of W&B's history: names and JSON; __ stands for a slash."""
    items = [
        field(1, field(2, name.replace("__", "/").encode()) + field(16, text.encode())) for name, text in values.items()
    ]
    return record(2, b"".join(items))


def wandb_run(run_id: str = "abc", name: str = "a run", started: int = 1_700_000_000, **config: str) -> bytes:
    """W&B's record of a run; `config` in JSON."""
    settings = b"".join(field(1, field(1, key.encode()) + field(16, text.encode())) for key, text in config.items())
    about = field(1, run_id.encode()) + field(4, settings) + field(8, name.encode()) + field(17, field(1, started))
    return record(17, about)


def wandb_file(records: Sequence[bytes]) -> bytes:
    """A .wandb file of these records."""
    file = bytearray(b":W&B\xe1\xbe\x00")
    for whole in records:
        rest, begun = whole, False
        while rest or not begun:
            room = 32_768 - len(file) % 32_768
            if room < 7:
                file += bytes(room)
                continue
            data, rest = rest[: room - 7], rest[room - 7 :]
            body = bytes([((3 if rest else 4) if begun else (2 if rest else 1))]) + data
            file += struct.pack("<IH", zlib.crc32(body), len(data)) + body
            begun = True
    return bytes(file)


def _events() -> list[bytes]:
    kinds = [
        lambda step: [simple("train/loss", 5.0 / (step + 1)), simple("lr", 1e-3)],
        lambda step: [tensor("val_loss", 1, field(5, struct.pack("<f", 3.0)))],
        lambda step: [tensor("x", 2, field(4, struct.pack("<d", 1.0)), None), tensor("n", 9, varint(10 << 3) + b"\5")],
        lambda step: [simple("train/loss", float("nan"))],
    ]
    events = [VERSION, event(0, hyperparameters(lr=1e-3, n_layer=4.0)), event(0, written_text("args", '{"seed": 1}'))]
    return events + [event(step * 40, *kind(step)) for kind in kinds for step in range(9)]


def _rows() -> list[bytes]:
    rows = [row(train__loss=str(5.0 / (i + 1)), _step=str(i), _timestamp=f"{1.7e9 + i}") for i in range(10)]
    odd = row(train__loss="NaN", x="-Infinity", text='"a"', table='{"a": 1}', global_step="7")
    deep = record(2, field(1, field(2, b"a") + field(2, b"b") + field(16, b"1e-3")) + field(2, field(1, 12)))
    return [
        wandb_run(lr="0.1", model='{"n_layer": 3}'),
        *rows,
        odd,
        deep,
        record(5, field(1, field(1, b"a") + field(16, b"1"))),
    ]


def formats() -> dict[str, Format]:
    """Those that are made here."""
    events, rows = _events(), _rows()
    return {
        "tensorboard": Format([packed(events), b"\0" + tfrecords(events)], tfrecords, ".tfevents.1"),
        "wandb": Format([packed(rows), b"\0" + wandb_file(rows)], wandb_file, ".wandb"),
    }


def main() -> None:
    name, seconds = sys.argv[1], int(sys.argv[2])
    how = formats().get(name)
    if len(sys.argv) > 3:
        given = [path.read_bytes() for path in sorted(Path(sys.argv[3]).rglob("*")) if path.is_file()]
        how = Format(given, how.frame, how.suffix) if how else Format([b"\0" + data for data in given], on_disk=True)
    if how is None:
        raise SystemExit(f"{name}: give a folder of small files to begin with")
    if seconds == 0:
        for seed in how.seeds:
            tried(name, unpacked(seed, how), how)
        return
    import atheris

    with atheris.instrument_imports(include=["talweg.readers", "talweg.logs", "talweg.configs"]):
        importlib.import_module(f"talweg.readers.{name}")
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(how.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    warnings.simplefilter("error")
    print(f"inputs and what fails are kept in {folder}", flush=True)
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY}",
        f"-timeout={SLOWEST:.0f}",
        "-print_final_stats=1",
    ]
    atheris.Setup(
        [sys.argv[0], *options, f"-max_len={LARGEST}", f"-artifact_prefix={folder}/", str(corpus)],
        lambda data: tried(name, unpacked(data, how), how),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
