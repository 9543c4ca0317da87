"""loss_spikes and spike_not_recovered on runs that only look like them."""

from dataclasses import replace

import numpy as np
import pytest

from talweg.run import Run, Series
from talweg.schedule import Schedule
from talweg.simulated import Array, healthy, with_losses

from .asking import examine, example, rng, stated

BOTH = ("loss_spikes", "spike_not_recovered")
TRAIN = ("train_loss",)
ALL = ("train_loss", "train_eval_loss", "val_loss")


def spiked(run: Run, at: float, size: float, tau: float, stays: float = 0.0, names: tuple[str, ...] = ALL) -> Run:
    def change(step: Array, value: Array, name: str) -> Array:
        since = np.maximum(step - at, 0)
        return np.asarray(value + (name in names) * (step > at) * (stays + size * np.exp(-since / tau)))

    return with_losses(run, change)


def run(seed: int = 0, **facts: object) -> Run:
    return healthy(rng(seed), log_every=10, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", range(5))
def test_single_noisy_batches_are_no_spikes(name: str, seed: int) -> None:
    base = run(seed)
    value = base.train_loss.value.copy()
    value[rng(seed).integers(100, 1000, 5)] += 1.0
    assert examine(name, replace(base, train_loss=replace(base.train_loss, value=value))).verdict == "absent"


@pytest.mark.parametrize("name", BOTH)
def test_a_jump_at_a_resume_is_that_of_the_resume(name: str) -> None:
    base = run(resumed_at=(3000.0, 6000.0))
    assert examine(name, spiked(spiked(base, 3000, 1.0, 60), 6000, 1.0, 60, 0.1)).verdict == "absent"


@pytest.mark.parametrize("name", BOTH)
def test_a_rise_because_the_rate_rises(name: str) -> None:
    base = spiked(run(), 4000, 1.0, 60, 0.2)
    rate = base.learning_rate
    raised = replace(rate, value=np.where(rate.step > 4000, 3 * rate.value, rate.value))
    assert examine(name, replace(base, learning_rate=raised)).verdict == "absent"


@pytest.mark.parametrize("name", BOTH)
def test_a_spike_of_val_alone(name: str) -> None:
    base = spiked(run(), 3900, 1.0, 300, names=("val_loss",))
    assert examine(name, base).verdict == "absent"


@pytest.mark.parametrize("name", BOTH)
def test_a_diverged_run(name: str) -> None:
    assert examine(name, example("diverged")).verdict == "absent"


@pytest.mark.parametrize("name", BOTH)
def test_a_log_too_short_and_one_of_evaluations_alone(name: str) -> None:
    base = example(name)
    short = replace(base, train_loss=base.train_loss.between(0, 100))
    assert examine(name, short).verdict == "unknown"
    assert examine(name, replace(base, train_loss=Series())).verdict == "unknown"
    assert examine(name, stated(base, step_unit="epoch")).verdict == "unknown"


def test_one_spike_that_came_back() -> None:
    found = examine("loss_spikes", spiked(run(), 4000, 1.0, 60))
    assert found.verdict == "absent"
    assert "one spike" in found.because
    assert examine("spike_not_recovered", spiked(run(), 4000, 1.0, 60)).verdict == "absent"


def test_narrow_spikes_without_gradient_or_smooth_val_cannot_be_told() -> None:
    base = run()
    value = base.train_loss.value.copy()
    value[[300, 500, 700]] += 1.5
    narrow = replace(base, train_loss=replace(base.train_loss, value=value), val_loss=Series(), grad_norm=Series())
    found = examine("loss_spikes", narrow)
    assert found.verdict == "unknown"
    assert found.needs == ("grad_norm",)


def test_a_sudden_drop_and_a_fast_decay_are_no_spikes() -> None:
    base = spiked(run(), 5000, 0.0, 60, -0.4)
    wsd = healthy(rng(1), log_every=10, schedule=Schedule("wsd", 6e-4, 0.0, 250, 10_000, 9000))
    for name in BOTH:
        assert examine(name, base).verdict == "absent"
        assert examine(name, wsd).verdict == "absent"


def test_a_shift_of_the_training_text_alone_is_none_of_the_weights() -> None:
    assert examine("spike_not_recovered", spiked(run(), 4000, 1.2, 60, 0.2, TRAIN)).verdict == "absent"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stays", [0.15, 0.3])
def test_the_shift_is_measured(stays: float, seed: int) -> None:
    found = examine("spike_not_recovered", spiked(run(seed), 4000, 1.3, 60, stays))
    assert found.verdict == "present", found.because
    assert found.nats is not None
    assert found.nats.value == pytest.approx(stays, abs=0.06)
    assert found.nats.low < found.nats.value < found.nats.high


@pytest.mark.parametrize("seed", range(4))
def test_spikes_that_cost_nothing_may_cost_nothing(seed: int) -> None:
    found = examine("loss_spikes", example("loss_spikes", seed))
    assert found.nats is not None
    assert found.nats.low == 0.0
    assert found.nats.value < 0.05
