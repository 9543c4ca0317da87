"""The points of the public sample logs, counted in another way than Talweg counts them.

Nothing here imports Talweg: words of a line, the standard library's parsers, and the libraries that wrote the binary
samples. Each function gives {column of Run: [(step, value), ...]} in the order of the log; `in_force` says which stay.
"""

import ast
import csv
import json
import math
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

Pairs = list[tuple[float, float]]
Counted = dict[str, Pairs]


def in_force(pairs: Iterable[tuple[float, float]]) -> Pairs:
    """What is left when a log that goes back to a step takes back all from there on; a repeated line says nothing."""
    kept: Pairs = []
    seen: set[tuple[float, str]] = set()
    for step, value in pairs:
        if (step, repr(value)) in seen:
            continue
        seen.add((step, repr(value)))
        while kept and kept[-1][0] >= step:
            kept.pop()
        kept.append((step, value))
    return kept


def add(found: Counted, column: str, step: float, value: float) -> None:
    found.setdefault(column, []).append((step, value))


# ---------------------------------------------------------------- lines


def lines(path: Path) -> list[str]:
    """Without colours and what backspaces erased; a carriage return ends a line."""
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return [re.sub(r"\x1b\[[0-9;]*m|\x08", "", line) for line in text.split("\n")]


def after(line: str, label: str, default: str | None = None) -> str:
    """The word that follows a label."""
    if label not in line and default is not None:
        return default
    return line.split(label, 1)[1].split()[0].strip(",|:")


def nanogpt(path: Path) -> Counted:
    found: Counted = {}
    for line in lines(path):
        words = line.replace(",", "").replace(":", "").split()
        if words[:1] == ["iter"] and words[2] == "loss":
            step = int(words[1])
            add(found, "train_loss", step, float(words[3]))
            add(found, "seconds_per_step", step, float(words[5].removesuffix("ms")) / 1e3)
            if float(words[7].removesuffix("%")) >= 0:
                add(found, "mfu", step, float(words[7].removesuffix("%")) / 100)
        if words[:1] == ["step"] and words[2:4] == ["train", "loss"]:
            add(found, "train_eval_loss", int(words[1]), float(words[4]))
            add(found, "val_loss", int(words[1]), float(words[7]))
    return found


def llmc_main(path: Path) -> Counted:
    found: Counted = {}
    names = {"trl": "train_loss", "tel": "val_loss", "lr": "learning_rate", "norm": "grad_norm"}
    for line in lines(path):
        fields = dict(word.split(":") for word in line.split())
        for name, column in names.items():
            if name in fields:
                add(found, column, int(fields["s"]), float(fields[name]))
    return found


def llmc_stdout(path: Path) -> Counted:
    found: Counted = {}
    step = 0
    for line in lines(path):
        if line.startswith("step "):
            step = int(line.split()[1].split("/")[0])
            add(found, "train_loss", step, float(after(line, "| loss ")))
            add(found, "grad_norm", step, float(after(line, "| norm ")))
            add(found, "learning_rate", step, float(after(line, "| lr ")))
            add(found, "seconds_per_step", step, float(line.split("|")[4].split()[0]) / 1e3)
            add(found, "mfu", step, float(line.split("|")[5].split("%")[0]) / 100)
            add(found, "tokens_per_second", step, float(line.split("|")[6].split()[0]))
        elif line.startswith("val loss "):
            add(found, "val_loss", step, float(line.split()[2]))
    return found


def nanochat(path: Path) -> Counted:
    found: Counted = {}
    for line in lines(path):
        if line.startswith("step "):
            step = int(line.split()[1].split("/")[0])
            add(found, "train_loss", step, float(after(line, "loss: ")))
            add(found, "seconds_per_step", step, float(after(line, "dt: ").removesuffix("ms")) / 1e3)
            add(found, "tokens_per_second", step, float(line.split("tok/sec: ")[1].split(" ")[0].replace(",", "")))
        elif line.startswith("Step ") and "bpb" in line:
            add(found, "val_bits_per_byte", int(line.split()[1]), float(line.split()[-1]))
    return found


def modded_nanogpt(path: Path) -> Counted:
    found: Counted = {}
    for line in lines(path):
        if line.startswith("step:"):
            fields = dict(word.split(":") for word in line.split())
            for name in ("train_loss", "val_loss"):
                if name in fields:
                    add(found, name, int(fields["step"].split("/")[0]), float(fields[name]))
    return found


def litgpt(path: Path) -> Counted:
    """The validation loss that each training line repeats is the one of the last evaluation, at its own iteration."""
    found: Counted = {}
    update_of: dict[int, int] = {}
    for line in lines(path):
        if line.startswith("Epoch "):
            words = line.split()
            update_of[int(words[4])] = int(words[6])
            add(found, "train_loss", int(words[6]), float(after(line, "loss train: ")))
        elif line.startswith("iter ") and "val loss" in line:
            add(found, "val_loss", update_of[int(line.split()[1].strip(":"))], float(after(line, "val loss ")))
    return found


def torchtitan(path: Path) -> Counted:
    found: Counted = {}
    for line in lines(path):
        if "step:" in line:
            step = int(after(line, "step:"))
            if "validate step:" in line:
                add(found, "val_loss", step, float(after(line, "loss:")))
            else:
                add(found, "train_loss", step, float(after(line, "  loss:")))
                add(found, "grad_norm", step, float(after(line, "grad_norm:")))
                add(found, "mfu", step, float(after(line, "mfu:").removesuffix("%")) / 100)
    return found


def megatron(path: Path) -> Counted:
    """A loss that lacks is NaN where it stood before, unless every update of the line was skipped."""
    found: Counted = {}
    before = 0
    for line in lines(path):
        fields = {}
        for part in line.split("|"):
            name, _, value = part.rpartition(":")
            fields[name.strip().replace("lm_loss", "lm loss")] = value.strip()
        if " iteration " in line and "/" in line and "loss scale" in line:
            step = int(line.split(" iteration ")[1].split("/")[0])
            skipped = int(fields["number of skipped iterations"])
            if "lm loss" in fields:
                add(found, "train_loss", step, float(fields["lm loss"]))
            elif skipped < step - before:
                add(found, "train_loss", step, math.nan)
            before = step
            add(found, "learning_rate", step, float(fields["learning rate"]))
            add(found, "loss_scale", step, float(fields["loss scale"]))
            if "grad norm" in fields:
                add(found, "grad_norm", step, float(fields["grad norm"]))
            scale = 1e-3 if "elapsed time per iteration (ms)" in fields else 1.0
            seconds = fields.get("elapsed time per iteration (ms)") or fields["elapsed time per iteration (s)"]
            add(found, "seconds_per_step", step, float(seconds) * scale)
        elif "loss at iteration" in line:
            step = int(line.split("loss at iteration")[1].split()[0])
            add(found, "val_loss", step, float(line.split("lm loss value:")[1].split()[0]))
    return found


def nanotron(path: Path) -> Counted:
    found: Counted = {}
    letters = {"K": 1e3, "M": 1e6, "B": 1e9}
    for line in lines(path):
        if "iteration: " in line:
            fields = dict(part.strip().split(": ", 1) for part in line.split("]: ")[1].split("|"))
            step = int(fields["iteration"].split("/")[0])
            add(found, "train_loss", step, float(fields["lm_loss"]))
            add(found, "learning_rate", step, float(fields["lr"]))
            add(found, "grad_norm", step, float(fields["grad_norm"]))
            rate = fields["tokens_per_sec"]
            add(found, "tokens_per_second", step, float(rate.rstrip("KMB")) * letters.get(rate[-1], 1.0))
            add(found, "seconds_per_step", step, float(fields["time_per_iteration_ms"]) / 1e3)
    return found


# ---------------------------------------------------------------- records


def hf_records(path: Path, tokens: str, tokens_per_step: int) -> Counted:
    """Printed dictionaries; the tokens seen so far give the step, since 1,024 tokens are one update of these runs."""
    found: Counted = {}
    for line in lines(path):
        if line.startswith("{") and "'epoch'" in line:
            record = ast.literal_eval(line)
            _hf(found, record, int(record[tokens]) / tokens_per_step if tokens in record else math.nan)
    return found


def hf_state(path: Path) -> Counted:
    found: Counted = {}
    for record in json.loads(path.read_text())["log_history"]:
        _hf(found, record, record.get("step", math.nan))
    return found


def _hf(found: Counted, record: Mapping[str, object], step: float) -> None:
    names = {"loss": "train_loss", "eval_loss": "val_loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm"}
    for name, column in names.items():
        if name in record:
            add(found, column, step, float(str(record[name])))


def rows(path: Path, step: str, **columns: str) -> Counted:
    """A table with a header: CSV, or JSON records."""
    records: list[dict[str, object]]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            records = [dict(row) for row in csv.DictReader(file)]
    elif path.suffix == ".jsonl":
        records = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        records = json.loads(path.read_text())
    found: Counted = {}
    for record in records:
        for column, name in columns.items():
            cell = record.get(name)
            if cell is not None and cell != "":
                add(found, column, float(str(record[step])), float(str(cell)))
    return found


def triples(path: Path) -> Counted:
    """TensorBoard's download as JSON."""
    return {"train_loss": [(step, value) for _, step, value in json.loads(path.read_text())]}


# ---------------------------------------------------------------- stores

TINY = {"train_loss": "train/loss", "val_loss": "val/loss", "learning_rate": "train/lr", "grad_norm": "train/grad_norm"}


def tensorboard(folder: Path, **columns: str) -> Counted:
    """Each event file by itself, in the order in which they were made."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Counted = {}
    files = [folder] if folder.is_file() else sorted(folder.glob("events*"), key=lambda path: path.name.split(".")[3])
    for file in files:
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        for column, tag in (columns or TINY).items():
            found.setdefault(column, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return found


def mlflow_files(run: Path) -> Counted:
    found: Counted = {}
    for column, name in TINY.items():
        for line in (run / "metrics" / name).read_text().splitlines():
            _, value, step = line.split()
            add(found, column, int(step), float(value))
    return found


def trackio(path: Path) -> Counted:
    found: Counted = {}
    database = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    for step, metrics in database.execute("select step, metrics from metrics order by id"):
        for column, name in TINY.items():
            if (value := json.loads(metrics).get(name)) is not None:
                add(found, column, step, value)
    database.close()
    return found


def neptune(path: Path) -> Counted:
    import pyarrow.parquet

    found: Counted = {}
    for row in pyarrow.parquet.read_table(path).to_pylist():
        for column, name in TINY.items():
            if row["attribute_path"] == f"metrics/{name}":
                add(found, column, float(row["step"]), row["float_value"])
    return found
