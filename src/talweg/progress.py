"""What a long command shows on stderr while it works: a bar on a terminal, a plain line now and then elsewhere."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

SMOOTH = 0.9  # of the speed shown, the share that earlier steps have
PLAIN_INTERVAL = 10.0  # seconds between two lines when stderr is a file or a pipe


def clock(seconds: float) -> str:
    """75 -> 1:15; 4000 -> 1:06:40."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Line:
    """One line that is written over on a terminal, or written anew every PLAIN_INTERVAL seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self.width: Callable[[], float] = lambda: math.inf  # of a line that is written over
        self._written = -math.inf
        self._live: Any = None
        if self._terminal:
            from rich.console import Console
            from rich.status import Status

            console = Console(stderr=True)
            self._live = Status("", console=console, spinner="dots")
            self.width = lambda: console.width - 2  # beside the spinner
            self._live.start()

    def write(self, text: str, *, important: bool = False) -> None:
        now = time.monotonic()
        if self._live is not None:
            if important or now - self._written > 0.1:
                self._live.update(text)
                self._written = now
        elif important or now - self._written >= PLAIN_INTERVAL:
            print(text, file=sys.stderr, flush=True)
            self._written = now

    def keep(self, text: str) -> None:
        """A line that stays above the moving one."""
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


class _Shown:
    def __init__(self) -> None:
        self.line = _Line()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.close()


class Stages(_Shown):
    """Named stages, each with an amount done of a total, with rate and time left."""

    def __init__(self, units: Mapping[str, str] | None = None) -> None:
        """units: what the amounts of a stage are, for stages whose rate is worth showing."""
        super().__init__()
        self._units = units or {}
        self._stage, self._began = "", 0.0

    def update(self, stage: str, done: float, total: float) -> None:
        """`done` of `total`, in any unit; a total of 0 means that it is not known."""
        now = time.monotonic()
        fresh = stage != self._stage
        if fresh:
            self._stage, self._began = stage, now
        text = stage
        if total > 0:
            text += f"  {min(done / total, 1):4.0%}"
            if 0 < done < total and now - self._began > 1:
                if stage in self._units:
                    text += f"  {done / (now - self._began):,.0f} {self._units[stage]}/s"
                text += f"  {clock((now - self._began) * (total - done) / done)} left"
        self.line.write(text, important=fresh)


class Training(_Shown):
    """The records of a training run: loss, learning rate, speed of the steps, memory, time left of everything."""

    def __init__(self) -> None:
        super().__init__()
        self._total: float | None = None
        self._first: tuple[float, float] | None = None  # step and time of the first update seen
        self._speed: dict[str, float] = {}  # moving averages of what single steps log

    def update(self, record: Mapping[str, Any]) -> None:
        """One record of the log (see the run folder's log.jsonl for its keys)."""
        if "facts" in record:
            self._total = record["facts"].get("planned_steps")
        elif "note" in record:
            self.line.keep(str(record["note"]))
        elif "val_loss" in record:
            self._total = record.get("plan", {}).get("planned_steps", self._total)
            self.line.keep(f"step {record['step']:>7,}  val {_number(record['val_loss'])}{_bits(record)}")
        elif "loss" in record:
            for name in ("tokens_per_second", "mfu"):
                if isinstance(now := record.get(name), float | int):
                    self._speed[name] = now + SMOOTH * (self._speed.get(name, now) - now)
            self.line.write(self._moving(record))

    def _moving(self, record: Mapping[str, Any]) -> str:
        now, step = time.monotonic(), float(record["step"])
        total = f" of {self._total:,}" if self._total else ""
        parts = [f"step {record['step']:>7,}{total}", f"loss {_number(record['loss'])}"]
        parts.append(f"lr {_number(record['lr'], '.2e')}")
        if "tokens_per_second" in self._speed:
            parts.append(f"{self._speed['tokens_per_second']:,.0f} tokens/s")
        if "mfu" in self._speed:
            parts.append(f"MFU {self._speed['mfu']:.0%}")
        if memory := record.get("memory_bytes"):
            parts.append(f"{memory / 2**30:.1f} GiB")
        self._first = self._first or (step, now)
        first_step, began = self._first
        if self._total and step > first_step and now > began:
            parts.append(f"{clock((now - began) * (self._total - step) / (step - first_step))} left")
        for dropped in ("GiB", "lr", "MFU", "tokens/s"):  # the least missed first, where the terminal is narrow
            if len("  ".join(parts)) > self.line.width():
                parts = [part for part in parts if dropped not in part]
        return "  ".join(parts)


def _number(value: object, form: str = ".4f") -> str:
    """The log writes what is not finite as a word."""
    return format(value, form) if isinstance(value, float | int) else str(value)


def _bits(record: Mapping[str, Any]) -> str:
    bits = record.get("val_bits_per_byte")
    return f"  ({bits:.3f} bits per byte)" if isinstance(bits, float) else ""
