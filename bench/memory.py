"""Peak memory of a training step on this CPU, predicted by the memory model and measured in a process of its own.

    python bench/memory.py [--quick] [--micro-batches 2 4 8]

Measured: the highest resident size of the process (VmHWM) over two updates of two micro-batches each, less its resident
size before the model was built, when a model of a few weights had brought in the libraries (80 MiB). The second update
is the larger one: the optimizer's moments are there.
The last lines are what the model says of a GPU of 12 GB, which is not measured here.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from trainer import CLASSIC, RandomText

from talweg.train import hardware, micro_batch, start
from talweg.train.config import Config, build, with_values
from talweg.train.memory import Memory, predict
from talweg.train.update import accumulate, apply

WORKED_CASE = {  # 40.6 M parameters
    "model.layers": 12,
    "model.width": 384,
    "model.heads": 12,
    "model.context": 1024,
    "model.vocabulary_size": 50304,
}
SMALL = {"model.layers": 5, "model.width": 192, "model.heads": 3, "model.context": 256, "model.vocabulary_size": 4096}
TINY = {"model.layers": 1, "model.context": 32, "model.vocabulary_size": 64, "batch.tokens_per_step": 64}
CARD = 12 * 10**9 - 800 * 2**20  # an RTX 4070: 12 GB, less what the desktop and the driver take (our guess)
GIB = 2**30


def configuration(model: dict[str, object], form: str, precision: str, size: int, device: str = "cpu") -> Config:
    context = model["model.context"]
    assert isinstance(context, int)
    fixed = {
        "run.steps": 1,
        "batch.tokens_per_step": 2 * size * context,
        "batch.micro_batch": size,
        "optimizer.peak_lr": 1e-3,
        "hardware.device": device,
        "hardware.precision": precision,
        "hardware.threads": 1,
    }
    return build({**fixed, **model, **(CLASSIC if form == "classic" else {})})


def status(key: str) -> int:
    """A size of this process, in bytes."""
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith(key))
    return int(line.split()[1]) * 1024


def measure(config: Config) -> int:
    """Bytes of two updates at their peak, in this process, which must have done nothing before."""
    hardware.prepare(1)
    two_updates(with_values(config, TINY))
    before = status("VmRSS")
    two_updates(config)
    return status("VmHWM") - before


def two_updates(config: Config) -> None:
    training, vocabulary = start.fresh(config), config.model.vocabulary_size
    assert vocabulary is not None
    text = RandomText(config.model.context, vocabulary)
    for _ in range(2):
        apply(training, config, 1e-3, accumulate(training, config, text))


def apart(case: list[object]) -> int:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def line(name: str, config: Config, memory: Memory, measured: int | None) -> str:
    parts = "".join(f"{value / 2**20:>11,.0f}" for value in vars(memory).values())
    end = "" if measured is None else f"{measured / 2**20:>10,.0f}{memory.total / measured - 1:>9.1%}"
    return f"{name:<26}{config.batch.micro_batch:>6}{parts}{memory.total / 2**20:>10,.0f}{end}"


def on_a_card(form: str) -> None:
    """The largest micro-batch of the worked case, 512 sequences an update, that fits into 12 GB."""
    config = configuration(WORKED_CASE, form, "bf16", 256, "cuda")
    size, reason = micro_batch.choose(with_values(config, {"batch.micro_batch": None}), CARD)
    config = with_values(config, {"batch.micro_batch": size})
    print(line(f"12 GB card {form}", config, predict(config), None), f"  {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--large", action="store_true", help="the worked case only")
    parser.add_argument("--quick", action="store_true", help="the small model only")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(measure(configuration(*json.loads(arguments.case))))
        return
    columns = (*Memory.__dataclass_fields__, "total")
    print(f"{'MiB':<26}{'micro':>6}" + "".join(f"{c:>11}" for c in columns[:-1]) + f"{'total':>10}{'measured':>10}")
    models = {"3 M": SMALL, "40.6 M": WORKED_CASE}
    models.pop("40.6 M" if arguments.quick else "3 M" if arguments.large else "", None)
    for name, model in models.items():
        for size in [8, 16, 32] if model is SMALL else arguments.micro_batches:
            for form in ("modern", "classic"):
                for precision in ("fp32", "bf16"):
                    config = configuration(model, form, precision, size)
                    measured = apart([model, form, precision, size])
                    print(line(f"{name} {form} {precision}", config, predict(config), measured), flush=True)
    for form in ("modern", "classic"):
        on_a_card(form)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
