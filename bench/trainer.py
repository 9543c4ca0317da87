"""Tokens a second of the trainer on this CPU, in bf16 and fp32, against the matrix products this CPU can do.

    python bench/trainer.py [--threads N] [--seconds S]

Arithmetic of a token: 6 N + 6 layers x width x context, forward and backward, attention counted over the past only.
The peak is the best rate of large square matrix products in the same precision, measured here and now.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch

from talweg.corpus.windows import Batch
from talweg.train import hardware, start
from talweg.train.config import Config, build
from talweg.train.update import accumulate, apply

PEAK_SIZE = 2048  # of the square matrices
MODELS = {
    "1 M": {"model.vocabulary_size": 4096, "model.width": 128, "model.layers": 4, "model.heads": 4},
    "3 M": {"model.vocabulary_size": 4096, "model.width": 192, "model.layers": 5, "model.heads": 3},
    "16 M": {"model.vocabulary_size": 8192, "model.width": 384, "model.layers": 7, "model.heads": 6},
}
CLASSIC = {
    "model.norm": "layernorm",
    "model.positions": "learned",
    "model.activation": "gelu",
    "model.initialisation": "gpt2",
    "model.qk_norm": False,
    "model.bias": True,
}


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
        loss = accumulate(training, config, text)  # type: ignore[arg-type]  # all that it asks for is batch()
        apply(training, config, 1e-3, loss)
        times.append(time.perf_counter() - begin)
    times = sorted(times[1:])  # the first step also fills caches
    N, tokens = training.model.num_parameters(), config.batch.tokens_per_step
    flops = 6.0 * N + 6.0 * model.layers * model.width * model.context
    return Speed(N, tokens / times[len(times) // 2], tokens / times[0], flops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring, for each line")
    arguments = parser.parse_args()
    hardware.prepare(arguments.threads)
    sizes = (PEAK_SIZE, PEAK_SIZE, PEAK_SIZE)
    peak = {p: hardware.product_rate(*sizes, p, casts=False) for p in ("fp32", "bf16")}
    print(
        f"{arguments.threads} threads; matrix products: "
        + ", ".join(f"{p} {r / 1e9:,.0f}" for p, r in peak.items())
        + " GFLOP/s"
    )
    columns = ("parameters", "precision", "tokens/s", "best", "GFLOP/s", "of peak", "bf16 / fp32")
    print(f"{'model':<14}" + "".join(f"{column:>12}" for column in columns))
    for name, changes in MODELS.items():
        for form, more in (("modern", {}), ("classic", CLASSIC)):
            rate: dict[str, float] = {}
            for precision in ("fp32", "bf16"):
                speed = measured(configuration({**changes, **more}, precision, arguments.threads), arguments.seconds)
                rate[precision] = speed.best
                flops = speed.best * speed.flops_per_token
                gain = f"{rate['bf16'] / rate['fp32']:.2f}" if precision == "bf16" else ""
                print(
                    f"{name + ' ' + form:<14}{speed.parameters:>12,}{precision:>12}{speed.tokens_per_second:>12,.0f}"
                    f"{speed.best:>12,.0f}{flops / 1e9:>12,.0f}{flops / peak[precision]:>12.1%}{gain:>12}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
