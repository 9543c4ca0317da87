"""The run that the project began with: 40.6 M parameters, "stuck" near 3.6. What a right answer must say of it."""

import json
from functools import lru_cache

import pytest

from talweg import evidence
from talweg.diagnosis import Cause, Diagnosis, diagnose
from talweg.readers import read
from talweg.report.json import to_json
from talweg.run import Run
from tests.conftest import shared


@lru_cache(maxsize=1)
def seed_run() -> Run:
    folder = shared("data/curves/seed_run")
    return read(folder / "train.log", config=folder / "train_fineweb.config.txt")


@lru_cache(maxsize=1)
def answer() -> Diagnosis:
    return diagnose(seed_run())


def cause(name: str) -> Cause:
    return next(c for c in answer().causes if c.name == name)


def test_what_was_read() -> None:
    run = seed_run()
    assert run.format == "nanogpt"
    assert run.last_step == 14_500
    assert len(run.val_loss) == 30
    assert run.val_loss.value[0] == 10.8727
    assert run.val_loss.value[-1] == 3.5696
    assert run.facts.parameters == pytest.approx(40.56e6, rel=0.001)
    assert run.facts.tokens_per_step == 524_288
    assert run.facts.planned_steps == 20_000


def test_it_falls_and_does_not_overfit() -> None:
    assert answer().state == "falling"
    found = cause("overfitting").finding
    assert found.verdict == "absent"
    assert "val - train is -0.0" in found.because


def test_nothing_that_would_break_a_run_is_claimed() -> None:
    present = {c.name for c in answer().by_verdict("present")}
    assert present <= {"model_too_small", "learning_rate_not_decayed", "dropout_too_strong"}


def test_capacity_leads_and_the_decay_follows() -> None:
    present = answer().by_verdict("present")
    assert [c.name for c in present[:2]] == ["model_too_small", "learning_rate_not_decayed"]
    decay = present[1].finding.nats
    assert decay is not None
    assert 0.01 < decay.low < decay.value < decay.high < 0.12


def test_the_rises_are_noise() -> None:
    noise = evidence.eval_noise(seed_run())
    assert noise is not None
    assert 0.005 < noise.sd < 0.016  # 3,200 windows of 1,024 tokens: .0091
    assert 0.15 < noise.probability_of_rise < 0.45
    assert any("val rose" in m.claim.lower() for m in answer().myths)
    assert any(r.name == "small_batch_noise" for r in answer().readings)


def test_it_stands_where_its_size_stands() -> None:
    now, expected = answer().now, answer().expected
    assert now is not None
    assert now.train is not None
    assert expected is not None
    assert expected.loss.low < now.train.value < expected.loss.high
    assert expected.loss.high - expected.loss.low < 0.3


def test_the_forecast_is_narrow_enough_to_be_wrong() -> None:
    forecast = answer().forecast
    assert forecast is not None
    assert forecast.step == 20_000
    assert forecast.loss.high - forecast.loss.low <= 0.06
    assert forecast.loss.high < 3.5696


def test_repetition_is_unknown_and_says_what_the_count_would_narrow() -> None:
    found = cause("repeated_data").finding
    assert found.verdict == "unknown"
    assert "unique_tokens" in found.needs
    assert found.would_narrow_nats is not None
    assert found.would_narrow_nats > 0.02


def test_the_folk_claims_are_corrected() -> None:
    claims = " ".join(m.claim for m in answer().myths).lower()
    for word in ("0.1", "below train", "rose", "stalled", "single"):
        assert word in claims


def test_the_json_is_strict_and_complete() -> None:
    text = json.dumps(to_json(answer()), allow_nan=False)
    parsed = json.loads(text)
    assert parsed["state"] == "falling"
    assert parsed["run"]["parameters"] == pytest.approx(40.56e6, rel=0.001)
    assert parsed["run"]["unique_tokens"] is None
    assert {c["name"] for c in parsed["causes"]} == {c.name for c in answer().causes}
