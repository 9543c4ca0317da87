"""The page of `talweg read`."""

import math
from pathlib import Path

import numpy as np
import pytest

from talweg.readers import formats
from talweg.report.figures import FORMAT_NAMES
from talweg.report.understood import number, understood
from talweg.run import Facts, Reading, Run, Series

RUN = Run(
    source="train.log",
    format="nanogpt",
    train_loss=Series.of([0, 10, 20], [10.5, math.nan, 4.25], kind="micro_batch", name="iter loss"),
    val_loss=Series.of([0], [11.0], kind="evaluation", name="step val loss"),
    others={f"other_{i}": Series.of([1, 2], [i, i + 1]) for i in range(20)},
    superseded={"train_loss": (Series.of([15, 20], [5.0, 6.0]),)},
    facts=Facts(layers=12, parameters=40_560_000.0, sources={"layers": "a.py"}, conflicts={"layers": "6 (the log)"}),
    reading=Reading(100, 7, ("a note",), ((3, "what is this"),)),
)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    assert max(map(len, understood(RUN, width=width).splitlines())) <= width


def test_what_stands_on_the_page() -> None:
    page = understood(RUN, width=140)
    row = next(line for line in page.splitlines() if line.strip().startswith("train_loss"))
    assert "one micro-batch" in row
    for text in ("3 (1 not finite)", "0-20", "10.5", "4.25"):
        assert text in row
    assert "40,560,000" in page
    assert "elsewhere 6 (the log)" in page
    assert "100 lines, 7 not understood" in page
    assert "line 3: what is this" in page
    assert "a note" in page
    assert "train_loss 15-20 (2)" in page
    assert "and 8 more" in page
    assert "other_19" in understood(RUN, width=140, everything=True)


def test_a_run_without_facts_says_so() -> None:
    assert "no fact about the configuration is known" in understood(Run(train_loss=Series.of([1], [2.0])))


def test_text_that_looks_like_markup_is_shown_as_it_is() -> None:
    run = Run(train_loss=Series.of([1], [2.0], name="[red]x"), reading=Reading(1, 1, (), ((1, "[bold]a[/bold]"),)))
    page = understood(run)
    assert "[red]x" in page
    assert "[bold]a[/bold]" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (3.0, "3"), (1234.5, "1234.5"), (1e-5, "1e-05"), (math.nan, "nan"), (2.5e9, "2.5e+09")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from talweg.cli import main

    log = tmp_path / "train.log"
    log.write_text("iter 0: loss 5.0000, time 1.00ms, mfu 1.00%\niter 1: loss 4.5000, time 1.00ms, mfu 1.00%\n")
    assert main(["read", str(log)]) == 0
    assert "nanoGPT" in capsys.readouterr().out
    assert main(["read", str(log), "--to", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["step,train_loss,seconds_per_step,mfu", "0,5,0.001,0.01"]
    target = tmp_path / "run.json"
    assert main(["read", str(log), "-o", str(target)]) == 0
    assert target.is_file()
    capsys.readouterr()
    assert main(["read", str(log), "--to", "parquet"]) == 2
    assert main(["read", str(log), "--column", "nonsense"]) == 2
    assert main(["read", str(log), "--column", "nonsense=loss"]) == 2
    assert main(["read", str(log), "--format", "nonsense"]) == 2
    told = capsys.readouterr().err
    assert "name the file" in told
    assert "--column val_loss=dev/nll" in told
    assert "is no column of a run" in told
    assert "no such format" in told


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_names_of_columns_stay_whole_on_a_narrow_screen(width: int) -> None:
    clock = 1.7e9 + 60.0 * np.arange(300)
    logged = {
        "train_loss": Series.of(np.arange(300), 4 - np.arange(300) / 313, name="train/loss"),
        "seconds_per_step": Series.of(np.arange(300), np.full(300, 0.0412345), name="perf/seconds_of_a_step"),
        "tokens_per_second": Series.of(np.arange(300), np.full(300, 24388.2), name="perf/tokens_of_a_second"),
        "wall_time": Series.of(np.arange(300), clock, name="wall_time"),
    }
    page = understood(Run(source="run", format="tensorboard", reading=Reading(lines=1500), **logged), width=width)
    assert all(f"  {name} " in page for name in logged)
    assert "TensorBoard · 1,500 records, all understood" in page
    assert "…" not in page


def test_each_reader_has_a_name_for_people() -> None:
    assert set(FORMAT_NAMES) == {name for name in formats() if formats()[name].__name__.startswith("talweg.readers.")}
