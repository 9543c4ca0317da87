"""Batch, memories and shape on runs that only look wrong: within what is known, beyond on the other side, sound."""

from dataclasses import replace

import pytest

from talweg.laws import batch, memory, shape
from talweg.run import Run, Series
from talweg.schedule import Schedule
from talweg.simulated import Array, healthy, with_losses

from .asking import examine, example, rng, stated

BOTH = ("batch_too_large", "batch_too_small")


def of_batch(ratio: float, above: float = 0.3, **facts: object) -> Run:
    """A healthy run of 2.48 B tokens at so many times the best batch, `above` the level of the laws."""
    steps = round(2.48e9 / (batch.optimum(2.48e9).value * ratio))
    log, evaluate = max(1, steps // 300), max(1, steps // 40)
    return healthy(
        rng(),
        steps=steps,
        tokens_per_parameter=20,
        above=above,
        log_every=log,
        eval_every=evaluate,
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
    found = examine(name, of_batch(ratio, above=-0.7, dataset="fineweb"))
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


# weight_decay_too_strong


def decayed(decay: float, **facts: object) -> Run:
    """The cause's example at another decay, with the updates that such a decay makes."""
    run = example("weight_decay_too_strong")
    return stated(run, weight_decay=decay, **facts)


@pytest.mark.parametrize("decay", [0.0, 0.01, 0.1, 1.0])
def test_a_decay_that_remembers_a_good_part_of_the_run_is_none_too_strong(decay: float) -> None:
    assert examine("weight_decay_too_strong", decayed(decay)).verdict == "absent"


def test_the_memory_of_the_decay_by_hand() -> None:
    """1 / (6e-4 x 10) = 167 steps of 10,000; best 1.084 x 40^-.527 = .155; from 1/4 to 1/8 of it a trial must tell."""
    assert memory.decay_memory(6e-4, 10.0) == pytest.approx(166.7, rel=1e-3)
    assert memory.best_share(40.0) == pytest.approx(0.1552, rel=1e-3)
    # 1 / (6e-4 x lambda x 1e4) = .155 / 8 at lambda = 8.6
    assert examine("weight_decay_too_strong", decayed(7.0)).verdict == "unknown"
    assert examine("weight_decay_too_strong", decayed(8.7)).verdict == "present"


def test_the_same_decay_in_a_shorter_run_or_at_a_lower_rate_is_right() -> None:
    assert examine("weight_decay_too_strong", healthy(rng(), steps=1000, weight_decay=10.0)).verdict == "absent"
    low = Schedule("cosine", 6e-5, 6e-7, 250, 10_000)
    assert examine("weight_decay_too_strong", healthy(rng(), weight_decay=10.0, schedule=low)).verdict == "absent"


def test_strong_decay_over_the_same_text_again_and_again_may_protect() -> None:
    found = examine("weight_decay_too_strong", decayed(30.0, unique_tokens=4.96e9 / 10))
    assert found.verdict == "unknown"
    assert "protect" in found.because


def test_updates_too_small_for_the_decay_show_that_it_is_not_in_force() -> None:
    run = healthy(rng(), weight_decay=10.0, optimizer="adamw", above=0.06)  # .002 of the weights a step, not .11
    assert "in force" in examine("weight_decay_too_strong", run).because
    assert examine("weight_decay_too_strong", replace(run, update_ratio=Series())).verdict == "present"


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lion"])
def test_coupled_decay_is_another_matter(optimizer: str) -> None:
    assert examine("weight_decay_too_strong", decayed(10.0, optimizer=optimizer)).verdict == "unknown"


# adam_moment_mismatch


@pytest.mark.parametrize(
    ("beta1", "beta2", "verdict"),
    [
        (0.9, 0.95, "absent"),
        (0.9, 0.999, "absent"),
        (0.95, 0.95, "absent"),  # .975 is the root
        (0.97, 0.95, "absent"),
        (0.98, 0.95, "unknown"),  # 2.5 times
        (0.986, 0.95, "unknown"),  # 3.6 times
        (0.99, 0.95, "present"),  # 5 times
        (0.98, 0.8, "present"),  # 10 times
        (0.0, 0.95, "absent"),
        (0.0, 0.0, "absent"),
    ],
)
def test_the_mean_of_the_gradients_against_that_of_their_squares(beta1: float, beta2: float, verdict: str) -> None:
    found = examine("adam_moment_mismatch", stated(example("adam_moment_mismatch"), beta1=beta1, beta2=beta2))
    assert found.verdict == verdict


def test_the_remedies_are_sound_themselves() -> None:
    run = example("adam_moment_mismatch")
    for remedy in examine("adam_moment_mismatch", run).remedies:
        facts = {key.removeprefix("optimizer."): value for key, value in remedy.config.items()}
        assert examine("adam_moment_mismatch", stated(run, **facts)).verdict == "absent"


def test_a_beta2_that_outlives_the_run_is_left_open() -> None:
    """.9998 remembers 5,000 steps."""
    short, long = healthy(rng(), steps=1000, beta2=0.9998), healthy(rng(), steps=20_000, beta2=0.9998)
    assert examine("adam_moment_mismatch", short).verdict == "unknown"
    assert examine("adam_moment_mismatch", long).verdict == "absent"
    cut = healthy(rng(), steps=20_000, stop_at=1000, beta2=0.9998, eval_every=50)
    assert examine("adam_moment_mismatch", cut).verdict == "absent"


@pytest.mark.parametrize("optimizer", ["sgd", "lion"])
def test_no_adam_has_no_second_moment(optimizer: str) -> None:
    run = stated(example("adam_moment_mismatch"), optimizer=optimizer)
    assert examine("adam_moment_mismatch", run).verdict == "absent"


@pytest.mark.parametrize("beta", ["beta1", "beta2"])
def test_one_beta_alone_says_nothing(beta: str) -> None:
    found = examine("adam_moment_mismatch", stated(example("adam_moment_mismatch"), **{beta: None}))
    assert (found.verdict, found.needs) == ("unknown", (beta,))


# unbalanced_shape


def shaped(layers: int, width: int, heads: int = 4, **facts: object) -> Run:
    return stated(example("unbalanced_shape"), layers=layers, width=width, heads=heads, **facts)


@pytest.mark.parametrize(("layers", "width"), [(12, 768), (12, 384), (4, 128), (1, 256), (48, 1600), (24, 240)])
def test_shapes_within_the_level_band(layers: int, width: int) -> None:
    assert examine("unbalanced_shape", shaped(layers, width, vocabulary_size=4096)).verdict == "absent"


@pytest.mark.parametrize(
    ("layers", "width", "sign"), [(48, 64, "too deep"), (96, 192, "too deep"), (2, 2048, "too wide")]
)
def test_shapes_beyond_it_on_either_side(layers: int, width: int, sign: str) -> None:
    found = examine("unbalanced_shape", shaped(layers, width, vocabulary_size=4096))
    assert found.verdict == "present"
    assert sign in found.because
    config = found.remedies[0].config
    depth, wide, heads = (config[f"model.{name}"] for name in ("layers", "width", "heads"))
    assert isinstance(depth, int)
    assert isinstance(wide, int)
    assert isinstance(heads, int)
    assert shape.ASPECT[0] <= wide / depth <= shape.ASPECT[1]
    assert wide % heads == 0
    assert shape.blocks(depth, wide) == pytest.approx(shape.blocks(layers, width), rel=0.5)


def test_a_shape_a_little_outside_is_left_alone() -> None:
    """8 units a layer: a third of an octave, .01 nats."""
    assert examine("unbalanced_shape", shaped(24, 192, vocabulary_size=4096)).verdict == "absent"


def test_a_table_that_outweighs_the_model() -> None:
    """50,257 tokens at width 64: 97 % of 3.3 M parameters; in a vocabulary of characters next to nothing."""
    run = healthy(rng(), steps=2000, parameters=3.3e6, tokens_per_parameter=30, layers=2, heads=2, width=64)
    found = examine("unbalanced_shape", run)
    assert found.verdict == "present"
    assert found.nats is not None
    assert found.nats.low == 0.0 < found.nats.value < found.nats.high
    assert found.remedies[0].name == "smaller_vocabulary"
    assert examine("unbalanced_shape", stated(run, vocabulary_size=256)).verdict == "absent"
    assert examine("unbalanced_shape", stated(run, vocabulary_size=None)).verdict == "absent"


# dropout_too_strong


def test_a_growing_gap_to_the_evaluated_training_text_may_be_what_dropout_holds_down() -> None:
    run = stated(example("dropout_too_strong"), unique_tokens=None)
    assert examine("dropout_too_strong", run).verdict == "present"

    def memorised(step: Array, value: Array, name: str) -> Array:
        return value - 0.3 * step / 10_000 if name != "val_loss" else value

    found = examine("dropout_too_strong", with_losses(run, memorised))
    assert found.verdict == "unknown"
    assert found.needs == ("data",)
    apart = with_losses(run, lambda step, value, name: value + 0.1 if name == "val_loss" else value)
    assert examine("dropout_too_strong", apart).verdict == "present"
