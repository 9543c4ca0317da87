"""Several ranks train the model of one, to rounding; a run goes on with as many of them, or others, or fewer."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from talweg.errors import InputError
from talweg.train import checkpoint as checkpoints
from talweg.train.config import Config
from talweg.train.log import Log
from talweg.train.loop import train
from talweg.train.ranks import OfThisRankError, Ranks, ToldElsewhereError, draw_anew, join, tells_itself, weight_spread

from .rank_processes import on_ranks
from .test_loop import log, measured, same, weights

Make = Callable[..., Config]
STRATEGIES = ("ddp", "fsdp")
EXACT = {"hardware__precision": "fp16", "batch__micro_batch": 3, "model__dropout": 0.1}
PLAIN = {"batch__micro_batch": 3, "model__dropout": 0.0}
OPTIONS = {"model__value_residual": True, "model__x0_shortcut": True, "model__logit_softcap": 15.0}


def trained(config: Config) -> list[dict[str, Any]]:
    """On a rank: the records of the run."""
    return list(train(config))


def trained_until(config: Config, step: int, number: int = signal.SIGTERM) -> list[dict[str, Any]]:
    """On a rank: the last of them gets a signal after the update that makes `step`."""
    records = []
    for record in train(config):
        records.append(record)
        if record["step"] == step - 1 and "loss" in record and os.environ["RANK"] == str(_world() - 1):
            os.kill(os.getpid(), number)
    return records


def _world() -> int:
    return int(os.environ["WORLD_SIZE"])


def done(results: list[Any]) -> list[list[dict[str, Any]]]:
    assert all(isinstance(records, list) for records in results), results
    return results


def losses(config: Config) -> list[float]:
    return [r[key] for r in measured(log(config)) for key in ("loss", "val_loss", "train_eval_loss") if key in r]


def whole_log(config: Config) -> list[dict[str, Any]]:
    """What a run that was never stopped logs too."""
    return [{k: v for k, v in r.items() if k != "skipped_steps"} for r in measured(log(config))]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_give_the_losses_of_one(configured: Make, strategy: str) -> None:
    changes = {**PLAIN, **OPTIONS}
    alone, config = configured(run__name="alone", **changes), configured(hardware__strategy=strategy, **changes)
    list(train(alone))
    first, second = done(on_ranks(2, trained, config))
    assert losses(config) == pytest.approx(losses(alone), rel=1e-5)
    for a, b in ((r, s) for r, s in zip(measured(log(alone)), measured(log(config)), strict=True) if "loss" in r):
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)
        assert b["update_ratio"] == pytest.approx(a["update_ratio"], rel=1e-2, nan_ok=True)
        assert len(b["rank_losses"]) == 2
        assert sum(b["rank_losses"]) / 2 == pytest.approx(b["loss"], rel=1e-6)
    assert first[0]["facts"]["ranks"] == 2
    spreads = [r.get("rank_weight_spread") for r in first if "val_loss" in r]
    assert spreads == ([0.0] * 4 if strategy == "ddp" else [None] * 4)
    assert [r.get("loss") for r in second] == [r.get("loss") for r in first]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_resuming_on_two_ranks_is_exact_with_everything_on(configured: Make, strategy: str) -> None:
    straight, broken = (configured(run__name=n, hardware__strategy=strategy, **EXACT) for n in ("straight", "broken"))
    done(on_ranks(2, trained, straight))
    records, _ = done(on_ranks(2, trained_until, broken, 6))
    assert records[-1]["note"] == "stopped by a signal to another rank at step 6, and saved"
    done(on_ranks(2, trained, broken))
    assert same(weights(straight, 12), weights(broken, 12))
    assert measured(log(straight)) == measured(log(broken))
    state = [checkpoints.load(checkpoints.find(c.run.out / c.run.name)).optimizer for c in (straight, broken)]
    assert same(*(dict(moments) for moments in state))


@pytest.mark.parametrize("course", [("ddp", 2, 1, 4), ("fsdp", 4, 1, 2), ("ddp then fsdp", 1, 4, 2)])
def test_a_run_goes_on_with_another_number_of_ranks(configured: Make, course: tuple[Any, ...]) -> None:
    """And with the other strategy: what is saved is the same."""
    strategies, *worlds = course
    begins, _, ends = strategies.partition(" then ")
    alone = configured(run__name="alone", **PLAIN)
    list(train(alone))
    for world, strategy, stop in zip(worlds, (begins, ends or begins, ends or begins), (4, 8, 12), strict=True):
        config = configured(run__name="course", hardware__strategy=strategy, **PLAIN)
        done(on_ranks(world, trained_until, config, stop))
    assert losses(config) == pytest.approx(losses(alone), rel=1e-5)
    notes = [r["note"] for r in log(config) if "note" in r]
    assert notes[-1].endswith(f"ranks {worlds[1]} -> {worlds[2]}")


def test_four_ranks_resume_exactly(configured: Make) -> None:
    """More than two round a sum by the order in which gradients are sent."""
    straight, broken = (configured(run__name=name) for name in ("straight", "broken"))
    done(on_ranks(4, trained, straight))
    done(on_ranks(4, trained_until, broken, 6))
    done(on_ranks(4, trained, broken))
    assert same(weights(straight, 12), weights(broken, 12))
    assert measured(log(straight)) == measured(log(broken))


def test_a_flipped_byte_is_refused_by_all_ranks(configured: Make) -> None:
    straight, harmed = configured(run__name="straight", **PLAIN), configured(run__name="harmed", **PLAIN)
    done(on_ranks(2, trained, straight))
    done(on_ranks(2, trained_until, harmed, 6))
    newest = checkpoints.find(harmed.run.out / "harmed")
    content = bytearray((newest / "optimizer.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "optimizer.safetensors").write_bytes(content)
    first, _ = done(on_ranks(2, trained, harmed))
    notes = [r["note"] for r in first if "note" in r]
    assert "step_00000006/optimizer.safetensors is damaged" in notes[0]
    assert notes[1] == "goes on from step 4"
    assert same(weights(straight, 12), weights(harmed, 12))


def test_a_killed_rank_ends_the_others_and_fewer_go_on(configured: Make) -> None:
    alone, killed = configured(run__name="alone", **PLAIN), configured(run__name="killed", **PLAIN)
    list(train(alone))
    begin = time.monotonic()
    first, second, third = on_ranks(3, trained_until, killed, 6, signal.SIGKILL)
    assert time.monotonic() - begin < 60
    assert third is None
    assert isinstance(first, InputError)
    assert str(first).startswith("another rank ended, which ends this one; its own lines say why. Started again")
    assert isinstance(second, ToldElsewhereError)
    done(on_ranks(2, trained, killed))
    assert losses(killed) == pytest.approx(losses(alone), rel=1e-5)
    assert [r["note"] for r in log(killed) if "note" in r] == ["goes on from step 4, with ranks 3 -> 2"]


def on_a_full_disk(config: Config, what: str) -> list[dict[str, Any]]:
    """On a rank: the first finds no room for a log record, or for a checkpoint."""
    if what == "log":
        real = Log.write

        def write(self: Log, record: dict[str, Any]) -> dict[str, Any]:
            if record["step"] == 5 and os.environ["RANK"] == "0":
                raise InputError("log.jsonl could not be written: No space left on device")
            return real(self, record)

        Log.write = write  # type: ignore[method-assign]
    else:

        def verify(*_: Any) -> str:
            raise OSError(28, "No space left on device")

        checkpoints._verify = verify
    return list(train(config))


@pytest.mark.parametrize(("what", "strategy"), [("log", "ddp"), ("checkpoint", "fsdp")])
def test_a_full_disk_ends_all_ranks_with_one_line(configured: Make, what: str, strategy: str) -> None:
    config = configured(run__name=what, hardware__strategy=strategy)
    first, second = on_ranks(2, on_a_full_disk, config, what)
    assert isinstance(first, InputError)
    assert "could not be written: No space left on device" in str(first)
    assert isinstance(second, ToldElsewhereError)


def started_apart(config: Config, other: Config) -> list[dict[str, Any]]:
    return list(train(other if os.environ["RANK"] == "1" else config))


def test_what_ranks_cannot_do_is_one_line_of_the_first(configured: Make) -> None:
    few = configured(batch__tokens_per_step=32)
    uneven = configured(batch__tokens_per_step=7 * 32, hardware__strategy="fsdp")
    cases = {
        r"32 is 1 sequences of 32, too few for 2 ranks; raise it, or start fewer": (few, few),
        r"224 is 7 sequences of 32, which 2 ranks cannot share evenly, .* give 256, or ddp": (uneven, uneven),
        r"rank 1 was started with optimizer.peak_lr = 0.001, rank 0 with 0.003; start all of them with the same": (
            configured(optimizer__peak_lr=3e-3),
            configured(optimizer__peak_lr=1e-3),
        ),
    }
    for message, configs in cases.items():
        first, second = on_ranks(2, started_apart, *configs)
        with pytest.raises(InputError, match=message):
            raise first
        assert isinstance(second, ToldElsewhereError)


def failing_alone(config: Config) -> None:
    if os.environ["RANK"] == "1":
        config = configured_without_data(config)
    list(train(config))


def configured_without_data(config: Config) -> Config:
    from dataclasses import replace

    assert config.data.path is not None
    return replace(config, data=replace(config.data, path=config.data.path / "missing"))


def test_what_one_rank_alone_lacks_is_told_by_the_first(configured: Make) -> None:
    first, second = on_ranks(2, failing_alone, configured())
    assert str(first).startswith("rank 1: ")
    assert "missing" in str(first)
    assert isinstance(second, ToldElsewhereError)


def test_more_ranks_than_gpus_and_ranks_on_mps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"4 ranks on a machine with 1 GPUs; give it --nproc-per-node with as many"):
        join("cuda")
    with pytest.raises(InputError, match=r"8 ranks, which need CPUs or NVIDIA GPUs; give hardware.device = cpu"):
        join("mps")


def test_who_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the ranks meet one of each machine; then the first, or the one that it befell."""
    for local, error, tells in (
        ("0", InputError("a typing error"), True),
        ("1", InputError("a typing error"), False),
        ("0", ToldElsewhereError("so it is"), False),
        ("1", OfThisRankError("rank 1: out of memory"), True),
    ):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert tells_itself(error) is tells


def test_random_numbers_depend_on_seed_step_and_rank_alone() -> None:
    def drawn(seed: int, step: int, rank: int) -> list[float]:
        draw_anew(seed, step, Ranks(rank, 4))
        return torch.rand(4).tolist()

    first = drawn(1, 2, 3)
    others = [drawn(1, 2, 2), drawn(1, 3, 3), drawn(2, 2, 3), drawn(2**40 + 1, 2, 3), drawn(3, 2, 1)]
    assert drawn(1, 2, 3) == first
    assert len({tuple(each) for each in (first, *others)}) == 6


def spread_of(*weights_by_rank: list[float]) -> float:
    weights = [torch.tensor([value]) for value in weights_by_rank[int(os.environ["RANK"])]]
    return weight_spread(weights, join("cpu"))


def test_the_spread_of_weights_between_ranks() -> None:
    assert on_ranks(2, spread_of, [3.0, 4.0], [6.0, 8.0]) == [pytest.approx(5 / 7.5)] * 2  # norms 5 and 10


def test_an_average_of_the_weights_is_cut_and_goes_on_too(configured: Make) -> None:
    changes = {**PLAIN, "optimizer__average_decay": 0.9}
    alone, config = configured(run__name="alone", **changes), configured(hardware__strategy="fsdp", **changes)
    list(train(alone))
    done(on_ranks(2, trained_until, config, 6))
    done(on_ranks(4, trained, config))
    assert losses(config) == pytest.approx(losses(alone), rel=1e-5)
    saved = [checkpoints.load(checkpoints.find(c.run.out / c.run.name)).optimizer for c in (alone, config)]
    for name, tensor in saved[0].items():
        torch.testing.assert_close(saved[1][name], tensor, rtol=1e-2, atol=1e-5)


def test_fsdp_refuses_an_optimizer_of_whole_matrices(configured: Make) -> None:
    config = configured(hardware__strategy="fsdp", optimizer__name="muon")
    first, second = on_ranks(2, trained, config)
    assert "optimizer.name = muon needs whole matrices, which hardware.strategy = fsdp cuts into parts" in str(first)
    assert isinstance(second, ToldElsewhereError)
