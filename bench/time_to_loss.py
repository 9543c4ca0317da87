"""How long until nanoGPT's final loss is reached: its own arithmetic and recipe against the trainer's settings.

    .venv/bin/python bench/time_to_loss.py [--out FOLDER] [--parquet FILE] [--seeds N] [--threads N]
                                           [--ladder] [--large] [--quick]

The target is the median final validation loss of the baseline, `plain_gpt2.py` trained once to its end. Every other
side is planned for a share of the baseline's tokens (its schedule ends with them) and tried share by share: the
smallest that reaches the target counts, and the next smaller one was tried and did not. Weights within 2 %, the same
token files, the same whole validation text.

Time is that of the updates, with what the trainer does around them (batches, logging), without evaluations and
checkpoints, which are the same on both sides. Each training is a process of its own; FOLDER (default /tmp/ttl/bench)
keeps one file for each, and what lies there is not done again.

    --ladder  also the sides between the two, each one change away from the one before
    --large   10 M weights instead of 1.3 M; the baseline's time is that of some updates, its loss preset nanogpt's
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from plain_gpt2 import RECIPE

DEFAULT = Path(__file__).parents[2] / "shared/data/corpus/tech_00000.parquet"
VOCABULARY = 4096
SHARES = (0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)
PACED_STEPS = 12  # of the large baseline: as many updates as its time is measured on
Values = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """The model, and how many tokens the baseline reads."""

    name: str
    layers: int
    heads: int
    width: int
    tokens: float
    paced: bool = False  # the baseline's time is that of some updates only

    @property
    def values(self) -> Values:
        return {"model.layers": self.layers, "model.heads": self.heads, "model.width": self.width}


SMALL = Size("1.3 M", 4, 4, 128, 10e6)  # nanoGPT's own suggestion for a CPU
LARGE = Size("10 M", 5, 6, 384, 5e6, paced=True)
QUICK = Size("quick", 2, 2, 32, 4e5)  # too short for a warm-up of 100 steps: it is left to auto there


@dataclass(frozen=True)
class Side:
    """One way of training. The values are those that differ from the baseline's recipe, or stand alone."""

    name: str
    what: str
    values: Values
    share: float = 1.0  # where the search begins; 1: trained once, to the baseline's end
    searched: bool = True


_BATCH = {**RECIPE, "hardware.precision": "bf16", "batch.tokens_per_step": 4096}
_RATE = {
    **_BATCH,
    "optimizer.peak_lr": 5e-3,
    "optimizer.beta2": 0.95,
    "schedule.kind": "linear",
    "schedule.min_lr": 0.0,
    "schedule.warmup_steps": "auto",
}
_FORM = {key: value for key, value in _RATE.items() if key != "model.preset"}
BASELINE = Side("plain", "nanoGPT's arithmetic and recipe, fp32", RECIPE, searched=False)
TALWEG = Side("talweg", "preset talweg, everything left to auto", {}, share=0.14)
LADDER = (
    Side("kernels", "the same in preset nanogpt", RECIPE, searched=False),
    Side("bf16", "+ bf16", {**RECIPE, "hardware.precision": "bf16"}, searched=False),
    Side("batch", "+ 4,096 tokens a step", _BATCH, share=0.5),
    Side("rate", "+ peak 5e-3, linear to 0, warm-up a tenth, beta2 .95", _RATE, share=0.35),
    Side("form", "+ the modern form", _FORM, share=0.25),
)


@dataclass(frozen=True)
class Outcome:
    """One training."""

    side: str
    size: str
    seed: int
    share: float  # of the baseline's tokens
    parameters: int
    tokens: int
    steps: int
    val_loss: float  # nats per token, the whole validation text, after the last update
    seconds: float
    cpu_seconds: float
    threads: int
    configuration: Values


def trained(side: Side, size: Size, share: float, seed: int, threads: int, data: Path, runs: Path) -> Outcome:
    from talweg.train.config import build

    config = build(
        {
            **size.values,
            **side.values,
            **({"schedule.warmup_steps": "auto"} if size == QUICK else {}),
            "run.name": run_name(side, share, seed),
            "run.out": str(runs),
            "run.seed": seed,
            "run.tokens": share * size.tokens,
            "data.path": str(data),
            "evaluation.every": 1_000_000,  # at the start and at the end
            "hardware.device": "cpu",
            "hardware.threads": threads,
        }
    )
    plain = side.name == BASELINE.name
    return _plainly(config, side, size, share) if plain else _by_trainer(config, side, size, share)


def run_name(side: Side, share: float, seed: int) -> str:
    return f"{side.name}-{share:g}-{seed}"


def _by_trainer(config: Any, side: Side, size: Size, share: float) -> Outcome:
    """What `talweg train` does, record by record; the time between two updates is that of the second."""
    import talweg
    from talweg.train.config import load

    facts: Values = {}
    val, seconds, cpu_seconds = float("nan"), 0.0, 0.0
    clock, cpu = time.perf_counter(), time.process_time()
    for record in talweg.train(config):
        now, now_cpu = time.perf_counter(), time.process_time()
        if "loss" in record:
            seconds += now - clock
            cpu_seconds += now_cpu - cpu
        clock, cpu = now, now_cpu
        facts |= record.get("facts", {})
        val = record.get("val_loss", val)
    resolved = load(config.run.out / config.run.name / "config.resolved.toml")
    steps, per_step = resolved.run.steps or 0, resolved.batch.tokens_per_step or 0
    return Outcome(
        side.name, size.name, config.run.seed, share, facts["parameters"], steps * per_step, steps, val,
        seconds, cpu_seconds, config.hardware.threads, _told(resolved),
    )  # fmt: skip


def _plainly(config: Any, side: Side, size: Size, share: float) -> Outcome:
    """The baseline: the trainer's data and first weights, and nothing else of it."""
    import plain_gpt2

    from talweg.train.evaluate import evaluate
    from talweg.train.hardware import autocast
    from talweg.train.start import begin

    plan, training, _ = begin(config)
    resolved, steps = plan.config, plan.resolved.steps
    weights = {name: p.detach().clone() for name, p in training.model.named_parameters()}

    def batch(first: int, count: int) -> tuple[Any, Any]:
        windows = plan.windows.batch(first, count)
        return windows.inputs, windows.targets

    measured = min(steps, PACED_STEPS) if size.paced else steps
    result = plain_gpt2.train(resolved, weights, batch, plan.schedule, measured)
    val = float("nan")
    if not size.paced:
        plain_gpt2.give_back(result.model, training.model)
        val = evaluate(training.model, plan.val, training.ranks, lambda: autocast("cpu", "fp32")).value
    tokens, scale = steps * resolved.batch.tokens_per_step, steps / measured
    return Outcome(
        side.name, size.name, resolved.run.seed, share, training.model.num_parameters(), tokens, steps, val,
        result.seconds * scale, result.cpu_seconds * scale, resolved.hardware.threads, _told(resolved),
    )  # fmt: skip


def _told(config: Any) -> Values:
    """The keys of a resolved configuration that tell the sides apart."""
    from talweg.train.config import items

    return {
        key: value
        for key, value in items(config).items()
        if key.partition(".")[0] in ("batch", "optimizer", "schedule", "model") or key == "hardware.precision"
    }


@dataclass(frozen=True)
class Bench:
    """Where the trainings of one size are kept, and how they are made."""

    size: Size
    threads: int
    out: Path
    data: Path

    def outcome(self, side: Side, share: float, seed: int) -> Outcome:
        """Of one training: read where it was done before, else done in a process of its own."""
        path = self.out / f"{self.size.name.replace(' ', '')}-{side.name}-{share:g}-{seed}.json"
        if not path.exists():
            asked = {"side": side.name, "share": share, "seed": seed, "path": str(path)}
            command = [sys.executable, __file__, "--one", json.dumps({**asdict(self), **asked}, default=str)]
            subprocess.run(command, check=True)
        return Outcome(**json.loads(path.read_text()))

    def reach(self, side: Side, seed: int, target: float, start: float) -> list[Outcome]:
        """Every training of the search, the last of them the cheapest that reached the target; none did: empty."""
        place = min(range(len(SHARES)), key=lambda i: abs(SHARES[i] - start))
        tried = [self.outcome(side, SHARES[place], seed)]
        if tried[0].val_loss <= target:
            while place > 0:
                place -= 1
                tried.insert(0, self.outcome(side, SHARES[place], seed))
                if tried[0].val_loss > target:
                    break
        else:
            while place + 1 < len(SHARES) and tried[-1].val_loss > target:
                place += 1
                tried.append(self.outcome(side, SHARES[place], seed))
        reached = [each for each in tried if each.val_loss <= target]
        return [*(each for each in tried if each not in reached[:1]), *reached[:1]] if reached else []


def do_one(asked: Values) -> None:
    """A training in this process, its outcome written where it was asked."""
    size, path = Size(**asked["size"]), Path(asked["path"])
    side = next(side for side in (BASELINE, *LADDER, TALWEG) if side.name == asked["side"])
    runs = Path(asked["out"]) / "runs" / size.name.replace(" ", "")
    shutil.rmtree(runs / run_name(side, asked["share"], asked["seed"]), ignore_errors=True)  # nothing is gone on with
    done = trained(side, size, asked["share"], asked["seed"], asked["threads"], Path(asked["data"]), runs)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(done), indent=1, default=str))
    temporary.rename(path)


def lines(bench: Bench, seeds: Sequence[int], ladder: bool) -> Iterator[str]:
    """The table, line by line as it becomes known."""
    yield f"{bench.size.name} weights, {bench.size.tokens:,.0f} tokens for the baseline, {bench.threads} threads"
    yield f"{'side':<10}{'tokens':>12}{'steps':>8}{'val':>8}{'seconds':>9}{'spread':>16}{'CPU s':>8}{'faster':>8}  what"
    baseline = [bench.outcome(BASELINE, 1.0, seed) for seed in seeds]
    judged = baseline
    if bench.size.paced:
        judged = [bench.outcome(LADDER[1], 1.0, seed) for seed in seeds]
    target = median(each.val_loss for each in judged)
    yield line(BASELINE, [replace(b, val_loss=j.val_loss) for b, j in zip(baseline, judged, strict=True)], baseline)
    for side in (*(LADDER if ladder else ()), TALWEG):
        found, start = [], side.share
        for seed in seeds if side is TALWEG else seeds[:1]:
            if not side.searched:
                found.append(bench.outcome(side, 1.0, seed))
                continue
            tried = bench.reach(side, seed, target, start)
            found += tried[-1:]
            start = tried[-1].share if tried else side.share
        yield (
            line(side, found, baseline) if found else f"{side.name:<10} did not reach {target:.4f} with all the tokens"
        )
    yield f"target: {target:.4f} nats per token, the baseline's median over {len(seeds)} seeds"


def line(side: Side, found: Sequence[Outcome], baseline: Sequence[Outcome]) -> str:
    """Medians over the seeds, and the range of the seconds."""
    seconds, base = [each.seconds for each in found], median(each.seconds for each in baseline)
    middle = {name: median(getattr(each, name) for each in found) for name in ("tokens", "steps", "val_loss")}
    spread = f"{min(seconds):,.0f} - {max(seconds):,.0f}"
    return (
        f"{side.name:<10}{middle['tokens']:>12,.0f}{middle['steps']:>8,.0f}{middle['val_loss']:>8.4f}"
        f"{median(seconds):>9,.0f}{spread:>16}{median(each.cpu_seconds for each in found):>8,.0f}"
        f"{base / median(seconds):>8.2f}  {side.what}"
    )


def prepared(parquet: Path, out: Path) -> Path:
    """The token files of all sides."""
    folder = out / "data"
    if not (folder / "manifest.json").exists():
        command = [sys.executable, "-m", "talweg", "prepare", str(parquet), "--out", str(folder)]
        command += ["--vocabulary-size", str(VOCABULARY), "--no-near", "--no-quality"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parquet", type=Path, default=DEFAULT)
    parser.add_argument("--out", type=Path, default=Path("/tmp/ttl/bench"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ladder", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--quick", action="store_true", help="seconds instead of an hour; says nothing about speed")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        do_one(arguments.one)
        return
    size = QUICK if arguments.quick else LARGE if arguments.large else SMALL
    arguments.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(size, arguments.threads, arguments.out, prepared(arguments.parquet, arguments.out))
    for text in lines(bench, range(1, arguments.seeds + 1), arguments.ladder):
        print(text, flush=True)


if __name__ == "__main__":
    main()
