"""`make demo`: real text, two small GPTs, one planted fault, and a diagnosis of each. About five minutes on two cores.

The second run is the first with one change: its learning rate reaches zero after a quarter of the steps. Everything
goes through the commands that a person would type; each is printed before it runs.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from text import documents, fetch, write_parquet

HERE = Path(__file__).parent
RUNS = Path("runs/demo")
DATA = RUNS / "data"
HEALTHY, FAULTY = RUNS / "healthy", RUNS / "decayed_too_early"
FAULT = ("--schedule.end_share", "0.25")
CONFIG = "demo/healthy.toml"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cache", type=Path, default=HERE / "cache", help="where the downloaded text is kept")
    options.add_argument("more", nargs="*", help="options for both runs, such as --run.steps 50 (after --)")
    given = options.parse_args()
    began = time.monotonic()

    heading("1/5", "text: Shakespeare's works, as parquet")
    num, characters = write_parquet(documents(fetch(given.cache)), RUNS / "text.parquet")
    print(f"{RUNS / 'text.parquet'}  {num:,} documents, {characters / 1e6:.1f} M characters")

    heading("2/5", "parquet to tokens")
    talweg(
        "prepare", f"{RUNS / 'text.parquet'}", "--out", f"{DATA}", "--vocabulary-size", "2048", "--val-share", "0.03"
    )

    heading("3/5", "a sound run")
    train(HEALTHY, given.more)

    heading("4/5", "the same run with one fault: the learning rate reaches zero after a quarter of it")
    train(FAULTY, [*FAULT, *given.more])

    heading("5/5", "what Talweg says of them")
    for run in (HEALTHY, FAULTY):
        talweg("diagnose", f"{run}", "--data", f"{DATA}", accept=(0, 1, 2))
    compare()
    print(f"\nreports  {HEALTHY / 'report.html'}\n         {FAULTY / 'report.html'}")
    print(f"all of it took {(time.monotonic() - began) / 60:.1f} minutes")
    return 0


def heading(place: str, text: str) -> None:
    print(f"\n== {place} {text}", flush=True)


def train(run: Path, more: Sequence[str]) -> None:
    """Train from the start. The diagnosis that the command ends with is shown at the end of the demo."""
    shutil.rmtree(run, ignore_errors=True)
    talweg("train", CONFIG, "--run.name", run.name, *more, quiet=True)


def talweg(*words: str, accept: Sequence[int] = (0,), quiet: bool = False) -> str:
    """Run one command as a person would; its progress goes to the terminal, and so does its answer unless `quiet`."""
    print(f"$ talweg {shlex.join(words)}", flush=True)
    stdout = subprocess.DEVNULL if quiet else None
    done = subprocess.run([sys.executable, "-m", "talweg", *words], stdout=stdout, check=False)
    if done.returncode not in accept:
        raise SystemExit(done.returncode)
    return ""


def compare() -> None:
    """The measured cost of the fault beside the predicted one."""
    cost = final_val(FAULTY) - final_val(HEALTHY)
    print(f"\nval loss at the end  healthy {final_val(HEALTHY):.4f}   decayed too early {final_val(FAULTY):.4f}")
    print(f"the fault cost       {cost:+.4f} nats (measured: the one run less the other)")
    answer = json.loads(
        subprocess.run(
            [sys.executable, "-m", "talweg", "diagnose", f"{FAULTY}", "--data", f"{DATA}", "--format", "json"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        ).stdout
    )
    for cause in answer["causes"]:
        if cause["name"] == "learning_rate_decayed_too_early" and cause["nats"]:
            nats = cause["nats"]
            held = "inside" if nats["low"] <= cost <= nats["high"] else "OUTSIDE"
            print(
                f"Talweg had said      {nats['value']:+.4f} ({nats['low']:.4f} to {nats['high']:.4f}, 80 %), "
                f"from the faulty run alone: the measured cost is {held} the interval"
            )


def final_val(run: Path) -> float:
    """The last validation loss in the run's log."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return float([record["val_loss"] for record in records if "val_loss" in record][-1])


if __name__ == "__main__":
    sys.exit(main())
