"""2N steps are N and N, bit for bit, with whatever a run may have switched on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from talweg.train import loop, update
from talweg.train.config import Config
from talweg.train.loop import train

from .test_loop import log, measured, run_until

Make = Callable[..., Config]
FILES = ("model", "optimizer")
MODERN = {"model__value_residual": True, "model__x0_shortcut": True, "model__logit_softcap": 15.0, "model__kv_heads": 1}


def ends_the_same(straight: Config, broken: Config, step: int = 12) -> None:
    folder = f"checkpoints/step_{step:08}"
    for name in FILES:
        paths = (config.run.out / config.run.name / folder / f"{name}.safetensors" for config in (straight, broken))
        first, second = (path.read_bytes() for path in paths)
        assert first == second, name
    assert measured(log(straight)) == measured(log(broken))


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware__precision": "fp16", "optimizer__average_decay": 0.7},
        {"hardware__precision": "bf16", "optimizer__name": "muon", "batch__micro_batch": 3},
        {"hardware__precision": "fp16", "optimizer__name": "muon", "batch__micro_batch": 3},
        {"hardware__precision": "fp16", "optimizer__name": "schedule_free", "schedule__kind": "constant"},
        {"optimizer__name": "muon", "schedule__kind": "wsd", "schedule__decay_shape": "sqrt", **MODERN},
        {"model__preset": "nanogpt", "model__document_mask": True, "model__bias": True, "model__tied_head": False},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_a_run_that_was_stopped_twice_ends_as_one_that_was_not(configured: Make, changes: dict[str, Any]) -> None:
    straight, broken = configured(run__name="straight", **changes), configured(run__name="broken", **changes)
    list(train(straight))
    run_until(broken, 5)
    run_until(broken, 8)
    list(train(broken))
    ends_the_same(straight, broken)


def test_a_micro_batch_that_memory_made_smaller_stays_so(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory once, as a GPU shared with others may be: what a resume tries must not depend on it."""
    real, failed = update.accumulate, list[int]()

    def once_too_large(training: Any, config: Config, windows: Any) -> update.Gradients:
        if training.step == 3 and not failed:
            failed.append(3)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(training, config, windows)

    monkeypatch.setattr(loop, "accumulate", once_too_large)
    straight, broken = (configured(run__name=name, batch__micro_batch=8) for name in ("straight", "broken"))
    list(train(straight))
    failed.clear()
    run_until(broken, 8)
    list(train(broken))
    ends_the_same(straight, broken)
