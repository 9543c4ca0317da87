"""What every reader of logs is held to, as one function; for tests of readers in other packages as in this one.

    check_reader(my_package.my_format, {"short": Path("short.log").read_bytes()})

A genuine log tells more than a made-up one: give several, of an interrupted run too. What is not kept is an
AssertionError that says what was done to which sample, and what came of it.
"""

import gzip
import random
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, get_args

import numpy as np

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.run import COLUMN_NAMES, FACT_NAMES, LossKind, Run, Series

LOSSES = ("train_loss", "train_eval_loss", "val_loss")
CUTS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)  # bytes that are missing at the end
SMALL, LARGE = 1 << 18, 1 << 21  # bytes of two logs; the time of the second is at most SLOWER times that of the first
SLOWER = 3 * LARGE // SMALL  # our choice: what is quadratic takes 64 times as long
LONGEST = 2.0  # seconds for a head of 64 KiB of whatever. Our choice
PROSE = "The loss of step 3 was 2.5, and packet loss 0.5 %; at step 10: loss fell again.\n"
SOURCE = 'import torch\nfor step in range(10):\n    print(f"step {step}: loss {loss:.4f}, lr {lr:.2e}")\n'
STRANGERS: Mapping[str, Head] = {
    "nothing": Head(),
    "blank lines": Head("\n \n\n"),
    "prose": Head(PROSE * 40),
    "source code": Head(SOURCE * 40),
    "binary data": Head("", bytes(range(256)) * 100, "data.bin"),
    "a folder of other things": Head("", b"", "project", ("README.md", "src/main.py", "data.bin")),
    "an empty folder": Head("", b"", "empty", ()),
}
MONSTERS = ("[" * 65_000, "1:" * 32_000, "a " * 32_000, "step " * 13_000, "0" * 65_000, '{"' * 32_000, "|" * 65_000)


class Reader(Protocol):
    """A module that reads one format."""

    NAME: str

    def sniff(self, head: Head) -> float: ...

    def read(self, log: Log, asked: Asked) -> Run: ...


def check_reader(reader: Reader, samples: Mapping[str, bytes], *, knows_kind: bool = True) -> None:
    """Raises AssertionError when the reader breaks a rule on one of its samples: by name, the bytes of a log's file.

    knows_kind: that it says what one value of a training loss is; a table of anyone cannot.
    """
    check = _Check(reader)
    check.names()
    with _offline(), warnings.catch_warnings():
        warnings.simplefilter("error")
        check.strangers()
        check.holds(bool(samples), "no sample was given")
        for name, content in samples.items():
            run = check.sample(name, content, knows_kind)
            if Log(name, content=content).is_text:
                check.variants(name, content, run)
                check.not_a_number(name, content, run)
                check.pace(name, content)
            check.damage(name, content, run)


@contextmanager
def _offline() -> Iterator[None]:
    """No connection can be made."""

    def refused(connection: socket.socket, *_: object) -> None:
        connection.close()
        raise AssertionError("a reader reaches for the network; a log is read from where it lies")

    connect = socket.socket.connect
    setattr(socket.socket, "connect", refused)  # noqa: B010
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]


class _Check:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.name = getattr(reader, "NAME", None) or getattr(reader, "__name__", "this reader")

    def holds(self, condition: bool, message: str) -> None:
        if not condition:
            raise AssertionError(f"{self.name}: {message}")

    # ------------------------------------------------------------ the module

    def names(self) -> None:
        name = getattr(self.reader, "NAME", None)
        self.holds(isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) is not None, "NAME is no name")
        self.holds(
            bool((self.reader.__doc__ or "").strip()), "it has no docstring; its first line is its documentation"
        )
        for function in ("sniff", "read"):
            self.holds(callable(getattr(self.reader, function, None)), f"it has no function {function}")

    def strangers(self) -> None:
        for what, head in STRANGERS.items():
            self.holds(self.sniffed(head, what) == 0.0, f"sniff takes {what} for its own")
        for text in MONSTERS:
            begin = time.perf_counter()
            self.sniffed(Head(text + "\n"), f"a long line of {text[:5]!r}")
            seconds = time.perf_counter() - begin
            self.holds(seconds < LONGEST, f"sniff took {seconds:.1f} s for a long line of {text[:5]!r}")

    def sniffed(self, head: Head, what: str) -> float:
        sure = float(self.reader.sniff(head))
        self.holds(0.0 <= sure <= 1.0, f"sniff gives {sure} for {what}; it is a number from 0 to 1")
        return sure

    # ------------------------------------------------------------ one sample

    def sample(self, name: str, content: bytes, knows_kind: bool) -> Run:
        sure = self.sniffed(Log(name, content=content).head, f"sample {name}")
        self.holds(sure > 0.5, f"sniff gives {sure} for sample {name}; more than 0.5 was needed")
        run = self.read(name, content)
        assert run is not None
        self.holds(run.format == self.name, f"sample {name}: the format is given as {run.format!r}")
        losses = [column for column in (*LOSSES, "val_bits_per_byte") if getattr(run, column)]
        self.holds(bool(losses), f"sample {name}: no loss was read")
        for column in COLUMN_NAMES:
            self.series(f"sample {name}, {column}", getattr(run, column))
        for column, series in run.others.items():
            self.series(f"sample {name}, column {column}", series)
        for column in ("train_eval_loss", "val_loss"):
            known = getattr(run, column).kind == "evaluation" or not getattr(run, column)
            self.holds(known, f"sample {name}, {column}: its kind is evaluation")
        if run.train_loss and knows_kind:
            told = f"sample {name}, train_loss: kind does not say what one value is (batch, interval_mean, ...)"
            self.holds(run.train_loss.kind != "unknown", told)
        self.words(name, run)
        again = self.read(name, content)
        self.holds(again is not None and _points(again) == _points(run), f"sample {name}: read twice, it differs")
        return run

    def series(self, where: str, series: Series) -> None:
        self.holds(
            series.step.shape == series.value.shape and series.step.ndim == 1, f"{where}: two lists of one length"
        )
        self.holds(bool(np.isfinite(series.step).all()), f"{where}: a step is not finite")
        self.holds(bool((np.diff(series.step) > 0).all()), f"{where}: the steps do not ascend")
        self.holds(series.kind in get_args(LossKind), f"{where}: {series.kind!r} is no kind")
        self.holds(series.resolution >= 0 and np.isfinite(series.resolution), f"{where}: resolution is a difference")

    def words(self, name: str, run: Run) -> None:
        for note in run.reading.notes:
            self.holds(bool(note.strip()) and "\n" not in note, f"sample {name}: a note is one line; this is {note!r}")
        for fact in FACT_NAMES:
            if getattr(run.facts, fact) is not None:
                self.holds(bool(run.facts.sources.get(fact)), f"sample {name}: fact {fact} has no source")

    def read(self, name: str, content: bytes, *, may_refuse: bool = False) -> Run | None:
        """The run; None where it was refused, which is allowed with `may_refuse` alone."""
        try:
            return self.reader.read(Log(name, content=content), Asked())
        except InputError as error:
            self.holds("\n" not in str(error), f"{name}: an error is one line; this is {str(error)!r}")
            self.holds(may_refuse, f"{name} is refused: {error}")
        except AssertionError:
            raise
        except Exception as error:
            told = f"{name}: {type(error).__name__}: {error}; what cannot be read raises InputError"
            raise AssertionError(f"{self.name}: {told}") from error
        return None

    # ------------------------------------------------------------ what befalls a text

    def variants(self, name: str, content: bytes, run: Run) -> None:
        lines = content.replace(b"\r\n", b"\n")
        same: dict[str, bytes] = {
            "with Windows line ends": lines.replace(b"\n", b"\r\n"),
            "compressed by gzip": gzip.compress(content),
            "with a byte order mark": b"\xef\xbb\xbf" + content.removeprefix(b"\xef\xbb\xbf"),
        }
        for what, changed in same.items():
            found = self.read(f"{name} {what}", changed)
            self.holds(found is not None and _points(found) == _points(run), f"{name} {what}: the points differ")
        fewer: dict[str, bytes] = {
            "with colours": re.sub(rb"(?m)^(\S+)", lambda word: b"\x1b[32m" + word[1] + b"\x1b[0m", lines),
            "with the label of a rank before each line": re.sub(rb"(?m)^(?=.)", b"[rank0]: ", lines),
            "with blank lines": lines.replace(b"\n", b"\n\n"),
            **{f"without its last {cut} bytes": content[:-cut] for cut in CUTS},
            "without its second half": content[: len(content) // 2],
        }
        for what, changed in fewer.items():
            self.nothing_new(f"{name} {what}", changed, run)

    def nothing_new(self, what: str, content: bytes, run: Run) -> None:
        found = self.read(what, content, may_refuse=True)
        if found is None:
            return
        for column, points in _points(found).items():
            if column in LOSSES and (new := points - _points(run).get(column, set())):
                self.holds(False, f"{what}: {column} has points that the whole log has not, such as {min(new)}")

    def not_a_number(self, name: str, content: bytes, run: Run) -> None:
        """One loss of the log is replaced by NaN, where its digits stand there once."""
        series = run.train_loss if len(run.train_loss) > 2 else run.val_loss
        for place in range(len(series) // 2, len(series)):
            digits = _printed(series, place)
            if len(digits) > 4 and len(re.findall(rb"(?<![0-9.])" + re.escape(digits) + rb"(?![0-9.])", content)) == 1:
                break
        else:
            return
        nan = b"NaN" if b'"' in content else b"nan"
        found = self.read(f"{name} with a loss of NaN", content.replace(digits, nan), may_refuse=True)
        if found is None or found.facts.nan_logged_as is not None:
            return
        column = "train_loss" if series is run.train_loss else "val_loss"
        at = dict(_points(found).get(column, set()))
        step = float(series.step[place])
        told = (
            f"{name} with NaN for the {column} of step {step:g}: NaN is a value that was logged; it has {at.get(step)}"
        )
        self.holds(at.get(step) == "nan", told)

    def pace(self, name: str, content: bytes) -> None:
        """The time grows as the log does."""
        seconds = [self.timed(name, content * -(-size // len(content))) for size in (SMALL, LARGE)]
        told = f"{LARGE // SMALL} times the log takes {seconds[1] / seconds[0]:.0f} times as long"
        self.holds(seconds[1] < SLOWER * seconds[0] + 0.2, f"{name} again and again: {told}")

    def timed(self, name: str, content: bytes) -> float:
        begin = time.perf_counter()
        self.read(f"{name} again and again", content, may_refuse=True)
        return max(time.perf_counter() - begin, 1e-3)

    # ------------------------------------------------------------ what befalls any file

    def damage(self, name: str, content: bytes, run: Run) -> None:
        """Never another exception than InputError."""
        rng = random.Random(0)
        changes: list[Callable[[], bytes]] = [
            lambda: content[: rng.randrange(len(content))],
            lambda: _flipped(content, rng),
            lambda: _flipped(content[: len(content) // 2], rng) + content[len(content) // 2 + rng.randint(1, 9) :],
        ]
        for _ in range(8):
            for change in changes:
                self.read(f"{name}, damaged,", change(), may_refuse=True)


def _flipped(content: bytes, rng: random.Random) -> bytes:
    flipped = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _points(run: Run) -> dict[str, set[tuple[float, str]]]:
    """By column. Values as text, in which NaN equals NaN."""
    columns = {name: getattr(run, name) for name in COLUMN_NAMES}
    return {
        name: set(zip(series.step.tolist(), map(repr, series.value.tolist()), strict=True))
        for name, series in columns.items()
        if series
    }


def _printed(series: Series, place: int) -> bytes:
    """A value as the log prints it, if it prints a fixed number of digits."""
    decimals = round(-np.log10(series.resolution)) if series.resolution > 0 else 0
    value = float(series.value[place])
    return (f"{value:.{decimals}f}" if 0 < decimals < 9 else repr(value)).encode()
