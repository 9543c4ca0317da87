"""Files that are no logs of training: taken from this machine, or generated. Each is (kind, name, content).

Left out on purpose: tutorials that quote whole lines of a real log within code fences, since they hold a log; and
tables whose columns are called step and loss, since no reader could tell what was lost.
"""

import bz2
import gzip
import io
import json
import pickle
import random
import sqlite3
import struct
import sys
import sysconfig
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Stranger = tuple[str, str, bytes]
STDLIB = Path(sysconfig.get_path("stdlib"))
PACKAGES = Path(sysconfig.get_path("purelib"))
MOST = 2_000_000  # bytes of one file that is taken


def all_of_them() -> list[Stranger]:
    """In a fixed order; those of a kind differ in content."""
    found = [*_machine(), *_sources(), *_services(), *_tables(), *_records(), *_prose(), *_binary(), *_databases()]
    seen: set[bytes] = set()
    return [item for item in found if not (item[2] in seen or seen.add(item[2]))]


def _some(folder: Path, pattern: str, num: int) -> list[Path]:
    """Every so-many-th file of this kind, so that they are of many authors."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file() and 0 < path.stat().st_size < MOST)
    step = max(1, len(paths) // num)
    return paths[::step][:num]


# ---------------------------------------------------------------- taken from the machine

TAKEN = (
    ("Python source", STDLIB, "*.py", 30),
    ("Python source", STDLIB, "email/*.py", 5),
    ("Python source", STDLIB, "idlelib/*.py", 5),
    ("Python source that trains", PACKAGES, "torch/optim/*.py", 10),
    ("Python source that trains", PACKAGES, "torch/nn/modules/loss.py", 1),
    ("Python source that trains", PACKAGES, "transformers/trainer*.py", 4),
    ("Python source that trains", PACKAGES, "ray/train/*.py", 4),
    ("C header", PACKAGES, "numpy/_core/include/numpy/*.h", 12),
    ("C header", PACKAGES, "torch/include/c10/core/*.h", 8),
    ("notes of a package", PACKAGES, "*.dist-info/METADATA", 20),
    ("notes of a package", PACKAGES, "*.dist-info/RECORD", 6),
    ("notes of a package", PACKAGES, "*.dist-info/licenses/LICENSE*", 6),
    ("settings of the system", Path("/etc"), "*.conf", 6),
    ("settings of the system", Path("/etc"), "passwd", 1),
    ("settings of the system", Path("/etc"), "services", 1),
    ("log of a package manager", Path("/var/log"), "dpkg.log", 1),
    ("log of a package manager", Path("/var/log/apt"), "*.log", 2),
    ("program", Path("/bin"), "true", 1),
    ("program", Path("/bin"), "ls", 1),
)


def _machine() -> Iterator[Stranger]:
    for kind, folder, pattern, num in TAKEN:
        for path in _some(folder, pattern, num) if folder.is_dir() else ():
            try:
                yield kind, path.name, path.read_bytes()
            except OSError:  # not everyone may read everything in /etc
                continue


# ---------------------------------------------------------------- sources that print such lines

PRINTS = (
    'print(f"step {step}: train loss {train:.4f}, val loss {val:.4f}")',
    'print(f"iter {iter_num}: loss {lossf:.4f}, time {dt*1000:.2f}ms, mfu {running_mfu*100:.2f}%")',
    'print(f"step:{step}/{steps} train_loss:{loss:.4f} train_time:{t:.0f}ms step_avg:{avg:.2f}ms")',
    'print0(f"step {step:05d}/{n:05d} ({p:.2f}%) | loss: {loss:.6f} | lrm: {lrm:.2f} | dt: {dt:.2f}ms")',
    'logger.info(f"step: {step:2}  loss: {loss:7.4f}  grad_norm: {norm:7.4f}  memory: {gib:5.2f}GiB")',
    "log_string += f' iteration {iteration:8d}/{total:8d} | lm loss: {avg:.6E} | loss scale: {scale:.1f} |'",
    "{'loss': loss, 'grad_norm': norm, 'learning_rate': rate, 'epoch': epoch}",
    'fabric.print(f"Epoch {epoch} | iter {i} step {s} | loss train: {loss:.3f}, val: {val} | iter time: {t:.2f} ms")',
    'print(f"Epoch {epoch}/{epochs} - loss: {loss:.4f} - val_loss: {val:.4f}")',
    'wandb.log({"train/loss": loss, "step": step})',
)
PRINTF = 'printf("step %4d/%d | loss %7.6f (%+.2fz)| norm %6.4f (%+.2fz)| lr %.2e | %.2f ms\\n", step, n, loss);'


def _sources() -> Iterator[Stranger]:
    for number, line in enumerate(PRINTS):
        body = f"for step in range(100):\n    loss = train_step()\n    if step % 10 == 0:\n        {line}\n"
        yield "source that prints losses", f"train{number}.py", f"import torch\n\n\n{body * 3}".encode()
    yield "source that prints losses", "train_gpt2.cu", f"int main() {{\n    {PRINTF}\n    return 0;\n}}\n".encode()
    diff = "".join(f"@@ -{n},2 +{n},2 @@\n-    {line}\n+    {line} # new\n" for n, line in enumerate(PRINTS))
    yield "source that prints losses", "change.patch", f"--- a/train.py\n+++ b/train.py\n{diff}".encode()
    cells = [{"cell_type": "code", "source": [line], "outputs": [], "metadata": {}} for line in PRINTS]
    yield "notebook", "train.ipynb", json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}, indent=1).encode()
    for name, text in SMALL.items():
        yield "file of a project", name, text.encode()


SMALL = {
    "Makefile": "all: train\n\ntrain:\n\tpython train.py --steps 100 --loss mse\n",
    "Dockerfile": "FROM python:3.12\nRUN pip install torch\nSTEP 1/3: loss\nCMD python train.py\n",
    "run.sh": "#!/bin/sh\nset -e\nfor step in 1 2 3; do echo step $step; done\nexport LOSS=3.2\n",
    "config.yaml": "optimizer:\n  lr: 3.0e-4\n  betas: [0.9, 0.95]\nloss: cross_entropy\nsteps: 1000\n\n",
    "pyproject.toml": '[project]\nname = "x"\nversion = "0.1.0"\n[tool.train]\nsteps = 1000\nlr = 3e-4\nloss = "mse"\n',
    "config.ini": "[train]\nstep = 10\nloss = mse\nlr = 0.1\n[eval]\nstep = 20\nloss = mae\n",
    "train_config.py": "batch_size = 12\nblock_size = 1024\nn_layer = 12\nlearning_rate = 6e-4\nmax_iters = 600000\n",
    "page.html": "<html><body><table><tr><td>step</td><td>loss</td></tr></table></body></html>\n",
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg"><path d="M 0 1.5 L 1 2.5 L 2 3.5"/></svg>\n',
    "paper.tex": "\\begin{tabular}{lr}\nstep & loss \\\\\n10 & 3.20 \\\\\n20 & 3.10 \\\\\n\\end{tabular}\n",
    "schema.sql": "CREATE TABLE metrics (step INTEGER, loss REAL);\nINSERT INTO metrics VALUES (1, 3.2);\n",
    "query.graphql": "query { run(id: 3) { step loss lr } }\n",
    "words.txt": "\n".join(f"{n * 7919 % 1000}" for n in range(200)) + "\n",
    "matrix.txt": "".join(" ".join(f"{(a * b) % 17 / 7:.4f}" for b in range(8)) + "\n" for a in range(1, 60)),
    "subtitles.srt": "".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\nLoss {n}.\n\n" for n in range(1, 50)),
    "game.pgn": '[Event "x"]\n[Result "1-0"]\n\n1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 1-0\n',
    "module.xyz": "3\nstep 10 loss of energy -3.2\nO 0.0 0.0 0.1\nH 0.0 0.7 -0.4\nH 0.0 -0.7 -0.4\n",
    "gcode.nc": "".join(f"G1 X{n}.5 Y{n / 3:.3f} F1200\n" for n in range(100)),
    "answers.txt": "0.5\n1.5\n2.5\n",
    "checksums.sha256": "".join(f"{n:064x}  file{n}.bin\n" for n in range(30)),
}


# ---------------------------------------------------------------- logs of other programs


def _services() -> Iterator[Stranger]:
    rng = random.Random(1)
    for number, line in enumerate(LINES):
        text = "".join(
            line.format(
                n=n,
                m=n % 60,
                a=rng.randint(1, 250),
                x=rng.uniform(0.1, 9.9),
                y=rng.uniform(0.001, 0.999),
                z=rng.uniform(10, 4000),
                h=f"{rng.getrandbits(48):012x}",
            )
            + "\n"
            for n in range(1, 120)
        )
        yield "log of another program", f"other{number}.log", text.encode()
    large = LINES[0].format(n=1, m=2, a=3, x=4.5, y=0.5, z=60.0, h="0f") + "\n"
    yield "log of another program", "large.log", (large * (8_000_000 // len(large))).encode()


LINES = (
    "Nov 23 12:00:{m:02} host kernel: [{z:.6f}] usb 1-{n}: new high-speed USB device number {a} using xhci_hcd",
    "Nov 23 12:00:{m:02} host sshd[{n}]: Failed password for root from 10.0.0.{a} port {a} ssh2",
    "Nov 23 12:00:{m:02} host systemd[1]: Started Session {n} of user root.",
    '10.0.0.{a} - - [23/Nov/2026:12:00:{m:02} +0000] "GET /step/{n}?loss={x:.2f} HTTP/1.1" 200 {a} "-" "curl/8.5.0"',
    "[Mon Nov 23 12:00:{m:02}.{n:06} 2026] [core:error] [pid {n}] [client 10.0.0.{a}:{n}] File does not exist: /loss",
    "64 bytes from 10.0.0.{a}: icmp_seq={n} ttl=64 time={x:.3f} ms",
    "{n} packets transmitted, {n} received, {x:.1f}% packet loss, time {a}ms, step {n}",
    "packet loss {y:.3f}% step {n}",
    "step {n}: packet loss {x:.2f} %, jitter {y:.3f} ms",
    "[ {n}]  {m}.00-{m}.50 sec  {x:.2f} MBytes  {z:.0f} Mbits/sec  {y:.3f} ms  {a}/{n} ({x:.1f}%) loss",
    "{n} {a} {m} 0 {z:.0f} {z:.0f} 0 0 {a} {m} {x:.1f} {y:.2f} 0",
    "Step {n}/120 : RUN apt-get install -y libloss{a}  ---> {h}",
    "[{n:3}/120] Building CXX object src/CMakeFiles/loss.dir/step{n}.cpp.o",
    "   Compiling loss-functions v0.{a}.{n} (/work/step/{h})",
    "Downloading torch-2.{m}.0.whl ({x:.1f} MB)  {n}% {x:.1f}/{z:.1f} MB {y:.1f} MB/s eta 0:00:{m:02}",
    "npm WARN deprecated loss@{n}.{a}.0: step {m} is no longer supported",
    "tests/test_loss.py::test_step_{n} PASSED [{m:3}%] {x:.2f}s",
    "test_step_{n}   {x:.4f} ({y:.2f})   {z:.4f} ({y:.2f})   {a}   {m}",
    "2026-11-23 12:00:{m:02},{n:03} - INFO - step {n} done in {x:.2f} s",
    "2026-11-23 12:00:{m:02},{n:03} - WARNING - loss of connection to 10.0.0.{a}, retry {n} in {x:.1f} s",
    "INFO:app:iteration {n}: {a} rows, {x:.2f} s",
    "I1123 12:00:{m:02}.{n:06} {a} solver.cc:{n}] elapsed {x:.4f} s for step {n}",
    "{m:02}:{m:02}:{m:02}.{n:03} [main] INFO  org.app.Step{n} - heat loss {x:.3f} kW at step {n}",
    "commit {h}{h}{h}0000\nAuthor: A B <a@b.c>\n\n    Step {n}: weight loss of the crate, {x:.1f} kB",
    "{h} {a}.{m}.{n} step{n} loss {a}",
    "frame={n:5} fps={a} q={x:.1f} size={a}kB time=00:00:{m:02}.10 bitrate={z:.1f}kbits/s speed={x:.2f}x",
    "iter {n:4}   residual {y:.6e}   step length {y:.4f}   objective {z:.6e}",
    "{n:4}  {z:.6e}  {y:.2e}  {x:.2e}  {y:.1e}",
    "Iteration {n}: cost = {z:.4f}, gap = {y:.4f}",
    "generation {n}: best fitness {x:.4f}, mean fitness {y:.4f}",
    "query {n} took {x:.3f} ms, cache loss ratio {y:.3f}, batch {a}",
    "{n}\t{a}\t{x:.3f}\t{y:.3f}",
    "GPU {m}: {a}C, {n} %, {z:.0f} MiB / 81559 MiB, {a} W, memory loss 0",
    "node17:{a}:{n} [{m}] NCCL INFO Channel {m:02}/0 : 3[3] -> 2[2] via P2P/IPC/read",
    "worker {n} | took {x:.2f} s | {a} items | loss of {m} items",
    "[{n}/120] epoch of the database: {a}, step {m}, replayed {z:.0f} rows",
    "time step {n:6}, dt = {y:.3e}, mass loss = {x:.3e} kg, CFL {y:.3f}",
    "Epoch {n}/120: file {h} copied, {x:.2f} MB/s, loss-free",
    "train {a} left station {m} at 12:{m:02}, delay {x:.1f} min, step-free access {n}",
    "match {n}: win 1, loss 2, draw {m}, rating {z:.1f}",
)


# ---------------------------------------------------------------- tables of other things


def _tables() -> Iterator[Stranger]:
    rng = random.Random(2)
    for number, header in enumerate(HEADERS):
        names = header.split(",")
        rows = []
        for n in range(80):
            cells = [str(n)] + [f"{rng.uniform(0.5, 9.5):.4f}" for _ in names[1:]]
            if names[0] in ("date", "Date", "timestamp", "time"):
                cells[0] = f"2026-11-{n % 28 + 1:02}"
            rows.append(",".join(cells))
        yield "table of other things", f"table{number}.csv", (header + "\n" + "\n".join(rows) + "\n").encode()
    yield (
        "table of other things",
        "words.tsv",
        b"word\tcount\tshare\n" + b"".join(f"w{n}\t{n * 3}\t{n / 99:.3f}\n".encode() for n in range(60)),
    )
    yield (
        "table of other things",
        "semicolons.csv",
        b"year;loss;premium\n" + b"".join(f"{1990 + n};{n * 1.5};{n * 2.5}\n".encode() for n in range(30)),
    )


HEADERS = (
    "date,open,high,low,close,volume",
    "sepal_length,sepal_width,petal_length,petal_width,species",
    "step,temperature,humidity",
    "index,temperature_c,pressure_hpa",
    "timestamp,index,utilization.gpu [%],utilization.memory [%],memory.used [MiB],temperature.gpu,power.draw [W]",
    "step,packet_loss,jitter_ms",
    "iteration,packet_loss_percent,rtt_ms",
    "step,heat_loss_kw,outside_c",
    "step,weight_loss_kg,calories",
    "year,loss,premium,loss_ratio",
    "policy,claims,loss_amount,deductible",
    "date,profit,loss,balance",
    "step,profit_and_loss,position",
    "step,count,distance_m,heart_rate",
    "iteration,residual,step_length,objective",
    "name,iterations,real_time,cpu_time,time_unit,items_per_second",
    "size,threads,ms,gflops",
    "step,accuracy,f1",
    "step,reward,episode_length",
    "frame,psnr,ssim,bitrate",
    "epoch,time_s,kernel,calls",
    "step,insertion_loss_db,return_loss_db",
    "iteration,path_loss_db,distance",
    "step,hearing_loss_db,age",
    "id,latitude,longitude,elevation",
    "step,lr,momentum",
    "step,cpu_percent,rss_mb",
    "wall_clock,step,queue_length",
    "iteration,win,loss_count,draw",
    "time,steps,floors,stairs_climbed",
)


def _records() -> Iterator[Stranger]:
    """JSON and JSON lines."""
    depends = {f"node_modules/p{n}": {"version": f"{n}.0.1", "integrity": f"sha512-{n:064x}"} for n in range(80)}
    whole = {
        "package-lock.json": {"name": "x", "lockfileVersion": 3, "packages": depends},
        "package.json": {"name": "x", "version": "1.0.0", "scripts": {"step": "node step.js", "loss": "node loss.js"}},
        "tsconfig.json": {"compilerOptions": {"target": "es2022", "strict": True}, "include": ["src"]},
        "config.json": {"n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50257, "model_type": "gpt2"},
        "ds_config.json": {"train_batch_size": 32, "fp16": {"enabled": True, "loss_scale": 0}, "steps_per_print": 10},
        "tokenizer.json": {"version": "1.0", "model": {"vocab": {f"t{n}": n for n in range(400)}}},
        "training_args.json": {"learning_rate": 3e-4, "max_steps": 1000, "logging_steps": 10, "loss": "nll"},
        "map.geojson": {
            "type": "FeatureCollection",
            "features": [{"geometry": {"coordinates": [1.5, n]}} for n in range(60)],
        },
        "prices.json": [{"day": n, "price": 3.5 + n / 7, "profit": 1.5, "loss": 0.0} for n in range(40)],
        "numbers.json": list(range(100)),
        "pairs.json": [[n, n * 1.5] for n in range(100)],
        "triples.json": [[1795451117.0 + n, n, 1.5 * n] for n in range(100)],
        "strings.json": ["step", "loss", "lr"],
        "one.json": {"step": 3},
        "results.json": {"results": {"hellaswag": {"acc": 0.4}, "lambada": {"perplexity": 8.1}}, "versions": {}},
        "eval.json": {"eval_loss": 2.5, "eval_runtime": 3.1, "epoch": 1.0},
        "deep.json": json.loads("[" * 50 + "]" * 50),
    }
    for name, value in whole.items():
        yield "JSON of other things", name, json.dumps(value, indent=2 if len(name) % 2 else None).encode()
    lines = {
        "chat.jsonl": [{"role": "user", "content": f"what is the loss at step {n}?"} for n in range(40)],
        "app.jsonl": [{"level": "info", "msg": "loss of connection", "step": n, "ms": 3.5} for n in range(40)],
        "text.jsonl": [{"text": f"step {n}: loss 3.2", "id": n} for n in range(40)],
        "events.jsonl": [{"event": "click", "time": 17954511.5 + n, "step": n} for n in range(40)],
        "bench.jsonl": [{"name": "matmul", "size": n, "seconds": n / 7} for n in range(40)],
        "network.jsonl": [{"step": n, "packet_loss": n / 70, "rtt": 3.5} for n in range(40)],
    }
    for name, records in lines.items():
        yield "JSON of other things", name, "".join(json.dumps(record) + "\n" for record in records).encode()


PROSE = (
    "At step 3 the loss was 2.5, and we went on to step 4, where the loss was 2.4.\n",
    "The validation loss: it fell from 3.21 to 3.10 within 500 steps; the learning rate was 3e-4.\n",
    "Packet loss of 0.5% at step 3 is normal. Weight loss, step by step: 1. walk, 2. run.\n",
    "| step | loss |\n|---|---|\n| 10 | 3.2 |\n| 20 | 3.1 |\n",
    "Q3 net loss: $3.2 million; iteration 2 of the plan cuts it to 1.5 million.\n",
    "# Loss of step\n\nThe `loss` of a `step` is a number. Use `--loss-column`.\n",
    "Dear all, the train of 12:05 had a loss of power at step 7: 3.5 h delay.\n",
    "iter is short for iteration: loss is what falls; time and mfu come after it.\n",
    "Epoch 1/5 is when everything began. The loss: 0.69 of a bit.\n",
    "log: a piece of wood. step: a stair. loss: what is gone.\n",
)


def _prose() -> Iterator[Stranger]:
    for number, text in enumerate(PROSE):
        yield "prose", f"text{number}.md", (text * 30).encode()
    yield "prose", "utf16.txt", (PROSE[0] * 20).encode("utf-16")
    yield "prose", "latin1.txt", "Der Verlust von Schritt 3 wär 2,5.\n".encode("latin-1") * 20
    yield "prose", "packed.txt.gz", gzip.compress(PROSE[1].encode() * 20)
    yield "prose", "packed.txt.bz2", bz2.compress(PROSE[2].encode() * 20)


# ---------------------------------------------------------------- binary files


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png() -> bytes:
    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(64)) for y in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _saved(write: str, *arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    getattr(np, write)(file, *arrays)
    return file.getvalue()


def _archives() -> Iterator[tuple[str, bytes]]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("step.txt", "loss 3.2\n")
        packed.writestr("archive/data.pkl", b"\x80\x02}q\0.")
    yield "model.pt", file.getvalue()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        info = tarfile.TarInfo("notes.txt")
        info.size = 9
        tar.addfile(info, io.BytesIO(b"loss 3.2\n"))
    yield "notes.tar.gz", file.getvalue()


def _binary() -> Iterator[Stranger]:
    rng = random.Random(3)
    for number in range(12):
        yield "random bytes", f"random{number}.bin", rng.randbytes(50 + 3_000 * number)
    for number, content in enumerate((b"", b"\n", b"\n" * 500, b"\xef\xbb\xbf", b" \t \n", b"\0" * 4096)):
        yield "nothing", f"empty{number}.log", content
    yield "binary file", "picture.png", _png()
    yield "binary file", "array.npy", _saved("save", np.arange(300.0))
    yield "binary file", "arrays.npz", _saved("savez", np.arange(300.0), np.ones(9))
    yield "binary file", "state.pkl", pickle.dumps({"step": 3, "loss": [3.2, 3.1]}, protocol=2)
    yield "binary file", "state4.pkl", pickle.dumps({"step": list(range(99)), "loss": [3.2, 3.1]}, protocol=4)
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    yield "binary file", "model.safetensors", struct.pack("<Q", len(header)) + header + bytes(16)
    yield "binary file", "tokens.bin", np.arange(5_000, dtype=np.uint16).tobytes()
    yield "binary file", "sound.wav", b"RIFF$\0\0\0WAVEfmt \x10\0\0\0" + rng.randbytes(400)
    yield (
        "binary file",
        "paper.pdf",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\nendobj\nstream\n" + rng.randbytes(900),
    )
    yield "binary file", "half.gz", gzip.compress(rng.randbytes(5_000))[:1_000]
    yield "binary file", "code.pyc", Path(__file__).read_bytes().translate(bytes(range(255, -1, -1)))
    yield "binary file", "events.out.tfevents.1.host", rng.randbytes(3_000)
    yield "binary file", "run-1.wandb", b":W&B\xe1\xbe\0" + bytes(20)
    yield "binary file", "PAR1.parquet", b"PAR1" + rng.randbytes(900) + b"PAR1"
    for name, content in _archives():
        yield "binary file", name, content
    yield "binary file", "python", Path(sys.executable).resolve().read_bytes()[:MOST]


# ---------------------------------------------------------------- databases and parquet of other programs

SCRIPTS = {
    "empty.db": "CREATE TABLE t (a);",
    "contacts.db": "CREATE TABLE people (name TEXT, phone TEXT); INSERT INTO people VALUES ('a', '1');",
    "history.db": "CREATE TABLE urls (id INTEGER, url TEXT, visits INTEGER); INSERT INTO urls VALUES (1, 'x', 3);",
    "metrics.db": "CREATE TABLE metrics (host TEXT, cpu REAL, at INTEGER); INSERT INTO metrics VALUES ('h', 0.5, 1);",
    "runs.db": "CREATE TABLE runs (runner TEXT, km REAL, step INTEGER); INSERT INTO runs VALUES ('r', 10.5, 9000);",
    "named.db": "CREATE TABLE metrics (key TEXT, value REAL); INSERT INTO metrics VALUES ('packet_loss', 0.5);",
    "params.db": "CREATE TABLE params (key TEXT, value TEXT); CREATE TABLE runs (x);",
    "study.db": "CREATE TABLE trials (number INTEGER, value REAL); INSERT INTO trials VALUES (1, 0.5);",
}


def _databases() -> Iterator[Stranger]:
    for name, script in SCRIPTS.items():
        database = sqlite3.connect(":memory:")
        database.executescript(script)
        yield "database of another program", name, database.serialize()
        database.close()
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        return
    tables = {
        "text.parquet": {"text": ["step 3: loss 2.5"] * 50, "id": list(range(50))},
        "prices.parquet": {"day": list(range(50)), "close": [n / 7 for n in range(50)]},
        "sensors.parquet": {"step": list(range(50)), "temperature": [n / 7 for n in range(50)]},
        "network.parquet": {"step": list(range(50)), "packet_loss": [n / 70 for n in range(50)]},
        "tokens.parquet": {"tokens": [[n, n + 1] for n in range(50)]},
        "named.parquet": {"attribute_path": ["a/b"] * 9, "value": [1.5] * 9},
    }
    for name, columns in tables.items():
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), sink)
        yield "parquet of other things", name, sink.getvalue()
