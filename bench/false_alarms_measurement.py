"""How often a sound run is said to log another loss than it means: the crowds of false_alarms.py, logged in other ways.

    python bench/false_alarms_measurement.py [NUM]

Each run is asked as it is, with two resumes stated at steps drawn at random, and with its training loss logged as a
mean over an interval or a running mean, of windows up to a hundredth of the run, without evaluated training loss. The
record of the last run stands in notes/causes_measurement.md.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import false_alarms
import numpy as np

from talweg import causes
from talweg.run import Run, Series

OURS = ("loss_not_comparable", "train_loss_is_not_the_training_loss")


def asked(run: Run, rng: np.random.Generator) -> Iterator[tuple[str, Run]]:
    last = run.last_step or 0.0
    yield "as it is", run
    stated = tuple(sorted(float(round(s)) for s in rng.uniform(0.1, 0.95, 2) * last))
    yield "two resumes", replace(run, facts=replace(run.facts, resumed_at=stated))
    if len(run.train_loss) > 100:
        yield "interval mean", interval_mean(run, int(rng.integers(2, max(3, len(run.train_loss) // 100))))
        yield "running mean", running_mean(run, float(rng.uniform(0.3, 1 - 1 / max(2.0, len(run.train_loss) / 100))))


def interval_mean(run: Run, num: int) -> Run:
    """One value in `num`, the mean of these."""
    train = run.train_loss
    spacing = float(np.median(np.diff(train.step)))
    whole = len(train) // num * num
    value = train.value[-whole:].reshape(-1, num).mean(axis=1)
    logged = Series.of(train.step[-whole:][num - 1 :: num], value, kind="interval_mean")
    facts = replace(run.facts, train_loss_window=round(num * spacing))
    return replace(run, train_loss=logged, train_eval_loss=Series(), facts=facts)


def running_mean(run: Run, decay: float) -> Run:
    """The running mean over the logged values, debiased; the decay is stated for an update."""
    train, mean, weight = run.train_loss, 0.0, 0.0
    value = np.empty(len(train))
    for i, loss in enumerate(train.value):
        mean, weight = decay * mean + (1 - decay) * loss, decay * weight + 1 - decay
        value[i] = mean / weight
    spacing = float(np.median(np.diff(train.step)))
    logged = replace(train, value=value, kind="running_mean")
    facts = replace(run.facts, train_loss_decay=decay ** (1 / spacing))
    return replace(run, train_loss=logged, train_eval_loss=Series(), facts=facts)


def main() -> None:
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rng = np.random.default_rng(0)
    crowds = {
        "simulated": false_alarms.simulated_runs(num),
        "of another make": false_alarms.strangers(num),
        "multipowerlaw": false_alarms.multipowerlaw(),
        "olmo_ladder": false_alarms.olmo_ladder(),
        "modded_nanogpt": false_alarms.parsed("modded_nanogpt"),
        "parameter_golf": false_alarms.parsed("parameter_golf"),
    }
    for title, runs in crowds.items():
        counts: Counter[tuple[str, str, str]] = Counter()
        for name, run in runs:
            for how, given in asked(run, rng):
                for cause in OURS:
                    found = causes.catalogue()[cause].examine(given)
                    counts[how, cause, found.verdict] += 1
                    if found.verdict == "present":
                        print(f"    {title} {name[:60]} {how} {cause}: {found.because}")
        for how in ("as it is", "two resumes", "interval mean", "running mean"):
            told = ", ".join(
                f"{cause} " + "/".join(str(counts[how, cause, verdict]) for verdict in ("present", "unknown", "absent"))
                for cause in OURS
            )
            print(f"{title}, {how}: present/unknown/absent: {told}", flush=True)


if __name__ == "__main__":
    main()
