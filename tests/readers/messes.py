"""What befalls logs on their way to us, as functions that do it to a clean sample.

A `Mess` says to which forms of text it can happen, and what may be missing afterwards; `PACKINGS` are the last thing
that happens to a file: an encoding, a compression. Every mess is a function of the text and of a seeded generator.
"""

import bz2
import gzip
import lzma
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Change = Callable[[str, random.Random], str]

# How a text is made: of lines that stand for themselves, on the console or in a file of the trainer's own, where no
# launcher sees them; of rows below a header or records, one a line; one document.
LINES, FILE, ROWS, DOCUMENT = "lines", "file", "rows", "document"


@dataclass(frozen=True)
class Sample:
    form: str
    text: str
    name: str


@dataclass(frozen=True)
class Mess:
    name: str
    change: Change
    forms: tuple[str, ...] = (LINES,)
    loses: bool = False  # points may be missing afterwards; none is altered

    def __repr__(self) -> str:
        return self.name


# ---------------------------------------------------------------- the clean samples

FORMATS = "data/formats"
# path, form, how many lines of the beginning and of the end are enough
WHERE: Mapping[str, tuple[str, str, int, int]] = {
    "nanogpt": (f"{FORMATS}/nanogpt/train.log", LINES, 100, 15),
    "llmc_main": (f"{FORMATS}/llmc/main.log", FILE, 150, 0),
    "llmc_stdout": (f"{FORMATS}/llmc/stdout.log", LINES, 60, 0),
    "nanochat": (f"{FORMATS}/nanochat/base_train.log", LINES, 110, 0),
    "modded_nanogpt": (f"{FORMATS}/modded_nanogpt/style_2026.log", LINES, 50, 0),
    "litgpt": (f"{FORMATS}/litgpt/stdout.txt", LINES, 200, 0),
    "hugging_face": (f"{FORMATS}/hf_trainer/stdout.txt", LINES, 100, 0),
    "axolotl": (f"{FORMATS}/axolotl/debug.log", LINES, 100, 0),
    "torchtitan": (f"{FORMATS}/torchtitan/train.log", LINES, 70, 0),
    "megatron": (f"{FORMATS}/megatron_lm/train.log", LINES, 60, 25),
    "gpt_neox": (f"{FORMATS}/gpt_neox/train.log", LINES, 60, 0),
    "nanotron": (f"{FORMATS}/nanotron/train.log", LINES, 60, 0),
    "bigscience": (
        "data/curves/bigscience/experiments__gpt2-meg__meg_gpt2_base_n4_dp1_tp4_pp4-1809579.log",
        LINES,
        100,
        0,
    ),
    "seed_run": ("data/curves/seed_run/train.log", LINES, 200, 0),
    "csv": (f"{FORMATS}/generic/metrics.csv", ROWS, 110, 0),
    "jsonl": (f"{FORMATS}/generic/metrics.jsonl", ROWS, 60, 0),
    "lightning": (f"{FORMATS}/lightning_csvlogger/lightning_logs/version_0/metrics.csv", ROWS, 110, 0),
    "panel": (f"{FORMATS}/wandb_export/panel.csv", ROWS, 80, 0),
    "keras_csv": (f"{FORMATS}/keras/training.csv", ROWS, 100, 0),
    "keras_stdout": (f"{FORMATS}/keras/stdout.txt", DOCUMENT, 10_000, 0),  # an epoch's lines belong together
    "trainer_state": (f"{FORMATS}/hf_trainer/out/trainer_state.json", DOCUMENT, 10_000, 0),
    "history": (f"{FORMATS}/wandb_export/history.json", DOCUMENT, 10, 0),
}


def sample(name: str, root: Callable[[str], Path]) -> Sample:
    """A clean sample; `root` finds the public data."""
    path, form, head, tail = WHERE[name]
    text = root(path).read_bytes().decode().replace("\r\n", "\n")
    if text.startswith("[{"):  # a list of records in one line
        text = "}, {".join(text.split("}, {")[:60]).rstrip("}]\n") + "}]\n"
    lines = text.rstrip("\n").split("\n")
    kept = lines if len(lines) <= head + tail else lines[:head] + (lines[-tail:] if tail else [])
    return Sample(form, "\n".join(kept) + "\n", name)


# ---------------------------------------------------------------- a second run, with other losses

LOSS = re.compile(
    r"((?:(?:\b|(?<=[0-9]m))loss(?:\ train)?|\blm[ _]loss(?:\ value)?|_loss|/loss|\btrl|\btel|\bbpb)"
    r"['\"]?[:=]?\s*['\"]?)"
    r"([0-9]+\.[0-9]+)(?![0-9])",
    re.VERBOSE,
)
CELL = re.compile(r"""((?<=,)|(?<=,"))([0-9]+\.[0-9]+)(?=[,"]|$)""")


def altered(sample: Sample, every: int = 1) -> str:
    """The same log with another digit in each loss, or in those of every second line."""
    pattern = CELL if sample.form == ROWS and not sample.text.startswith("{") else LOSS
    lines = sample.text.split("\n")
    return "\n".join(pattern.sub(_other, line) if n % every == 0 else line for n, line in enumerate(lines))


def _other(match: re.Match[str]) -> str:
    """The last printed digit, or the fourth after the point where many are printed, is one more."""
    whole, _, digits = match[2].partition(".")
    place = min(len(digits), 4) - 1
    return f"{match[1]}{whole}.{digits[:place]}{(int(digits[place]) + 1) % 10}{digits[place + 1 :]}"


def header(sample: Sample) -> int:
    """How many lines stand above the rows."""
    return int(sample.form == ROWS and not sample.text.startswith("{"))


def resumed(sample: Sample, share: float = 0.6, every: int = 1) -> str:
    """The whole log, then once more from a share of it on, with other losses."""
    lines = altered(sample, every).rstrip("\n").split("\n")
    at = max(int(len(lines) * share), header(sample))
    return sample.text + "\n".join(lines[at:]) + "\n"


def twice(sample: Sample) -> str:
    """Two runs in one file."""
    return sample.text + altered(sample)


# ---------------------------------------------------------------- messes

BARS = (
    "Map:  40%|████      | 400/1000 [00:01<00:02, 990.10 examples/s]",
    "Loading checkpoint shards:  50%|█████     | 1/2 [00:01<00:01,  1.10s/it]",
    "Downloading data: 100%|██████████| 1.20G/1.20G [00:31<00:00, 38.7MB/s]",
)
CHATTER = (
    "node17:2110:2110 [3] NCCL INFO Channel 07/0 : 3[3] -> 2[2] via P2P/IPC/read",
    "/usr/lib/python3.12/site-packages/torch/utils/checkpoint.py:85: UserWarning: None of the inputs requires grad",
    "wandb: Run `wandb offline` to turn off syncing.",
    "Saving checkpoint to /data/out/ckpt_0001.pt (1.42 GB in 3.10 s)",
    "[W1123 12:00:00.123456789 ProcessGroupNCCL.cpp:1250] Warning: destroy_process_group() was not called",
    "Collecting torch==2.13.0  (700.2 MB)",
    "GPU 0: 71C, 98 %, 41210 MiB / 81559 MiB",
    "64 bytes from 10.0.0.7: icmp_seq=3 ttl=64 time=0.412 ms",
    "+ sleep 5",
    "slurmstepd: error: *** STEP 1999616.0 ON r7i4n1 CANCELLED AT 2026-11-23T12:00:00 DUE TO PREEMPTION ***",
    "1795451137695 packets in, 3.2% packet loss, step down transformer at 12.5 V",
    "====",
    "}",
    "the loss of step 5 was better",
)


def between(lines_of: Callable[[random.Random], str], share: float = 0.2) -> Change:
    """A line of another kind after some of the lines."""

    def change(text: str, rng: random.Random) -> str:
        found = []
        for line in text.split("\n")[:-1]:
            found.append(line)
            if rng.random() < share:
                found.append(lines_of(rng))
        return "\n".join(found) + "\n"

    return change


def before(prefix: str | Callable[[int], str]) -> Change:
    """The same text before each line; a text that torchrun has labelled is labelled no second time."""

    def change(text: str, rng: random.Random) -> str:
        lines = [line.removeprefix("[rank0]:") for line in text.split("\n")[:-1]]
        put = prefix if callable(prefix) else lambda number: prefix
        return "".join(f"{put(number)}{line}\n" for number, line in enumerate(lines))

    return change


def coloured(text: str, rng: random.Random) -> str:
    """A colour before and after some words, and what clears the rest of a line at its end."""

    def line(content: str) -> str:
        words = content.split(" ")
        for place in range(0, len(words), rng.randint(1, 5)):
            if words[place]:
                code = rng.choice(("32", "1;31", "38;5;208", "38;2;54;234;195", "0"))
                words[place] = f"\x1b[{code}m{words[place]}\x1b[0m"
        return " ".join(words) + rng.choice(("", "\x1b[K", "\x1b[0m"))

    return "\n".join(map(line, text.split("\n")[:-1])) + "\n"


def by_ranks(label: bool, num: int = 3) -> Change:
    """Each line of all ranks, in any order."""

    def change(text: str, rng: random.Random) -> str:
        found = []
        for line in text.split("\n")[:-1]:
            order = rng.sample(range(num), num)
            bare = line.removeprefix("[rank0]:")
            found += [f"[rank{rank}]:{bare}" if label else line for rank in order]
        return "\n".join(found) + "\n"

    return change


def bars_between(text: str, rng: random.Random) -> str:
    """A bar that rewrites its line, with and without a line end after it."""
    found = []
    for line in text.split("\n")[:-1]:
        if rng.random() < 0.3:
            found.append("\r" + "\r".join(rng.choice(BARS) for _ in range(rng.randint(1, 4))) + rng.choice("\r\n"))
        found.append(line + "\n")
    return "".join(found)


def bars_before(text: str, rng: random.Random) -> str:
    """A bar that was not ended when the line came."""
    lines = text.split("\n")[:-1]
    return "".join((rng.choice(BARS) if rng.random() < 0.3 else "") + line + "\n" for line in lines)


def garbage(rng: random.Random) -> str:
    """Bytes of anything, as characters that `packed` turns into these bytes again."""
    odd = [byte for byte in range(256) if byte not in (8, 10, 13, 27)]
    return "".join(chr(0xDC00 + byte) if byte > 127 else chr(byte) for byte in rng.choices(odd, k=rng.randint(1, 20)))


def glued(text: str, rng: random.Random) -> str:
    """Two lines in one, as of processes that write at once."""
    return "".join(line + ("" if rng.random() < 0.1 else "\n") for line in text.split("\n")[:-1]) + "\n"


def torn(text: str, rng: random.Random) -> str:
    """Some lines end in their middle, as when a disk was full; a number that ends its line anyhow stays whole."""
    found = []
    for line in text.split("\n")[:-1]:
        end = re.search(r"[0-9.eE+-]*[^0-9]*$", line)
        assert end is not None
        found.append(line[: rng.randint(0, end.start())] if rng.random() < 0.1 else line)
    return "\n".join(found) + "\n"


def crlf(text: str, rng: random.Random) -> str:
    return text.replace("\n", "\r\n")


def open_end(text: str, rng: random.Random) -> str:
    return text.rstrip("\n")


def _pods(number: int) -> str:
    return f"2026-11-23T12:{number // 60 % 60:02}:{number % 60:02}.123456789Z stdout F "


def _journal(number: int) -> str:
    return f"Nov 23 12:{number // 60 % 60:02}:{number % 60:02} host train[71]: "


def _logging(number: int) -> str:
    return f"2026-11-23 12:{number // 60 % 60:02}:{number % 60:02},{number % 1000:03} - INFO - "


ANY = (LINES, FILE, ROWS, DOCUMENT)
PLAIN = (LINES, FILE)
MESSES: tuple[Mess, ...] = (
    Mess("crlf", crlf, ANY),
    Mess("no_line_end", open_end, ANY, loses=True),
    Mess("blank_lines", between(lambda rng: rng.choice(("", "   ", "\t"))), (LINES, FILE, ROWS)),
    Mess("colours", coloured, PLAIN),
    Mess("bars_between", bars_between),
    Mess("bars_before", bars_before),
    Mess("chatter", between(lambda rng: rng.choice(CHATTER)), PLAIN),
    Mess("chatter_in_a_table", between(lambda rng: rng.choice(CHATTER), 0.05), (ROWS,)),
    Mess("garbage_lines", between(garbage), PLAIN),
    Mess("ranks", by_ranks(label=False)),
    Mess("labelled_ranks", by_ranks(label=True)),
    Mess("slurm", before("0: ")),
    Mess("kubectl", before(_pods)),
    Mess("journal", before(_journal)),
    Mess("docker_compose", before("trainer-1  | ")),
    Mess("torchrun", before("[default0]:")),
    Mess("logging", before(_logging)),
    Mess("logging_plain", before("INFO:root:")),
    Mess("hydra", before("[2026-11-23 12:00:00,394][__main__][INFO] - ")),
    Mess("ray", before("\x1b[36m(RayTrainWorker pid=2110, ip=10.0.0.7)\x1b[0m ")),
    Mess("glued", glued, PLAIN, loses=True),
    Mess("torn", torn, PLAIN, loses=True),
)
PREFIXES = ("slurm", "kubectl", "journal", "docker_compose", "torchrun", "logging", "logging_plain", "hydra", "ray")


# ---------------------------------------------------------------- what happens to the file


def encoded(text: str) -> bytes:
    """UTF-8; what `garbage` put in becomes its bytes."""
    return (
        b"".join(
            bytes([ord(char) - 0xDC00]) if 0xDC80 <= ord(char) <= 0xDCFF else char.encode("utf-8") for char in text
        )
        if any("\udc80" <= char <= "\udcff" for char in text)
        else text.encode("utf-8")
    )


def zstd(content: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(content)


PACKINGS: Mapping[str, Callable[[str], bytes]] = {
    "plain": encoded,
    "gz": lambda text: gzip.compress(encoded(text)),
    "bz2": lambda text: bz2.compress(encoded(text)),
    "xz": lambda text: lzma.compress(encoded(text)),
    "zst": lambda text: zstd(encoded(text)),
    "utf8_mark": lambda text: b"\xef\xbb\xbf" + encoded(text),
    "utf16": lambda text: text.encode("utf-16", errors="replace"),  # as PowerShell's > writes it
    "gz_of_two": lambda text: gzip.compress(encoded(text[:999])) + gzip.compress(encoded(text[999:])),
}
