"""The micro-batch: chosen by rule, halved when the memory does not suffice, without a change of the mathematics."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from talweg.corpus.shards import open_split
from talweg.corpus.windows import Windows
from talweg.errors import InputError
from talweg.train import start
from talweg.train.config import Config, with_values
from talweg.train.memory import predict
from talweg.train.micro_batch import SHARE, backed_off, choose, equal_parts, out_of_memory, with_back_off
from talweg.train.update import accumulate

Make = Callable[..., Config]


@pytest.fixture
def config(configured: Make) -> Config:
    return configured(model__vocabulary_size=320, batch__tokens_per_step=32 * 1024, optimizer__peak_lr=1e-3)


def test_equal_parts_of_ten() -> None:
    assert equal_parts(10) == [10, 5, 4, 3, 2, 1]  # 4: parts of 4, 4, 2
    assert equal_parts(1) == [1]


def test_a_cpu_gets_about_4096_tokens(config: Config) -> None:
    size, reason = choose(config, None)
    assert size == 128  # sequences of 32
    assert "more than 4,096 tokens a forward pass make a CPU no faster" in reason
    short, reason = choose(with_values(config, {"batch.tokens_per_step": 256}), 2**40)
    assert short == 8
    assert reason.endswith("1024.0 GiB are free")


def test_what_does_not_fit_by_the_model_is_not_chosen(config: Config) -> None:
    needed = predict(config, 64).total
    assert choose(config, round(needed / SHARE["cpu"]) + 1)[0] == 64
    assert choose(config, round(needed / SHARE["cpu"]) - 1)[0] < 64


def test_too_little_memory_for_one_sequence_is_said(config: Config) -> None:
    size, reason = choose(config, 1000)
    assert size == 1
    assert "not even one sequence fits by the memory model" in reason


def test_a_gpu_is_tried_from_the_largest_downwards(config: Config) -> None:
    tried: list[int | None] = []

    def fits(candidate: Config) -> bool:
        tried.append(candidate.batch.micro_batch)
        return len(tried) == 3

    size, reason = choose(with_values(config, {"hardware.device": "cuda"}), 2**40, fits)
    assert tried == [1024, 512, 342]
    assert size == 342
    assert reason.endswith("; 1024 did not fit when tried")


def test_halving_ends_at_one_sequence(config: Config) -> None:
    config = with_values(config, {"batch.micro_batch": 5})
    sizes = []
    while config.batch.micro_batch != 1:
        config = backed_off(config)
        sizes.append(config.batch.micro_batch)
    assert sizes == [3, 2, 1]
    with pytest.raises(
        InputError, match=r"too small for one sequence of 32 tokens \(predicted: .* lower model.context"
    ):
        backed_off(config)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_a_step_that_does_not_fit_is_repeated_with_half(config: Config, error: Exception) -> None:
    assert out_of_memory(error)
    seen, cleared = [], []

    def step(candidate: Config) -> str:
        seen.append(candidate.batch.micro_batch)
        if len(seen) < 3:
            raise error
        return "done"

    result, fitted = with_back_off(step, lambda: cleared.append(1), with_values(config, {"batch.micro_batch": 8}))
    assert (result, seen, len(cleared)) == ("done", [8, 4, 2], 2)
    assert fitted.batch.micro_batch == 2


def test_another_error_passes(config: Config) -> None:
    def step(_: Config) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        with_back_off(step, lambda: None, config)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_the_mathematics_is_that_of_the_whole_batch(data: Path, configured: Make, size: int) -> None:
    config = configured(model__vocabulary_size=320, model__dropout=0.0, optimizer__peak_lr=1e-3)  # 8 sequences
    windows = Windows(open_split(data, "train"), config.model.context, config.run.seed)
    found = []
    for micro_batch in (8, size):
        training = start.fresh(with_values(config, {"batch.micro_batch": micro_batch}))
        gradients = accumulate(training, with_values(config, {"batch.micro_batch": micro_batch}), windows)
        made = [p.grad.numpy().ravel() for p in training.model.parameters() if p.grad is not None]
        found.append((gradients.loss, np.concatenate(made)))
    (loss, gradient), (loss_in_parts, gradient_in_parts) = found
    assert loss_in_parts == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(gradient_in_parts, gradient, rtol=1e-4, atol=1e-7)


def test_a_step_out_of_memory_leaves_the_gradients_of_the_whole_batch(data: Path, configured: Make) -> None:
    config = configured(model__vocabulary_size=320, model__dropout=0.0, optimizer__peak_lr=1e-3, batch__micro_batch=4)
    windows = Windows(open_split(data, "train"), config.model.context, config.run.seed)
    expected = accumulate(start.fresh(config), config, windows).loss
    training = start.fresh(config)
    right, calls = training.objective, []

    def objective(*tensors: torch.Tensor) -> torch.Tensor:
        calls.append(len(tensors[0]))
        if len(calls) == 2:  # the second micro-batch: gradients of the first are there already
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(*tensors)

    training.objective = objective
    gradients, fitted = with_back_off(
        lambda smaller: accumulate(training, smaller, windows), training.optimizer.zero_grad, config
    )
    assert calls == [4, 4, 2, 2, 2, 2]
    assert fitted.batch.micro_batch == 2
    assert gradients.loss == pytest.approx(expected, rel=1e-6)


def test_whether_a_step_fits_is_tried(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(model__vocabulary_size=320, batch__micro_batch=2)
    assert start.fits(config)
    monkeypatch.setattr(start, "accumulate", lambda *_: (_ for _ in ()).throw(MemoryError()))
    assert not start.fits(config)
