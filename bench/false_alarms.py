"""How often a healthy run is accused: simulated ones, and public ones. Run it: python bench/false_alarms.py [NUM]

Prints every accusation. The record of the last run stands in notes/calibration.md.
"""

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from talweg import causes, simulated
from talweg.finding import Finding
from talweg.laws import batch
from talweg.run import Facts, Run, Series
from talweg.schedule import Schedule

# Layers, width and heads of public models: nanoGPT's, GPT-2's, Pythia's, OLMo's, SmolLM's.
SHAPES = (
    (6, 384, 6),
    (12, 384, 12),
    (12, 768, 12),
    (24, 1024, 16),
    (48, 1600, 25),
    (6, 512, 8),
    (16, 2048, 16),
    (30, 576, 9),
)
MOST = 3.5  # times the best batch: of a sound run
SHARED = Path(os.environ.get("TALWEG_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def simulated_runs(num: int) -> Iterator[tuple[str, Run]]:
    """Finished healthy runs: schedule, noise, density of the log and what is known of the run all drawn at random."""
    for seed in range(num):
        rng = np.random.default_rng(seed)
        steps = int(round(10 ** rng.uniform(3.3, 5.0), -2))
        parameters, per_parameter = float(10 ** rng.uniform(7.5, 9.0)), float(rng.uniform(20, 95))
        fewest = parameters * per_parameter / (MOST * batch.optimum(parameters * per_parameter).value)
        steps = max(steps, int(round(fewest, -2)) + 100)  # of a sound batch
        peak, warmup = 6e-4 * float(rng.uniform(0.5, 1.5)), int(steps * rng.uniform(0.01, 0.05))
        kind = str(rng.choice(["cosine", "linear", "wsd"]))
        least = float(rng.choice([0.0, 0.01, 0.1])) * peak
        schedule = Schedule(kind, peak, least, warmup, steps, int(0.8 * steps))  # type: ignore[arg-type]
        facts = {
            name: None
            for name in ("unique_tokens", "val_tokens", "unigram_nats", "bigram_nats", "eval_windows", "parameters")
            if rng.random() < 0.3
        }
        run = simulated.healthy(
            rng,
            steps=steps,
            schedule=schedule,
            parameters=parameters,
            tokens_per_parameter=per_parameter,
            above=float(rng.uniform(-0.1, 0.08)),
            log_every=int(rng.choice([1, 10, 100])),
            eval_every=max(1, steps // int(rng.integers(12, 200))),
            eval_sd=float(10 ** rng.uniform(-2.7, -1.7)),
            batch_sd=float(rng.uniform(0.02, 0.15)),
        )
        run = replace(run, facts=replace(run.facts, **facts))
        yield f"seed {seed} {kind} {steps}", _on_some_machine(rng.spawn(1)[0], run)


def _on_some_machine(rng: np.random.Generator, run: Run) -> Run:
    """Sound figures of numerics and speed: jitter and wander of the step time, pauses to evaluate and to save, resumes
    at another pace, a scaler at work, heavy-tailed gradient norms, micro-batches, few digits, columns left out."""
    step, steps = run.train_loss.step, run.train_loss.step[-1]
    pace = rng.lognormal(0.0, 10 ** rng.uniform(-2.5, -0.9), step.size)
    pace *= np.exp(rng.uniform(0.0, 0.03) * _correlated(rng, step.size, 0.99))
    pace += np.where(np.isin(step, run.val_loss.step), rng.uniform(0.0, 40.0), 0.0)
    every = int(rng.integers(100, 1000))
    pace += np.where(step % (every * max(1.0, steps // 5000)) == 0, rng.uniform(0.0, 20.0), 0.0)
    resumed: tuple[float, ...] = ()
    if rng.random() < 0.3:
        resumed = (float(step[int(rng.integers(1, step.size))]),)
        pace *= np.where(step < resumed[0], 1.0, rng.uniform(0.4, 2.5))
    seconds = (pace * 10 ** rng.uniform(-1.5, 1.5)).round(int(rng.integers(2, 5)))
    norm = run.grad_norm.value * np.exp(0.1 * rng.standard_t(3, step.size).clip(-20, 20))
    columns = {
        "seconds_per_step": Series.of(step, seconds, resolution=0.001),
        "grad_norm": Series.of(step, norm),
        "tokens_per_second": Series(),
        "mfu": Series.of(step, rng.uniform(0.3, 0.6) / pace),
        "loader_seconds": Series.of(step, seconds * rng.uniform(0.0, 0.05)),
        "update_ratio": run.update_ratio,
    }
    columns = {name: column if rng.random() < 0.7 else Series() for name, column in columns.items()}
    precision = str(rng.choice(["fp32", "bf16", "fp16"]))
    if precision == "fp16":
        columns["skipped_steps"] = Series.of(step, np.floor(step / 1000) + np.minimum(step, rng.integers(0, 20)))
        columns["loss_scale"] = Series.of(step, 2.0 ** (14 + rng.integers(-2, 3, step.size)))
    facts = {
        "resumed_at": resumed,
        "precision": precision if rng.random() < 0.7 else None,
        "accumulation": int(rng.integers(1, 41)) if rng.random() < 0.7 else None,
        "optimizer": rng.choice(["adamw", "muon"]) if rng.random() < 0.7 else None,
        "grad_clip": float(rng.choice([0.0, 0.1, 1.0])),
        "beta2": float(rng.choice([0.95, 0.98, 0.99, 0.999])) if rng.random() < 0.8 else None,
        "weight_decay": float(rng.choice([0.0, 0.01, 0.1])) if rng.random() < 0.8 else None,
    }
    layers, width, heads = SHAPES[int(rng.integers(len(SHAPES)))]
    facts |= {"layers": layers, "width": width, "heads": heads} if rng.random() < 0.8 else {"layers": None}
    return replace(run, facts=replace(run.facts, **facts), **columns)  # type: ignore[arg-type]


def strangers(num: int) -> Iterator[tuple[str, Run]]:
    """Healthy runs of another make: a step power law with another memory, correlated and heavy-tailed noise, spikes
    that recover, few digits, logs cut off in flight, columns and facts missing."""
    for seed in range(num):
        rng = np.random.default_rng(10_000 + seed)
        steps = int(10 ** rng.uniform(2.7, 5.0))
        done = int(steps * (1.0 if rng.random() < 0.5 else rng.uniform(0.4, 1.0)))
        kind = str(rng.choice(["cosine", "linear", "wsd", "constant"]))
        schedule = Schedule(kind, 1e-3, float(rng.choice([0.0, 1e-4])), steps // 50, steps, int(0.8 * steps))  # type: ignore[arg-type]
        every = max(1, done // int(rng.integers(10, 120)))
        train = np.arange(0, done + 1, max(1, done // int(rng.integers(100, 3000))))
        evaluated = np.arange(0, done + 1, every)
        uniform = float(np.log(50_304))
        floor, height, alpha = rng.uniform(2.0, 3.4), rng.uniform(1.0, 3.0), rng.uniform(0.2, 0.6)
        gain = rng.uniform(0.09, 0.17)

        def law(step: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            fall = floor + height * ((step + 0.01 * steps) / (0.1 * steps)) ** -alpha  # noqa: B023
            decayed = 1 - schedule.at(step) / schedule.peak_lr  # noqa: B023
            return np.minimum(uniform, fall - gain * decayed * (step > schedule.warmup_steps))  # noqa: B023

        noise = _correlated(rng, evaluated.size, rng.uniform(0.0, 0.7)) * 10 ** rng.uniform(-3.0, -1.8)
        batch = 10 ** rng.uniform(-1.7, -0.8)
        loss = law(train) + batch * rng.standard_t(4, train.size)
        for at in rng.integers(train.size // 10, train.size, int(rng.integers(0, 4))):
            loss[at : at + 3] += rng.uniform(0.3, 2.0)
        digits = int(rng.integers(3, 5))
        columns = {
            "train_loss": Series.of(train, loss.round(digits), kind="batch"),
            "train_eval_loss": Series.of(evaluated, (law(evaluated) - 0.01 + noise).round(digits), kind="evaluation"),
            "val_loss": Series.of(evaluated, (law(evaluated) + rng.uniform(-0.1, 0.1) + noise).round(digits)),
            "learning_rate": Series.of(train, schedule.at(train)),
        }
        kept = {name: c for name, c in columns.items() if name == "val_loss" or rng.random() < 0.7}
        facts = {"planned_steps": steps, "vocabulary_size": 50_304, "warmup_steps": steps // 50, "dropout": 0.0}
        run = Run(**kept, facts=Facts.stated("drawn", **{k: v for k, v in facts.items() if rng.random() < 0.7}))
        yield f"seed {seed} {kind} {done} of {steps}", run


def _correlated(rng: np.random.Generator, num: int, rho: float) -> np.ndarray:  # type: ignore[type-arg]
    """AR(1) noise of unit variance. (num,)"""
    out = np.empty(num)
    out[0] = rng.standard_normal()
    for i in range(1, num):
        out[i] = rho * out[i - 1] + (1 - rho**2) ** 0.5 * rng.standard_normal()
    return out


def multipowerlaw() -> Iterator[tuple[str, Run]]:
    """25, 100 and 400 M parameters, about 0.5 M tokens a step. `loss` is of training batches, smoothed."""
    for path in sorted((SHARED / "data/curves/multipowerlaw").glob("*.csv")):
        t = np.genfromtxt(path, delimiter=",", names=True)
        n = float(path.name.split("_")[1]) * 1e6
        facts = Facts.stated("INDEX.md", parameters=n, tokens_per_step=524_288.0, planned_steps=int(t["step"][-1]))
        rate = Series.of(np.append(0.0, t["step"]), np.append(0.0, t["lr"]))
        loss = Series.of(t["step"], t["loss"], kind="running_mean")
        yield path.name, Run(train_loss=loss, learning_rate=rate, facts=facts)


def olmo_ladder() -> Iterator[tuple[str, Run]]:
    """190 M to 3 B parameters, cosine to a tenth; the C4 validation loss."""
    for path in sorted((SHARED / "data/curves/olmo_ladder").glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        step = [_number(r["_step"]) for r in rows]
        val = [_number(r["eval/c4_en-validation/CrossEntropyLoss"]) for r in rows]
        rate = [_number(r["optim/learning_rate_group0"]) for r in rows]
        size = path.stem.split("-")[0]
        n = float(size[:-1]) * (1e9 if size[-1] == "B" else 1e6)
        per_step = _number(rows[-1].get("batch_size_in_tokens", ""))
        facts = Facts.stated("INDEX.md", parameters=n, planned_steps=int(step[-1]))
        if np.isfinite(per_step):
            facts = Facts.stated("log", tokens_per_step=per_step).over(facts)
        loss = Series.of(step, val, kind="evaluation")
        yield path.name, Run(val_loss=loss.finite, learning_rate=Series.of(step, rate).finite, facts=facts)


def parsed(folder: str) -> Iterator[tuple[str, Run]]:
    """Logs of modded-nanogpt and parameter-golf: step, train_loss, val_loss, lr, grad_norm; no facts are known."""
    for path in sorted((SHARED / "data/curves" / folder).glob("*.csv")):
        t = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))
        columns = {
            "train_loss": ("train_loss", "batch"),
            "val_loss": ("val_loss", "evaluation"),
            "learning_rate": ("lr", "unknown"),
            "grad_norm": ("grad_norm", "unknown"),
        }
        series = {
            name: Series.of(t["step"], t[column], kind=kind).finite  # type: ignore[arg-type]
            for name, (column, kind) in columns.items()
        }
        facts = {"modded_nanogpt": Facts.stated("its code", vocabulary_size=50_304)}.get(folder, Facts())
        yield path.name, Run(**series, facts=facts)


def accusations(run: Run) -> dict[str, Finding]:
    found = {name: module.examine(run) for name, module in causes.catalogue().items()}
    return {name: finding for name, finding in found.items() if finding.verdict == "present"}


def report(title: str, runs: Iterator[tuple[str, Run]], true: tuple[str, ...] = ()) -> None:
    """One line of counts, then one line for each accusation; those of `true` are expected and not listed."""
    num, accused, by_cause, verdicts = 0, 0, Counter[str](), Counter[str]()
    lines: list[str] = []
    for name, run in runs:
        found = {name: finding for name, finding in accusations(run).items() if name not in true}
        num, accused = num + 1, accused + bool(found)
        by_cause.update(found.keys())
        verdicts.update(module.examine(run).verdict for module in causes.catalogue().values())
        for cause, finding in found.items():
            nats = "" if finding.nats is None else f"{finding.nats.value:.3f}"
            lines.append(f"    {name[:60]:60} {cause} {nats}: {finding.because}")
    print(f"{title}: {accused} of {num} accused of anything  {dict(by_cause)}  verdicts {dict(verdicts)}")
    print("\n".join(lines))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def main() -> None:
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    report(f"{num} simulated", simulated_runs(num))
    report(f"{num} of another make", strangers(num), true=("learning_rate_not_decayed", "loss_spikes"))
    report("multipowerlaw", multipowerlaw())
    report("olmo_ladder", olmo_ladder())
    for folder in ("modded_nanogpt", "parameter_golf"):
        report(folder, parsed(folder))


if __name__ == "__main__":
    main()
