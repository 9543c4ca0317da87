"""CPU seconds and memory to read a table of a million rows and six columns, beside other ways to get its numbers.

    python bench/read_tables.py [ROWS]

CSV and JSONL, with numbers printed in full (as repr does) and with four decimals. The others parse alone: they do not
find out what a column is, which rows are in force, or what is missing. pyarrow is compared where it is installed.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OURS = """
import sys, time
from talweg.readers import read
start = time.process_time()
run = read(sys.argv[1])
seconds = time.process_time() - start
columns = (run.train_loss, run.val_loss, run.learning_rate, run.grad_norm, run.seconds_per_step)
count = sum(map(len, columns))
"""
CSV = """
import csv, sys, time
start = time.process_time()
file = csv.reader(open(sys.argv[1]))
columns = {name: [] for name in next(file)}
for row in file:
    for name, cell in zip(columns, row):
        if cell:
            columns[name].append(float(cell))
seconds = time.process_time() - start
count = sum(map(len, columns.values())) - len(columns["step"])
"""
JSON = """
import json, sys, time
start = time.process_time()
columns = {}
for line in open(sys.argv[1]):
    for name, value in json.loads(line).items():
        columns.setdefault(name, []).append(value)
seconds = time.process_time() - start
count = sum(map(len, columns.values())) - len(columns["step"])
"""
ARROW = """
import sys, time
start = time.process_time()
import pyarrow.csv, pyarrow.json
read = pyarrow.csv.read_csv if sys.argv[1].endswith("csv") else pyarrow.json.read_json
table = read(sys.argv[1])
seconds = time.process_time() - start
count = sum(len(column) - column.null_count for column in table.columns) - len(table)
"""
REPORT = """
import resource
print(f"{seconds:6.2f} CPU s  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:5.0f} MB  {count:,} values")
"""
NAMES = ("step", "train_loss", "val_loss", "lr", "grad_norm", "dt_ms")


def write_tables(folder: Path, rows: int) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    at = np.arange(rows)
    loss = 3 + 8 / (1 + at / 100) + rng.normal(0, 0.05, rows)
    columns = [
        at,
        loss,
        loss + 0.01,
        6e-4 * np.cos(at / rows),
        rng.lognormal(0, 0.3, rows),
        rng.uniform(100, 200, rows),
    ]
    forms = {"full": (repr, repr), "short": ("{:.4f}".format, "{:.6e}".format)}
    for form, (plain, small) in forms.items():
        with (folder / f"{form}.csv").open("w") as csv, (folder / f"{form}.jsonl").open("w") as jsonl:
            csv.write(",".join(NAMES) + "\n")
            for row in zip(*(column.tolist() for column in columns), strict=True):
                cells = [
                    str(row[0]),
                    *(small(v) if name == "lr" else plain(v) for name, v in zip(NAMES[1:], row[1:], strict=True)),
                ]
                if row[0] % 500:
                    cells[2] = ""
                csv.write(",".join(cells) + "\n")
                record = {name: json.loads(cell) for name, cell in zip(NAMES, cells, strict=True) if cell}
                jsonl.write(json.dumps(record) + "\n")


def main() -> None:
    if len(sys.argv) == 3:  # by itself, as a process begins with the memory of the one that starts it
        write_tables(Path(sys.argv[2]), int(sys.argv[1]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, str(rows), folder], check=True)
        for path in sorted(Path(folder).iterdir()):
            print(f"{path.name}: {rows:,} rows, {path.stat().st_size / 1e6:.0f} MB")
            plain = ("csv + float", CSV) if path.suffix == ".csv" else ("json", JSON)
            for name, code in (("talweg", OURS), plain, ("pyarrow", ARROW)):
                start = time.perf_counter()
                done = subprocess.run([sys.executable, "-c", code + REPORT, path], capture_output=True, text=True)
                told = done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]
                print(f"  {name:12}{told}, {time.perf_counter() - start:.2f} s on the clock with Python's start")


if __name__ == "__main__":
    main()
