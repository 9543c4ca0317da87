"""What follows from the length of a run: its batch and its peak learning rate, with the reason."""

from collections.abc import Callable
from pathlib import Path

import pytest

from talweg.corpus import manifest as manifests
from talweg.errors import InputError
from talweg.laws import batch, learning_rate
from talweg.train.config import Config, with_values
from talweg.train.model_size import model_size
from talweg.train.resolve import Machine, Resolved, resolve, to_toml

Make = Callable[..., Config]


@pytest.fixture
def resolved(data: Path, configured: Make) -> Callable[..., Resolved]:
    def make(seconds: float = 0.1, ranks: int = 1, **changes: object) -> Resolved:
        config = configured(**{"batch__tokens_per_step": None, "optimizer__peak_lr": None, **changes})
        return resolve(config, manifests.read(data), Machine(), seconds_per_step=lambda trial: seconds, ranks=ranks)

    return make


def test_the_batch_of_a_run_in_tokens(resolved: Callable[..., Resolved]) -> None:
    found = resolved(run__steps=None, run__tokens=2e6)
    assert found.config.tokens_per_step == round(batch.optimum(2e6).value / 32) * 32 == 2304
    assert found.steps == int(2e6 // 2304)
    reason = found.reasons["batch.tokens_per_step"]
    assert reason == "the law 0.58 D^0.571 says 2,298 for a run of 2,000,000 tokens, known to a factor 4"


def test_the_batch_of_a_run_in_steps(resolved: Callable[..., Resolved]) -> None:
    found = resolved(run__steps=1000)
    assert found.config.tokens_per_step == round(batch.optimum_of_steps(1000).value / 32) * 32
    assert "for a run of 1,000 steps, known to a factor 4" in found.reasons["batch.tokens_per_step"]


def test_the_batch_of_a_run_in_epochs(resolved: Callable[..., Resolved], data: Path) -> None:
    found = resolved(run__steps=None, run__epochs=100)
    tokens = 100 * manifests.read(data).train.tokens
    assert found.config.tokens_per_step == round(batch.optimum(tokens).value / 32) * 32


def test_the_batch_of_a_run_in_minutes(resolved: Callable[..., Resolved]) -> None:
    # 5 minutes at 0.1 s a trial of 8,192 tokens: 3,000 of them
    found = resolved(run__steps=None, run__minutes=5)
    assert found.config.tokens_per_step == round(batch.optimum(3000 * 8192).value / 32) * 32


def test_a_short_run_gets_a_hundred_steps_and_each_rank_a_sequence(resolved: Callable[..., Resolved]) -> None:
    assert resolved(run__steps=None, run__tokens=6400).config.tokens_per_step == 64
    assert resolved(run__steps=None, run__tokens=6400, ranks=5).config.tokens_per_step == 5 * 32


def test_the_peak_rate_of_a_run(resolved: Callable[..., Resolved]) -> None:
    found = resolved(run__steps=100, batch__tokens_per_step=256, optimizer__name="adamw")
    n = model_size(found.config)
    law = learning_rate.optimum(n, 25_600).value
    assert found.config.optimizer.peak_lr == pytest.approx(law, rel=0.05)
    reason = found.reasons["optimizer.peak_lr"]
    assert reason == f"the mean of two laws for {n:,} parameters and 25,600 tokens, known to a factor 4"
    assert f"peak_lr = {found.config.optimizer.peak_lr}  # {reason}" in to_toml(found.config, found.reasons)
    assert found.schedule.peak_lr == found.config.optimizer.peak_lr


def test_the_peak_rate_of_muon_is_twice_that_of_adamw_up_to_a_limit(resolved: Callable[..., Resolved]) -> None:
    tiny = resolved(run__steps=100, batch__tokens_per_step=256, optimizer__name="muon")
    assert tiny.config.optimizer.peak_lr == 0.02  # the laws would say 0.067
    shape = {"model__width": 256, "model__heads": 4, "model__layers": 4}
    pair = [resolved(run__steps=100, optimizer__name=name, **shape) for name in ("adamw", "muon")]
    low, high = (found.config.optimizer.peak_lr or 0 for found in pair)
    assert high == pytest.approx(2 * low, rel=0.05)
    assert pair[1].reasons["optimizer.peak_lr"].startswith("2 times the mean, at most 0.02, of two laws for ")


def test_what_muon_leaves_open_follows_the_length_of_the_run(resolved: Callable[..., Resolved]) -> None:
    short, middle, long = (resolved(run__steps=steps, optimizer__name="muon") for steps in (100, 900, 5000))
    assert [found.config.optimizer.muon_momentum for found in (short, middle, long)] == [0.85, 0.912, 0.95]
    assert middle.reasons["optimizer.muon_momentum"] == "it remembers 11.4 of 900 steps"
    assert [found.config.schedule.warmup_steps for found in (short, middle, long)] == [3, 30, 167]
    assert middle.reasons["schedule.warmup_steps"] == "a thirtieth of the run, at most 300 steps"
    assert middle.config.optimizer.embedding_lr_factor == 2.0
    adamw = resolved(run__steps=450, optimizer__name="adamw")
    assert adamw.config.optimizer.embedding_lr_factor == 1.0
    assert adamw.config.schedule.warmup_steps == 45
    assert adamw.reasons["schedule.warmup_steps"] == "a tenth of the run, at most 300 steps"


def test_a_lowest_rate_above_the_peak_of_the_laws_is_refused(resolved: Callable[..., Resolved]) -> None:
    with pytest.raises(InputError, match=r"schedule.min_lr = 1.0 is above optimizer.peak_lr = .*; lower it"):
        resolved(schedule__min_lr=1.0)


def test_a_run_that_is_continued_keeps_what_was_filled_in(data: Path, configured: Make) -> None:
    config = configured(batch__tokens_per_step=None, optimizer__peak_lr=None)
    earlier = {"batch.tokens_per_step": 96, "optimizer.peak_lr": 0.5, "batch.micro_batch": 2}
    found = resolve(config, manifests.read(data), Machine(), earlier=earlier).config
    assert found == with_values(found, earlier)


def test_a_run_that_is_continued_keeps_the_precision_that_was_measured_on_the_same_device(
    data: Path, configured: Make
) -> None:
    """A second measurement that comes out otherwise would be another run."""
    config = configured(hardware__precision="auto")
    for device, precision in (("cpu", "bf16"), ("cuda", "fp32")):
        earlier = {"hardware.device": device, "hardware.precision": "bf16", "hardware.compile": "off"}
        found = resolve(config, manifests.read(data), Machine(precision="fp32"), earlier=earlier)
        assert found.config.hardware.precision == precision
    assert resolve(config, manifests.read(data), Machine(precision="fp32")).config.hardware.precision == "fp32"


@pytest.mark.parametrize(("share", "warmup"), [(0.2, 10), (0.95, 5), (1.0, 0)])
def test_an_open_warm_up_leaves_room_for_the_decay(
    resolved: Callable[..., Resolved], share: float, warmup: int
) -> None:
    found = resolved(run__steps=100, schedule__kind="wsd", schedule__decay_share=share)
    assert found.config.schedule.warmup_steps == warmup


def test_the_reasons_name_what_bounds_a_value(resolved: Callable[..., Resolved]) -> None:
    """A run of 10 steps, whose evaluations outweigh it, gets one sequence a step and few evaluations; both are said."""
    found = resolved(run__steps=10, evaluation__every=None).reasons
    assert found["batch.tokens_per_step"].endswith("; one sequence is the least")
    assert "12 evaluations a run, the fewest that show a trend; they take" in found["evaluation.every"]
    assert "times the arithmetic of the steps: evaluation.tokens lowers it" in found["evaluation.every"]
    short = resolved(run__steps=None, run__tokens=5_000).reasons["batch.tokens_per_step"]
    assert short.endswith("; less here, to leave 100 steps")
