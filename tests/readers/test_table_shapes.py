"""Tables as trackers and trainers write them: several runs, one row a value, epochs, micro-batches, times."""

import json
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.readers import read
from tests.conftest import shared
from tests.readers.test_nanogpt import points, written

FORMATS = "data/formats"


def cells(path: Path, column: str, step: str) -> dict[float, float]:
    """Filled cells of a sample, by split()."""
    header, *rows = path.read_text().split("\n")
    names = [name.strip('"') for name in header.strip().split(",")]
    found = {}
    for row in rows:
        held = [cell.strip('"') for cell in row.strip().split(",")]
        if len(held) == len(names) and held[names.index(column)] and held[names.index(step)]:
            found[float(held[names.index(step)])] = float(held[names.index(column)])
    return found


# ---------------------------------------------------------------- Lightning, litgpt


def test_lightning_logs_train_and_val_on_separate_rows() -> None:
    folder = shared(f"{FORMATS}/lightning_csvlogger/lightning_logs")
    path = folder / "version_0/metrics.csv"
    for place in (path, path.parent, folder, folder.parent):
        run = read(place)
        assert points(run.train_loss) == cells(path, "train_loss", "step")
        assert points(run.val_loss) == cells(path, "val_loss", "step")
        assert points(run.learning_rate) == cells(path, "lr-AdamW", "step")
    assert (len(run.train_loss), len(run.val_loss)) == (301, 7)
    assert "epoch" in run.others


def test_several_versions_of_lightning(tmp_path: Path) -> None:
    for version, loss in ((0, 5.0), (2, 4.0), (10, 3.0)):
        (tmp_path / f"version_{version}").mkdir()
        rows = "".join(f"0,{step},{loss},\n" for step in range(3))
        (tmp_path / f"version_{version}" / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n" + rows)
    (tmp_path / "version_11").mkdir()
    (tmp_path / "version_11" / "metrics.csv").write_text("")  # it died before it logged
    with pytest.raises(InputError, match=r"holds 3 runs: version_0, version_2, version_10\. Choose one with --which"):
        read(tmp_path)
    run = read(tmp_path, which="version_10")
    assert run.train_loss.value.tolist() == [3.0] * 3
    assert run.reading.runs == ("version_0", "version_2", "version_10", "version_11")
    assert read(tmp_path, which="2").train_loss.value[0] == 4.0


def test_lightnings_names_for_the_loss_of_a_batch_and_of_an_epoch(tmp_path: Path) -> None:
    text = "epoch,step,train_loss_epoch,train_loss_step\n0,49,,5.0\n0,99,,4.5\n0,99,4.8,\n"
    run = read(written(tmp_path, text, "metrics.csv"))
    assert (run.train_loss.name, run.train_loss.kind) == ("train_loss_step", "micro_batch")
    assert points(run.others["train_loss_epoch"]) == {99: 4.8}
    only = read(written(tmp_path, "epoch,step,train_loss_epoch\n0,99,4.8\n1,199,4.1\n", "metrics.csv"))
    assert only.train_loss.kind == "interval_mean"


def test_litgpt_counts_micro_batches(tmp_path: Path) -> None:
    path = shared(f"{FORMATS}/litgpt/metrics.csv")
    run = read(path)
    assert points(run.train_loss) == cells(path, "loss", "iter")
    assert points(run.val_loss) == {step + 1: value for step, value in cells(path, "val_loss", "step").items()}
    assert run.facts.step_unit == "micro_batch"
    assert run.facts.tokens_per_step is None  # not those of an update
    assert (run.facts.micro_batch, run.facts.context) == (8, 64)
    assert "val_ppl" in run.others


def test_litgpt_with_its_configuration_counts_updates(tmp_path: Path) -> None:
    path = shared(f"{FORMATS}/litgpt/metrics.csv")
    config = written(tmp_path, "global_batch_size: 16\nmicro_batch_size: 8\nblock_size: 64\n", "config.yaml")
    run = read(path, config=config)
    # standard output prints `iter 2 step 1`, `iter 600 step 300`
    assert (run.train_loss.step[0], run.train_loss.step[-1], len(run.train_loss)) == (1, 300, 300)
    assert run.val_loss.step.tolist()[:2] == [50, 100]
    assert run.facts.step_unit is None
    assert run.train_loss.kind == "batch"
    assert run.facts.accumulation == 2


# ---------------------------------------------------------------- W&B, TensorBoard


def panel(*runs: str) -> str:
    names = [f"{run} - train/loss{limit}" for run in runs for limit in ("", "__MIN", "__MAX")]
    rows = [[str(step), *(str(5.0 - step + at) for at in range(len(runs)) for _ in range(3))] for step in range(3)]
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in (["Step", *names], *rows))


def test_a_panel_of_several_runs(tmp_path: Path) -> None:
    path = written(tmp_path, panel("first", "a - b"), "wandb_export.csv")
    with pytest.raises(InputError, match="holds 2 runs: first, a - b"):
        read(path)
    assert points(read(path, which="first").train_loss) == {0: 5.0, 1: 4.0, 2: 3.0}
    run = read(path, which="2")
    assert points(run.train_loss) == {0: 6.0, 1: 5.0, 2: 4.0}
    assert not run.others  # __MIN and __MAX are no columns of their own
    assert any("sample" in note for note in run.reading.notes)
    assert points(read(path, loss_column="first - train/loss").train_loss) == {0: 5.0, 1: 4.0, 2: 3.0}


def test_the_panel_and_the_history_of_the_sample() -> None:
    path = shared(f"{FORMATS}/wandb_export/panel.csv")
    assert points(read(path).train_loss) == cells(path, "tiny-gpt - train/loss", "Step")
    history = read(path.parent / "history.json")
    rows = json.loads((path.parent / "history.json").read_text())
    assert points(history.val_loss) == {row["step"]: row["val/loss"] for row in rows if "val/loss" in row}
    assert history.wall_time.value[0] == rows[0]["_timestamp"]
    assert any("sample" in note for note in history.reading.notes)


def test_calls_of_a_tracker_are_steps_only_with_a_note(tmp_path: Path) -> None:
    run = read(written(tmp_path, "_step,_runtime,train/loss\n0,0.1,5.0\n1,0.2,4.0\n"))
    assert any("counts the calls of the tracker" in note for note in run.reading.notes)


@pytest.mark.parametrize("name", ["train_loss.csv", "run-version_0-tag-train_loss.csv", "train_loss.csv.csv"])
def test_tensorboards_download(tmp_path: Path, name: str) -> None:
    run = read(written(tmp_path, "Wall time,Step,Value\n1795451117.5,0,5.0\n1795451118.5,10,4.0\n", name))
    assert points(run.train_loss) == {0: 5.0, 10: 4.0}
    assert run.train_loss.name == "train_loss"
    assert points(run.wall_time) == {0: 1795451117.5, 10: 1795451118.5}
    assert any("1,000 points" in note for note in run.reading.notes)


def test_tensorboards_download_of_a_validation_loss_and_as_json(tmp_path: Path) -> None:
    text = json.dumps([[1795451117.5, 0, 5.0], [1795451118.5, 10, 4.0]])
    run = read(written(tmp_path, text, "run-.-tag-val_loss.json"))
    assert points(run.val_loss) == {0: 5.0, 10: 4.0}
    assert not run.train_loss


# ---------------------------------------------------------------- one row a value


def test_one_row_a_value_of_several_runs(tmp_path: Path) -> None:
    text = "run_id,key,value,step,timestamp\n"
    for run, top in (("a", 5.0), ("b", 6.0)):
        for step in range(3):
            text += f"{run},train_loss,{top - step},{step},{1795451117000 + step}\n"
        text += f"{run},val_loss,{top},2,1795451117009\n"
    path = written(tmp_path, text, "metrics.csv")
    with pytest.raises(InputError, match="holds 2 runs: a, b"):
        read(path)
    run = read(path, which="b")
    assert points(run.train_loss) == {0: 6.0, 1: 5.0, 2: 4.0}
    assert points(run.val_loss) == {2: 6.0}
    assert run.wall_time.value[0] == 1795451117.0


def test_comets_metrics_as_json(tmp_path: Path) -> None:
    rows = [
        {"metricName": name, "metricValue": str(5.0 - step), "timestamp": 1795451117000, "step": step, "epoch": None}
        for step in range(3)
        for name in ("loss", "lr")
    ]
    for text in (json.dumps(rows), "".join(json.dumps(row) + "\n" for row in rows)):
        run = read(written(tmp_path, text, "metrics.json"))
        assert points(run.train_loss) == {0: 5.0, 1: 4.0, 2: 3.0}
        assert points(run.learning_rate) == {0: 5.0, 1: 4.0, 2: 3.0}


# ---------------------------------------------------------------- what counts the steps


def test_epochs_are_steps_where_nothing_else_is(tmp_path: Path) -> None:
    run = read(written(tmp_path, "epoch,loss,val_loss,tokens\n0,5.0,5.1,1000\n1,4.0,4.2,2000\n2,3.5,3.9,3000\n"))
    assert points(run.train_loss) == {0: 5.0, 1: 4.0, 2: 3.5}
    assert run.facts.step_unit == "epoch"
    assert run.facts.tokens_per_step is None  # it would be those of an epoch
    assert any("a step is one epoch" in note for note in run.reading.notes)


def test_several_rows_of_one_epoch_are_no_steps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stands several times in one epoch.*--column step=NAME"):
        read(written(tmp_path, "epoch,loss\n0,5.0\n0,4.9\n1,4.8\n1,4.7\n"))


def test_tokens_alone_are_no_steps_but_for_a_constant_batch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no step column"):
        read(written(tmp_path, "tokens,loss\n1000,5.0\n2000,4.0\n3000,3.0\n"))
    run = read(written(tmp_path, "tokens,loss,tokens_per_step\n1000,5.0,500\n2000,4.0,500\n"))
    assert points(run.train_loss) == {2: 5.0, 4: 4.0}
    assert run.facts.tokens_per_step == 500


def test_the_step_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "batch no,loss,my val\n10,5.0,5.5\n20,4.0,\n")
    with pytest.raises(InputError, match="has no step column"):
        read(path)
    run = read(path, columns={"step": "batch no", "val_loss": "my val"})
    assert points(run.train_loss) == {10: 5.0, 20: 4.0}
    assert points(run.val_loss) == {10: 5.5}
    assert any("column batch no is the step, as given" in note for note in run.reading.notes)
    with pytest.raises(InputError, match="has no column nothing; it has batch no, loss, my val"):
        read(path, columns={"step": "nothing"})
    with pytest.raises(InputError, match="steps is no column of a run; the columns are step, train_loss"):
        read(path, columns={"steps": "batch no"})


def test_steps_that_start_over_in_each_epoch_are_counted_on(tmp_path: Path) -> None:
    rows = "".join(
        f"{epoch},{batch},{5.0 - epoch - batch / 1000}\n" for epoch in range(3) for batch in range(0, 100, 10)
    )
    run = read(written(tmp_path, "epoch,step,loss\n" + rows))
    assert run.train_loss.step.tolist() == list(range(0, 300, 10))
    assert run.facts.resumed_at is None
    assert any("starts over in each epoch" in note for note in run.reading.notes)


def test_rows_without_a_step_belong_to_the_last_one(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "loss": 5.0},
        {"step": 2, "loss": 4.0},
        {"val_loss": 4.5},
        {"step": 3, "loss": 3.0},
        {"val_loss": 3.5},
    ]
    run = read(written(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "log.txt"))
    assert points(run.val_loss) == {2: 4.5, 3: 3.5}
    assert any("at the last step above it" in note for note in run.reading.notes)


def test_every_numeric_column_is_kept(tmp_path: Path) -> None:
    text = "step,loss,layer_0/rms,layer_1/rms,gpu,note\n1,5.0,0.1,0.2,80,a\n2,4.0,0.3,nan,81,b\n"
    run = read(written(tmp_path, text))
    assert set(run.others) == {"layer_0/rms", "layer_1/rms", "gpu"}
    assert np.isnan(run.others["layer_1/rms"].value[1])


def test_json_lines_behind_a_launchers_prefix(tmp_path: Path) -> None:
    lines = "".join(f'[rank0]: {{"step": {i}, "train_loss": {5 - i / 10}}}\n' for i in range(20))
    run = read(written(tmp_path, "Starting up\n" + lines, "out.log"))
    assert len(run.train_loss) == 20


def test_bits_per_byte_is_no_loss_in_nats(tmp_path: Path) -> None:
    run = read(written(tmp_path, "step,train_loss,val_bpb\n0,5.0,1.9\n10,4.0,1.5\n"))
    assert points(run.val_bits_per_byte) == {0: 1.9, 10: 1.5}
    assert not run.val_loss


def test_decimal_commas(tmp_path: Path) -> None:
    run = read(written(tmp_path, "step;loss;lr\n1000;5,125;0,001\n2000;4,5;0,002\n3000;4,250;0,0"))
    assert points(run.train_loss) == {1000: 5.125, 2000: 4.5}  # the last row may lack digits
    assert points(run.learning_rate) == {1000: 0.001, 2000: 0.002}
    assert any("comma before the decimals" in note for note in run.reading.notes)
    with pytest.raises(InputError, match="column loss holds no number"):
        read(written(tmp_path, "step\tloss\n1\t5,12\n2\t4,50\n"))
