"""The causes of the text on runs that only look like them, and against their laws."""

import math
from dataclasses import replace

import numpy as np
import pytest

from talweg import causes, simulated
from talweg.causes import short_documents, train_val_overlap, unshuffled_data
from talweg.laws import repetition
from talweg.run import Run, Series
from talweg.simulated import healthy

from .asking import examine, rng

TOKENS = simulated.PARAMETERS * simulated.TOKENS_PER_PARAMETER
OF_DATA = (
    "duplicated_data",
    "noisy_data",
    "short_documents",
    "token_id_overflow",
    "tokenizer_mismatch",
    "train_val_overlap",
    "unshuffled_data",
)
FACTS = (
    *("train_tokens", "unique_tokens", "near_unique_tokens", "largest_token_id", "tokens_by_length"),
    *("val_overlap_share", "noisy_share", "order_drift_nats"),
)


@pytest.mark.parametrize("name", OF_DATA)
def test_without_the_data_it_is_asked_for(name: str) -> None:
    found = examine(name, healthy(rng(), **dict.fromkeys(FACTS)))
    assert found.verdict == "unknown"
    assert found.needs == ("data",)


def test_what_copies_could_hide_is_bounded_where_the_text_was_counted() -> None:
    run = healthy(rng(), unique_tokens=TOKENS / 10, near_unique_tokens=None, train_tokens=None)
    found = examine(
        "duplicated_data", replace(run, facts=replace(run.facts, unique_tokens=None, train_tokens=TOKENS / 10))
    )
    assert found.verdict == "unknown"
    at_half = repetition.cost(simulated.PARAMETERS, TOKENS / 20, TOKENS).value
    assert found.would_narrow_nats == pytest.approx(
        at_half - repetition.cost(simulated.PARAMETERS, TOKENS / 10, TOKENS).value
    )


# duplicated_data


def test_documents_that_nothing_parts_are_not_said_to_be_distinct() -> None:
    run = healthy(rng(), unique_tokens=TOKENS / 20, near_unique_tokens=None, train_documents=0)
    found = examine("duplicated_data", run)
    assert found.verdict == "unknown"
    assert "run into each other" in found.because


def test_half_of_a_text_that_is_read_once_may_be_copies() -> None:
    """Two passes over what is distinct: harmless while undertrained, and the figures say so."""
    found = examine("duplicated_data", healthy(rng(), near_unique_tokens=TOKENS / 2))
    assert found.verdict == "absent"
    assert "50.0%" in found.because
    assert "2 passes" in found.because


def test_passes_and_copies_share_the_cost_of_what_is_distinct() -> None:
    """repeated_data at the stored size and duplicated_data for the rest add up to the law at the distinct tokens."""
    run = healthy(rng(), train_tokens=TOKENS / 10, unique_tokens=TOKENS / 10, near_unique_tokens=TOKENS / 60)
    parts = [found.nats for name in ("repeated_data", "duplicated_data") if (found := examine(name, run))]
    whole = repetition.cost(simulated.PARAMETERS, TOKENS / 60, TOKENS).value
    assert sum(part.value for part in parts if part) == pytest.approx(whole)


# train_val_overlap


def test_thirteen_bytes_are_no_passage() -> None:
    """Of single bytes over half of all runs of 13 stand elsewhere; of four bytes a token that is a copy."""
    found = examine("train_val_overlap", healthy(rng(), val_overlap_share=0.57, bytes_per_token=1.0))
    assert found.verdict == "unknown"
    assert "13 tokens are 13 bytes here" in found.because
    assert (
        examine("train_val_overlap", healthy(rng(), val_overlap_share=0.57, bytes_per_token=4.0)).verdict == "present"
    )
    assert examine("train_val_overlap", healthy(rng(), val_overlap_share=0.01, bytes_per_token=1.0)).verdict == "absent"


@pytest.mark.parametrize("share", [0.0, 0.035, 0.09])
def test_quotations_and_a_random_split_are_no_overlap(share: float) -> None:
    assert examine("train_val_overlap", healthy(rng(), val_overlap_share=share)).verdict == "absent"


def test_the_bias_is_the_difference_to_the_clean_documents() -> None:
    run = causes.catalogue()["train_val_overlap"].example(rng())
    found = train_val_overlap.examine(run)
    assert found.nats is not None
    assert found.nats.value == pytest.approx(0.08)
    without = train_val_overlap.examine(replace(run, val_loss_clean=Series()))
    assert without.nats is not None
    assert (without.nats.value, without.nats.low) == (0.0, 0.0)
    assert without.nats.high == pytest.approx(0.4 * run.val_loss.value[-1], rel=0.02)


# token_id_overflow


@pytest.mark.parametrize(("room", "size"), [(65_535, 65_536), (65_535, 50_257), (2**32 - 1, 128_256)])
def test_a_type_that_is_wide_enough_wraps_nothing(room: int, size: int) -> None:
    run = healthy(rng(), largest_token_id=size - 1, largest_storable_id=room, tokenizer_vocabulary=size)
    assert examine("token_id_overflow", run).verdict == "absent"


def test_one_token_too_many_is_enough() -> None:
    run = healthy(rng(), largest_token_id=65_535, largest_storable_id=65_535, tokenizer_vocabulary=65_537)
    assert examine("token_id_overflow", run).verdict == "present"


# tokenizer_mismatch


def measured(**facts: object) -> Run:
    usual = {
        "tokenizer": "gpt2",
        "tokenizer_vocabulary": 50_257,
        "largest_token_id": 50_256,
        "largest_storable_id": 65_535,
        "outside_vocabulary_share": 0.0,
        "undecodable_share": 0.001,
        "joinable_ratio": 0.004,
    }
    return healthy(rng(), **{**usual, **facts})  # type: ignore[arg-type]


def test_ids_of_the_tokenizer_given_are_left_alone() -> None:
    assert examine("tokenizer_mismatch", measured()).verdict == "absent"
    assert examine("tokenizer_mismatch", measured(joinable_ratio=None)).verdict == "absent"


@pytest.mark.parametrize(
    "facts",
    [
        {"joinable_ratio": 0.3},
        {"outside_vocabulary_share": 0.02},
        {"undecodable_share": 0.2},
        {"largest_token_id": 50_300},
    ],
)
def test_each_sign_alone_is_enough(facts: dict[str, object]) -> None:
    assert examine("tokenizer_mismatch", measured(**facts)).verdict == "present"


def test_padding_of_the_model_is_no_mismatch() -> None:
    assert examine("tokenizer_mismatch", measured(vocabulary_size=50_304)).verdict == "absent"


# noisy_data


def test_the_cost_of_noise_spans_nothing_to_twice_the_law() -> None:
    found = examine("noisy_data", healthy(rng(), noisy_share=0.5))
    assert found.verdict == "present"
    assert found.nats is not None
    assert found.nats.low == 0.0 < found.nats.value < found.nats.high
    assert examine("noisy_data", healthy(rng(), noisy_share=0.2)).verdict == "absent"


# short_documents


def lengths(power: int) -> tuple[float, ...]:
    """All tokens in documents of 2^power to 2^(power + 1) - 1 tokens."""
    return tuple(float(k == power) for k in range(20))


def test_documents_are_short_against_the_context() -> None:
    """An eighth of 1,024 is 128: documents below are short, at and above they are not."""
    assert examine("short_documents", healthy(rng(), tokens_by_length=lengths(6))).verdict == "present"
    assert examine("short_documents", healthy(rng(), tokens_by_length=lengths(7))).verdict == "absent"
    assert examine("short_documents", healthy(rng(), tokens_by_length=lengths(6), context=128)).verdict == "absent"


def test_half_of_a_class_counts_half() -> None:
    assert short_documents._share_short(lengths(6), 768) == pytest.approx(math.log2(96) - 6)


@pytest.mark.parametrize(("kept", "error"), [(0.45, 0.1), (0.102, 0.08), (0.02, 0.5), (0.02, math.inf), (0.06, 0.0001)])
def test_context_that_is_kept_or_not_surely_lost_is_no_accusation(kept: float, error: float) -> None:
    facts = {"context_kept": kept, "context_kept_error": error, "context_border": "line", "border_tokens": 30.0}
    assert examine("short_documents", healthy(rng(), **facts)).verdict == "absent"  # type: ignore[arg-type]


def test_pieces_longer_than_the_context_lose_it_nothing() -> None:
    facts = {"context_kept": 0.0, "context_kept_error": 0.001, "context_border": "paragraph", "border_tokens": 3000.0}
    assert examine("short_documents", healthy(rng(), **facts)).verdict == "absent"  # type: ignore[arg-type]


# unshuffled_data


def in_passes(seed: int, num: int = 5) -> Run:
    """A healthy run of several passes whose loader is not known."""
    run = healthy(rng(seed), train_tokens=TOKENS / num, unique_tokens=TOKENS / num, log_every=5)
    return replace(run, facts=replace(run.facts, order_drift_nats=None))


@pytest.mark.parametrize("seed", range(40))
def test_healthy_passes_have_no_waves_that_return(seed: int) -> None:
    assert examine("unshuffled_data", in_passes(seed, 3 + seed % 5)).verdict == "absent"


def waves(run: Run, period: float, size: float = 0.06) -> Run:
    loss = run.train_loss
    return replace(run, train_loss=replace(loss, value=loss.value + size * np.sin(2 * math.pi * loss.step / period)))


def test_waves_of_another_length_than_the_pass_are_not_of_the_text() -> None:
    """Five passes of 2,000 steps; waves of 1,230 steps are half a wave off in the next pass."""
    assert examine("unshuffled_data", waves(in_passes(0), 2000 / 1.5)).verdict == "absent"


def test_waves_that_return_with_each_pass_are_seen_in_the_log_alone() -> None:
    run = in_passes(0)
    pattern = rng(5).normal(0.0, 0.06, 20)
    loss = run.train_loss
    place = (loss.step / 2000 * 20).astype(int) % 20
    with_pattern = replace(run, train_loss=replace(loss, value=loss.value + pattern[place]))
    assert examine("unshuffled_data", with_pattern).verdict == "present"
    returns = unshuffled_data._returns(with_pattern)
    assert returns is not None
    assert returns[2] == pytest.approx(pattern.std(), rel=0.15)
    # the same waves in a run that draws its windows at random are something else
    drawn = replace(with_pattern, format="nanogpt", facts=replace(run.facts, order_drift_nats=0.3))
    assert examine("unshuffled_data", drawn).verdict == "absent"


def test_the_staircase_of_memorised_text_is_no_wave() -> None:
    """The loss steps down at each new pass and is flat between."""
    run = in_passes(0)
    loss = run.train_loss
    stairs = 3.6 - 0.15 * np.floor(loss.step / 2000) + rng(6).normal(0, 0.03, len(loss))
    assert examine("unshuffled_data", replace(run, train_loss=replace(loss, value=stairs))).verdict == "absent"


def test_a_trainer_that_draws_at_random_is_untouched_by_the_order() -> None:
    run = replace(healthy(rng(), order_drift_nats=0.3), format="nanogpt")
    found = examine("unshuffled_data", run)
    assert found.verdict == "absent"
    assert "at random" in found.because


def test_drift_under_a_loader_that_nobody_knows_is_unknown() -> None:
    found = examine("unshuffled_data", healthy(rng(), order_drift_nats=0.3))
    assert found.verdict == "unknown"
    assert found.needs == ("reads_in_order",)
    assert examine("unshuffled_data", healthy(rng(), order_drift_nats=0.3, reads_in_order=True)).verdict == "present"
