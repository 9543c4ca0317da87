"""What a step of each optimizer costs, beside the forward and backward pass; and where Muon's coefficients come from.

.venv/bin/python bench/optimizers.py [THREADS]      default 1; seconds are of the CPU, the best of several

Sizes: about 1.3, 3 and 10 million weights, 8,192 tokens a step of 256 positions, a vocabulary of 4,096.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from talweg.train import hardware, optimizers
from talweg.train.average import Average
from talweg.train.config import Config, build
from talweg.train.start import fresh

SIZES = ((4, 4, 128), (5, 6, 192), (5, 6, 384))  # layers, heads, width
TOKENS, CONTEXT, MICRO_BATCH, VOCABULARY = 8192, 256, 8, 4096
LOWEST, SMALLEST_SHARE = 0.01, 0.02  # singular values from here on; the least that a quintic looks at, of the largest


def quintic(low: float, high: float) -> tuple[float, float, float]:
    """a, b, c of the odd quintic that stays nearest to 1 on [low, high], by exchanging its four extrema (Remez)."""
    inner = [(3 * low + high) / 4, (low + 3 * high) / 4]
    for _ in range(200):
        x = np.array([low, *inner, high])
        a, b, c, _ = np.linalg.solve(np.stack([x, x**3, x**5, [1, -1, 1, -1]], axis=1), np.ones(4))
        root = np.sqrt(9 * b * b - 20 * a * c)
        inner = sorted([np.sqrt((-3 * b - root) / (10 * c)), np.sqrt((-3 * b + root) / (10 * c))])
    return float(a), float(b), float(c)


def coefficients(number: int) -> tuple[list[tuple[float, float, float]], NDArray[np.float64]]:
    """So many quintics, each for the image of [LOWEST, 1] under those before; and the last image."""
    image, found = np.geomspace(LOWEST, 1, 20_000), []
    for _ in range(number):
        high = image.max()
        a, b, c = quintic(max(image.min(), SMALLEST_SHARE * high), high)
        image = a * image + b * image**3 + c * image**5
        found.append((a, b, c))
    return found, image


def configured(name: str, layers: int, heads: int, width: int) -> Config:
    return build(
        {
            **{"run.steps": 1, "data.path": "none", "model.layers": layers, "model.heads": heads, "model.width": width},
            **{"model.context": CONTEXT, "model.vocabulary_size": VOCABULARY, "batch.tokens_per_step": TOKENS},
            **{"optimizer.name": name, "schedule.kind": "constant", "hardware.device": "cpu"},
            "hardware.precision": "bf16",
        }
    )


def best(work: Callable[[], object], times: int = 5) -> float:
    """CPU milliseconds."""
    work()
    found = []
    for _ in range(times):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return 1e3 * min(found)


def main(threads: int = 1) -> None:
    hardware.prepare(threads)
    found, image = coefficients(3)
    print(f"coefficients on [{LOWEST}, 1], image {image.min():.3f} to {image.max():.3f}:")
    for each in found:
        print("   ", *(f"{value:9.4f}" for value in each))
    print("\nCPU milliseconds          parameters  passes    adamw     muon  sched.f  average  measuring  muon's share")
    for layers, heads, width in SIZES:
        cost: dict[str, float] = {}
        for name in optimizers.NAMES:
            training = fresh(configured(name, layers, heads, width))
            tokens = torch.randint(VOCABULARY, (MICRO_BATCH, CONTEXT + 1))

            def passes(training=training, tokens=tokens) -> None:  # type: ignore[no-untyped-def]
                with hardware.autocast("cpu", "bf16"):
                    loss = training.objective(tokens[:, :-1], tokens[:, 1:]) / TOKENS
                loss.backward()

            if name == "adamw":
                cost["passes"] = best(passes) * TOKENS / (MICRO_BATCH * CONTEXT)
                average = Average(training.model, 0.999)
                cost["average"] = best(lambda: average.update(training.model))  # noqa: B023
                cost["measuring"] = best(lambda: optimizers.measured_step(training.optimizer))  # noqa: B023
            else:
                passes()
            optimizers.set_learning_rate(training.optimizer, 1e-3)
            cost[name] = best(training.optimizer.step)
        share = cost["muon"] / (cost["muon"] + cost["passes"])
        print(
            f"{layers} layers, width {width:4}    {training.model.num_parameters() / 1e6:9.2f}M {cost['passes']:7.0f}"
            + "".join(f" {cost[name]:8.1f}" for name in (*optimizers.NAMES, "average"))
            + f" {cost['measuring'] - cost['adamw']:10.1f} {share:13.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
