"""The notebook docs/forecast.ipynb: its cells stand here, and their outputs are what they give when this is run.

The cells run without Jupyter: the last expression of each is shown, as there, and a picture by its `_repr_svg_`.
"""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CELLS = (
    (
        "markdown",
        """\
# A run read, diagnosed and forecast in Python

It needs `pip install .` alone. The log is that of the demo's faulty run, whose learning rate reached zero after a
quarter of the steps. What the functions rest on: [the science](science.md). Which logs are read:
[formats](formats.md).""",
    ),
    (
        "code",
        """\
import tempfile
from pathlib import Path

import talweg

log = next(path for path in (Path("example/log.jsonl"), Path("docs/example/log.jsonl")) if path.exists())
run = talweg.read(log)
print(run.format, "·", len(run.train_loss), "training losses of kind", run.train_loss.kind)
print("peak rate", run.facts.peak_learning_rate, "·", run.facts.sources["peak_learning_rate"])""",
    ),
    ("markdown", "## Why has the loss stopped falling?\n\nEvery figure is a value with its 80 % interval, in nats."),
    (
        "code",
        """\
diagnosis = talweg.diagnose(run)
print(diagnosis.headline)
for cause in diagnosis.by_verdict("present"):
    nats = cause.finding.nats
    print(f"{cause.name}: {nats.value:.2f} ({nats.low:.2f} to {nats.high:.2f})")""",
    ),
    (
        "markdown",
        """\
## The rest of the curve

The same log as it stood at step 169 of 976. A forecast is arrays: `.mean`, `.sd`, and `.interval(level)` for any level.
The run is judged by validation where it has eight evaluations; here it has too few, so by training.""",
    ),
    (
        "code",
        """\
with tempfile.TemporaryDirectory() as folder:
    early_log = Path(folder) / "log.jsonl"
    early_log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:175]))
    early = talweg.read(early_log)
ahead = talweg.forecast(early)
loss = ahead.val or ahead.train
low, high = loss.interval(0.8)
print(f"{ahead.judged} at step {ahead.step:.0f}: {loss.mean[-1]:.2f} ({low[-1]:.2f} to {high[-1]:.2f})")""",
    ),
    ("markdown", "What came in fact, all single training losses of the last hundred steps:"),
    (
        "code",
        """\
came = run.train_loss.value[-100:]
within = ((came >= low[-1]) & (came <= high[-1])).mean()
print(f"mean {came.mean():.2f}; {within:.0%} of them within the 80 % interval")""",
    ),
    (
        "markdown",
        """\
## Another plan

Had the decay been stretched over all steps from there on. `change` is the difference of the two ends. This model has
seen a third of a token for each parameter; below ten the law says too little of what more steps bring
([known limits](science.md)), so the true gain is likely larger than this.""",
    ),
    (
        "code",
        """\
other = talweg.forecast(early, what_if={"schedule.end_share": 1})
print(other.name, f"{other.change.value:+.2f}")
print(*other.notes, sep="\\n")""",
    ),
    ("markdown", "A picture, with 50, 80 and 95 % intervals; `talweg forecast LOG -o ahead.svg` writes the same."),
    (
        "code",
        """\
from talweg.report.ahead import to_svg


class Picture(str):
    def _repr_svg_(self):
        return str(self)


Picture(to_svg(early, [ahead, other]))""",
    ),
)


def run(sources: list[str], folder: Path = ROOT) -> list[list[dict[str, Any]]]:
    """The outputs of the code cells, run in this order in one namespace and in this folder."""
    names: dict[str, Any] = {"__name__": "notebook"}
    found = []
    with contextlib.chdir(folder):
        for number, source in enumerate(sources, 1):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                shown = _run(source, names)
            outputs: list[dict[str, Any]] = []
            if text := printed.getvalue():
                outputs.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
            if shown is not None:
                data = {"image/svg+xml": [shown._repr_svg_()], "text/plain": ["<a picture>"]}
                outputs.append(
                    {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}
                )
            found.append(outputs)
    return found


def _run(source: str, names: dict[str, Any]) -> Any:
    """Runs a cell; the value of its last line, where that is an expression with a picture."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    value = None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    return value if hasattr(value, "_repr_svg_") else None


def page() -> str:
    outputs = iter(run([source for kind, source in CELLS if kind == "code"]))
    cells: list[dict[str, Any]] = []
    for place, (kind, source) in enumerate(CELLS):
        cell = {
            "cell_type": kind, "id": f"cell-{place}", "metadata": {}, "source": source.splitlines(keepends=True)
        }  # fmt: skip
        if kind == "code":
            cell |= {"execution_count": sum(c["cell_type"] == "code" for c in cells) + 1, "outputs": next(outputs)}
        cells.append(cell)
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    told = {"cells": cells, "metadata": {"kernelspec": python}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"
