"""Keras: one value an epoch, in updates where the bars tell how many an epoch has."""

import csv
import json
import math
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import keras, read
from talweg.run import Run
from tests.conftest import shared
from tests.readers.test_nanogpt import points, written

FOLDER = "data/formats/keras"
BARS = """\
Epoch 1/3
 1/10 [==>...........................] - ETA: 10s - loss: 5.0000
 9/10 [=========================>....] - ETA: 1s - loss: 4.6000
10/10 [==============================] - 9s 133ms/step - loss: 4.5000 - accuracy: 0.1000 - val_loss: 4.0000
Epoch 2/3
 1/10 [==>...........................] - ETA: 10s - loss: 4.0000
10/10 [==============================] - 8s 120ms/step - loss: 3.5000 - accuracy: 0.2000 - val_loss: 3.2500
Epoch 3/3
 4/10 [==========>...................] - ETA: 10s - loss: 3.1000
"""


def of(text: str) -> Run:
    return keras.read(Log.of_text(text, "here"), Asked())


def test_the_output_of_keras_3_by_its_history() -> None:
    """History holds each value in full; the output shows four decimals of it."""
    run = read(shared(f"{FOLDER}/stdout.txt"))
    history = json.loads(shared(f"{FOLDER}/history.json").read_text())
    steps = [71 * epoch for epoch in range(1, 7)]
    assert run.format == "keras"
    for series, name in ((run.train_loss, "loss"), (run.val_loss, "val_loss"), (run.others["accuracy"], "accuracy")):
        assert points(series) == {step: round(value, 4) for step, value in zip(steps, history[name], strict=True)}
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("interval_mean", 71)
    assert (run.val_loss.kind, run.facts.step_unit, run.facts.planned_steps) == ("evaluation", None, 426)
    assert run.learning_rate.value[0] == 0.003
    assert run.seconds_per_step.value[-1] == pytest.approx(0.133)
    assert run.train_loss.resolution == pytest.approx(1e-4)
    assert run.reading.lines_not_understood == 0
    assert any("steps are updates" in note for note in run.reading.notes)


def test_training_csv_by_the_csv_module() -> None:
    path = shared(f"{FOLDER}/training.csv")
    run = read(path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert run.format == "keras"
    assert points(run.train_loss) == {int(row["epoch"]) + 1: float(row["loss"]) for row in rows}
    assert points(run.val_loss) == {int(row["epoch"]) + 1: float(row["val_loss"]) for row in rows}
    assert (len(rows), run.facts.step_unit, run.train_loss.kind) == (6, "epoch", "interval_mean")
    assert run.facts.train_loss_window is None
    assert points(run.others["val_accuracy"]) == {int(row["epoch"]) + 1: float(row["val_accuracy"]) for row in rows}


def test_history_json_by_hand() -> None:
    run = read(shared(f"{FOLDER}/history.json"))
    assert (run.format, run.facts.step_unit, len(run.train_loss)) == ("keras", "epoch", 6)
    assert points(run.train_loss)[1] == 3.1498055458068848
    assert points(run.val_loss)[6] == run.val_loss.value.min() == 1.725030541419983
    assert run.learning_rate.value[0] == 0.003000000026077032


def test_bars_of_tensorflow(tmp_path: Path) -> None:
    run = read(written(tmp_path, BARS))
    assert points(run.train_loss) == {10: 4.5, 20: 3.5}  # the third epoch is not over
    assert points(run.val_loss) == {10: 4, 20: 3.25}
    assert points(run.seconds_per_step) == {10: pytest.approx(0.133), 20: pytest.approx(0.12)}
    assert (run.facts.train_loss_window, run.facts.planned_steps) == (10, 30)
    assert not run.superseded


def test_an_evaluation_below_the_last_epoch_is_not_its_loss() -> None:
    """model.evaluate draws a bar that looks alike."""
    text = "".join(BARS.splitlines(keepends=True)[:7])
    for bar in ("10/10 [=====] - 1s 13ms/step - loss: 3.2500\n", "4/4 [=====] - 1s 13ms/step - loss: 9.2500\n"):
        assert points(of(text + bar).train_loss) == {10: 4.5, 20: 3.5}
    same = text.replace(" - val_loss: 3.2500", "").replace(" - val_loss: 4.0000", "")
    assert points(of(same + "4/4 [=====] - 1s 13ms/step - loss: 3.5000\n").train_loss) == {10: 4.5, 20: 3.5}
    alone = "Epoch 1/1\n10/10 - 9s - 133ms/step - loss: 4.5000\n10/10 - 1s - 13ms/step - loss: 3.2500\n"
    assert points(of(alone).train_loss) == {10: 4.5}


def test_an_epoch_whose_first_line_is_lost_is_left_out() -> None:
    lines = BARS.splitlines(keepends=True)
    assert points(of("".join(lines[:4] + lines[5:])).train_loss) == {10: 4.5}


def test_samples_are_no_updates() -> None:
    text = (
        "Train on 60000 samples, validate on 10000 samples\nEpoch 1/10\n"
        "60000/60000 [=====] - 2s 28us/sample - loss: 1.6077 - val_loss: 1.0738\nEpoch 2/10\n"
        " - 9s - loss: 0.7704 - val_loss: 0.6\n"
    )
    for each in (text, text.split("\n", 1)[1]):
        run = of(each)
        assert (points(run.train_loss), run.facts.step_unit) == ({1: 1.6077, 2: 0.7704}, "epoch")
        assert not run.seconds_per_step
    run = of(text.replace("us/sample", "us/step"))  # Keras before 2.3 says step for a sample
    assert run.facts.step_unit == "epoch"


def test_two_fits_in_one_output_are_two_runs() -> None:
    run = of(BARS + BARS.replace("4.5000", "4.4000").replace("3.5000", "3.4000"))
    assert points(run.train_loss) == {10: 4.4, 20: 3.4}
    assert len(run.reading.run_starts) == 2


def test_an_epoch_that_is_not_over_tells_no_loss() -> None:
    with pytest.raises(InputError, match="first epoch that is not over"):
        of("".join(BARS.splitlines(keepends=True)[:3]))


def test_a_table_with_keys_that_an_epoch_lacks_and_nan() -> None:
    run = of("epoch,loss,val_loss\n0,4.5,NA\n1,nan,3.5\n2,3.0,3.25\n3,2.9")
    assert list(run.train_loss.step) == [1, 2, 3]
    assert math.isnan(run.train_loss.value[1])
    assert points(run.val_loss) == {2: 3.5, 3: 3.25}
    assert run.reading.lines_not_understood == 1
    assert points(of("epoch;loss\n1;4.5\n2;4.25\n").train_loss) == {1: 4.5, 2: 4.25}  # counted from 1


def test_a_history_with_validation_every_other_epoch() -> None:
    history = {"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [3.5, 1.5]}
    assert points(of(json.dumps(history)).val_loss) == {2: 3.5, 4: 1.5}
    run = of(json.dumps({**history, "loss": [4.0, 3.0, 2.0]}))
    assert not run.val_loss
    assert any("val_loss has 2 values in 3 epochs" in note for note in run.reading.notes)


@pytest.mark.parametrize(
    "text",
    [
        "epoch,step,loss\n0,1,4.5\n",
        "epoch,train_loss,val_loss\n0,4.5,4.4\n",
        "epoch,val_loss,loss\n0,4.5,4.4\n",  # CSVLogger sorts them
        "epoch,loss,tokens\n0,4.5,4.4\n",
        "epoch,global_step,grad_norm,loss\n0,1,2,3\n",
        "epoch,loss\n0,4.5\n",  # may be anybody's
        "epoch,accuracy,loss\nx,0.1,4.5\n",
        "epoch\tloss time\n",
        '{"loss": [1.0, 2.0], "accuracy": [0.5, 0.6]}',
        '{"loss": [1.0, 2.0], "val_loss": [0.5, 0.6], "step": [1, 2]}',
        '{"loss": 1.0, "val_loss": 2.0}\n{"loss": 0.5, "val_loss": 1.0}',
        '{"loss": [], "val_loss": []}',
        "Epoch 1/10\nloss: 3.0\n",
        "Epoch 1/10 - loss: 3.0 - val_loss: 3\n",
        "10/10 [====] - 9s 133ms/step - loss: 4.5\n",
        "print(f'Epoch {epoch}/{epochs}')\nprint(f'{i}/{n} - 3s - loss: {loss}')\n",
    ],
)
def test_other_texts_are_not_its_own(text: str) -> None:
    assert keras.sniff(Head(text)) == 0.0


def test_what_is_no_history_is_refused() -> None:
    with pytest.raises(InputError, match="is no history of Keras"):
        of('{"loss": 3}')
    with pytest.raises(InputError, match="no bar of Keras with a loss"):
        of("Epoch 1/3\n")


def test_its_fields_have_fixed_names() -> None:
    with pytest.raises(InputError, match="fixed names; leave --loss-column out"):
        keras.read(Log.of_text(BARS, "here"), Asked(columns={"train_loss": "x"}))


def test_a_program_that_quotes_its_lines_is_no_log() -> None:
    program = "import re\n\nfrom x import y\n\n\ndef read():\n"
    assert keras.sniff(Head(BARS)) >= 0.9
    assert keras.sniff(Head(program + BARS)) == 0.0
