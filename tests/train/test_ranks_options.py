"""Two ranks with what a run may have switched on: uneven shares, every optimizer, numbers that are not finite."""

import math
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

from talweg.model.gpt import GPT
from talweg.train.config import Config
from talweg.train.loop import train

from .rank_processes import on_ranks
from .test_loop import log, measured, same, weights
from .test_ranks import done, losses, trained, trained_until

Make = Callable[..., Config]
UNEVEN = {"batch__tokens_per_step": 9 * 32, "batch__micro_batch": 2}  # 4 and 5 sequences, in 2 and 3 micro-batches


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_shares_of_different_size_give_the_losses_of_one_process(configured: Make, name: str) -> None:
    changes = {**UNEVEN, "model__dropout": 0.0, "optimizer__name": name, "optimizer__grad_clip": 0.5}
    alone, config = configured(run__name="alone", **changes), configured(run__name="two", **changes)
    list(train(alone))
    done(on_ranks(2, trained, config))
    assert losses(config) == pytest.approx(losses(alone), rel=2e-5)
    both = ([r["grad_norm"] for r in measured(log(c)) if "grad_norm" in r] for c in (alone, config))
    assert next(both) == pytest.approx(next(both), rel=2e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer__name": "muon", "optimizer__average_decay": 0.8},
        {"optimizer__name": "schedule_free", "schedule__kind": "constant"},
    ],
    ids=["muon", "schedule_free"],
)
def test_resuming_on_two_ranks_is_exact_with_other_optimizers(configured: Make, changes: dict[str, Any]) -> None:
    straight, broken = (configured(run__name=name, **UNEVEN, **changes) for name in ("straight", "broken"))
    done(on_ranks(2, trained, straight))
    done(on_ranks(2, trained_until, broken, 6))
    done(on_ranks(2, trained, broken))
    assert same(weights(straight, 12), weights(broken, 12))
    assert measured(log(straight)) == measured(log(broken))


def trained_with_a_nan_on_one_rank(config: Config) -> list[dict[str, Any]]:
    """On a rank: the loss of the second one's tokens is not finite in the seventh update, and in no other."""
    sound, passes = GPT.total_loss, []

    def broken(self: GPT, *given: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return sound(self, *given) * (math.nan if len(passes) == 8 and os.environ["RANK"] == "1" else 1.0)

    GPT.total_loss = broken  # type: ignore[method-assign]  # of this process, which ends
    return list(train(config))


@pytest.mark.parametrize(("policy", "steps"), [("stop", 6), ("continue", 12), ("rollback", 12)])
def test_a_number_that_one_rank_alone_lost_is_met_by_all_alike(configured: Make, policy: str, steps: int) -> None:
    config = configured(run__on_divergence=policy)
    first, second = done(on_ranks(2, trained_with_a_nan_on_one_rank, config))
    assert [r.get("note") for r in first if "stopped" in r] == [r.get("note") for r in second if "stopped" in r]
    assert sum("the loss is nan at step 6" in r.get("note", "") for r in first) == 1
    plain = [[r["loss"] for r in records if "loss" in r and math.isfinite(r["loss"])] for records in (first, second)]
    assert plain[0] == plain[1]
    assert first[-1]["step"] == steps
