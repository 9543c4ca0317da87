"""The benchmark's baseline is the same mathematics as preset nanogpt; its search finds the cheapest share."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import talweg
from talweg.train.config import Config
from talweg.train.start import begin

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import plain_gpt2
import time_to_loss
from time_to_loss import BASELINE, SHARES, SMALL, TALWEG, Bench, Outcome


def test_the_plain_arithmetic_gives_the_losses_of_preset_nanogpt(configured: Callable[..., Config]) -> None:
    recipe = {key.replace(".", "__"): value for key, value in plain_gpt2.RECIPE.items()}
    sizes = {"model__context": 32, "model__dropout": 0.0, "batch__tokens_per_step": 256, "batch__micro_batch": 4}
    config = configured(**{**recipe, **sizes, "schedule__warmup_steps": 3, "run__steps": 8, "run__name": "plain"})
    plan, training, _ = begin(config)
    weights = {name: p.detach().clone() for name, p in training.model.named_parameters()}

    def batch(first: int, count: int) -> tuple[Any, Any]:
        windows = plan.windows.batch(first, count)
        return windows.inputs, windows.targets

    plain = plain_gpt2.train(plan.config, weights, batch, plan.schedule, 8)
    own = replace(config, run=replace(config.run, name="own"))
    losses = [record["loss"] for record in talweg.train(own) if "loss" in record]
    assert plain.losses == pytest.approx(losses, rel=2e-5)
    assert losses[-1] < losses[0] - 0.01


def _outcome(share: float, val_loss: float) -> Outcome:
    return Outcome("talweg", "1.3 M", 1, share, 1, 1, 1, val_loss, 1.0, 1.0, 1, {})


@pytest.mark.parametrize("start", SHARES)
@pytest.mark.parametrize("needed", [0.05, 0.14, 1.0])
def test_the_search_ends_at_the_smallest_share_that_reaches(
    monkeypatch: pytest.MonkeyPatch, start: float, needed: float
) -> None:
    tried: list[float] = []

    def outcome(self: Bench, side: Any, share: float, seed: int) -> Outcome:
        tried.append(share)
        return _outcome(share, 4.0 if share >= needed else 4.2)

    monkeypatch.setattr(Bench, "outcome", outcome)
    found = Bench(SMALL, 1, Path(), Path()).reach(TALWEG, 1, 4.1, start)
    assert found[-1].share == needed
    below = [share for share in SHARES if share < needed]
    assert not below or below[-1] in tried  # the next smaller one was seen to fail
    assert sorted(tried) == sorted(set(tried))


def test_what_never_reaches_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(self: Bench, side: Any, share: float, seed: int) -> Outcome:
        return _outcome(share, 4.0 if side is BASELINE else 4.2)

    monkeypatch.setattr(Bench, "outcome", outcome)
    text = "\n".join(time_to_loss.lines(Bench(SMALL, 1, Path(), Path()), (1, 2), ladder=False))
    assert "talweg     did not reach 4.0000" in text
