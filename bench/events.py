"""Recall and error of place of planted events, by size over noise, and the events of healthy public logs.

.venv/bin/python bench/events.py [CURVES]      default 24 for each line of the table; under a minute
"""

import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import false_alarms

from talweg import evidence
from talweg.curve.events import events
from talweg.curve.staircase import staircase
from talweg.curve.wave import wave
from talweg.run import Run, Series

Array = np.ndarray
Base = Callable[[np.random.Generator], tuple[Array, Array, float]]  # steps, losses, sd of one loss
Found = tuple[bool, float]  # whether, and how far from its place, in logged points
LAST = 1e4


def simulated(num: int, heavy: bool = False) -> Base:
    def curve(rng: np.random.Generator) -> tuple[Array, Array, float]:
        step = np.linspace(LAST / num, LAST, num)
        noise = rng.standard_t(4, num) / 2**0.5 if heavy else rng.standard_normal(num)
        return step, (3 + 6 * (step + 20) ** -0.3 + 0.05 * noise).round(4), 0.05

    return curve


def public() -> Base:
    runs = [run for _, run in false_alarms.parsed("modded_nanogpt") if len(run.train_loss) > 300]

    def curve(rng: np.random.Generator) -> tuple[Array, Array, float]:
        loss = runs[int(rng.integers(len(runs)))].train_loss.finite
        step, value = loss.step - loss.step[0] + 1, loss.value.copy()
        return step, value, float(np.median(np.abs(np.diff(value))) / 0.954)

    return curve


def one_place(kinds: tuple[str, ...], length: int, stays: bool, sign: float) -> Callable[..., Found]:
    def planted(rng: np.random.Generator, step: Array, value: Array, size: float) -> Found:
        at = int(rng.integers(step.size // 4, 9 * step.size // 10))
        value = value.copy()
        value[at : None if stays else at + length] += sign * size
        near = [e for e in events(step, value) if e.kind in kinds]
        places = [abs(float(np.interp(e.first_step, step, np.arange(step.size))) - at) for e in near]
        return (bool(places) and min(places) <= max(10.0, length), min(places, default=np.nan))

    return planted


def stairs(known: bool) -> Callable[..., Found]:
    def planted(rng: np.random.Generator, step: Array, value: Array, size: float) -> Found:
        period = float(step[-1]) / int(rng.integers(2 if known else 3, 9))
        found = staircase(step, value - size * np.floor(step / period), period if known else None)
        off = np.nan if found is None else abs(found.period / period - 1)
        return found is not None and off < 0.05, off

    return planted


def waved(rng: np.random.Generator, step: Array, value: Array, size: float) -> Found:
    period = float(step[-1]) / rng.uniform(8, 60)
    found = wave(step, value + size * np.sin(2 * np.pi * step / period))
    off = np.nan if found is None else abs(found.period / period - 1)
    return found is not None and off < 0.05, off


def identical(rng: np.random.Generator, step: Array, value: Array, size: float) -> Found:
    at, length = int(rng.integers(step.size // 4, 3 * step.size // 4)), int(size)
    value = value.copy()
    value[at : at + length] = value[at]
    found = [abs(e.first_step - step[at]) for e in events(step, value) if e.kind == "constant_stretch"]
    return bool(found), min(found, default=np.nan) / float(step[1] - step[0])


UP = ("spike", "spike_not_recovered")
PLANTED: tuple[tuple[str, Callable[..., Found], tuple[float, ...]], ...] = (
    ("spike, 1 point", one_place(UP, 1, False, 1), (0.1, 0.3, 0.5, 1, 2)),
    ("spike, 5 points", one_place(UP, 5, False, 1), (0.1, 0.3, 0.5, 1, 2)),
    ("spike, 50 points", one_place((*UP, "rise"), 50, False, 1), (0.1, 0.3, 0.5, 1, 2)),
    ("level up", one_place(("rise", "spike_not_recovered", "diverged_from"), 10, True, 1), (0.05, 0.1, 0.2, 0.3, 0.6)),
    ("drop", one_place(("drop",), 10, True, -1), (0.05, 0.1, 0.2, 0.3, 0.6)),
    ("staircase, pass known", stairs(True), (0.02, 0.05, 0.1, 0.2)),
    ("staircase, pass found", stairs(False), (0.02, 0.05, 0.1, 0.2)),
    ("wave, amplitude", waved, (0.01, 0.02, 0.05, 0.1)),
    ("identical values, number", identical, (5, 6, 8, 12)),
)


def table(name: str, base: Base, num: int) -> None:
    print(
        f"\n{name}: found of {num}, at each size (its ratio to the noise); median error of place in points, of period"
    )
    for what, planted, sizes in PLANTED:
        cells = []
        for size in sizes:
            rng, found, off, noise = np.random.default_rng(7), 0, list[float](), 0.0
            for _ in range(num):
                step, value, noise = base(rng)
                hit, error = planted(rng, step, value, size)
                found += hit
                off += [error] if hit else []
            middle = f"{np.median(off):.2g}" if off else "-"
            cells.append(f"{size:g} ({size / noise:.1f} sd) {found / num:4.0%} {middle}")
        print(f"  {what:26}" + " | ".join(cells))


def llmc() -> tuple[str, Run]:
    """llm.c's main.log: `s:N trl:X` and `s:N tel:X`."""
    text = (false_alarms.SHARED / "data/formats/llmc/main.log").read_text(encoding="utf-8")
    columns = {}
    for key, name in (("trl", "train_loss"), ("tel", "val_loss")):
        pairs = re.findall(rf"s:([0-9]+) {key}:([0-9.]+)", text)
        columns[name] = Series.of([float(a) for a, _ in pairs], [float(b) for _, b in pairs])
    return "llm.c main.log", Run(train_loss=columns["train_loss"], val_loss=columns["val_loss"])


def healthy_logs() -> None:
    import talweg

    runs = [*false_alarms.multipowerlaw(), *false_alarms.olmo_ladder()]
    runs += [pair for folder in ("modded_nanogpt", "parameter_golf") for pair in false_alarms.parsed(folder)]
    path = false_alarms.SHARED / "data/curves/nanogpt_124m/train.log"
    runs += [(path.name, talweg.read(path)), llmc()]
    marked = [(name, e) for name, run in runs for e in evidence.events(run) if e.series != "grad_norm"]
    print(f"{len(runs)} healthy public logs: {len({name for name, _ in marked})} with an event of a loss")
    for name, e in marked:
        print("   ", name, e)


def false_events(num: int) -> None:
    kinds = Counter[str]()
    for _, run in false_alarms.simulated_runs(num):
        kinds.update({e.kind for e in evidence.events(run) if e.series != "grad_norm"})
    print(f"{num} simulated healthy runs (0.2 % wild batches of 4 to 10 sd): with events {dict(kinds)}")


def main() -> None:
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    healthy_logs()
    false_events(4 * num)
    table("simulated, 1,000 points, sd 0.05", simulated(1000), num)
    table("simulated, 200 points, sd 0.05, tails of t_4", simulated(200, heavy=True), num)
    table("public, modded-nanogpt", public(), num // 2)


if __name__ == "__main__":
    main()
