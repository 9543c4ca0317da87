"""Training on NVIDIA GPUs, where there are any: one, and two with NCCL."""

from collections.abc import Callable

import pytest
import torch

from talweg.train import checkpoint as checkpoints
from talweg.train.config import Config
from talweg.train.loop import train

from .rank_processes import on_ranks
from .test_loop import measured, run_until
from .test_ranks import PLAIN, done, log, losses, trained

Make = Callable[..., Config]
GPUS = torch.cuda.device_count()


def on_gpu(configured: Make, name: str, **changes: object) -> Config:
    return configured(run__name=name, hardware__device="cuda", **{**PLAIN, **changes})


@pytest.mark.skipif(GPUS < 1, reason="needs a GPU")
def test_a_gpu_gives_the_losses_of_the_cpu_and_goes_on_where_it_was_stopped(configured: Make) -> None:
    cpu, gpu = configured(run__name="cpu", **PLAIN), on_gpu(configured, "gpu")
    list(train(cpu))
    run_until(gpu, 6)
    assert checkpoints.find(gpu.run.out / "gpu").name == "step_00000006"
    list(train(gpu))
    assert losses(gpu) == pytest.approx(losses(cpu), rel=1e-3)


@pytest.mark.skipif(GPUS < 1, reason="needs a GPU")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_gpu_trains_in_half_precision_with_dropout(configured: Make, precision: str) -> None:
    config = on_gpu(configured, precision, hardware__precision=precision, model__dropout=0.1)
    list(train(config))
    first, *_, last = (r["val_loss"] for r in measured(log(config)) if "val_loss" in r)
    assert last < first - 0.1


@pytest.mark.skipif(GPUS < 2, reason="needs two GPUs")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_gpus_give_the_losses_of_one(configured: Make, strategy: str) -> None:
    one, two = on_gpu(configured, "one"), on_gpu(configured, "two", hardware__strategy=strategy)
    list(train(one))
    done(on_ranks(2, trained, two))
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
