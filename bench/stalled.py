"""How often a falling run is called stalled, and a stopped one flat: public runs cut short at every evaluation.

    .venv/bin/python bench/stalled.py [SHARED] [--all]

SHARED holds data/curves (default ../shared). Without --all at most PREFIXES prefixes of a run are tried, evenly spread:
under two minutes. A prefix has at least FEWEST evaluations. Its truth is what its own run did next: it *falls* where
the level about its end lies above that of the last quarter of what follows under the same plan of the rate by more than
the scatter of one evaluation; what follows ends where a rate that was held begins to come down (a fall that the decay
brings was no fall before it). Other prefixes are shown apart and counted nowhere. Stopped runs are made from prefixes:
the next 10, 20 or 50 evaluations are the level at the end plus the run's own scatter about its trend, drawn in blocks,
the rate as it was or at 0. Where even the fall that was to come in that stretch is under the smallest change that
the stretch can show, no test could tell: those are counted apart.
"""

import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import false_alarms
import numpy as np

from talweg import evidence, readers
from talweg.curve.noise import noise
from talweg.curve.smooth import smooth
from talweg.diagnosis import standing
from talweg.run import Run, Series

LOSS_NAMES = ("train_loss", "train_eval_loss", "val_loss")
FEWEST = 20
PREFIXES = 24
STOPS = 4  # places of a run at which it is stopped
LENGTHS = (10, 20, 50)
HELD = 0.02  # of its highest: a rate within this of it over the last tenth is held
Array = np.ndarray


def runs(shared: Path) -> Iterator[tuple[str, str, Run]]:
    """(family, name, run): every healthy public run with a curve long enough."""
    false_alarms.SHARED = shared
    for family in (false_alarms.multipowerlaw, false_alarms.olmo_ladder):
        for name, run in family():
            yield family.__name__, name, run
    for folder in ("modded_nanogpt", "parameter_golf"):
        for name, run in false_alarms.parsed(folder):
            yield folder, name, run
    data = shared / "data"
    for family, path in (
        ("nanogpt_124m", data / "curves/nanogpt_124m/train.log"),
        ("seed_run", data / "curves/seed_run/train.log"),
        ("cs336", data / "curves/cs336/metrics.csv"),
        ("llmc", data / "formats/llmc/main.log"),
    ):
        yield family, path.name, readers.read(str(path))


def cut(run: Run, step: float) -> Run:
    """The run as it was logged up to `step`."""
    columns = {name: getattr(run, name) for name in (*LOSS_NAMES, "learning_rate", "grad_norm", "val_standard_error")}
    return replace(run, **{name: column.between(-1.0, step) for name, column in columns.items()})


def follows(run: Run, loss: Series, at: int) -> int:
    """One past the last evaluation that follows evaluation `at` under the same plan of the rate."""
    if not run.learning_rate:
        return len(loss)
    rate = run.learning_rate.at(loss.step)
    before = rate[loss.step >= 0.9 * loss.step[at]][: at + 1]
    before = rate[(loss.step >= 0.9 * loss.step[at]) & (loss.step <= loss.step[at])]
    if np.ptp(before) > HELD * before.max():
        return len(loss)
    left = np.flatnonzero((np.arange(len(loss)) > at) & (np.abs(rate - rate[at]) > HELD * rate[at]))
    return int(left[0]) if left.size else len(loss)


def truth(run: Run, loss: Series, at: int) -> str:
    """Whether the run went on to fall after evaluation `at`: falls, or unsure."""
    after = np.arange(at + 1, follows(run, loss, at))
    if after.size < 4:
        return "unsure"
    here = loss.value[max(at - 2, 0) : at + 3].mean()
    there = np.median(loss.value[after[-max(after.size // 4, 3) :]])
    scatter = noise(loss.step, loss.value)
    assert scatter is not None
    return "falls" if here - there > scatter.sd else "unsure"


def stopped(run: Run, name: str, loss: Series, at: int, num: int, zero: bool, rng: np.random.Generator) -> Run:
    """The run with `num` evaluations of a level that stays, after its evaluation `at`."""
    part = slice(max(at // 2, at - 60), at + 1)
    trend = smooth(loss.step[: at + 1], loss.value[: at + 1])
    off = (loss.value[: at + 1] - trend)[part]
    off = (off - off.mean()) * np.sqrt(1.15)  # a smooth over few points takes some of the scatter with it
    tail = []
    while len(tail) < num:
        begin = int(rng.integers(0, max(off.size - 5, 1)))
        tail += list(off[begin : begin + 5] * rng.choice([-1, 1]))
    spacing = float(np.median(np.diff(loss.step[: at + 1])[-10:]))
    step = loss.step[at] + spacing * np.arange(1, num + 1)
    base = cut(run, float(loss.step[at]))
    series = replace(
        loss,
        step=np.append(loss.step[: at + 1], step),
        value=np.append(loss.value[: at + 1], trend[-1] + np.array(tail[:num])),
    )
    columns = {column: Series() for column in LOSS_NAMES} | {name: series}
    rate = base.learning_rate
    if rate:
        last = rate.value[-1]
        rate = Series.of(np.append(rate.step, step), np.append(rate.value, np.full(num, 0.0 if zero else last)))
    planned = run.facts.planned_steps
    facts = replace(run.facts, planned_steps=None if planned is None else int(max(planned, 1.5 * step[-1])))
    return replace(base, **columns, learning_rate=rate, facts=facts)


def examine(job: tuple[str, str, Run, bool]) -> list[tuple[str, ...]]:
    """Rows of one run: (kind, family, name, where, state)."""
    family, label, run, everything = job
    run = evidence.in_nats(run)
    judged = evidence.judged(run)
    if judged is None or len(judged.loss) < FEWEST + 5:
        return []
    loss, name = judged.loss, f"{judged.name}_loss"
    places = np.arange(FEWEST - 1, len(loss))
    if not everything and places.size > PREFIXES:
        places = np.unique(np.linspace(places[0], places[-1], PREFIXES).astype(int))
    rows = []
    for at in places:
        part = cut(run, float(loss.step[at]))
        state, why = standing(part)
        rows.append((truth(run, loss, int(at)), family, label, f"{loss.step[at]:.0f} {why}", state))
    rng = np.random.default_rng(zlib.crc32(label.encode()))
    for at in np.unique(np.linspace(FEWEST - 1, len(loss) - 1, STOPS + 1).astype(int)):
        for num in LENGTHS:
            for zero in (False, True):
                if zero and not run.learning_rate:
                    continue
                made = stopped(run, name, loss, int(at), num, zero, rng)
                kind = f"stopped {num}{' at rate 0' if zero else ''}"
                hidden = "" if telling(loss, int(at), num) else " hidden"
                state, why = standing(made)
                rows.append((kind + hidden, family, label, f"{loss.step[at]:.0f} {why}", state))
    return rows


def telling(loss: Series, at: int, num: int) -> bool:
    """Whether `num` evaluations can tell the pace that the run had from none, at 80 % power, by their noise alone."""
    part = slice(max(at - max(num, at // 4), 0), at + 1)
    x, y = loss.step[part], loss.value[part]
    pace = max(-float(np.polyfit(x, y, 1)[0]) * float(x.mean() / x[-1]) ** 1.5, 0.0)  # of 1/sqrt(step), at its end
    found = noise(loss.step[: at + 1], loss.value[: at + 1])
    assert found is not None
    spacing = float(np.median(np.diff(loss.step[: at + 1])[-10:]))
    step = x[-1] + spacing * np.arange(1, num + 1)
    fall = pace * 2 * x[-1] * (1 - np.sqrt(x[-1] / step))
    lag1 = max(found.lag1, 0.0)
    error = found.sd * np.sqrt((1 + lag1) / (1 - lag1))
    return bool(np.sqrt(((fall - fall.mean()) ** 2).sum()) > 2.49 * error)


def main() -> None:
    shared = next((Path(a) for a in sys.argv[1:] if not a.startswith("-")), false_alarms.SHARED)
    everything, began = "--all" in sys.argv, time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        jobs = [(*found, everything) for found in runs(shared)]
        rows = [row for found in pool.map(examine, jobs) for row in found]
    table: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for kind, family, _, _, state in rows:
        table[kind, family][state] += 1
        table[kind, "together"][state] += 1
    for (kind, family), counts in sorted(table.items()):
        total = counts.total()
        wrong = counts["flat"] + counts["rising"] if kind in ("falls", "unsure") else counts["flat"]
        print(
            f"{kind:28}{family:16}{total:6}  {'stalled' if kind in ('falls', 'unsure') else 'flat':8}"
            f"{100 * wrong / total:6.1f} %  {dict(counts)}"
        )
    if "--list" in sys.argv:
        for row in rows:
            stalled = row[4] in ("flat", "rising")
            if (row[0] == "falls" and stalled) or (row[0].startswith("stopped") and row[4] != "flat"):
                print("  ", *row)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
