"""One update: what is measured beside the loss, against plain computations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from talweg.train import loop, mfu, update
from talweg.train.config import Config
from talweg.train.loop import train
from talweg.train.loss_scale import PATIENCE, SMALLEST, LossScale
from talweg.train.start import begin

Make = Callable[..., Config]


def test_the_gradient_norm_of_each_micro_batch_is_that_of_its_own_mean_gradient(configured: Make) -> None:
    config = configured(batch__micro_batch=3, model__dropout=0.0)  # 8 sequences: 3 + 3 + 2
    plan, training, _ = begin(config)
    found = update.accumulate(training, plan.config, plan.windows)
    batch = plan.windows.batch(0, 8)
    inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
    summed = [p.grad for p in training.model.parameters()]
    expected, total = [], [torch.zeros_like(p) for p in training.model.parameters()]
    for part in (slice(0, 3), slice(3, 6), slice(6, 8)):
        training.model.zero_grad()
        training.model.losses(inputs[part], targets[part]).mean().backward()
        grads = [p.grad for p in training.model.parameters()]
        expected.append(float(torch.cat([g.flatten() for g in grads]).double().norm()))
        for sum_, g in zip(total, grads, strict=True):
            sum_ += g * (inputs[part].shape[0] / 8)
    assert found.micro_batch_grad_norms == pytest.approx(expected, rel=1e-4)
    for sum_, g in zip(total, summed, strict=True):
        torch.testing.assert_close(g, sum_, rtol=1e-4, atol=1e-7)


def test_clip_scale_is_what_the_gradient_was_multiplied_by(configured: Make) -> None:
    free = [r for r in train(configured(run__name="free", optimizer__grad_clip=0.0)) if "loss" in r]
    tight = [r for r in train(configured(run__name="tight", optimizer__grad_clip=0.01)) if "loss" in r]
    assert all(r["clip_scale"] == 1.0 for r in free)
    assert tight[0]["clip_scale"] == pytest.approx(0.01 / tight[0]["grad_norm"], rel=1e-3)
    assert tight[0]["grad_norm"] == free[0]["grad_norm"]


def test_fp16_trains_like_fp32_and_tells_its_scale(configured: Make) -> None:
    half = [
        r for r in train(configured(run__name="half", hardware__precision="fp16", model__dropout=0.0)) if "loss" in r
    ]
    full = [r for r in train(configured(run__name="full", model__dropout=0.0)) if "loss" in r]
    assert [r["loss"] for r in half] == pytest.approx([r["loss"] for r in full], rel=2e-3)
    assert [r["grad_norm"] for r in half] == pytest.approx([r["grad_norm"] for r in full], rel=2e-2)
    assert half[-1]["skipped_steps"] <= 4  # the first scale is chosen too high on purpose
    assert all(r["loss_scale"] == 2.0 ** (16 - r["skipped_steps"]) for r in half)


def test_an_overflow_halves_the_scale_and_the_same_batch_is_tried_again(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talweg.train.loss_scale.FIRST", 2.0**40)
    scale = LossScale(2.0**40)
    monkeypatch.setattr("talweg.train.start.LossScale", lambda: scale)
    config = configured(run__name="a", hardware__precision="fp16", model__dropout=0.0)
    records = [r for r in train(config) if "loss" in r]
    assert [r["step"] for r in records] == list(range(12))
    skipped = records[0]["skipped_steps"]
    assert skipped > 0
    assert records[0]["loss_scale"] == 2.0 ** (40 - skipped)
    full = [r for r in train(configured(run__name="full", model__dropout=0.0)) if "loss" in r]
    assert [r["loss"] for r in records] == pytest.approx([r["loss"] for r in full], rel=2e-3)


def test_the_scale_grows_after_many_updates_and_gives_up_where_nothing_helps() -> None:
    scale = LossScale(4.0)
    for _ in range(PATIENCE):
        scale.succeeded()
    assert (scale.value, scale.since, scale.skipped) == (8.0, 0, 0)
    hopeful = 0
    while scale.overflowed():
        hopeful += 1
    assert scale.value < SMALLEST
    assert scale.skipped == hopeful + 1 == 14  # 8 / 2^13 is the smallest that is tried


def test_a_step_that_runs_out_of_memory_is_done_again_with_half_the_micro_batch(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = update.accumulate, []

    def small(training: Any, config: Config, windows: Any) -> update.Gradients:
        sizes.append(config.batch.micro_batch)
        if config.batch.micro_batch and config.batch.micro_batch > 2 and training.step == 3:
            real(training, config, windows)  # gradients of a pass that did not end
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(training, config, windows)

    monkeypatch.setattr(loop, "accumulate", small)
    records = [r for r in train(configured(run__name="a", model__dropout=0.0, batch__micro_batch=8)) if "loss" in r]
    assert sizes == [8, 8, 8, 8, 4, 2] + [2] * 8
    assert records[3]["note"] == "out of memory: batch.micro_batch is 2 from here on; nothing is lost"
    monkeypatch.undo()
    plain = [r for r in train(configured(run__name="b", model__dropout=0.0, batch__micro_batch=8)) if "loss" in r]
    assert [r["loss"] for r in records] == pytest.approx([r["loss"] for r in plain], rel=1e-5)


def test_the_largest_logit_and_the_utilisation_are_those_of_the_step(configured: Make) -> None:
    config = configured(model__dropout=0.0, batch__micro_batch=3)
    plan, training, _ = begin(config)
    batch = plan.windows.batch(0, 8)
    with torch.no_grad():
        largest = float(training.model(torch.from_numpy(batch.inputs)).abs().max())
    assert update.accumulate(training, plan.config, plan.windows).max_logit == pytest.approx(largest, rel=1e-5)
    records = list(train(config))
    peak = records[0]["peak_flops"]
    first = next(r for r in records if "loss" in r)
    flops = mfu.flops_per_token(plan.config) * first["tokens_per_second"]
    assert first["mfu"] == pytest.approx(flops / peak)
    assert first["max_logit"] == pytest.approx(largest, rel=1e-5)
    assert {"all", "matrices", "embedding"} <= first["update_ratio"].keys()
