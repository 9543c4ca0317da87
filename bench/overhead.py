"""What a run with default intervals spends beside its updates: evaluations, checkpoints, the log, judging itself.

    python bench/overhead.py DATA [--tokens T] [--threads N]

DATA: a folder of `talweg prepare`. Shares are of the wall time of the whole run, from the first record to the last. The
update itself holds the batch, forward, backward, clipping, the optimizer and what is measured beside them.
"""

import argparse
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from talweg.selfcheck import SelfCheck
from talweg.train import loop
from talweg.train.config import build
from talweg.train.log import Log

PARTS = {
    "updates": (loop, "_update"),
    "evaluations": (loop, "_evaluation"),
    "checkpoints": (loop, "_save"),
    "judging": (SelfCheck, "judge"),
    "log": (Log, "write"),
}


def timed(function: Callable[..., Any], name: str, spent: Counter[str]) -> Callable[..., Any]:
    def measured(*arguments: Any, **keywords: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            spent[name] += time.perf_counter() - begin
            spent[f"{name}, times"] += 1

    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tokens", type=float, default=10e6)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    folder, spent = Path(tempfile.mkdtemp()), Counter[str]()
    for name, (owner, attribute) in PARTS.items():
        setattr(owner, attribute, timed(getattr(owner, attribute), name, spent))
    config = build(
        {
            "run.tokens": arguments.tokens,
            "run.out": str(folder),
            "data.path": str(arguments.data),
            **({"hardware.threads": arguments.threads} if arguments.threads else {}),
        }
    )
    records = loop.train(config)
    next(records)
    begin = time.perf_counter()
    for _ in records:
        pass
    whole = time.perf_counter() - begin
    shutil.rmtree(folder)
    print(f"{whole:.1f} s, {arguments.tokens / whole:,.0f} tokens/s over all")
    for name in PARTS:
        print(f"  {name:<12}{spent[name]:9.2f} s  {spent[name] / whole:7.2%}  {spent[f'{name}, times']:7,} times")
    print(f"  {'all but updates':<15}{whole - spent['updates']:6.2f} s  {1 - spent['updates'] / whole:7.2%}")


if __name__ == "__main__":
    main()
