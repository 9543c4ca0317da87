"""Progress as it looks where stderr is no terminal: plain lines, now and then, with rate and time left."""

import time

import pytest

from talweg import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; tests move it."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (75, "1:15"), (4000, "1:06:40"), (-3, "0:00")])
def test_clock(seconds: float, text: str) -> None:
    assert progress.clock(seconds) == text


def test_rate_and_time_left_of_training(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Training() as training:
        training.update({"facts": {"planned_steps": 100}, "step": 0})
        for step in range(0, 41, 20):
            clock[0] = step / 2  # two steps a second, 1,000 tokens a step
            speed = {"tokens_per_second": 2000.0 + 100 * (step == 40), "mfu": 0.3}
            training.update({"step": step, "loss": 5.0, "lr": 1e-3, "memory_bytes": 3 * 2**29, **speed})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "step       0 of 100  loss 5.0000  lr 1.00e-03  2,000 tokens/s  MFU 30%  1.5 GiB"
    assert lines[2].endswith("  2,010 tokens/s  MFU 30%  1.5 GiB  0:30 left")  # 60 steps are left


def test_a_run_in_minutes_shows_the_steps_that_its_pace_makes(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.Training() as training:
        training.update({"facts": {"planned_steps": 100}, "step": 0})
        training.update({"step": 20, "val_loss": 5.0, "plan": {"planned_steps": 40}})
        training.update({"step": 20, "loss": 5.0, "lr": 1e-3})
    assert capsys.readouterr().err.splitlines()[1] == "step      20 of 40  loss 5.0000  lr 1.00e-03"


def test_lines_come_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Training() as training:
        for step in range(1000):
            clock[0] = 0.1 * step
            training.update({"step": step, "loss": float("nan"), "lr": 1e-3, "tokens": step})
    assert len(capsys.readouterr().err.splitlines()) == 10  # of 100 seconds


def test_stages(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Stages() as stages:
        for done in range(0, 101, 10):
            clock[0] = float(done)
            stages.update("encoding", done, 100)
        stages.update("counting", 0, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("encoding    0%")
    assert "40%" in lines[4]
    assert "1:00 left" in lines[4]
    assert lines[-1] == "counting"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "step      50 of 100  loss 5.0000  lr 1.00e-03  2,000 tokens/s  MFU 30%  1.5 GiB"),
        (70, "step      50 of 100  loss 5.0000  lr 1.00e-03  2,000 tokens/s  MFU 30%"),
        (60, "step      50 of 100  loss 5.0000  2,000 tokens/s  MFU 30%"),
        (20, "step      50 of 100  loss 5.0000"),
    ],
)
def test_a_narrow_terminal_shows_what_matters_most(
    width: int, shown: str, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.Training() as training:
        training.line.width = lambda: width
        training.update({"facts": {"planned_steps": 100}, "step": 0})
        record = {"step": 50, "loss": 5.0, "lr": 1e-3, "memory_bytes": 3 * 2**29, "tokens_per_second": 2e3, "mfu": 0.3}
        training.update(record)
    assert capsys.readouterr().err == shown + "\n"
