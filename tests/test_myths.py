"""Folk claims: each is shown only where its pattern is in the run, with the run's own figures."""

import re
from dataclasses import replace

import numpy as np

from talweg import myths, simulated
from talweg.run import Run, Series
from tests.test_readings import rng, seed_run, stated


def found(run: Run) -> dict[str, str]:
    return {m.claim: m.reading for m in myths.myths(run)}


def reading(run: Run, word: str) -> str:
    return next((text for claim, text in found(run).items() if word in claim), "")


def test_the_seed_run_corrects_what_was_said_of_it() -> None:
    run = seed_run()
    for word, figure in {
        "within 0.1": "val - train is -0.0",
        "below train": "evaluation mode",
        "Val rose": "9,500",
        "stalled": "power law",
        "single-iteration": "4.11 at step 10,000",
        "mfu": "40.2 TFLOPS: 13% of an A100, 69% of an RTX 4070",
        "0.99": "100 steps",
        "bias=False": "no measurable effect",
        "parquet": "0.73 B",
        "perplexity": "no schedule gets there",
    }.items():
        assert figure in reading(run, word), (word, reading(run, word))


def test_the_flops_are_counted_by_hand() -> None:
    """(6 x 40.56 M + 12 x 12 x 384 x 1024) FLOP a token x 524,288 tokens / 3.91 s = 40.2 TFLOPS."""
    by_hand = (6 * 40.56e6 + 12 * 12 * 384 * 1024) * 524_288 / 3.91 / 1e12
    said = re.search(r"does ([0-9.]+) TFLOPS", reading(seed_run(), "mfu"))
    assert said is not None
    assert abs(float(said.group(1)) - by_hand) < 0.1


def test_the_mfu_is_corrected_only_where_a_4070_could_have_done_it() -> None:
    """At a tenth of the time for a step the card does 402 TFLOPS, at ten times it does 4: neither log shows 10 %."""
    run = seed_run()
    for factor in (0.1, 10.0):
        seconds = replace(run.seconds_per_step, value=factor * run.seconds_per_step.value)
        assert not reading(replace(run, seconds_per_step=seconds), "mfu")


def test_an_empty_run_has_no_myths() -> None:
    assert found(Run()) == {}


def test_each_claim_needs_its_pattern() -> None:
    run = simulated.healthy(rng())
    apart = replace(run, val_loss=replace(run.val_loss, value=run.val_loss.value + 0.3))
    assert "opposite" in reading(run, "within 0.1")
    assert not reading(apart, "within 0.1")
    assert not reading(apart, "below train")
    assert not reading(run, "mfu")  # not nanoGPT's log
    assert not reading(run, "parquet")
    assert not reading(run, "beta2")
    assert not reading(run, "bias")
    assert not reading(stated(run, beta2=0.999), "beta2")
    assert not reading(stated(run, dataset="fineweb"), "parquet")  # counted
    assert reading(stated(run, dataset="fineweb-edu", unique_tokens=None), "parquet")


def test_a_rising_curve_is_not_excused() -> None:
    rising = simulated.with_losses(
        simulated.healthy(rng()), lambda step, value, name: value + 0.6 * np.clip((step - 5000) / 5000, 0, 1)
    )
    assert not reading(rising, "Val rose")
    assert not reading(rising, "stalled")


def test_val_below_train_names_the_reason_that_fits() -> None:
    run = replace(simulated.healthy(rng()), train_eval_loss=Series())
    below = replace(run, val_loss=replace(run.val_loss, value=run.val_loss.value - 0.08))
    assert "Dropout 0.1 is on" in reading(stated(below, dropout=0.1), "below train")
    assert "not measured as val is" in reading(below, "below train")


def test_too_small_is_no_answer_above_token_frequencies() -> None:
    stuck = simulated.with_losses(simulated.healthy(rng()), lambda step, value, name: np.maximum(value, 8.2))
    assert "7.60" in reading(stuck, "too small")
    assert not reading(simulated.healthy(rng()), "too small")
