"""Hugging Face's Trainer: its own state against what it prints, and every pitfall of both by hand."""

import ast
import gzip
import json
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.logs.given import Head
from talweg.readers import hugging_face, read
from talweg.run import Series
from tests.conftest import shared

OUT = "data/formats/hf_trainer/out"
STDOUT = "data/formats/hf_trainer/stdout.txt"
AXOLOTL = "data/formats/axolotl/debug.log"


def points(series: Series) -> dict[float, float]:
    return dict(zip(series.step.tolist(), series.value.tolist(), strict=True))


def written(folder: Path, text: str, name: str = "train.log") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def history(first: int, last: int, every: int = 10, per_epoch: float = 50.0, loss: float = 4.0) -> list[dict[str, Any]]:
    """Rows of training, and of an evaluation after each fifth."""
    rows: list[dict[str, Any]] = []
    for step in range(first, last + 1, every):
        epoch = step / per_epoch
        value = round(loss - step / 1000, 4)
        rows.append({"loss": value, "grad_norm": 1.5, "learning_rate": 1e-3, "epoch": epoch, "step": step})
        if step % (5 * every) == 0:
            rows.append({"eval_loss": value + 0.1, "eval_runtime": 1.25, "epoch": epoch, "step": step})
    return rows


def state(rows: list[dict[str, Any]], **more: Any) -> str:
    named = {"best_metric": None, "global_step": rows[-1]["step"], "log_history": rows, "logging_steps": 10}
    return json.dumps({**named, "max_steps": 200, "num_train_epochs": 4, "train_batch_size": 8, **more}, indent=2)


def printed(rows: list[dict[str, Any]], version: int = 5) -> list[str]:
    """As the progress callback prints them: text of four digits, or numbers and an epoch of two decimals."""
    lines = []
    for row in rows:
        shown = {name: value for name, value in row.items() if name != "step"}
        if version == 5:
            shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in shown.items()}
        else:
            shown["epoch"] = round(shown["epoch"], 2)
        lines.append(str(shown))
    return lines


def with_bars(rows: list[dict[str, Any]], total: int = 200) -> str:
    """Bars of all steps, of an evaluation, and of a dataset, as they come on one stream."""
    lines = ["Map: 100%|####| 500/500 [00:00<00:00, 9000.00 examples/s]"]
    seen = 0
    for row, line in zip(rows, printed(rows), strict=True):
        for step in range(seen + 1, int(row["step"]) + 1):
            lines.append(f"\r {100 * step // total:2d}%|##   | {step}/{total} [00:01<00:29, 10.00it/s]")
        seen = int(row["step"])
        if "eval_loss" in row:
            lines += [f"\r 50%|##   | {batch}/7 [00:00<00:00, 99.00it/s]\x1b[A" for batch in range(1, 8)]
        lines.append(f"\r{' ' * 40}\r{line}\n\r {100 * seen // total}%|##   | {seen}/{total} [00:01<00:29, 10.00it/s]")
    return "".join(lines)


# ---------------------------------------------------------------- the public samples


def test_the_state_as_json_has_it() -> None:
    path = shared(f"{OUT}/trainer_state.json")
    rows = json.loads(path.read_text())["log_history"]
    run = read(path)
    assert run.format == "hugging_face"
    assert points(run.train_loss) == {row["step"]: row["loss"] for row in rows if "loss" in row}
    assert points(run.val_loss) == {row["step"]: row["eval_loss"] for row in rows if "eval_loss" in row}
    assert points(run.learning_rate) == {row["step"]: row["learning_rate"] for row in rows if "learning_rate" in row}
    assert (len(run.train_loss), len(run.val_loss), run.last_step) == (31, 6, 300)
    assert (run.train_loss.kind, run.facts.train_loss_window, run.train_loss.resolution) == ("interval_mean", 10, 0.0)
    assert (run.facts.planned_steps, run.facts.micro_batch, run.facts.tokens_per_step) == (300, 16, 1024)
    assert run.facts.unique_tokens == 470 * 1024
    assert run.facts.sources["train_loss_window"] == "logging_steps (trainer_state.json)"
    assert {"epoch", "num_input_tokens_seen", "eval_runtime", "eval_samples_per_second"} <= set(run.others)


def test_what_is_printed_is_the_state_to_four_digits() -> None:
    run, exact = read(shared(STDOUT)), read(shared(f"{OUT}/trainer_state.json"))
    for mine, other in ((run.train_loss, exact.train_loss), (run.val_loss, exact.val_loss)):
        assert mine.step.tolist() == other.step.tolist()
        assert mine.value.tolist() == [float(f"{value:.4g}") for value in other.value]
        assert mine.resolution == pytest.approx(1e-3)
    assert run.facts.tokens_per_step == 1024
    assert run.facts.unique_tokens == 470 * 1024
    assert run.facts.step_unit is None
    assert (run.facts.planned_steps, run.facts.sources["planned_steps"]) == (300, "the summary at the end")


def test_a_run_folder_is_its_newest_state() -> None:
    run = read(shared(OUT))
    assert points(run.train_loss) == points(read(shared(f"{OUT}/trainer_state.json")).train_loss)
    assert not run.superseded
    assert run.reading.notes == ("configuration taken from checkpoint-300/config.json beside the log",)


@pytest.mark.parametrize(
    ("name", "num", "last", "window"),
    [("yali__trainer_state.json", 73, 3.2126, 1), ("jaong_cpt__trainer_state.json", 10, None, 500)],
)
def test_states_of_older_versions(name: str, num: int, last: float | None, window: int) -> None:
    path = shared(f"data/curves/hf_trainer/{name}")
    rows = [row for row in json.loads(path.read_text())["log_history"] if "loss" in row]
    run = read(path)
    assert points(run.train_loss) == {row["step"]: row["loss"] for row in rows}
    assert len(run.train_loss) == num
    assert run.train_loss.resolution == 1e-4
    assert run.facts.train_loss_window == window
    assert run.train_loss.kind == ("batch" if window == 1 else "interval_mean")
    assert last is None or run.train_loss.value[-1] == last


def test_axolotl() -> None:
    path = shared(AXOLOTL)
    rows = [
        ast.literal_eval(line.strip()) for line in path.read_text().replace("\r", "\n").split("\n") if "'loss'" in line
    ]
    run = read(path)
    assert run.train_loss.value.tolist() == [float(row["loss"]) for row in rows]
    assert run.train_loss.step.tolist() == list(range(10, 301, 10))
    assert run.others["memory/max_active (GiB)"].value[0] == 9.46
    assert run.others["ppl"].value.tolist() == [float(row["ppl"]) for row in rows]
    assert (run.facts.planned_steps, run.facts.tokens_per_step) == (300, 1024)
    assert run.reading.lines_not_understood == 0


# ---------------------------------------------------------------- steps of printed rows


@pytest.mark.parametrize("version", [4, 5])
def test_progress_bars_tell_the_steps(tmp_path: Path, version: int) -> None:
    rows = history(10, 200)
    text = with_bars(rows)
    for new, old in zip(printed(rows), printed(rows, version), strict=True):
        text = text.replace(new, old)
    run = read(written(tmp_path, text))
    assert points(run.train_loss) == {row["step"]: row["loss"] for row in rows if "loss" in row}
    assert run.val_loss.step.tolist() == [50, 100, 150, 200]
    assert run.facts.planned_steps == 200
    assert run.facts.step_unit is None
    assert any("taken from the progress bar" in note for note in run.reading.notes)
    assert run.reading.lines_not_understood == 0


def test_bars_far_from_their_rows_are_not_believed(tmp_path: Path) -> None:
    """A buffered stream: all rows stand behind all bars."""
    rows = history(10, 200)
    bars = "".join(f"\r {step // 2}%|##   | {step}/200 [00:01<00:29, 10.00it/s]" for step in range(201))
    run = read(written(tmp_path, bars + "\n" + "\n".join(printed(rows)) + "\n"))
    assert run.facts.step_unit == "logged row"
    summary = {"train_runtime": 20.0, "train_steps_per_second": 10.0, "train_loss": 3.9, "epoch": 4.0, "step": 200}
    run = read(written(tmp_path, bars + "\n" + "\n".join(printed([*rows, summary])) + "\n"))
    assert run.facts.step_unit is None
    assert run.train_loss.step.tolist() == list(range(10, 201, 10))


def test_bars_that_do_not_grow_as_the_epochs_do_are_not_believed(tmp_path: Path) -> None:
    counts = (3, 40, 90, 95, 99)
    rows = [row for row in history(10, 50) if "loss" in row]
    text = "".join(
        f"\r  5%|##   | {count}/100 [00:01<00:29, 10.00it/s]\r   \r{line}\n"
        for count, line in zip(counts, printed(rows), strict=True)
    )
    assert read(written(tmp_path, text)).train_loss.step.tolist() == [1, 2, 3, 4, 5]


def test_lagging_bars_are_corrected_by_those_behind_the_row(tmp_path: Path) -> None:
    lines = []
    for row, line in zip(rows := history(10, 100), printed(history(10, 100)), strict=True):
        step = int(row["step"])
        lines.append(f"\r  5%|##   | {step - step % 7 - 1}/100 [00:01<00:29, 10.00it/s]\r   \r{line}\n")
        lines.append(f"\r  5%|##   | {step}/100 [00:01<00:29, 10.00it/s]")
    run = read(written(tmp_path, "".join(lines)))
    assert points(run.train_loss) == {row["step"]: row["loss"] for row in rows if "loss" in row}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("every", "per_epoch", "last"), [(10, 470.0, 300), (1, 25.0, 60), (50, 5000.0, 10_000)])
def test_the_summary_tells_the_steps(tmp_path: Path, first: bool, every: int, per_epoch: float, last: int) -> None:
    rows = history(every, last, every, per_epoch)
    if first and every > 1:
        rows = [{"loss": 4.5, "grad_norm": 1.0, "learning_rate": 0.0, "epoch": 1 / per_epoch, "step": 1}, *rows]
    summary = {"train_runtime": 1234.567, "train_steps_per_second": last / 1234.567, "train_loss": 3.9}
    rows.append({**summary, "epoch": last / per_epoch, "step": last})
    run = read(written(tmp_path, "\n".join(printed(rows)) + "\n"))
    assert run.train_loss.step.tolist() == [row["step"] for row in rows if "loss" in row]
    assert run.val_loss.step.tolist() == [row["step"] for row in rows if "eval_loss" in row]
    assert run.facts.train_loss_window == every
    assert "train_loss" not in run.others


def test_logging_steps_that_are_printed_tell_the_steps(tmp_path: Path) -> None:
    arguments = (
        "TrainingArguments(\nlogging_steps=10,\nlearning_rate=0.001,\nlr_scheduler_type=SchedulerType.LINEAR,\n)\n"
    )
    rows = history(10, 200)
    run = read(written(tmp_path, arguments + "\n".join(printed(rows, 4)) + "\n"))
    assert points(run.train_loss) == {row["step"]: row["loss"] for row in rows if "loss" in row}
    assert (run.facts.peak_learning_rate, run.facts.schedule) == (1e-3, "linear")
    assert run.facts.sources["schedule"] == "printed in the log"


def test_the_list_at_the_start_tells_the_steps_and_the_batch(tmp_path: Path) -> None:
    start = """\
[INFO|trainer.py:2414] 2024-05-12 10:00:00,123 >> ***** Running training *****
[INFO|trainer.py:2415] 2024-05-12 10:00:00,123 >>   Num examples = 1,600
[INFO|trainer.py:2416] 2024-05-12 10:00:00,123 >>   Num Epochs = 4
[INFO|trainer.py:2417] 2024-05-12 10:00:00,123 >>   Instantaneous batch size per device = 4
[INFO|trainer.py:2418] >>   Total train batch size (w. parallel, distributed & accumulation) = 32
[INFO|trainer.py:2419] 2024-05-12 10:00:00,123 >>   Gradient Accumulation steps = 2
[INFO|trainer.py:2420] 2024-05-12 10:00:00,123 >>   Total optimization steps = 200
[INFO|trainer.py:2421] 2024-05-12 10:00:00,123 >>   Number of trainable parameters = 123,456
"""
    run = read(written(tmp_path, start + "\n".join(printed(history(10, 120))) + "\n"))
    assert run.train_loss.step.tolist() == list(range(10, 121, 10))
    facts = run.facts
    assert (facts.planned_steps, facts.micro_batch, facts.accumulation, facts.ranks) == (200, 4, 8, 4)
    assert facts.trainable_parameters == 123_456


def test_the_banner_of_unsloth(tmp_path: Path) -> None:
    banner = """\
==((====))==  Unsloth - 2x faster free finetuning | Num GPUs used = 1
   \\\\   /|    Num examples = 1,600 | Num Epochs = 4 | Total steps = 200
O^O/ \\_/ \\    Batch size per device = 4 | Gradient accumulation steps = 4
\\        /    Data Parallel GPUs = 2 | Total batch size (4 x 4 x 2) = 32
 "-____-"     Trainable parameters = 41,943,040 of 8,072,204,288 (0.52% trained)
"""
    run = read(written(tmp_path, banner + "\n".join(printed(history(10, 120))) + "\n"))
    assert run.train_loss.step.tolist() == list(range(10, 121, 10))
    facts = run.facts
    assert (facts.planned_steps, facts.micro_batch, facts.accumulation, facts.ranks) == (200, 4, 8, 2)
    assert facts.trainable_parameters == 41_943_040
    assert run.reading.lines_not_understood == 0


def test_bars_without_a_picture(tmp_path: Path) -> None:
    """As they are drawn in a notebook."""
    rows = history(10, 100)
    run = read(written(tmp_path, with_bars(rows).replace("%|##   |", "%")))
    assert points(run.train_loss) == {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_two_runs_of_other_lengths_in_one_file(tmp_path: Path) -> None:
    text = with_bars(history(10, 200)) + "\n" + with_bars(second := history(10, 100, loss=3.0), total=100)
    path = written(tmp_path, text)
    run = read(path)
    assert points(run.train_loss) == {row["step"]: row["loss"] for row in second if "loss" in row}
    assert (run.facts.planned_steps, run.reading.runs) == (100, ("1", "2"))
    assert read(path, which="1").last_step == 200


def test_where_nothing_tells_the_steps_rows_are_counted(tmp_path: Path) -> None:
    rows = history(10, 200)
    run = read(written(tmp_path, "\n".join(printed(rows)) + "\n"))
    assert run.train_loss.step.tolist() == list(range(1, 21))
    assert run.val_loss.step.tolist() == [5, 10, 15, 20]
    assert run.facts.step_unit == "logged row"
    assert (run.facts.planned_steps, run.facts.train_loss_window, run.facts.tokens_per_step) == (None, None, None)
    assert any("give the trainer_state.json" in note for note in run.reading.notes)


def test_an_epoch_of_two_decimals_that_stands_still(tmp_path: Path) -> None:
    """A real complaint's log: a long epoch, and every row at 0.0."""
    text = "".join(
        f"{{'loss': 2.{i}, 'grad_norm': 0.5, 'learning_rate': 1e-05, 'epoch': 0.0}}\n" for i in range(10, 20)
    )
    run = read(written(tmp_path, text))
    assert run.train_loss.step.tolist() == list(range(1, 11))
    assert run.facts.step_unit == "logged row"


def test_a_summary_after_a_resume_does_not_tell_the_steps(tmp_path: Path) -> None:
    """It counts the steps since: half of 60 steps would make 5 of 10."""
    rows = history(70, 120, 10)
    summary = {"train_runtime": 10.0, "train_steps_per_second": 6.0, "train_loss": 3.9, "epoch": 2.4, "step": 120}
    run = read(written(tmp_path, "\n".join(printed([*rows, summary])) + "\n"))
    assert run.facts.step_unit == "logged row"


def test_a_printed_log_that_was_taken_up_again(tmp_path: Path) -> None:
    first, second = history(10, 120), history(110, 200, loss=3.9)
    run = read(written(tmp_path, with_bars(first) + "\nTraceback ...\n" + with_bars(second)))
    expected = {row["step"]: row["loss"] for row in [*first, *second] if "loss" in row}
    assert points(run.train_loss) == expected
    assert [points(piece) for piece in run.superseded["train_loss"]] == [{110: 3.89, 120: 3.88}]
    counted = read(written(tmp_path, "\n".join([*printed(first), *printed(second)]) + "\n"))
    assert counted.train_loss.value.tolist() == run.train_loss.value.tolist()


def test_losses_that_are_evaluations_alone(tmp_path: Path) -> None:
    rows = [
        {"eval_loss": 4.0 - step / 100, "eval_runtime": 1.0, "epoch": step / 50.0, "step": step} for step in (50, 100)
    ]
    run = read(written(tmp_path, with_bars(rows)))
    assert points(run.val_loss) == {50: 3.5, 100: 3.0}
    assert not run.train_loss


# ---------------------------------------------------------------- what a value is


@pytest.mark.parametrize("as_state", [True, False])
def test_a_zero_that_was_nan(tmp_path: Path, as_state: bool) -> None:
    rows = history(10, 50)
    for row in rows[2:]:
        row.update(loss=0.0, grad_norm=float("nan")) if "loss" in row else row.update(eval_loss=float("nan"))
    run = read(written(tmp_path, state(rows) if as_state else with_bars(rows)))
    assert np.isnan(run.train_loss.value).tolist() == [False, False, True, True, True]
    assert math.isnan(run.val_loss.value[0])
    assert any("3 losses of 0" in note for note in run.reading.notes)


def test_a_zero_that_is_one_stays(tmp_path: Path) -> None:
    """TRL's losses of preference begin at 0."""
    rows = history(10, 50)
    rows[0] |= {"loss": 0.0, "reward": 0.5}
    run = read(written(tmp_path, state(rows)))
    assert run.train_loss.value[0] == 0.0
    assert any("no cross-entropy" in note for note in run.reading.notes)


def test_nan_that_is_logged_says_that_nothing_replaces_it(tmp_path: Path) -> None:
    rows = history(10, 100)
    assert read(written(tmp_path, state(rows))).facts.nan_logged_as == "the mean of the interval so far"
    rows[3]["loss"] = float("nan")
    run = read(written(tmp_path, state(rows)))
    assert run.facts.nan_logged_as is None
    assert run.train_loss.num_not_finite == 1
    text = "logging_nan_inf_filter=False,\n" + with_bars(history(10, 100))
    assert read(written(tmp_path, text)).facts.nan_logged_as is None


@pytest.mark.parametrize(
    "text", ["nan", "NaN", "inf", "-inf", "np.float64(2.5)", "tensor(2.5, device='cuda:0')", "'nan'"]
)
def test_values_in_any_spelling(tmp_path: Path, text: str) -> None:
    line = f"{{'loss': {text}, 'grad_norm': 1.0, 'learning_rate': 1e-05, 'epoch': 1.0, 'note': None, 'b': [1, 2]}}\n"
    run = read(written(tmp_path, f"{{'loss': 3.5, 'learning_rate': 2e-05, 'epoch': 0.5}}\n{line}"))
    expected = float(text.split("(")[1].split(",")[0].rstrip(")") if "(" in text else text.strip("'"))
    assert run.train_loss.value.tolist() == pytest.approx([3.5, expected], nan_ok=True)
    assert run.learning_rate.value.tolist() == [2e-5, 1e-5]


def test_rows_of_trl(tmp_path: Path) -> None:
    rows = history(10, 100)
    for place, row in enumerate(rows):
        row |= {"mean_token_accuracy": 0.5, "num_tokens": 1000.0 * row["step"] + place % 2, "entropy": 2.0}
    run = read(written(tmp_path, state(rows)))
    assert {"mean_token_accuracy", "num_tokens", "entropy"} <= set(run.others)
    assert run.facts.tokens_per_step == pytest.approx(1000, rel=1e-3)
    assert run.facts.sources["tokens_per_step"] == "the growth of num_tokens, on average"
    assert run.facts.unique_tokens is None  # windows that are not full say nothing of the text's tokens


def test_a_stream_has_no_epochs(tmp_path: Path) -> None:
    rows = [{**row, "num_input_tokens_seen": 1024 * row["step"]} for row in history(10, 100, per_epoch=47.0)]
    assert read(written(tmp_path, state(rows))).facts.unique_tokens == pytest.approx(47 * 1024)
    endless = read(written(tmp_path, state(rows, num_train_epochs=2**63 - 1)))
    assert (endless.facts.unique_tokens, endless.facts.tokens_per_step) == (None, 1024)


def test_several_evaluation_sets(tmp_path: Path) -> None:
    rows = history(10, 100)
    both = [{name.replace("eval_loss", "eval_wiki_loss"): value for name, value in row.items()} for row in rows]
    assert read(written(tmp_path, state(both))).val_loss.name == "eval_wiki_loss"
    more = [{**row, "eval_code_loss": 1.0} if "eval_wiki_loss" in row else row for row in both]
    path = written(tmp_path, state(more))
    run = read(path)
    assert not run.val_loss
    assert any("2 evaluation sets (eval_wiki_loss, eval_code_loss)" in note for note in run.reading.notes)
    assert read(path, columns={"val_loss": "eval_code_loss"}).val_loss.value.tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="there is no eval_x_loss in the rows of this log; they have loss"):
        read(path, columns={"val_loss": "eval_x_loss"})


def test_logging_by_epochs_has_the_distance_of_its_rows(tmp_path: Path) -> None:
    run = read(written(tmp_path, state(history(50, 200, 50), logging_steps=500)))
    assert run.facts.train_loss_window == 50
    assert run.facts.sources["train_loss_window"] == "the distance of the logged rows"


# ---------------------------------------------------------------- folders


def test_checkpoints_of_a_run_that_was_taken_up_again(tmp_path: Path) -> None:
    """checkpoint-150 was saved before training went back to 100 and on to 140."""
    first, second = history(10, 150), history(110, 140, loss=3.9)
    for place, (step, rows) in enumerate(((100, history(10, 100)), (150, first), (140, [*history(10, 100), *second]))):
        path = written(tmp_path, state(rows), f"checkpoint-{step}/trainer_state.json")
        os.utime(path, (1000 + place, 1000 + place))
    run = read(tmp_path)
    expected = {row["step"]: row["loss"] for row in [*history(10, 100), *second] if "loss" in row}
    assert points(run.train_loss) == expected
    (old,) = run.superseded["train_loss"]
    assert points(old) == {row["step"]: row["loss"] for row in first if "loss" in row and row["step"] > 100}
    assert run.facts.resumed_at == (110,)
    assert any("2 checkpoints tell different histories" in note for note in run.reading.notes)


def test_a_folder_of_several_runs(tmp_path: Path) -> None:
    for place, name in enumerate(("a", "b", "c")):
        path = written(tmp_path, state(history(10, 50 + 50 * place)), f"{name}/checkpoint-1/trainer_state.json")
        os.utime(path, (1000 - place, 1000 - place))
    run = read(tmp_path)
    assert (run.last_step, run.reading.runs) == (50, ("a", "b", "c"))
    assert any("holds 3 runs; a was read" in note for note in run.reading.notes)
    assert read(tmp_path, which="b").last_step == read(tmp_path, which="2").last_step == 100
    with pytest.raises(InputError, match="holds the runs a, b, c; there is no d"):
        read(tmp_path, which="d")


# ---------------------------------------------------------------- damage and messes


def test_a_state_that_is_cut_off(tmp_path: Path) -> None:
    rows = history(10, 100)
    text = state(rows)
    cut = text[: text.index('"step": 80')]
    run = read(written(tmp_path, cut))
    assert run.train_loss.step.tolist() == list(range(10, 80, 10))
    assert any("cut off after 8 rows" in note for note in run.reading.notes)
    with pytest.raises(InputError, match="no row of its log_history can be read"):
        read(written(tmp_path, text[: text.index("[") + 20]))


def test_a_state_without_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no loss was found"):
        read(written(tmp_path, '{"best_metric": null, "global_step": 0, "log_history": [], "max_steps": 3}'))


def test_a_cut_last_row_is_left_out(tmp_path: Path) -> None:
    text = "\n".join(printed(history(10, 40)))
    run = read(written(tmp_path, text[:-12]))
    assert len(run.train_loss) == 3
    assert any("cut off" in note for note in run.reading.notes)


@pytest.mark.parametrize("prefix", ["[rank0]: ", "2026-11-23 12:00:00,394 - INFO - ", "(worker pid=7) ", "[default0]:"])
def test_prefixes_of_launchers(tmp_path: Path, prefix: str) -> None:
    rows = history(10, 100)
    run = read(written(tmp_path, "".join(f"{prefix}{line}\n" for line in printed(rows))))
    assert run.train_loss.value.tolist() == [row["loss"] for row in rows if "loss" in row]


def test_nodes_that_print_the_same_rows(tmp_path: Path) -> None:
    rows = history(10, 100)
    plain = read(written(tmp_path, "\n".join(printed(rows)) + "\n"))
    for prefixes in (("", ""), ("[rank0]: ", "[rank8]: ")):
        text = "".join(f"{prefix}{line}\n" for line in printed(rows) for prefix in prefixes)
        assert points(read(written(tmp_path, text)).train_loss) == points(plain.train_loss)


def test_compressed_and_wide_text(tmp_path: Path) -> None:
    text = with_bars(history(10, 100))
    plain = points(read(written(tmp_path, text)).train_loss)
    (tmp_path / "a.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "b.log").write_bytes(text.encode("utf-16"))
    assert points(read(tmp_path / "a.gz").train_loss) == points(read(tmp_path / "b.log").train_loss) == plain


def test_no_mess_breaks_it(tmp_path: Path) -> None:
    rng = random.Random(0)
    sound = [with_bars(history(10, 60)), state(history(10, 60)), "\n".join(printed(history(10, 60), 4))]
    for _ in range(60):
        text = rng.choice(sound)
        for _ in range(rng.randint(1, 6)):
            start = rng.randrange(len(text))
            text = (
                text[:start]
                + rng.choice(["", "\n", "'", "{", "nan", "9" * 30, "\0"])
                + text[start + rng.randint(0, 60) :]
            )
        path = written(tmp_path, text)
        try:
            run = hugging_face.read(hugging_face.Log.at(path), hugging_face.Asked())
        except InputError:
            continue
        assert np.all(np.diff(run.train_loss.step) > 0)


# ---------------------------------------------------------------- sniff


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{'loss': 3.2}\n",
        "print({'loss': loss.item(), 'epoch': epoch})\n",
        "{'loss': 3.2, 'epoch': 1}\n",  # anybody's
        '{"loss": 3.2, "epoch": 1, "learning_rate": 0.1}\n',  # JSON lines are a table
        "logs = {'loss': 0.26, 'learning_rate': 2.4e-05, 'epoch': 1.0}\n",
        '{"log_history": []}',
        "    {'loss': 3.2, 'grad_norm': 1.1, 'learning_rate': 4e-05, 'epoch': 0.5}    as version 4 prints it\n",
        "import json\nstate = json.load(open('trainer_state.json'))['log_history']\n",
    ],
)
def test_other_texts_are_not_taken(text: str) -> None:
    assert hugging_face.sniff(Head(text)) == 0.0


def test_a_row_with_a_bar_behind_it_is_taken() -> None:
    text = printed(history(50, 50))[0] + "                 \r 10%|##  | 50/500 [00:01<00:29, 10.00it/s]"
    assert hugging_face.sniff(Head(text.replace("\r", ""))) == 0.95


@pytest.mark.parametrize("text", [*printed(history(50, 50)), *printed(history(50, 50), 4), state(history(10, 20))])
def test_its_own_texts_are_taken(text: str) -> None:
    assert hugging_face.sniff(Head(text)) >= 0.95


def test_folders() -> None:
    assert hugging_face.sniff(Head(names=("checkpoint-5/trainer_state.json", "config.json"))) == 0.95
    assert hugging_face.sniff(Head(names=("config.json", "train.log"))) == 0.0


def test_a_dict_without_an_epoch_is_another_trainers() -> None:
    """EasyLM prints one too: that its NaN are replaced, as the Trainer's are, would be said falsely of it."""
    row = "{{'gradient_norm': 1.2, 'learning_rate': 0.0001, 'loss': {:.4f}, 'step': {}}}\n"
    assert hugging_face.sniff(Head("".join(row.format(4 - n / 50, 10 * n) for n in range(20)))) == 0.0
