"""Compiling and precision: what is chosen, and what happens where it does not work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from talweg.corpus.shards import open_split
from talweg.corpus.windows import Windows
from talweg.train import hardware, start
from talweg.train.config import Config, with_values
from talweg.train.update import accumulate

Make = Callable[..., Config]
CHANGES = {"model__vocabulary_size": 320, "optimizer__peak_lr": 1e-3, "batch__micro_batch": 4, "model__dropout": 0.0}


def test_without_compiling_the_loss_is_the_models_own(configured: Make) -> None:
    training = start.fresh(configured(**CHANGES, hardware__compile="off"))
    assert training.objective == training.model.total_loss


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(function: Any, **options: Any) -> Any:
        def failing(*tensors: Tensor) -> Tensor:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand much more")

        return failing

    monkeypatch.setattr(torch, "compile", no_compiler)
    notes: list[str] = []
    training = start.fresh(configured(**CHANGES, hardware__compile="on"), tell=notes.append)
    assert training.objective == training.model.total_loss
    (note,) = notes
    assert "not compiled, since torch.compile failed here (InvalidCxxCompiler: No working C++ compiler found)" in note
    assert "\n" not in note


def test_the_trial_leaves_neither_gradients_nor_random_numbers(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[torch.Size] = []

    def as_it_is(function: Any, **options: Any) -> Any:
        def noted(*tensors: Tensor) -> Tensor:
            shapes.append(tensors[0].shape)
            torch.rand(1)
            return function(*tensors)

        return noted

    config = configured(**{**CHANGES, "model__dropout": 0.1})
    start.fresh(config)
    expected = torch.get_rng_state()
    monkeypatch.setattr(torch, "compile", as_it_is)
    training = start.fresh(with_values(config, {"hardware.compile": "on"}))
    assert shapes == [(4, 32)]
    assert torch.equal(torch.get_rng_state(), expected)
    assert all(parameter.grad is None for parameter in training.model.parameters())


@pytest.mark.slow  # a minute: compiling
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_has_the_same_loss_and_names(data: Path, configured: Make) -> None:
    config = configured(**CHANGES, model__layers=1)
    windows = Windows(open_split(data, "train"), config.model.context, config.run.seed)
    plain, notes = start.fresh(config), list[str]()
    fast = start.fresh(with_values(config, {"hardware.compile": "on"}), tell=notes.append)
    assert not notes
    assert fast.objective != fast.model.total_loss
    assert list(dict(fast.model.named_parameters())) == list(dict(plain.model.named_parameters()))
    assert accumulate(fast, config, windows).loss == pytest.approx(accumulate(plain, config, windows).loss, rel=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-3), ("bf16", 2e-2)])
def test_half_precision_on_a_cpu_has_the_loss_of_fp32(
    data: Path, configured: Make, precision: str, tolerance: float
) -> None:
    config = configured(**CHANGES)
    windows = Windows(open_split(data, "train"), config.model.context, config.run.seed)
    half = with_values(config, {"hardware.precision": precision})
    expected, training = accumulate(start.fresh(config), config, windows).loss, start.fresh(half)
    assert (training.loss_scale is not None) == (precision == "fp16")
    assert accumulate(training, half, windows).loss == pytest.approx(expected, rel=tolerance)


def test_a_gpu_without_bf16_trains_in_fp16(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(hardware, "available_memory", lambda device: 12 * 10**9)
    machine = hardware.measure(configured(hardware__device="cuda", hardware__precision="auto"))
    assert (machine.precision, machine.memory) == ("fp16", 12 * 10**9)
    assert machine.reasons["hardware.precision"] == "bf16 is not native on this GPU"


def test_the_memory_that_is_free_is_known_on_linux() -> None:
    free = hardware.available_memory("cpu")
    assert free is None or free > 2**20
