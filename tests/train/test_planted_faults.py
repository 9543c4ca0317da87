"""Faults planted in real runs, named from their logs alone; and the sound run beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import talweg
from talweg.causes import catalogue
from talweg.finding import Finding
from talweg.model.gpt import GPT
from talweg.run import Run
from talweg.train.config import Config

NAMES = (
    "accumulation_not_normalised",
    "clipping_always_on",
    "half_precision_overflow",
    "loss_scale_collapse",
    "no_parameter_update",
    "throughput_loss",
)
BREAKS_AT = 40  # forward passes


@pytest.fixture
def trained(configured: Callable[..., Config], tmp_path: Path) -> Callable[..., Run]:
    """The run that a training with these changes leaves behind, read from its log."""

    def make(**changes: Any) -> Run:
        values = {"run__steps": 60, "evaluation__every": 20, "optimizer__peak_lr": 3e-3, "model__dropout": 0.0}
        for _ in talweg.train(configured(**{**values, **changes})):
            pass
        return talweg.read(tmp_path / "run")

    return make


def examined(run: Run) -> dict[str, Finding]:
    return {name: catalogue()[name].examine(run) for name in NAMES}


def present(run: Run) -> set[str]:
    return {name for name, finding in examined(run).items() if finding.verdict == "present"}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_sound_run_has_none_of_them(trained: Callable[..., Run], precision: str) -> None:
    run = trained(batch__micro_batch=2, hardware__precision=precision)
    assert run.facts.accumulation == 4
    assert present(run) <= {"throughput_loss"}  # the machine that runs the tests may well be busy
    assert examined(run)["no_parameter_update"].verdict == "absent"
    assert examined(run)["accumulation_not_normalised"].verdict == "absent"


def test_losses_of_micro_batches_that_are_added_up(
    trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    mean = GPT.total_loss
    monkeypatch.setattr(GPT, "total_loss", lambda self, *given: 4 * mean(self, *given))
    run = trained(batch__micro_batch=2)
    assert present(run) - {"throughput_loss"} == {"accumulation_not_normalised"}
    assert "4 micro-batches" in examined(run)["accumulation_not_normalised"].because


def test_an_optimizer_that_does_nothing(trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, closure=None: None)
    assert present(trained()) - {"throughput_loss"} == {"no_parameter_update"}


def test_an_activation_beyond_the_range_of_fp16(trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    sound, passes = GPT.total_loss, iter(range(10**9))

    def overflowing(self: GPT, *given: torch.Tensor) -> torch.Tensor:
        if next(passes) == BREAKS_AT:
            with torch.no_grad():
                self.blocks[0].feed_forward.out.weight.fill_(6e4)
        return sound(self, *given)

    monkeypatch.setattr(GPT, "total_loss", overflowing)
    run = trained(hardware__precision="fp16")
    assert run.last_step == pytest.approx(BREAKS_AT, abs=3)  # a pass or two are tried again at the start
    assert present(run) - {"throughput_loss"} == {"half_precision_overflow"}


def test_a_gradient_that_is_not_finite_at_any_scale(
    trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root of 0 has an infinite slope: the loss stays finite, the gradient does not."""
    sound, passes = GPT.total_loss, iter(range(10**9))

    def steep(self: GPT, *given: torch.Tensor) -> torch.Tensor:
        loss = sound(self, *given)
        return loss + (torch.sqrt((0 * self.head.weight).sum()) if next(passes) >= BREAKS_AT else 0)

    monkeypatch.setattr(GPT, "total_loss", steep)
    run = trained(hardware__precision="fp16")
    assert run.last_step == pytest.approx(BREAKS_AT, abs=3)  # a pass or two are tried again at the start
    assert present(run) - {"throughput_loss"} == {"loss_scale_collapse"}
