"""Real runs of the trainer, stopped and taken up: exactly, and from a checkpoint whose place in the text is lost."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

from talweg import readers
from talweg.causes import data_restarted_on_resume, optimizer_state_lost_on_resume, schedule_restarted_on_resume
from talweg.run import Run
from talweg.train import checkpoint
from talweg.train.loop import train
from tests.train.conftest import _one_thread, configured, data

__all__ = ["_one_thread", "configured", "data"]  # the fixtures of the trainer's tests
STEPS, AT = 240, 120


@pytest.fixture
def taken_up(configured: Callable[..., Any]) -> Callable[[], Run]:
    """The run of 240 steps that was left after 120 and taken up, as its log tells it."""

    def taken_up() -> Run:
        config = configured(run__steps=STEPS, model__dropout=0.0, evaluation__every=40, batch__tokens_per_step=64)
        for record in train(config):
            if record["step"] >= AT and "loss" in record:
                break
        for _ in train(config):
            pass
        return readers.read(config.run.out / config.run.name)

    return taken_up


def test_an_exact_resume(taken_up: Callable[[], Run]) -> None:
    run = taken_up()
    assert run.facts.resumed_at is not None
    assert len(run.facts.resumed_at) == 1
    for cause in (data_restarted_on_resume, schedule_restarted_on_resume, optimizer_state_lost_on_resume):
        found = cause.examine(run)
        noisy = cause is optimizer_state_lost_on_resume and "would go unseen" in found.because
        assert found.verdict == "absent" or (noisy and found.verdict == "unknown"), found.because


def test_a_text_taken_up_from_its_beginning(taken_up: Callable[[], Run], monkeypatch: pytest.MonkeyPatch) -> None:
    newest = checkpoint.newest

    def without_its_place(*given: Any) -> Any:
        saved = newest(*given)
        return saved and dataclasses.replace(saved, state={**saved.state, "cursor": 0})

    monkeypatch.setattr(checkpoint, "newest", without_its_place)
    run = taken_up()
    found = data_restarted_on_resume.examine(run)
    assert found.verdict == "present", found.because
    assert run.facts.resumed_at is not None
    assert f"those of {run.facts.resumed_at[0]:,.0f} steps before" in found.because
    assert schedule_restarted_on_resume.examine(run).verdict == "absent"
