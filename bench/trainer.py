"""Tokens a second of the trainer on this CPU, beside what this CPU can do and beside nanoGPT's own arithmetic.

    python bench/trainer.py [--threads N] [--seconds S] [--models "3 M" "16 M"]

Arithmetic of a token: 6 N + 6 layers x width x context, forward and backward, attention counted over the past only.
The peak is the best rate of large square matrix products in the same precision, measured here and now. The floor is the
larger of two times that no program of this arithmetic can beat: operations over that peak, and bytes over the bandwidth
of a copy measured here. Bytes: what forward leaves for backward, written and read once, and of each weight once an
update what AdamW reads and writes (28). Plain: a GPT-2 of torch's own operations in fp32, eager (`plain_gpt2.py`), the
same architecture as the classic form.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch

from talweg.corpus.windows import Batch
from talweg.train import hardware, memory, mfu, start
from talweg.train.config import Config, build
from talweg.train.model_size import model_size
from talweg.train.update import accumulate, apply

PEAK_SIZE = 2048  # of the square matrices
MODELS = {
    "1 M": {"model.vocabulary_size": 4096, "model.width": 128, "model.layers": 4, "model.heads": 4},
    "3 M": {"model.vocabulary_size": 4096, "model.width": 192, "model.layers": 5, "model.heads": 3},
    "16 M": {"model.vocabulary_size": 8192, "model.width": 384, "model.layers": 7, "model.heads": 6},
    "40 M": {"model.vocabulary_size": 50304, "model.width": 384, "model.layers": 12, "model.heads": 12},
}
CLASSIC = {
    "model.norm": "layernorm",
    "model.positions": "learned",
    "model.activation": "gelu",
    "model.initialisation": "gpt2",
    "model.qk_norm": False,
    "model.bias": False,
}
UPDATE_BYTES = 28  # of a weight: itself, its gradient, two moments read; itself and the moments written
COPY_BYTES = 2**28  # of the copy that measures the bandwidth: far more than a cache


@dataclass
class RandomText:
    """Windows of random tokens: the speed does not depend on what they say."""

    context: int
    vocabulary_size: int

    def batch(self, first: int, count: int) -> Batch:
        tokens = np.random.default_rng(first).integers(0, self.vocabulary_size, (count, self.context + 1))
        return Batch(tokens[:, :-1], tokens[:, 1:], np.zeros((count, self.context), dtype=np.int64))


@dataclass(frozen=True)
class Speed:
    parameters: int
    tokens_per_second: float  # of the median step
    best: float  # of the fastest step: what the machine does when nobody else uses it
    flops_per_token: float


def configuration(changes: dict[str, object], precision: str, threads: int) -> Config:
    fixed = {
        "run.steps": 1,
        "model.context": 256,
        "batch.tokens_per_step": 8192,
        "optimizer.peak_lr": 1e-3,
        "batch.micro_batch": 16,
        "hardware.device": "cpu",
        "hardware.precision": precision,
        "hardware.threads": threads,
    }
    return build({**fixed, **changes})


def measured(config: Config, seconds: float) -> Speed:
    """Whole updates: data, forward, backward, clipping, AdamW."""
    training, model = start.fresh(config), config.model
    assert model.vocabulary_size is not None
    text = RandomText(model.context, model.vocabulary_size)
    times: list[float] = []
    while len(times) < 4 or sum(times) < seconds:
        begin = time.perf_counter()
        apply(training, config, 1e-3, accumulate(training, config, text))
        times.append(time.perf_counter() - begin)
    times = sorted(times[1:])  # the first step also fills caches
    N, tokens = training.model.num_parameters(), config.tokens_per_step
    flops = mfu.flops_per_token(config, causal=True)
    return Speed(N, tokens / times[len(times) // 2], tokens / times[0], flops)


def floor(config: Config, peak: float, bandwidth: float) -> float:
    """Tokens a second that nothing of this arithmetic can exceed."""
    e = 4 if config.hardware.precision == "fp32" else 2
    kept = memory.activations(start.shape(config), 1, e, "cpu") / config.model.context
    num_bytes = 2 * kept + UPDATE_BYTES * model_size(config) / config.tokens_per_step
    return 1 / max(mfu.flops_per_token(config, causal=True) / peak, num_bytes / bandwidth)


def copy_rate() -> float:
    """Bytes read and written a second by the best of several copies."""
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - begin)
    return 2 * COPY_BYTES / best


def main() -> None:
    from plain_gpt2 import _rate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring, for each line")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    arguments = parser.parse_args()
    hardware.prepare(arguments.threads)
    sizes = (PEAK_SIZE, PEAK_SIZE, PEAK_SIZE)
    peak = {p: hardware.product_rate(*sizes, p, casts=False) for p in ("fp32", "bf16")}
    bandwidth = copy_rate()
    rates = ", ".join(f"{p} {r / 1e9:,.0f} GFLOP/s" for p, r in peak.items())
    print(f"{arguments.threads} threads; matrix products: {rates}; copies: {bandwidth / 1e9:.1f} GB/s")
    columns = ("parameters", "precision", "tokens/s", "best", "floor", "of floor", "of peak", "x plain")
    print(f"{'model':<14}" + "".join(f"{column:>12}" for column in columns))
    for name in arguments.models:
        classic = configuration({**MODELS[name], **CLASSIC}, "fp32", arguments.threads)
        plain = _rate(classic, RandomText(classic.model.context, classic.model.vocabulary_size or 0), arguments.seconds)
        print(f"{name + ' plain':<14}{model_size(classic):>12,}{'fp32':>12}{'':>12}{plain:>12,.0f}", flush=True)
        for form, more in (("classic", CLASSIC), ("modern", {})):
            for precision in ("fp32", "bf16"):
                config = configuration({**MODELS[name], **more}, precision, arguments.threads)
                speed, limit = measured(config, arguments.seconds), floor(config, peak[precision], bandwidth)
                print(
                    f"{name + ' ' + form:<14}{speed.parameters:>12,}{precision:>12}{speed.tokens_per_second:>12,.0f}"
                    f"{speed.best:>12,.0f}{limit:>12,.0f}{speed.best / limit:>12.1%}"
                    f"{speed.best * speed.flops_per_token / peak[precision]:>12.1%}{speed.best / plain:>12.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
