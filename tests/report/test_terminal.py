"""The screen: its width and height, with and without colour, and nothing left unsaid."""

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from talweg.diagnosis import Diagnosis
from talweg.estimate import Estimate
from talweg.report.terminal import bar, render
from tests.report import seed_diagnosis

WIDTHS = (60, 72, 80, 100, 160)


def crowded() -> Diagnosis:
    """Nine present causes: more than fit with their reasons."""
    diagnosis = seed_diagnosis.diagnosis()
    many = tuple(replace(diagnosis.causes[i % 3], name=f"cause_number_{i}") for i in range(9))
    return replace(diagnosis, causes=(*many, *diagnosis.by_verdict("unknown"), *diagnosis.by_verdict("absent")))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", [seed_diagnosis.diagnosis, seed_diagnosis.bare, crowded])
def test_no_line_is_wider_than_the_screen(width: int, make: object) -> None:
    for line in render(make(), width=width).splitlines():  # type: ignore[operator]
        assert cell_len(line) <= width
        assert line == line.rstrip()


@pytest.mark.parametrize("make", [seed_diagnosis.diagnosis, seed_diagnosis.bare])
def test_the_answer_fits_one_screen(make: object) -> None:
    for height in (40, 44, 60):
        assert len(render(make(), width=80, height=height).splitlines()) <= height  # type: ignore[operator]


def test_the_plot_takes_the_height_that_is_left_and_goes_first_when_there_is_none() -> None:
    tall, short = (render(seed_diagnosis.diagnosis(), width=80, height=h) for h in (44, 34))
    assert re.search("[\u2801-\u28ff]", tall)
    assert len(tall.splitlines()) <= 44
    assert not re.search("[\u2801-\u28ff]", short)
    assert "forecast dotted" in tall


def test_every_present_cause_is_named_with_its_cost_and_interval_whatever_the_height() -> None:
    for height in (12, 40, 80):
        screen = render(crowded(), width=80, height=height)
        for i in range(9):
            assert f"cause_number_{i} " in screen
        assert screen.count("0.241–0.363") == 3


def test_all_parts_of_the_answer_are_there() -> None:
    screen = " ".join(render(seed_diagnosis.diagnosis(), width=100, height=80).split())
    for part in (
        "nanoGPT · 40.6 M parameters · step 14,500 of 20,000 · 7.60 B tokens (187 a parameter)",
        "FALLING, not stalled.",
        "val 3.571 ±0.006 train 3.643 ±0.005",
        "-0.012 ±0.002 nats per 1,000 steps; P(an evaluation rises) 36 %",
        "3.581 ±0.130",
        "3.516 ±0.022 at step 20,000",
        "width 384 -> 512: wins 0.110 (0.080–0.140), 3.40 B tokens more",
        "absent 8: overfitting (val lies 0.069 below train",
        "repeated_data: give unique_tokens (could hide up to 0.120)",
        "small_batch_noise",
        '"train and val are within 0.1, so it overfits": the gap is -0.07',
        "try model.width = 512; wait: 5,500 steps; model.dropout = 0.0",
        "talweg explain model_too_small",
    ):
        assert part in screen


def test_silence_is_not_health() -> None:
    screen = render(seed_diagnosis.bare(), width=80)
    assert "none could be judged" in screen
    assert "TOO SHORT" in screen
    absent = replace(seed_diagnosis.diagnosis(), causes=seed_diagnosis.beside())
    assert "no cause is present: 8 ruled out; 2 could not be judged" in render(absent, width=80)


def test_without_colour_there_is_no_escape_and_with_it_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "33")
    plain, coloured = (render(seed_diagnosis.diagnosis(), width=80, color=c) for c in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_a_colour_ends_with_the_word_it_is_for() -> None:
    lines = render(seed_diagnosis.diagnosis(), width=80, color=True, height=44).splitlines()
    answer = next(line for line in lines if "FALLING" in line)
    assert "\x1b[1;32mFALLING\x1b[0m" in answer
    remedy = next(line for line in lines if "-> width" in line or "384 -> 512" in line)
    assert "\x1b[32m-> \x1b[0mwidth" in remedy
    curve = next(line for line in lines if "\u2809" in line)
    assert "\x1b[36m" in curve  # cyan, not dimmed with the axis


def test_a_path_cannot_send_escapes_to_the_terminal() -> None:
    screen = render(seed_diagnosis.diagnosis("x\x1b[2J\x1b]0;owned\x07.log\nFALSE LINE"), width=80)
    assert "\x1b" not in screen
    assert "\x07" not in screen
    assert "\nFALSE LINE" not in screen


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    assert "[bold]x[/bold].log" in render(seed_diagnosis.diagnosis("[bold]x[/bold].log"), width=80)


def test_wide_characters_count_two_cells() -> None:
    for line in render(seed_diagnosis.diagnosis("学習/" * 30 + "train.log"), width=60).splitlines():
        assert cell_len(line) <= 60


@pytest.mark.parametrize(
    ("value", "high", "width", "expected"),
    [(0.5, 0.75, 16, ("████████", "────")), (0.0, 0.0, 16, ("", "")), (1.0, 1.0, 4, ("████", ""))],
)
def test_a_bar_is_as_long_as_its_share(value: float, high: float, width: int, expected: tuple[str, str]) -> None:
    assert bar(value, high, width) == expected


def test_no_one_is_asked_for_a_column_that_the_log_has() -> None:
    diagnosis = seed_diagnosis.diagnosis()
    assert diagnosis.run.val_loss
    cause = diagnosis.by_verdict("unknown")[0]
    finding = replace(cause.finding, because="the tail still moves", needs=("val_loss",))
    page = render(replace(diagnosis, causes=(replace(cause, finding=finding),)), width=100)
    assert "the tail still moves" in page
    assert "give val_loss" not in page


def test_a_remedy_that_wins_no_loss_says_what_it_wins() -> None:
    diagnosis = seed_diagnosis.diagnosis()
    cause = diagnosis.by_verdict("present")[0]
    nothing = Estimate(0.0, 0.0, 0.0)
    remedies = (replace(cause.finding.remedies[0], gain=nothing),)
    page = render(replace(diagnosis, causes=(replace(cause, finding=replace(cause.finding, remedies=remedies)),)))
    assert "0.000" not in page
    assert "wins no loss" in " ".join(page.split())
