"""CPU seconds and memory to read a million lines of nanoGPT's output, beside the naive way: one line at a time.

python bench/readers.py [LINES]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAIVE = """
import re, sys, time
start = time.process_time()
iters, evals = {}, {}
for line in open(sys.argv[1]):
    if m := re.match(r"iter (\\d+): loss ([\\d.]+), time ([\\d.]+)ms, mfu (-?[\\d.]+)%", line):
        iters[int(m[1])] = (float(m[2]), float(m[3]))
    elif m := re.match(r"step (\\d+): train loss ([\\d.]+), val loss ([\\d.]+)", line):
        evals[int(m[1])] = (float(m[2]), float(m[3]))
seconds = time.process_time() - start
"""
OURS = """
import sys, time
from talweg.readers import read
start = time.process_time()
run = read(sys.argv[1])
seconds = time.process_time() - start
"""
REPORT = """
import resource
print(f"{seconds:.2f} CPU s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")
"""


def write_log(path: Path, lines: int) -> None:
    """A log as train.py writes it, an evaluation each 500 iterations."""
    with path.open("w") as file:
        for step in range(lines):
            loss = 3 + 8 / (1 + step / 100)
            if step % 500 == 0:
                file.write(f"step {step}: train loss {loss:.4f}, val loss {loss + 0.01:.4f}\n")
            file.write(f"iter {step}: loss {loss:.4f}, time {3900 + step % 37:.2f}ms, mfu 12.88%\n")


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.log"
        write_log(path, lines)
        for name, code in (("talweg", OURS), ("line by line", NAIVE)):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code + REPORT, path], capture_output=True, text=True, check=True
            )
            print(
                f"{name:14}{done.stdout.strip()}, {time.perf_counter() - start:.2f} s on the clock with Python's start"
            )


if __name__ == "__main__":
    main()
