"""The training loop: what it yields, and that nothing but the mathematics decides the weights."""

import contextlib
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import talweg
import talweg.train
from talweg.corpus import manifest as manifests
from talweg.errors import InputError
from talweg.train import loop, start, update
from talweg.train.config import Config, load
from talweg.train.evaluate import Loss
from talweg.train.loop import train
from talweg.train.sinks import TRACKERS
from talweg.train.start import begin

Make = Callable[..., Config]


def weights(config: Config, step: int) -> dict[str, torch.Tensor]:
    path = config.run.out / config.run.name / "checkpoints" / f"step_{step:08}" / "model.safetensors"
    return safetensors.torch.load_file(path)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def log(config: Config) -> list[dict[str, Any]]:
    text = (config.run.out / config.run.name / "log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def measured(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What does not depend on the clock, or on where the run was stopped."""
    clocks = ("seconds_per_step", "tokens_per_second", "loader_seconds", "memory_bytes", "mfu")
    plain = [{k: v for k, v in r.items() if k not in clocks} for r in records]
    return [r for r in plain if "loss" in r or "val_loss" in r]


def run_until(config: Config, step: int) -> None:
    """Train, and leave the loop after the update that makes `step`."""
    for record in train(config):
        if record["step"] == step - 1 and "loss" in record:
            break


def test_the_records_are_as_promised(configured: Make) -> None:
    config = configured(run__name="a")
    records = list(talweg.train(config))  # the package itself can be called
    assert records[0]["facts"]["planned_steps"] == 12
    assert records[0]["step"] == 0
    updates = [r for r in records if "loss" in r]
    assert [r["step"] for r in updates] == list(range(12))
    assert [r["tokens"] for r in updates] == [256 * s for s in range(12)]
    evaluations = [r for r in records if "val_loss" in r]
    assert [r["step"] for r in evaluations] == [0, 4, 8, 12]
    assert evaluations[-1]["val_loss"] < evaluations[0]["val_loss"] - 0.1  # it learns
    assert evaluations[0]["val_standard_error"] > 0
    assert log(config) == records


def test_a_first_loss_lies_near_the_uniform_one(configured: Make) -> None:
    first = next(r for r in train(configured(run__name="a")) if "val_loss" in r)
    assert first["val_loss"] == pytest.approx(math.log(320), rel=0.02)  # 257 tokens, rounded up to 320
    assert first["train_eval_loss"] == pytest.approx(first["val_loss"], abs=0.02)


def test_resuming_is_exact_with_dropout_on(configured: Make) -> None:
    straight, broken = configured(run__name="straight"), configured(run__name="broken")
    list(train(straight))
    run_until(broken, 5)  # between two evaluations
    run_until(broken, 8)  # at one
    list(train(broken))
    assert same(weights(straight, 12), weights(broken, 12))
    assert measured(log(straight)) == measured(log(broken))
    optimizer = "checkpoints/step_00000012/optimizer.safetensors"
    assert (straight.run.out / "straight" / optimizer).read_bytes() == (
        broken.run.out / "broken" / optimizer
    ).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer__name": "muon", "optimizer__average_decay": 0.8},
        {"optimizer__name": "schedule_free", "schedule__kind": "constant"},
    ],
)
def test_resuming_is_exact_with_every_optimizer(configured: Make, changes: dict[str, Any]) -> None:
    straight, broken = configured(run__name="straight", **changes), configured(run__name="broken", **changes)
    list(train(straight))
    run_until(broken, 5)
    run_until(broken, 8)
    list(train(broken))
    assert measured(log(straight)) == measured(log(broken))
    for name in ("model", "optimizer"):
        file = f"checkpoints/step_00000012/{name}.safetensors"
        assert (straight.run.out / "straight" / file).read_bytes() == (broken.run.out / "broken" / file).read_bytes()


def test_the_saved_model_of_schedule_free_is_the_one_that_was_evaluated(configured: Make) -> None:
    config = configured(
        run__name="a", optimizer__name="schedule_free", schedule__kind="constant", optimizer__peak_lr=0.02
    )
    value = [r["val_loss"] for r in train(config) if "val_loss" in r][-1]
    plan, training, _ = begin(configured(run__name="a", optimizer__name="schedule_free", schedule__kind="constant"))
    own = loop.evaluate(training.model, plan.val, training.ranks, contextlib.nullcontext).value
    assert abs(own - value) > 1e-4  # where training goes on is another place
    with torch.no_grad():
        for name, parameter in training.model.named_parameters():
            parameter.copy_(weights(config, 12)[name])
    assert loop.evaluate(training.model, plan.val, training.ranks, contextlib.nullcontext).value == value


def test_the_average_of_the_weights_is_evaluated_and_leaves_training_as_it_was(configured: Make) -> None:
    plain, averaged = configured(run__name="plain"), configured(run__name="averaged", optimizer__average_decay=0.8)
    list(train(plain))
    values = {r["step"]: r.get("val_loss_average") for r in train(averaged) if "val_loss" in r}
    assert same(weights(plain, 12), weights(averaged, 12))
    assert values[0] is None  # before the first update there is none
    last = [r for r in log(averaged) if "val_loss" in r][-1]
    assert 0 < abs(values[12] - last["val_loss"]) < 0.2


def test_a_run_given_in_minutes_ends_on_time_with_its_rate_near_zero(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps take twice as long as the plan was made for: half as many are done, and the decay is complete."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    real = loop.accumulate

    def slow(*arguments: Any) -> Any:
        now[0] += 2.0
        return real(*arguments)

    monkeypatch.setattr(loop, "accumulate", slow)
    monkeypatch.setattr(start, "seconds_per_step", lambda *_: 1.0)
    config = configured(
        run__name="a", run__steps=None, run__minutes=1.0, evaluation__every=1000, schedule__warmup_steps=2
    )
    run_until(config, 10)
    now[0] += 1000.0  # the pause does not count
    records = list(train(config))
    rates = [r["lr"] for r in log(config) if "lr" in r]
    assert len(rates) == 30
    assert rates[-1] < 0.05 * max(rates)
    assert records[-1]["step"] == 30
    assert records[-1]["plan"] == {"planned_steps": 30, "warmup_steps": 3, "decay_end_step": 30}
    (started,) = [r["facts"]["planned_steps"] for r in records if "facts" in r]
    assert started == 30  # 10 steps took a third of the time, whatever was measured at the start
    assert (config.run.out / "a" / "checkpoints" / "step_00000030").is_dir()
    (again,) = train(config)
    assert "complete at step 30" in again["note"]


def test_another_seed_or_dropout_gives_other_weights(configured: Make) -> None:
    """Else the test above would prove nothing."""
    runs = [
        configured(run__name="a"),
        configured(run__name="b", run__seed=1),
        configured(run__name="c", model__dropout=0.2),
    ]
    for config in runs:
        list(train(config))
    first, *others = (weights(config, 12) for config in runs)
    assert not any(same(first, other) for other in others)


def test_evaluating_more_often_leaves_training_bit_identical(configured: Make) -> None:
    often, seldom = (
        configured(run__name="often", evaluation__every=1),
        configured(run__name="seldom", evaluation__every=12),
    )
    for config in (often, seldom):
        list(train(config))
    assert same(weights(often, 12), weights(seldom, 12))


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_the_split_into_micro_batches_changes_only_rounding(configured: Make, micro_batch: int) -> None:
    whole = configured(run__name="whole", model__dropout=0.0)
    parts = configured(run__name="parts", model__dropout=0.0, batch__micro_batch=micro_batch)
    a, b = ([r["loss"] for r in train(config) if "loss" in r] for config in (whole, parts))
    assert a == pytest.approx(b, rel=2e-5)


def test_a_nan_is_logged_and_ends_the_run_with_the_weights_safe(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(run__name="a")
    real = update.accumulate

    def broken(training: Any, *rest: Any) -> update.Gradients:
        gradients = real(training, *rest)
        return replace(gradients, loss=math.nan) if training.step == 6 else gradients

    monkeypatch.setattr(loop, "accumulate", broken)
    records = list(train(config))
    assert records[-1]["note"].startswith("stopped: the loss is nan at step 6; the last good checkpoint is")
    assert math.isnan(records[-2]["loss"])
    assert log(config)[-2]["loss"] == "NaN"
    assert all(bool(torch.isfinite(w).all()) for w in weights(config, 4).values())
    monkeypatch.undo()
    list(train(config))  # goes on from step 4, and the record of the NaN is gone
    straight = configured(run__name="b")
    list(train(straight))
    assert measured(log(config)) == measured(log(straight))


def test_weights_that_are_not_finite_never_become_a_checkpoint(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(run__name="a")
    run_until(config, 6)

    def spoiled(training: Any, *rest: Any) -> Loss:
        next(training.parameters()).data.fill_(math.nan)
        return Loss(math.nan, math.nan)

    monkeypatch.setattr(loop, "evaluate", spoiled)
    with pytest.raises(
        InputError, match=r"the weights are not finite at step 8; the last good checkpoint is .*step_00000006"
    ):
        list(train(config))


def test_a_complete_run_says_so_and_does_nothing(configured: Make) -> None:
    config = configured(run__name="a")
    list(train(config))
    before = (config.run.out / "a" / "log.jsonl").read_bytes()
    (record,) = train(config)
    assert "complete at step 12" in record["note"]
    assert (config.run.out / "a" / "log.jsonl").read_bytes() == before


def test_a_run_goes_on_with_a_changed_setting_and_says_which(configured: Make) -> None:
    run_until(configured(run__name="a", optimizer__peak_lr=3e-3), 5)
    records = list(train(configured(run__name="a", optimizer__peak_lr=1e-3)))
    assert records[1]["note"] == "goes on from step 5, with optimizer.peak_lr 0.003 -> 0.001"


def test_a_run_does_not_go_on_with_another_model(configured: Make) -> None:
    run_until(configured(run__name="a"), 5)
    with pytest.raises(InputError, match=r"begun with another model \(model.layers 2 -> 3\); give another run.name"):
        list(train(configured(run__name="a", model__layers=3)))


def test_a_run_does_not_go_on_with_another_text(configured: Make, data: Path, tmp_path: Path) -> None:
    """The same tokenizer and 500 tokens less: the cursor of the checkpoint would mean other windows."""
    other, manifest = tmp_path / "other", manifests.read(data)
    shutil.copytree(data, other)
    first = replace(manifest.train.shards[0], sha256="0" * 64)
    run_until(configured(run__name="a"), 5)
    for tokens, told in ((manifest.train.tokens - 500, "of {:,} training tokens, this one has {:,}"), (None, "")):
        now = manifest.train.tokens if tokens is None else tokens
        shards = (first, *manifest.train.shards[1:])
        manifests.write(other, replace(manifest, train=replace(manifest.train, tokens=now, shards=shards)))
        words = told.format(manifest.train.tokens, now) if told else f"of as many training tokens ({now:,})"
        with pytest.raises(InputError, match=r"begun on another text.* give the data it was begun with, or") as error:
            list(train(configured(run__name="a", data__path=str(other))))
        assert words in str(error.value)


def test_a_run_goes_on_where_its_text_was_moved(configured: Make, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "moved")
    run_until(configured(run__name="a"), 5)
    records = list(train(configured(run__name="a", data__path=str(tmp_path / "moved"))))
    assert records[1]["note"].startswith("goes on from step 5, with data.path")


def test_open_values_keep_what_the_run_began_with(configured: Make) -> None:
    """Else a longer horizon would silently move the evaluations."""
    run_until(configured(run__name="a", evaluation__every=None, run__steps=60), 3)
    config = configured(run__name="a", evaluation__every=None, run__steps=90)
    next(train(config))
    resolved = load(config.run.out / "a" / "config.resolved.toml")
    assert (resolved.run.steps, resolved.evaluation.every, resolved.schedule.warmup_steps) == (90, 5, 6)


@pytest.mark.parametrize("form", ["classic", "modern"])
def test_a_run_in_bf16_learns_like_one_in_fp32(configured: Make, form: str) -> None:
    classic = {
        "model__norm": "layernorm",
        "model__positions": "learned",
        "model__activation": "gelu",
        "model__initialisation": "gpt2",
        "model__bias": True,
    }
    changes = {"model__dropout": 0.0, "model__qk_norm": form == "modern", **(classic if form == "classic" else {})}
    losses = {}
    for precision in ("fp32", "bf16"):
        config = configured(run__name=precision, hardware__precision=precision, **changes)
        losses[precision] = [r["val_loss"] for r in train(config) if "val_loss" in r][-1]
    assert losses["bf16"] == pytest.approx(losses["fp32"], abs=0.02)
    assert losses["fp32"] < math.log(320) - 0.2


def test_minutes_set_the_length(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.train.start.PACE_SECONDS", 0.01)
    config = configured(run__name="a", run__steps=None, run__minutes=1.0)
    facts = next(train(config))["facts"]
    again = next(train(config))["facts"]
    assert facts["planned_steps"] > 1
    assert again["planned_steps"] == facts["planned_steps"]  # measured once, at the beginning


def test_the_folder_holds_the_configuration_as_given_and_as_resolved(configured: Make, tmp_path: Path) -> None:
    config = configured(run__name="a")
    run_until(config, 1)
    folder = tmp_path / "a"
    assert load(folder / "config.toml").model == config.model
    assert "# " in (folder / "config.resolved.toml").read_text()
    assert (folder / "tokenizer.json").is_file()


def test_an_update_with_a_loss_that_is_not_finite_changes_nothing(configured: Make) -> None:
    config = configured(run__name="a")
    _, training, _ = begin(config)
    before = {name: p.detach().clone() for name, p in training.model.named_parameters()}
    for p in training.model.parameters():
        p.grad = torch.ones_like(p)
    taken = update.apply(training, config, 1e-3, update.Gradients(math.nan, (), (), 0.0)).taken
    assert not taken
    assert same(before, dict(training.model.named_parameters()))
    assert (training.step, training.cursor, training.tokens) == (0, 0, 0)
    assert all(p.grad is None for p in training.model.parameters())


def test_every_figure_of_the_log_stands_in_the_docs(configured: Make) -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    config = configured(run__name="a", run__steps=3, batch__micro_batch=2, optimizer__average_decay=0.9)
    list(train(config))
    logged = {key for record in log(config) for key in record} - {"step", "talweg"}
    assert {"loss", "mfu", "val_loss_average", "micro_batch_grad_norms"} <= logged
    assert logged <= named, f"docs/training.md lacks {sorted(logged - named)}"
    assert set(TRACKERS) <= named
