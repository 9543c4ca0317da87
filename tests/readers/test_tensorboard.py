"""TensorBoard's event files: genuine ones against TensorBoard's own messages, and each pitfall written out by hand."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.logs.given import Head, Log
from talweg.readers import formats, read
from talweg.readers.tensorboard import NAME, sniff
from talweg.readers.tensorboard.records import crc32c, crc32c_of_one
from talweg.run import Run
from tests.conftest import shared
from tests.fuzz.fuzz_binary import (
    VERSION,
    event,
    field,
    hyperparameters,
    simple,
    tensor,
    tfrecords,
    varint,
    written_text,
)

FILE = "events.out.tfevents.1700000000.host.1.0"
DT_FLOAT, DT_DOUBLE, DT_INT32, DT_STRING, DT_INT64, DT_BFLOAT16, DT_HALF = 1, 2, 3, 7, 9, 14, 19


def written(folder: Path, events: Sequence[bytes], name: str = FILE) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tfrecords([VERSION, *events]))
    return path


def losses(steps: Sequence[int], tag: str = "train/loss", wall: float = 1.7e9, shift: float = 0.0) -> list[bytes]:
    return [event(step, simple(tag, 5.0 - 0.01 * step + shift), wall=wall) for step in steps]


def counted(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> step and value, by TensorBoard's own messages and a plain walk over the records."""
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    data, at, found = path.read_bytes(), 0, {}
    while at + 16 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + length + 16 > len(data):
            break
        message = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
        for value in message.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((message.step, value.simple_value))
        at += length + 16
    return found


# ---------------------------------------------------------------- genuine files


@pytest.mark.parametrize("name", ["tensorboardX/run1", "tensorboard_torch/run1", "tensorboard_torch"])
def test_genuine_files(name: str) -> None:
    folder = shared("data/formats") / name
    run = read(folder)
    file = next(path for path in sorted(folder.rglob("*tfevents*")) if path.stat().st_size > 10_000)
    expected = counted(file)
    assert (run.format, len(run.train_loss), len(run.val_loss)) == ("tensorboard", 301, 7)
    columns = {series.name: series for series in (run.train_loss, run.val_loss, run.learning_rate, run.grad_norm)}
    for tag, points in expected.items():
        if tag in columns:
            assert list(zip(columns[tag].step, columns[tag].value, strict=True)) == points
    assert set(columns) <= set(expected)
    assert len(run.wall_time) == 301
    assert run.reading.lines_not_understood == 0
    assert run.reading.runs == ()


def test_what_add_hparams_says_of_a_genuine_run() -> None:
    facts = read(shared("data/formats/tensorboard_torch/run1")).facts
    assert facts.sources["peak_learning_rate"] == "hyperparameters in the log"
    assert facts.layers is not None


@pytest.mark.parametrize("name", ["run1", "run1_truncated"])
def test_a_genuine_resume(name: str) -> None:
    """Killed at 200, taken up at 150 in a second file: 301 steps are right, and the later file wins."""
    folder = shared("data/formats/tensorboard_resumed") / name
    run = read(folder)
    first, second = (counted(path)["train/loss"] for path in sorted(folder.iterdir()))
    expected = [point for point in first if point[0] < 150] + second
    assert list(zip(run.train_loss.step, run.train_loss.value, strict=True)) == expected
    assert len(run.learning_rate) == len(run.grad_norm) == 301
    (piece,) = run.superseded["train_loss"]
    assert list(zip(piece.step, piece.value, strict=True)) == [point for point in first if point[0] >= 150]
    assert run.facts.resumed_at == (150.0,)
    cut = any("the last record is cut off" in note for note in run.reading.notes)
    assert cut == (name == "run1_truncated")


def test_one_file_of_several_says_so() -> None:
    folder = shared("data/formats/tensorboard_resumed/run1")
    run = read(sorted(folder.iterdir())[1])
    assert run.train_loss.step[0] == 150
    assert any("1 more event file lies beside this one" in note for note in run.reading.notes)


# ---------------------------------------------------------------- values


def test_the_checksum_is_crc32c() -> None:
    """The test vector of RFC 3720's polynomial, masked as TensorFlow does it."""
    state = 0xE3069283
    masked = ((state >> 15 | state << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert crc32c_of_one(b"123456789") == masked
    assert crc32c(np.frombuffer(b"123456789" * 2, dtype=np.uint8).reshape(2, 9)).tolist() == [masked, masked]


def test_scalars_of_every_kind(tmp_path: Path) -> None:
    """Simple values and tensors, float to half, alone and several in one event."""
    bits = int(np.float32(2.5).view(np.uint32)) >> 16
    kinds = {
        "content": (DT_DOUBLE, field(4, struct.pack("<d", 1.25))),
        "packed": (DT_FLOAT, field(5, struct.pack("<f", 1.5))),
        "single": (DT_FLOAT, b"\x2d" + struct.pack("<f", 1.75)),
        "int": (DT_INT32, field(7, varint(-3))),
        "long": (DT_INT64, varint(10 << 3) + varint(1 << 40)),
        "bfloat": (DT_BFLOAT16, field(13, varint(bits))),
        "half": (DT_HALF, field(13, varint(int(np.float16(-0.5).view(np.uint16))))),
        "one": (DT_FLOAT, field(2, field(2, field(1, 1))) + field(5, struct.pack("<f", 4.0))),
    }
    events = []
    for step in range(20):
        values = [tensor(f"k/{name}", dtype, holds) for name, (dtype, holds) in kinds.items()]
        events.append(event(step, simple("loss", 3.0 - step / 100), *values))
    run = read(written(tmp_path, events))
    assert len(run.train_loss) == 20
    found = {name.removeprefix("k/"): set(series.value.tolist()) for name, series in run.others.items()}
    assert found == {
        **{"content": {1.25}, "packed": {1.5}, "single": {1.75}, "int": {-3.0}, "long": {2.0**40}},
        **{"bfloat": {2.5}, "half": {-0.5}, "one": {4.0}},
    }


def test_what_is_no_scalar_is_left_out(tmp_path: Path) -> None:
    """Vectors, texts, another plugin's numbers (also where only its first value says whose it is), empty tensors."""
    number = field(5, struct.pack("<f", 1.0))
    three = field(2, field(2, field(1, 3)))
    odd = [
        tensor("vector", DT_FLOAT, three + field(4, bytes(12))),
        tensor("two", DT_FLOAT, field(5, bytes(8))),
        tensor("filled", DT_FLOAT, three + number),
        tensor("empty", DT_FLOAT, b""),
        tensor("curve", DT_FLOAT, number, "pr_curves"),
        tensor("text", DT_STRING, field(8, b"hello"), "text"),
    ]
    events = [event(step, *odd, simple("loss", 3.0)) for step in range(12)]
    events += [event(1, tensor("later", DT_FLOAT, number, "audio"))]
    events += [event(step, tensor("later", DT_FLOAT, number, None)) for step in range(2, 12)]
    events += [event(step, tensor("unsaid", DT_FLOAT, number, None)) for step in range(12)]
    run = read(written(tmp_path, events))
    assert set(run.others) == {"unsaid"}
    assert len(run.train_loss) == 12


def test_nan_infinity_negative_steps_and_step_0(tmp_path: Path) -> None:
    values = {-2: 4.0, 0: float("nan"), 1: float("inf"), 300: 2.0, 1 << 40: 1.0}
    run = read(written(tmp_path, [event(step, simple("train/loss", value)) for step, value in values.items()]))
    assert run.train_loss.step.tolist() == list(values)
    np.testing.assert_array_equal(run.train_loss.value, list(values.values()))
    assert run.train_loss.resolution == 0.0


def test_messages_of_one_length_and_other_layout(tmp_path: Path) -> None:
    """A number of three bytes, and one of a single byte with another field behind it."""
    long = [event(step, tensor("k", DT_INT64, field(10, 20_000 + step))) for step in range(1, 20)]
    short = [event(step, tensor("k", DT_INT64, field(10, 7) + field(3, 1))) for step in range(20, 40)]
    assert len({len(message) for message in long + short}) == 1
    run = read(written(tmp_path, long + short + losses(range(9))))
    assert run.others["k"].value.tolist() == [20_000.0 + step for step in range(1, 20)] + [7.0] * 20


def test_many_tags_of_one_length(tmp_path: Path) -> None:
    """They share their records' length and layout, and are told apart by name."""
    events = [event(step, simple(f"layer/{k:02}", 100.0 * k + step)) for step in range(130) for k in range(40)]
    run = read(written(tmp_path, events + losses(range(130))))
    assert len(run.others) == 40
    assert all(np.array_equal(run.others[f"layer/{k:02}"].value, 100.0 * k + np.arange(130)) for k in range(40))


def test_wall_times(tmp_path: Path) -> None:
    run = read(written(tmp_path, losses(range(10)) + losses(range(0, 10, 5), "val/loss")))
    assert run.wall_time.step.tolist() == list(range(10))
    assert run.wall_time.value.tolist() == [1.7e9 + step for step in range(10)]


# ---------------------------------------------------------------- damage


def test_a_flipped_bit_takes_one_point(tmp_path: Path) -> None:
    path = written(tmp_path, losses(range(50)))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # in the value of the last one
    data[len(tfrecords([VERSION])) + 12 + 3] ^= 1  # in the time of the first one
    path.write_bytes(data)
    run = read(path)
    assert run.train_loss.step.tolist() == list(range(1, 49))
    assert f"{FILE}: 2 records are damaged (wrong checksum) and were left out" in run.reading.notes
    assert run.reading.lines_not_understood == 2


@pytest.mark.parametrize("put", [b"\xff" * 30, b"\0" * 5000, struct.pack("<Q", 40) * 5])
def test_bytes_in_between_are_jumped_over(tmp_path: Path, put: bytes) -> None:
    head, tail = tfrecords([VERSION, *losses(range(20))]), tfrecords(losses(range(20, 40)))
    path = tmp_path / FILE
    path.write_bytes(head + put + tail)
    run = read(path)
    assert run.train_loss.step.tolist() == list(range(40))
    assert any("damaged at 1 places" in note for note in run.reading.notes)


def test_a_length_that_is_no_length(tmp_path: Path) -> None:
    """The record is lost with it, and nothing else."""
    records = [tfrecords([message]) for message in [VERSION, *losses(range(20))]]
    records[10] = struct.pack("<Q", 1 << 60) + records[10][8:]
    path = tmp_path / FILE
    path.write_bytes(b"".join(records))
    assert set(range(20)) - set(read(path).train_loss.step.tolist()) == {9}


def test_a_file_that_is_cut_anywhere(tmp_path: Path) -> None:
    path = written(tmp_path, losses(range(12)))
    data, begin = path.read_bytes(), len(tfrecords([VERSION]))
    size = len(tfrecords(losses([1])))
    ends = np.cumsum([size - 2] + [size] * 11).tolist()  # the step of the first one is 0, and not written
    for length in range(begin + 2 * size, len(data), 3):
        path.write_bytes(data[:length])
        run = read(path)
        assert len(run.train_loss) == sum(end <= length - begin for end in ends)
        assert any("cut off" in note for note in run.reading.notes) != (length - begin in ends)


def test_damage_without_end_is_not_followed_forever(tmp_path: Path) -> None:
    record = tfrecords(losses([1]))
    path = tmp_path / FILE
    path.write_bytes(tfrecords([VERSION, *losses(range(5))]) + (record + b"\xff") * 3000)
    run = read(path)
    assert any("damaged at 1000 places" in note and "left alone" in note for note in run.reading.notes)


def test_large_records_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image between the losses, larger than what is read at a time."""
    monkeypatch.setattr("talweg.readers.tensorboard.records.PIECE", 500)
    image = field(1, 1.7e9) + field(5, field(1, field(1, b"img") + field(4, bytes(2000))))
    path = written(tmp_path, [*losses(range(30)), image, *losses(range(30, 60)), image])
    run = read(path)
    assert run.train_loss.step.tolist() == list(range(60))
    assert not [note for note in run.reading.notes if FILE in note]
    path.write_bytes(path.read_bytes()[:-1000])
    assert any("cut off" in note for note in read(path).reading.notes)


# ---------------------------------------------------------------- folders


def test_restarts_go_by_the_time_of_their_events(tmp_path: Path) -> None:
    written(tmp_path, losses(range(0, 30), wall=1.7e9), "events.out.tfevents.9.a.1.0")
    written(tmp_path, losses(range(20, 50), wall=1.7e9 + 1000, shift=1.0), "events.out.tfevents.10.a.1.0")
    run = read(tmp_path)
    assert run.train_loss.step.tolist() == list(range(50))
    assert run.train_loss.value[20] == np.float32(5.0 - 0.2 + 1.0)
    assert run.facts.resumed_at == (20.0,)


def test_halves_of_one_run(tmp_path: Path) -> None:
    written(tmp_path, losses(range(20), "loss"), f"train/{FILE}")
    written(tmp_path, losses(range(0, 20, 5), "loss", shift=0.5), f"validation/{FILE}")
    run = read(tmp_path)
    assert (run.train_loss.name, len(run.train_loss)) == ("train/loss", 20)
    assert (run.val_loss.name, len(run.val_loss), run.val_loss.kind) == ("validation/loss", 4, "evaluation")
    assert run.val_loss.value[0] == 5.5


def test_halves_as_add_scalars_makes_them(tmp_path: Path) -> None:
    written(tmp_path, losses(range(20), "lr"))
    written(tmp_path, losses(range(20), "loss"), f"loss_train/{FILE}")
    written(tmp_path, losses(range(0, 20, 5), "loss"), f"loss_val/{FILE}")
    run = read(tmp_path)
    assert (len(run.train_loss), len(run.val_loss), len(run.learning_rate)) == (20, 4, 20)


def test_several_runs_are_named(tmp_path: Path) -> None:
    for place, name in enumerate(["run10", "run2", "test"]):
        written(tmp_path, losses(range(10 + place)), f"{name}/{FILE}")
    with pytest.raises(InputError, match=r"holds 3 runs \(run2, run10, test\); name one with --which"):
        read(tmp_path)
    assert len(read(tmp_path, which="run10").train_loss) == 10
    assert len(read(tmp_path, which="1").train_loss) == 11
    assert read(tmp_path, which="run2").reading.runs == ("run2", "run10", "test")
    with pytest.raises(InputError, match="holds no run of the name x; it holds run2, run10, test"):
        read(tmp_path, which="x")


def test_a_folder_of_hyperparameters_is_no_run(tmp_path: Path) -> None:
    written(tmp_path, losses(range(10)), f"run/{FILE}")
    settings = [event(0, hyperparameters(n_layer=6.0, lr=1e-3)), event(0, simple("hparam/loss", 2.0))]
    written(tmp_path, settings, f"run/1700/{FILE}")
    written(tmp_path, [], f"empty/{FILE}")
    run = read(tmp_path)
    assert (len(run.train_loss), run.facts.layers, run.facts.peak_learning_rate) == (10, 6, 1e-3)
    assert not run.others


def test_settings_that_hugging_face_logs_as_text(tmp_path: Path) -> None:
    """Its training loss is the mean since it last logged, and stands in for NaN."""
    arguments = '{"logging_steps": 50, "logging_nan_inf_filter": true, "learning_rate": 0.0003, "max_steps": 500}'
    events = [event(0, written_text("args/text_summary", arguments)), *losses(range(50, 501, 50))]
    run = read(written(tmp_path, events))
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("interval_mean", 50)
    assert (run.facts.nan_logged_as, run.facts.planned_steps) == ("the running mean", 500)
    plain = read(written(tmp_path, [event(0, written_text("args", '{"lr": 1}')), *losses(range(9))]))
    assert (plain.train_loss.kind, plain.facts.train_loss_window) == ("unknown", None)


def test_processes_that_write_at_the_same_time(tmp_path: Path) -> None:
    for rank in range(3):
        written(tmp_path, losses(range(30), shift=0.1 * rank), f"events.out.tfevents.17.host{rank}.1.0")
    run = read(tmp_path)
    assert len(run.train_loss) == 30
    assert not run.superseded
    assert run.facts.ranks == 3
    np.testing.assert_allclose(run.rank_loss_spread.value, 0.2, atol=1e-6)


def test_processes_whose_losses_are_infinite(tmp_path: Path) -> None:
    for rank in range(2):
        events = [event(step, simple("train/loss", float("inf") if step > 20 else rank + 1.0)) for step in range(30)]
        written(tmp_path, events, f"events.out.tfevents.17.host{rank}.1.0")
    run = read(tmp_path)
    assert (len(run.train_loss), run.train_loss.num_not_finite) == (30, 9)
    assert run.rank_loss_spread.finite.value.tolist() == [1.0] * 21


def test_keras_counts_epochs(tmp_path: Path) -> None:
    written(tmp_path, losses(range(8), "epoch_loss"), f"train/{FILE}")
    validation = losses(range(8), "epoch_loss", shift=1.0) + losses(
        range(100, 900, 100), "evaluation_loss_vs_iterations"
    )
    written(tmp_path, validation, f"validation/{FILE}")
    run = read(tmp_path)
    assert (run.train_loss.name, run.val_loss.name) == ("train/epoch_loss", "validation/epoch_loss")
    assert (run.facts.step_unit, run.train_loss.kind) == ("epoch", "interval_mean")
    assert any("evaluation_loss_vs_iterations and its like count updates" in note for note in run.reading.notes)


def test_keras_counts_updates_where_it_logs_them(tmp_path: Path) -> None:
    train = losses(range(8), "epoch_loss") + losses(range(0, 800, 10), "batch_loss")
    written(tmp_path, train, f"train/{FILE}")
    written(tmp_path, losses(range(100, 900, 100), "evaluation_loss_vs_iterations"), f"validation/{FILE}")
    run = read(tmp_path)
    assert (len(run.train_loss), run.train_loss.kind, len(run.val_loss)) == (80, "running_mean", 8)
    assert run.facts.step_unit is None
    assert "train/epoch_loss" in run.others or "epoch_loss" in run.others


def test_a_session_that_starts_anew(tmp_path: Path) -> None:
    """purge_step of PyTorch's writer."""
    written(tmp_path, losses(range(20)), "events.out.tfevents.1.a.1.0")
    start = field(1, 1.7e9 + 500) + field(2, 15) + field(7, field(1, 1))
    written(tmp_path, [start, *losses(range(15, 30), wall=1.7e9 + 500, shift=1.0)], "events.out.tfevents.2.a.1.0")
    assert read(tmp_path).facts.resumed_at == (15.0,)


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("train_loss_step", "micro_batch"),
        ("train_loss_epoch", "interval_mean"),
        ("train_loss_avg", "running_mean"),
        ("train_loss", "unknown"),
    ],
)
def test_what_a_name_says_of_a_loss(tmp_path: Path, tag: str, kind: str) -> None:
    """Lightning's names, and a running mean's."""
    assert read(written(tmp_path, losses(range(9), tag))).train_loss.kind == kind


# ---------------------------------------------------------------- what a person says, and what is none


def test_the_columns_that_a_person_names(tmp_path: Path) -> None:
    path = written(tmp_path, losses(range(10), "objective") + losses(range(10), "held/out"))
    with pytest.raises(InputError, match=r"has no tag that is a loss; it has objective, held/out\. Name it"):
        read(path)
    run = read(path, loss_column="objective", columns={"val_loss": "held/out"})
    assert (run.train_loss.name, run.val_loss.name, run.val_loss.kind) == ("objective", "held/out", "evaluation")
    with pytest.raises(InputError, match="has no column x; it has objective, held/out"):
        read(path, loss_column="x")


def test_a_file_without_scalars(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no tag that is a loss; it has none"):
        read(written(tmp_path, [], "a/x"))
    written(tmp_path, [], FILE)
    with pytest.raises(InputError, match="no scalar stands in them"):
        read(tmp_path)


def test_compressed(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / f"{FILE}.gz"
    path.write_bytes(gzip.compress(tfrecords([VERSION, *losses(range(30))])))
    assert len(read(path).train_loss) == 30


def test_only_event_files_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, losses(range(3)))
    assert sniff(Log.at(path).head) == 1.0
    assert sniff(Log.at(tmp_path).head) == 0.9
    for raw in (b"", b"\0" * 64, b"PK\3\4" + b"x" * 60, struct.pack("<QI", 24, 0) + b"x" * 40, b"step 1: loss 2\n" * 9):
        assert sniff(Head(raw=raw)) == 0.0
    assert sniff(Head(names=("a.log", "b/events.txt"))) == 0.0
    assert formats()[NAME].NAME == "tensorboard"


def test_a_run_is_what_comes_back(tmp_path: Path) -> None:
    run = read(written(tmp_path, losses(range(5))))
    assert isinstance(run, Run)
    assert run.reading.lines == 6


def test_what_tensorboards_own_functions_make(tmp_path: Path) -> None:
    """Scalars as TensorFlow 2 and Keras log them, and hyperparameters, as TensorBoard makes the messages."""
    scalars = pytest.importorskip("tensorboard.plugins.scalar.summary_v2")
    settings = pytest.importorskip("tensorboard.plugins.hparams.summary_v2")
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    hyper = settings.hparams_pb({"learning_rate": 0.1, "optimizer": "AdamW", "bias": False}, trial_id="x")
    summaries = [hyper, *(scalars.scalar_pb("epoch_loss", 4.0 - step / 8) for step in range(12))]
    events = [event_pb2.Event(wall_time=1.7e9 + i, step=i, summary=made) for i, made in enumerate(summaries)]
    run = read(written(tmp_path, [made.SerializeToString() for made in events]))
    assert run.train_loss.step.tolist() == list(range(1, 13))
    assert run.train_loss.value.tolist() == [4.0 - step / 8 for step in range(12)]
    assert (run.facts.peak_learning_rate, run.facts.optimizer, run.facts.bias) == (0.1, "adamw", False)
