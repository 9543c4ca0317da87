"""Tables: every public curve against a slow independent count, and what a column's name makes of it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.errors import InputError
from talweg.logs.given import Asked, Log
from talweg.logs.roles import guess
from talweg.readers import read
from talweg.readers.table import read as read_table
from talweg.run import Series
from tests.conftest import SHARED, shared
from tests.readers.test_nanogpt import points, written

CURVES = SHARED / "data" / "curves"
# folder -> the columns that are step, training loss and validation loss there
FOLDERS = {
    "multipowerlaw": ("step", "loss", None),
    "modded_nanogpt": ("step", "train_loss", "val_loss"),
    "parameter_golf": ("step", "train_loss", "val_loss"),
    "olmo_ladder": ("_step", None, "eval/c4_en-validation/CrossEntropyLoss"),
    "chat_hamner": ("step", "loss", "val_loss"),
    "cs336": ("step", "train/loss", "eval/loss"),
}
FILES = [path for folder in FOLDERS for path in sorted((CURVES / folder).glob("*.csv"))]

CSV = """\
step,train/loss,val/loss,lr,perplexity
0,10.90,10.80,0.001,54176
10,8.50,,0.002,4915
20,7.25,7.30,0.003,1408
"""


def slow(path: Path, step: str, column: str | None) -> dict[float, float]:
    """Filled cells of one column by step, a row at a time. A row that goes back takes away what it overtakes."""
    kept: dict[float, float] = {}
    header, *rows = path.read_text().splitlines()
    names = header.split(",")
    if column not in names:
        return {}
    for row in rows:
        cells = row.split(",")
        at, value = cells[names.index(step)], cells[names.index(column)]
        if at == "" or value == "" or (float(at) in kept and kept[float(at)] == float(value)):
            continue
        while kept and next(reversed(kept)) >= float(at):
            kept.popitem()
        kept[float(at)] = float(value)
    return kept


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[-60:])
def test_public_curves_are_read_as_a_slow_parse_reads_them(path: Path) -> None:
    step, train, val = FOLDERS[path.parent.name]
    run = read(path)
    for series, column in ((run.train_loss, train), (run.val_loss, val)):
        expected = slow(path, step, column)
        assert points(series) == expected
        assert len(series) == len(expected)
    assert run.train_loss or run.val_loss


def test_there_were_curves_to_read() -> None:
    shared("data/curves")
    assert len(FILES) > 80


def test_the_same_run_as_csv_and_as_json() -> None:
    table, document = read(shared("data/curves/cs336/metrics.csv")), read(shared("data/curves/cs336/metrics.json"))
    for name in ("train_loss", "val_loss", "learning_rate", "grad_norm"):
        assert points(getattr(table, name)) == points(getattr(document, name))
    assert table.facts.parameters == document.facts.parameters == 22_696_448
    assert len(table.train_loss) == 40


def test_constant_columns_and_a_count_of_tokens_are_facts() -> None:
    olmo = read(shared("data/curves/olmo_ladder/190M-1xC.csv"))
    assert olmo.facts.tokens_per_step == 524_288
    assert "c4" in olmo.reading.notes[0]
    assert "one of 11" in olmo.reading.notes[0]
    assert olmo.learning_rate.name == "optim/learning_rate_group0"
    chat = read(shared("data/curves/chat_hamner/pretrain_v4_base_metrics.csv"))
    assert chat.facts.tokens_per_step == 24_576  # 1,228,800 tokens in the first 50 steps
    assert chat.facts.sources["tokens_per_step"] == "growth of column tokens_total"
    changed = read(shared("data/curves/chat_hamner/metrics.csv"))  # its batch changed twice on the way
    assert changed.facts.tokens_per_step is None
    assert any("does not grow evenly" in note for note in changed.reading.notes)


def test_blank_cells_are_missing_and_perplexity_is_no_loss(tmp_path: Path) -> None:
    run = read(written(tmp_path, CSV))
    assert points(run.train_loss) == {0: 10.9, 10: 8.5, 20: 7.25}
    assert points(run.val_loss) == {0: 10.8, 20: 7.3}
    assert points(run.learning_rate) == {0: 0.001, 10: 0.002, 20: 0.003}
    assert run.train_loss.resolution == pytest.approx(0.01)
    assert run.learning_rate.resolution == pytest.approx(0.001)


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    assert points(read(written(tmp_path, CSV.replace(",", delimiter))).val_loss) == {0: 10.8, 20: 7.3}


def test_jsonl_and_json_say_the_same(tmp_path: Path) -> None:
    rows = [
        {"step": 0, "loss": 5.0, "val_loss": 5.1},
        {"step": 1, "loss": 4.5, "val_loss": None},
        {"step": 2, "loss": 4.0},
    ]
    lines = read(written(tmp_path, "\n".join(map(json.dumps, rows)) + "\n"))
    whole = read(written(tmp_path, json.dumps(rows)))
    nested = read(written(tmp_path, json.dumps({"name": "run", "history": rows})))
    lists = read(
        written(tmp_path, json.dumps({"step": [0, 1, 2], "loss": [5.0, 4.5, 4.0], "val_loss": [5.1, None, None]}))
    )
    for run in (lines, whole, nested, lists):
        assert points(run.train_loss) == {0: 5.0, 1: 4.5, 2: 4.0}
        assert points(run.val_loss) == {0: 5.1}


def test_nested_records_have_names_with_a_slash(tmp_path: Path) -> None:
    rows = [{"step": step, "train": {"loss": 5 - step}, "val": {"loss": 5.5}} for step in range(3)]
    run = read(written(tmp_path, "\n".join(map(json.dumps, rows)) + "\n"))
    assert points(run.train_loss) == {0: 5, 1: 4, 2: 3}
    assert run.val_loss.name == "val/loss"


def test_values_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    run = read(written(tmp_path, "step,loss\n0,5.0\n1,inf\n2,NaN\n3,nan\n"))
    assert len(run.train_loss) == 4
    assert math.isinf(run.train_loss.value[1])
    assert np.isnan(run.train_loss.value[2:]).all()


def test_a_tail_of_nan_is_not_taken_for_blanks(tmp_path: Path) -> None:
    rows = "".join(f"{step},{'nan' if step > 10 else 5.0}\n" for step in range(100))
    assert read(written(tmp_path, "step,loss\n" + rows)).train_loss.num_not_finite == 89


def test_nan_between_sparse_values_is_a_blank_and_noted(tmp_path: Path) -> None:
    rows = "".join(f"{step},5.0,{'nan' if step % 10 else 4.9}\n" for step in range(100))
    run = read(written(tmp_path, "step,loss,val_loss\n" + rows))
    assert len(run.val_loss) == 10
    assert any("read as blank" in note for note in run.reading.notes)


def test_the_loss_column_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "step,loss,my_metric\n0,5.0,1.0\n1,4.0,0.9\n")
    run = read(path, loss_column="my_metric")
    assert points(run.train_loss) == {0: 1.0, 1: 0.9}
    assert "as given" in run.reading.notes[0]
    with pytest.raises(InputError, match="no column nothing; it has step, loss, my_metric"):
        read(path, loss_column="nothing")


def test_a_table_without_a_loss_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no loss column; it has step, lr, accuracy\. Name it with --loss-column"):
        read(written(tmp_path, "step,lr,accuracy\n0,0.1,0.2\n1,0.1,0.3\n"))


def test_a_table_without_steps_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no step column"):
        read(written(tmp_path, "time,loss\n0,0.1\n1,0.1\n"))


def test_a_loss_column_without_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column loss holds no number"):
        read(written(tmp_path, "step,loss,lr\n0,,0.1\n1,,0.2\n"))


@pytest.mark.parametrize("name", ["tables/steplaw__dense_lr_bs_loss.csv", "tables/formll_loss_vs_N_D.csv"])
def test_tables_of_final_losses_are_no_runs(name: str) -> None:
    with pytest.raises(InputError, match="has no step column"):
        read(shared(f"data/curves/{name}"))


def test_a_trackers_panel(tmp_path: Path) -> None:
    text = '"Step","run 7 - train/loss","run 7 - train/loss__MIN","run 7 - train/loss__MAX"\n'
    text += '"0","5.0","4.9","5.1"\n"10","4","3","5"\n'
    assert points(read(written(tmp_path, text)).train_loss) == {0: 5.0, 10: 4.0}


def test_a_download_of_one_scalar_is_a_loss_if_its_file_says_so(tmp_path: Path) -> None:
    text = "Wall time,Step,Value\n1.5,0,5.0\n2.5,10,4.0\n"
    assert points(read(written(tmp_path, text, "train_loss.csv")).train_loss) == {0: 5.0, 10: 4.0}
    with pytest.raises(InputError, match="no loss column"):
        read(written(tmp_path, text, "accuracy.csv"))


def test_a_last_row_that_is_cut_off(tmp_path: Path) -> None:
    for cut in ("30,7.1", "30,7.10,7.", "30", "30,7.10,7.25,0.00"):
        run = read(
            written(
                tmp_path,
                CSV.replace(",perplexity", "").replace(",54176", "").replace(",4915", "").replace(",1408", "") + cut,
            )
        )
        assert run.train_loss.step[-1] == 20
        assert any("cut off" in note for note in run.reading.notes)
    cut = written(tmp_path, '{"step": 0, "loss": 5.0}\n{"step": 1, "loss": 4.12')
    assert points(read(cut).train_loss) == {0: 5.0}
    document = written(tmp_path, '[{"step": 0, "loss": 5.0}, {"step": 1, "loss": 4.5}, {"step": 2, "lo')
    assert points(read(document).train_loss) == {0: 5.0, 1: 4.5}


def test_a_whole_last_row_without_its_newline_is_kept(tmp_path: Path) -> None:
    run = read(written(tmp_path, "step,loss\n0,5.25\n1,4.50\n2,4.25"))
    assert len(run.train_loss) == 3
    assert not run.reading.notes


def test_a_header_that_is_repeated_on_a_resume(tmp_path: Path) -> None:
    run = read(written(tmp_path, "step,loss\n0,5.0\n1,4.5\n2,4.2\nstep,loss\n1,4.4\n2,4.1\n"))
    assert points(run.train_loss) == {0: 5.0, 1: 4.4, 2: 4.1}
    assert run.reading.lines_not_understood == 0
    assert any("goes back to step 1" in note for note in run.reading.notes)


def test_thousands_in_quotes(tmp_path: Path) -> None:
    assert points(read(written(tmp_path, 'step,loss\n"1,000",5.0\n"2,000",4.0\n')).train_loss) == {1000: 5.0, 2000: 4.0}


@pytest.mark.parametrize(
    ("names", "train", "val", "lr", "norm"),
    [
        ("step loss perplexity learning_rate", "loss", None, "learning_rate", None),
        (
            "_step train/loss eval/loss train/grad_norm optim/lr",
            "train/loss",
            "eval/loss",
            "optim/lr",
            "train/grad_norm",
        ),
        ("Step train_loss_step validation_loss lr-AdamW", "train_loss_step", "validation_loss", "lr-AdamW", None),
        ("step smooth_loss loss_scale best_val_loss", "smooth_loss", None, None, None),
        ("step train/CrossEntropyLoss val/pile/loss val/c4/loss", "train/CrossEntropyLoss", "val/c4/loss", None, None),
        ("step timing/loss_ms loss_tokens_per_sec accuracy moe/aux_loss", None, None, None, None),
        ("step train_loss val_bpb final_loss grad_norm_after_clip", "train_loss", None, None, None),
    ],
)
def test_roles(names: str, train: str | None, val: str | None, lr: str | None, norm: str | None) -> None:
    roles = guess(names.split())
    assert roles.step in ("step", "_step", "Step")
    assert (roles.train, roles.val, roles.learning_rate, roles.grad_norm) == (train, val, lr, norm)


def test_a_running_mean_is_called_one(tmp_path: Path) -> None:
    run = read(written(tmp_path, "step,train/running_loss\n0,5.0\n1,4.0\n"))
    assert run.train_loss.kind == "running_mean"
    assert "was taken as the training loss" in run.reading.notes[0]


def test_a_given_configuration_wins(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss,total_parameters\n0,5.0,1000\n1,4.0,1000\n")
    config = written(tmp_path, "num_parameters: 2000\nlearning_rate: 0.001\n", "config.yaml")
    facts = read(log, config=config).facts
    assert (facts.parameters, facts.peak_learning_rate) == (2000, 0.001)
    assert facts.conflicts == {"parameters": "1000.0 (column total_parameters)"}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.text(st.characters(exclude_characters="\n\r"), max_size=40)), max_size=3)
)
def test_inserted_garbage_lines_never_change_the_points(inserted: list[tuple[int, str]]) -> None:
    lines = CSV.splitlines()
    for place, garbage in inserted:
        cells = garbage.split(",")
        if len(cells) == 5 and cells[0].strip().isdigit():
            continue  # that is no garbage but a row
        lines.insert(place, garbage)
    run = read_table(Log.of_text("\n".join(lines) + "\n"), Asked())
    assert points(run.train_loss) == {0: 10.9, 10: 8.5, 20: 7.25}
    assert points(run.val_loss) == {0: 10.8, 20: 7.3}


def test_series_are_sorted(tmp_path: Path) -> None:
    run = read(written(tmp_path, "step,loss\n0,5.0\n2,4.0\n1,4.5\n"))
    assert isinstance(run.train_loss, Series)
    assert run.train_loss.step.tolist() == [0, 1]


def test_columns_of_numerics_and_speed_are_known_by_their_names(tmp_path: Path) -> None:
    text = "step,train/loss,train/grad_norm,amp/loss_scale,tokens/sec,perf/mfu,data_time,clip_coef\n"
    text += "1,4.0,1.5,65536,1000,31.5,0.01,0.7\n2,3.9,1.4,32768,1010,31.6,0.02,0.8\n"
    run = read(written(tmp_path, text))
    assert points(run.loss_scale) == {1: 65536, 2: 32768}
    assert points(run.tokens_per_second) == {1: 1000, 2: 1010}
    assert points(run.mfu) == pytest.approx({1: 0.315, 2: 0.316})
    assert points(run.loader_seconds) == {1: 0.01, 2: 0.02}
    assert points(run.clip_scale) == {1: 0.7, 2: 0.8}
    assert any("percent" in note for note in run.reading.notes)


@pytest.mark.parametrize(
    ("logged", "total"),
    [
        ([0, 0, 1, 1, 3], [0, 0, 1, 1, 3]),
        ([0, 1, 4, 0, 2], [0, 1, 4, 4, 6]),
        ([0, 1, 0, 1, 0, 2, 0], [0, 1, 1, 2, 2, 4, 4]),
    ],
    ids=["so far", "starts over", "of each row"],
)
def test_skipped_updates_become_a_count_so_far(tmp_path: Path, logged: list[int], total: list[int]) -> None:
    text = "step,loss,skipped\n" + "".join(f"{step},4.0,{count}\n" for step, count in enumerate(logged))
    assert read(written(tmp_path, text)).skipped_steps.value.tolist() == total


def test_rows_that_go_back_are_a_resume(tmp_path: Path) -> None:
    text = "step,loss\n" + "".join(f"{step},4.{step}\n" for step in (1, 2, 3)) + "2,4.7\n3,4.6\n"
    assert read(written(tmp_path, text)).facts.resumed_at == (2,)
    assert read(written(tmp_path, text.replace("2,4.7\n3,4.6\n", ""))).facts.resumed_at is None


def test_steps_of_llama_factory_are_updates(tmp_path: Path) -> None:
    rows = [{"current_steps": 10 * n, "total_steps": 600, "loss": 3 - n / 50, "epoch": n / 30} for n in range(1, 20)]
    path = tmp_path / "trainer_log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read(path)
    assert run.train_loss.step.tolist() == [row["current_steps"] for row in rows]
    assert (run.facts.step_unit, run.facts.planned_steps) == (None, 600)


def test_one_of_several_runs_is_asked_of_a_log_that_holds_one(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n" + "".join(f"{n},{4 - n / 50}\n" for n in range(20)))
    assert len(read(path, which="1").train_loss) == 20
    with pytest.raises(InputError, match="holds one run; there is no 3: leave --which out"):
        read(path, which="3")
