"""A run that judges itself: lines when a verdict changes, and what it does when it is lost."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from talweg import selfcheck
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy
from talweg.train import checkpoint as checkpoints
from talweg.train import divergence, loop, update
from talweg.train.config import Config
from talweg.train.loop import train
from talweg.train.ranks import OfThisRankError, Ranks
from talweg.train.start import begin

from .test_loop import run_until
from .test_resume_matrix import ends_the_same

Make = Callable[..., Config]


def poisoned(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int], bool]) -> list[int]:
    """Losses become NaN where `bad(cursor)`; returns the cursors of all updates tried."""
    real, tried = update.accumulate, []

    def broken(training: Any, *rest: Any) -> update.Gradients:
        tried.append(training.cursor)
        gradients = real(training, *rest)
        return replace(gradients, loss=math.nan) if bad(training.cursor) else gradients

    monkeypatch.setattr(loop, "accumulate", broken)
    return tried


def test_rollback_goes_back_leaves_out_the_text_since_and_halves_the_rate(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(run__name="a", run__on_divergence="rollback")
    tried = poisoned(monkeypatch, lambda cursor: cursor == 6 * 8)
    records = list(train(config))
    assert tried == [8 * k for k in range(7)] + [8 * k for k in range(7, 7 + 8)]  # steps 4 to 11, after batch 6
    note = next(r["note"] for r in records if "rolled" in r.get("note", "") or "back from step" in r.get("note", ""))
    assert note == (
        "the loss is nan at step 6: back from step 6 to step 4; the 768 tokens read since are left out, and the "
        "learning rate is 0.5 of its plan from here"
    )
    rates = [(r["step"], r["lr"]) for r in records if "loss" in r]
    again = rates[rates.index(max(r for r in rates if r[0] == 6)) + 1 :]
    assert [s for s, _ in again] == list(range(4, 12))
    before = dict(rates[:6])
    assert again[0][1] == pytest.approx(before[4] / 2)
    state = checkpoints.load(checkpoints.find(config.run.out / "a")).state
    assert (state["rollbacks"], state["rate_factor"], state["step"], state["cursor"]) == (1, 0.5, 12, 15 * 8)


def test_weights_worse_than_guessing_are_not_saved_to_go_back_to(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop.mean_loss

    def lost(*arguments: Any) -> Any:
        found = real(*arguments)
        return replace(found, value=found.value + loop.LOST + 0.5)

    monkeypatch.setattr(loop, "mean_loss", lost)
    steps = lambda config: sorted(p.name for p in (config.run.out / config.run.name / "checkpoints").glob("step_*"))  # noqa: E731
    config = configured(run__name="a", run__steps=9, evaluation__every=4, checkpoint__every=4)
    list(train(config))
    assert steps(config) == ["step_00000000", "step_00000009"]  # the first and the last always
    regardless = configured(
        run__name="b", run__steps=9, evaluation__every=4, checkpoint__every=4, run__on_divergence="continue"
    )
    list(train(regardless))
    assert steps(regardless) == ["step_00000008", "step_00000009"]


def test_rollback_gives_up_when_the_trouble_comes_back(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(monkeypatch, lambda cursor: cursor >= 6 * 8)
    records = list(train(configured(run__name="a", run__on_divergence="rollback")))
    notes = [r["note"] for r in records if "back from step" in r.get("note", "")]
    assert len(notes) == divergence.MOST_ROLLBACKS
    assert records[-1]["note"].endswith("after 3 rollbacks; lower optimizer.peak_lr")
    assert records[-1]["stopped"] is True


def test_continue_leaves_out_the_batch_and_an_endless_run_of_them_ends(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(run__name="a", run__on_divergence="continue")
    poisoned(monkeypatch, lambda cursor: cursor == 6 * 8)
    records = list(train(config))
    assert [r["note"] for r in records if "left out" in r.get("note", "")] == [
        "the loss is nan at step 6: the batch is left out"
    ]
    assert records[-1]["step"] == 12
    assert checkpoints.load(checkpoints.find(config.run.out / "a")).state["cursor"] == 13 * 8
    monkeypatch.setattr(divergence, "MOST_SKIPPED", 5)
    poisoned(monkeypatch, lambda cursor: True)
    records = list(train(configured(run__name="b", run__on_divergence="continue")))
    assert records[-1]["note"].startswith("stopped: 5 batches in a row gave no finite gradient")


def test_a_run_that_diverges_stops_with_the_diagnosis(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "FREE", math.inf)  # judged at every evaluation, however busy the machine
    wild = configured(
        run__name="a",
        run__steps=600,
        model__norm="layernorm",
        model__positions="learned",
        model__activation="gelu",
        model__initialisation="gpt2",
        model__qk_norm=False,
        model__bias=True,
        optimizer__peak_lr=3.0,
        optimizer__grad_clip=0.0,
        schedule__kind="constant",
        schedule__warmup_steps=60,
        evaluation__every=20,
    )
    records = list(train(wild))
    assert records[-1]["stopped"] is True, records[-1]
    assert records[-1]["note"].startswith("stopped: diverged: the best level is")
    assert 60 <= records[-1]["step"] < 300
    told = [r for r in records if r.get("cause") == "diverged"]
    assert told[-1]["verdict"] == "present"
    newest = checkpoints.load(checkpoints.find(wild.run.out / "a"))
    assert newest.state["step"] < records[-1]["step"]  # what is lost is not saved over what is not


class Asked:
    """A diagnosis whose one cause answers what it is told to."""

    def __init__(self, *verdicts: str) -> None:
        self.answers = iter(verdicts)

    def __call__(self) -> Any:
        finding = Finding(next(self.answers), "because of this")  # type: ignore[arg-type]
        cause = type("Cause", (), {"name": "diverged", "finding": finding})
        return type("Diagnosis", (), {"causes": (cause,)})


def test_a_verdict_is_told_once_two_judgements_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = selfcheck.SelfCheck(tmp_path / "log.jsonl")
    asked = Asked("absent", "absent", "present", "absent", "present", "present", "present", "absent", "absent")
    monkeypatch.setattr(check, "_diagnose", asked)
    told = [check.judge(step) for step in range(9)]
    assert [len(t.records) for t in told] == [0, 0, 0, 0, 0, 1, 0, 0, 1]
    assert told[5].records[0]["note"] == "step 5: diverged is present: because of this"
    assert told[5].fatal == "diverged: because of this"
    assert told[8].records[0]["note"] == "step 8: diverged is absent now: because of this"


def test_what_was_told_is_not_told_again_after_a_resume(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 3, "loss": 2}\n{"step": 4, "cause": "diverged", "verdict": "present"}\n{"cause\n')
    assert selfcheck.SelfCheck.of(log).told == {"diverged": "present"}


def test_judging_is_put_off_where_it_would_take_too_much_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = selfcheck.SelfCheck(tmp_path / "log.jsonl")
    calls = []
    monkeypatch.setattr(check, "_diagnose", lambda: calls.append(1))
    check.judge(0)
    check.spent = 1e6  # as if the last judgement had taken that long
    check.judge(1)
    assert len(calls) == 1


def rising(monkeypatch: pytest.MonkeyPatch, values: dict[int, float], verdict_at: int) -> None:
    """Validation losses as given by step, and once, at this step, the verdict that the run has diverged."""
    real, told = loop._evaluation, []

    def evaluated(plan: Any, training: Any) -> dict[str, Any]:
        record = real(plan, training)
        training.val_loss = values.get(training.step, 9.0)
        return record

    def judge(self: selfcheck.SelfCheck, step: int) -> selfcheck.Judgement:
        if step != verdict_at or told:
            return selfcheck.Judgement()
        told.append(step)
        return selfcheck.Judgement(fatal="diverged: it rises")

    monkeypatch.setattr(loop, "_evaluation", evaluated)
    monkeypatch.setattr(selfcheck.SelfCheck, "judge", judge)


def test_a_loss_that_has_been_rising_goes_back_to_the_best_checkpoint(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(run__name="a", run__steps=20, run__on_divergence="rollback", checkpoint__keep_last=1)
    rising(monkeypatch, {0: 6.0, 4: 3.0, 8: 5.0, 12: 7.0}, verdict_at=16)
    folder, left = config.run.out / "a" / "checkpoints", []
    for record in train(config):
        if "back from" in record.get("note", ""):
            left = sorted(path.name for path in folder.iterdir() if path.name != "best")
            assert record["note"] == (
                "diverged: it rises: back from step 16 to step 4; the 3,072 tokens read since are left out, and the "
                "learning rate is 0.5 of its plan from here"
            )
            assert (folder / "latest").read_text() == "step_00000004\n"
    assert left == ["latest", "step_00000004"]  # a run that is killed now goes on from there too
    assert record["step"] == 20
    assert not list(folder.glob("*.damaged"))


def test_where_the_newest_checkpoint_did_not_help_the_best_one_is_next(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(run__name="a", run__on_divergence="rollback", evaluation__diagnose=False)
    rising(monkeypatch, {0: 6.0, 4: 3.0, 8: 5.0}, verdict_at=-1)
    calls: list[int] = []

    def bad(cursor: int) -> bool:
        calls.append(cursor)
        return len(calls) in (11, 13)  # step 10, and after the first rollback step 9

    poisoned(monkeypatch, bad)
    notes = [r["note"] for r in train(config) if "back from" in r.get("note", "")]
    assert [note.partition(";")[0] for note in notes] == [
        "the loss is nan at step 10: back from step 10 to step 8",
        "the loss is nan at step 9: back from step 9 to step 4",
    ]


def test_a_run_that_is_killed_after_a_rollback_ends_as_one_that_was_not(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, broken = (
        configured(run__name=name, run__steps=16, run__on_divergence="rollback") for name in ("straight", "broken")
    )
    poisoned(monkeypatch, lambda cursor: cursor == 6 * 8)
    list(train(straight))
    run_until(broken, 9)  # the second time, after the rollback from step 6
    list(train(broken))
    ends_the_same(straight, broken, 16)


def test_a_batch_that_no_loss_scale_saves_leaves_the_scale_as_a_run_begins_with_it(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = update.accumulate

    def broken(training: Any, *rest: Any) -> update.Gradients:
        gradients = real(training, *rest)
        if training.cursor == 6 * 8:
            next(training.model.parameters()).grad.fill_(math.inf)
        return gradients

    monkeypatch.setattr(loop, "accumulate", broken)
    config = configured(run__name="a", run__on_divergence="continue", hardware__precision="fp16")
    records = [r for r in train(config) if "loss" in r]
    bad = next(i for i, r in enumerate(records) if r["grad_norm"] == math.inf)
    assert records[bad]["loss_scale"] < 1  # the log tells what happened
    assert records[bad + 1]["loss_scale"] > 1000
    assert records[bad + 1]["skipped_steps"] >= records[bad]["skipped_steps"] > 20


def test_ranks_that_run_out_of_memory_say_what_to_give(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, training, _ = begin(configured(run__name="a", batch__micro_batch=4))
    training.ranks = Ranks(1, 2)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "accumulate", full)
    with pytest.raises(OfThisRankError, match=r"rank 1: out of memory with batch.micro_batch = 4; give .* = 2: "):
        loop._gradients(plan, training)


def test_what_the_plan_mends_by_itself_is_no_news(tmp_path: Path) -> None:
    def judged(*remedies: str) -> list[Any]:
        changes = tuple(Remedy(name, "wait: 20 steps", {}) for name in remedies)
        finding = Finding("present", "the rate stands high", nats=Estimate(0.2, 0.1, 0.3), remedies=changes)
        cause = type("Cause", (), {"name": "learning_rate_not_decayed", "finding": finding})
        check = selfcheck.SelfCheck(tmp_path / "log.jsonl")
        check._diagnose = lambda: type("Diagnosis", (), {"causes": (cause,)})  # type: ignore[method-assign]
        return [record["note"] for step in range(3) for record in check.judge(step).records]

    assert judged("wait") == []
    told = "step 1: learning_rate_not_decayed is present (0.20 nats, 0.10 to 0.30): the rate stands high"
    assert judged("wait", "decay_to_zero") == judged("decay_now") == [told]
