"""The causes of the batch on runs that only look like them: within the law, beyond it on the other side, sound."""

from dataclasses import replace

import pytest

from talweg.laws import batch
from talweg.run import Run, Series
from talweg.simulated import healthy

from .asking import examine, example, rng, stated

BOTH = ("batch_too_large", "batch_too_small")


def of_batch(ratio: float, **facts: object) -> Run:
    """A healthy run of 2.48 B tokens at so many times the best batch; its level is that of the laws."""
    steps = round(2.48e9 / (batch.optimum(2.48e9).value * ratio))
    above = facts.pop("above", 0.3)
    return healthy(
        rng(),
        steps=steps,
        tokens_per_parameter=20,
        above=above,
        log_every=max(1, steps // 300),
        eval_every=max(1, steps // 40),
        **facts,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.5])
@pytest.mark.parametrize("name", BOTH)
def test_a_batch_within_a_factor_four_is_the_best_as_far_as_is_known(name: str, ratio: float) -> None:
    assert examine(name, of_batch(ratio)).verdict == "absent"


@pytest.mark.parametrize(("name", "ratio"), [("batch_too_large", 6.0), ("batch_too_small", 1 / 6)])
def test_between_the_law_and_what_counts_a_trial_must_tell(name: str, ratio: float) -> None:
    found = examine(name, of_batch(ratio))
    assert found.verdict == "unknown"
    assert found.would_narrow_nats is not None
    assert 0.03 < found.would_narrow_nats < 0.2


@pytest.mark.parametrize(("name", "ratio"), [("batch_too_large", 1 / 20), ("batch_too_small", 20.0)])
def test_beyond_on_the_other_side(name: str, ratio: float) -> None:
    assert examine(name, of_batch(ratio)).verdict == "absent"


@pytest.mark.parametrize(("name", "ratio"), [("batch_too_large", 20.0), ("batch_too_small", 1 / 20)])
def test_far_off_is_present_with_the_cost_of_the_law(name: str, ratio: float) -> None:
    run = of_batch(ratio)
    found = examine(name, run)
    assert found.verdict == "present"
    assert run.facts.tokens_per_step is not None
    assert found.nats == batch.cost(run.facts.tokens_per_step / batch.optimum(2.48e9).value, 124e6, 2.48e9)
    for remedy in found.remedies:
        if "batch.tokens_per_step" in remedy.config:
            tokens, steps = remedy.config["batch.tokens_per_step"], remedy.config["run.steps"]
            assert isinstance(tokens, int)
            assert isinstance(steps, int)
            assert tokens % 1024 == 0
            assert tokens * steps == pytest.approx(2.48e9, rel=0.01)


@pytest.mark.parametrize(("name", "ratio"), [("batch_too_large", 60.0), ("batch_too_small", 1 / 60)])
def test_a_curve_too_low_to_have_lost_so_much_refutes_it(name: str, ratio: float) -> None:
    found = examine(name, of_batch(ratio, above=-0.3, dataset="fineweb"))
    assert found.verdict == "absent"
    assert "too low" in found.because


def test_a_small_batch_whose_adam_remembers_as_many_tokens_costs_nothing() -> None:
    run = of_batch(1 / 20)
    assert run.facts.tokens_per_step is not None
    assert examine("batch_too_small", run).verdict == "present"
    long = batch.beta2_of(batch.HALF_LIFE, run.facts.tokens_per_step)
    assert examine("batch_too_small", stated(run, beta2=long)).verdict == "absent"
    assert examine("batch_too_small", stated(run, beta2=1 - 5 * (1 - long))).verdict == "present"


def test_without_beta2_a_small_batch_is_left_open() -> None:
    found = examine("batch_too_small", stated(of_batch(1 / 20), beta2=None))
    assert found.verdict == "unknown"
    assert found.needs == ("beta2",)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("optimizer", ["sgd", "lion", "adafactor"])
def test_no_law_is_known_for_other_optimizers(name: str, optimizer: str) -> None:
    found = examine(name, stated(example(name), optimizer=optimizer))
    assert found.verdict == "unknown"
    assert found.needs == ("optimizer",)
    assert examine(name, stated(example(name), optimizer="muon")).verdict == "present"


@pytest.mark.parametrize("name", BOTH)
def test_a_log_of_micro_batches_or_of_epochs_is_not_judged(name: str) -> None:
    for unit in ("micro-batch", "epoch"):
        assert examine(name, stated(example(name), step_unit=unit)).verdict == "unknown"


@pytest.mark.parametrize("name", BOTH)
def test_a_log_that_is_too_short_is_not_judged(name: str) -> None:
    run = example(name)
    cut = {
        c: replace(getattr(run, c), step=getattr(run, c).step[:5], value=getattr(run, c).value[:5])
        for c in ("train_loss", "train_eval_loss", "val_loss")
    }
    assert examine(name, replace(run, **cut)).verdict == "unknown"
    assert (
        examine(name, replace(run, train_loss=Series(), train_eval_loss=Series(), val_loss=Series())).verdict
        == "unknown"
    )


def test_a_small_model_with_few_tokens_is_judged_by_its_level() -> None:
    """10 M parameters and 20 M tokens at 0.25 M a step, 80 updates: where the size laws do not reach."""
    run = healthy(rng(), steps=80, parameters=10e6, tokens_per_parameter=2, log_every=1, eval_every=4)
    found = examine("batch_too_large", run)
    assert found.verdict == "present"
    assert found.nats is not None
    assert 0.02 < found.nats.low < found.nats.value < found.nats.high
