"""W&B's run files: genuine ones against W&B's own messages, and each pitfall written out by hand."""

import gzip
import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.logs.given import Head, Log
from talweg.logs.wire import FEW, fields, fields_of_all
from talweg.readers import formats, read
from talweg.readers.wandb import sniff
from tests.fuzz.fuzz_binary import field, record, row, varint, wandb_file, wandb_run

WRITE = """
import sys
import wandb
config = {"n_layer": 6, "optimizer": {"lr": 3e-4}, "max_steps": -1}
with wandb.init(project="p", dir=sys.argv[1], name="a run", mode="offline", config=config) as run:
    run.config.update({"seed": 7})
    for i in range(300):
        values = {"train/loss": 5.0 / (i + 1), "opt": {"lr": i / 3}, "trainer/global_step": i * 10, "note": "x" * 300}
        if i % 100 == 99:
            values |= {"val/loss": float("nan") if i > 250 else 2.0, "gap": float("-inf"), "h": wandb.Histogram([1, 2])}
        run.log(values)
"""


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder wandb/ as W&B writes it offline."""
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("wandb")
    subprocess.run([sys.executable, "-c", WRITE, folder], check=True, capture_output=True, timeout=60)
    return folder / "wandb"


def counted(path: Path) -> list[dict[str, object]]:
    """The rows of the history by W&B's own messages."""
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    data, at, part, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if at + 7 + length > len(data):
            break
        part = (b"" if kind < 3 else part) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            items = pb.Record.FromString(part).history.item
            if items:
                found.append({".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
    return found


def written(folder: Path, records: Sequence[bytes], name: str = "run-abc.wandb") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wandb_file(records))
    return path


def rows(steps: Sequence[int], shift: float = 0.0) -> list[bytes]:
    return [
        row(train__loss=repr(5.0 - step / 100 + shift), _step=str(step), _timestamp=f"{1.7e9 + step}") for step in steps
    ]


# ---------------------------------------------------------------- genuine files


def test_a_genuine_file(genuine: Path) -> None:
    path = next(genuine.glob("offline-run-*/*.wandb"))
    expected = counted(path)
    run = read(path)
    assert (run.format, len(expected)) == ("wandb", 300)
    assert run.train_loss.step.tolist() == [made["trainer/global_step"] for made in expected]
    assert run.train_loss.value.tolist() == [made["train/loss"] for made in expected]
    assert run.wall_time.value.tolist() == [made["_timestamp"] for made in expected]
    assert run.val_loss.step.tolist() == [990, 1990, 2990]
    np.testing.assert_array_equal(run.val_loss.value, [2.0, 2.0, np.nan])
    assert set(run.others) == {"_runtime", "gap"}
    assert run.learning_rate.name == "opt.lr"
    assert run.learning_rate.value.tolist() == [i / 3 for i in range(300)]
    assert run.others["gap"].value.tolist() == [-np.inf] * 3
    assert "the steps are those of column trainer/global_step" in run.reading.notes
    facts = run.facts
    assert (facts.layers, facts.peak_learning_rate, facts.seed, facts.planned_steps) == (6, 3e-4, 7, None)
    assert facts.sources["layers"] == "the config in the log"


def test_folders_of_a_genuine_run(genuine: Path) -> None:
    for path in (genuine, next(genuine.glob("offline-run-*")), genuine.parent):
        assert sniff(Log.at(path).head) == 0.95
        run = read(path)
        assert (len(run.train_loss), run.reading.runs) == (300, ())


def test_a_genuine_file_that_is_cut_anywhere(genuine: Path, tmp_path: Path) -> None:
    """Each row that is there as a whole is read, the last one that is not is told of."""
    path = next(genuine.glob("offline-run-*/*.wandb"))
    data, cut = path.read_bytes(), tmp_path / "run-x.wandb"
    assert len(data) > 3 * 32_768
    for length in (*range(32_768 - 40, 32_768 + 40, 7), len(data) // 2, len(data) - 3_000):
        cut.write_bytes(data[:length])
        expected = counted(cut)
        assert len(read(cut).train_loss) == len(expected)
        cut.write_bytes(data[:length] + bytes(50_000))  # room that the system made and that was not written yet
        run = read(cut)
        assert len(run.train_loss) == len(expected)
        assert any("cut off" in note for note in run.reading.notes)


# ---------------------------------------------------------------- values


def test_values_that_are_numbers(tmp_path: Path) -> None:
    texts = [
        "1",
        "-2.5",
        "1e-3",
        "1.5E+2",
        "NaN",
        "Infinity",
        "-Infinity",
        "0.30000000000000004",
        "12345678901234567890",
    ]
    run = read(written(tmp_path, [row(loss=text, _step=str(step)) for step, text in enumerate(texts)]))
    np.testing.assert_array_equal(run.train_loss.value, [float(text) for text in texts])


def test_values_that_are_none(tmp_path: Path) -> None:
    """Texts, also of digits, truth values, nothing, lists, objects, and what JSON does not allow."""
    odd = ['"1"', "true", "null", "[1]", '{"a": 1}', "", "1 2", "1-2", "+1", "1e", "1" * 40, "nan", "0x1", "1,5"]
    records = [row(loss="3.5", _step=str(step), odd=text) for step, text in enumerate(odd)]
    run = read(written(tmp_path, records))
    assert (len(run.train_loss), dict(run.others)) == (len(odd), {})


def test_values_that_are_stored_as_numbers(tmp_path: Path) -> None:
    """number and integer, which W&B's messages have beside JSON; the step of the row is its own part."""
    records = []
    for step in range(10):
        items = [field(1, b"loss") + field(6, 2.5), field(1, b"n") + field(5, 2 * step), field(1, b"m") + field(5, 5)]
        records.append(
            record(2, b"".join(field(1, item) for item in items) + field(2, field(1, step) if step else b""))
        )
    run = read(written(tmp_path, records))
    assert run.train_loss.step.tolist() == list(range(10))
    assert set(run.train_loss.value) == {2.5}
    assert run.others["n"].value.tolist() == list(range(10))
    assert set(run.others["m"].value) == {-3.0}


def test_numbers_at_the_ends_of_what_a_double_holds(tmp_path: Path) -> None:
    """In columns that are read further: steps that are no count, tokens, skipped updates, shares."""
    ends = ["1e308", "-1e308", "Infinity", "-Infinity", "NaN", "1e308", "3"]
    records = [
        row(loss=text, tokens=text, skipped_steps=text, mfu=text, step_time_ms=text, global_step=step, _step=str(place))
        for place, (text, step) in enumerate(zip(ends, ["1e300", "-1e300", "1", "2", "3", "4", "5"], strict=True))
    ]
    run = read(written(tmp_path, [*records, *records]))
    assert run.train_loss.step.tolist() == [1, 2, 3, 4, 5]
    assert run.facts.tokens_per_step is None


def test_names_that_are_nested_or_not(tmp_path: Path) -> None:
    deep = field(1, field(2, b"val") + field(2, b"loss") + field(16, b"3.0"))
    plain = field(1, field(1, b"train/loss") + field(16, b"2.0"))
    run = read(written(tmp_path, [record(2, deep + plain + field(2, field(1, step + 1))) for step in range(20)]))
    assert (run.val_loss.name, run.train_loss.name) == ("val.loss", "train/loss")
    assert len(run.val_loss) == len(run.train_loss) == 20


# ---------------------------------------------------------------- steps


def test_steps_of_the_trainer_win(tmp_path: Path) -> None:
    """Rows that lack it belong to the last step that was told; those before any are left out."""
    records = [row(val__loss="9.0", _step="0")]
    for step in range(1, 9):
        records += [row(loss=f"{5 - step / 10}", global_step=f"{step * 100}", _step=f"{2 * step - 1}")]
        records += [row(val__loss="4.0", _step=f"{2 * step}")]
    run = read(written(tmp_path, records))
    assert run.train_loss.step.tolist() == run.val_loss.step.tolist() == [step * 100 for step in range(1, 9)]
    assert set(run.val_loss.value) == {4.0}


@pytest.mark.parametrize("odd", [{"global_step": "7"}, {"iteration": "NaN"}])
def test_a_column_that_is_no_count_is_no_step(tmp_path: Path, odd: dict[str, str]) -> None:
    run = read(written(tmp_path, [row(loss="3.0", _step=str(3 * step), **odd) for step in range(9)]))
    assert run.train_loss.step.tolist() == list(range(0, 27, 3))
    assert any("W&B's own (_step)" in note for note in run.reading.notes)


def test_a_step_that_few_losses_have_is_not_taken(tmp_path: Path) -> None:
    records = [row(loss="3.0", _step=str(step), **({"step": str(step)} if step < 3 else {})) for step in range(12)]
    assert read(written(tmp_path, records)).train_loss.step.tolist() == list(range(12))


# ---------------------------------------------------------------- several starts, several runs


def test_starts_of_one_run(tmp_path: Path) -> None:
    """Two files of one id, in the order in which they were begun, whatever their folders are called."""
    late = [wandb_run(started=2_000, lr="0.2"), *rows(range(20, 40), shift=1.0)]
    written(tmp_path, late, "run-a-abc/run-abc.wandb")
    written(tmp_path, [wandb_run(started=1_000, lr="0.1", seed="3"), *rows(range(30))], "run-b-abc/run-abc.wandb")
    run = read(tmp_path)
    assert run.train_loss.step.tolist() == list(range(40))
    assert run.train_loss.value[[19, 20]].tolist() == pytest.approx([4.81, 5.8])
    assert (run.facts.peak_learning_rate, run.facts.seed, run.facts.resumed_at) == (0.2, 3, (20.0,))


def test_several_runs_are_named(tmp_path: Path) -> None:
    written(tmp_path, [wandb_run("id1", "first", 1_000), *rows(range(10))], "offline-run-1-id1/run-id1.wandb")
    written(tmp_path, [wandb_run("id2", "second", 2_000), *rows(range(11))], "run-2-id2/run-id2.wandb")
    with pytest.raises(InputError, match=r"holds 2 runs: id1 \(first\), id2 \(second\); name one with --which"):
        read(tmp_path)
    for which, num in (("id1", 10), ("second", 11), ("run-2-id2", 11), ("1", 10)):
        run = read(tmp_path, which=which)
        assert (len(run.train_loss), run.reading.runs) == (num, ("id1", "id2"))
    with pytest.raises(InputError, match=r"holds no run of the name x; it holds id1 \(first\), id2 \(second\)"):
        read(tmp_path, which="x")


def test_files_that_hold_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "run-1-a").mkdir()
    (tmp_path / "run-1-a" / "run-a.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    with pytest.raises(InputError, match="nothing stands in them yet"):
        read(tmp_path)
    with pytest.raises(InputError, match="has no column that is a loss; it has none"):
        read(tmp_path / "run-1-a" / "run-a.wandb")


# ---------------------------------------------------------------- settings


def test_the_config_and_what_changed_it(tmp_path: Path) -> None:
    change = record(5, field(1, field(1, b"lr") + field(16, b"0.5")) + field(2, field(1, b"seed")))
    nested = record(5, field(1, field(2, b"model") + field(2, b"n_layer") + field(16, b"12")))
    first = wandb_run(lr="0.1", seed="1", _wandb='{"seed": 9}', broken="{", model='{"n_layer": 6, "n_head": 2}')
    facts = read(written(tmp_path, [first, change, nested, *rows(range(5))])).facts
    assert (facts.peak_learning_rate, facts.seed, facts.layers, facts.heads) == (0.5, None, 12, 2)


def test_hugging_face_logs_means(tmp_path: Path) -> None:
    first = wandb_run(logging_steps="25", logging_nan_inf_filter="false", logging_strategy='"steps"')
    run = read(written(tmp_path, [first, *rows(range(25, 200, 25))]))
    assert (run.train_loss.kind, run.facts.train_loss_window) == ("interval_mean", 25)
    assert (run.facts.train_loss_ranks, run.facts.nan_logged_as) == ("mean", None)


# ---------------------------------------------------------------- damage


def test_a_flipped_bit_costs_the_rest_of_its_block(tmp_path: Path) -> None:
    path = written(tmp_path, rows(range(3_000)))
    data = bytearray(path.read_bytes())
    data[40_000] ^= 1  # in the second block
    path.write_bytes(data)
    run = read(path)
    lost = sorted(set(range(3_000)) - set(map(int, run.train_loss.step)))
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert 0 < len(lost) < 32_768 // 60
    assert any("damaged and were left out" in note for note in run.reading.notes)


def test_a_message_that_is_none(tmp_path: Path) -> None:
    run = read(written(tmp_path, [*rows(range(20)), b"\xff\xff\xff", *rows(range(20, 40)), record(2, b"\x0a\x7f")]))
    assert len(run.train_loss) == 40
    assert any("2 records were not understood" in note for note in run.reading.notes)


def test_what_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, rows(range(3_000)))
    monkeypatch.setattr("talweg.readers.wandb.records.PIECE", 32_768)
    run = read(path)
    assert run.train_loss.step.tolist() == list(range(3_000))
    assert run.train_loss.value.tolist() == [5.0 - step / 100 for step in range(3_000)]


def test_room_that_was_not_written_yet(tmp_path: Path) -> None:
    path = written(tmp_path, rows(range(20)))
    path.write_bytes(path.read_bytes() + bytes(50_000))
    run = read(path)
    assert len(run.train_loss) == 20
    assert [note for note in run.reading.notes if "run-abc" in note] == [
        "run-abc.wandb: the last record is cut off in the middle (not written yet?) and was left out"
    ]


def test_long_records_cross_blocks(tmp_path: Path) -> None:
    long = row(train__loss="2.0", _step="1000", text=json.dumps("x" * 100_000))
    run = read(written(tmp_path, [*rows(range(20)), long, row(train__loss="1.0", _step="1001")]))
    assert run.train_loss.step[-1] == 1001


# ---------------------------------------------------------------- which files


def test_only_run_files_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, rows(range(9)))
    assert sniff(Log.at(path).head) == 1.0
    for raw in (b":W&B", b":W&B\0\0\0", b"wandb: run", b""):
        assert sniff(Head(raw=raw)) == 0.0
    assert sniff(Head(names=("wandb/debug.log", "x.wandb.txt"))) == 0.0
    assert formats()["wandb"].NAME == "wandb"
    packed = tmp_path / "run.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read(packed).train_loss) == 9


def test_the_columns_that_a_person_names(tmp_path: Path) -> None:
    path = written(tmp_path, [row(objective="3.0", _step=str(step)) for step in range(5)])
    with pytest.raises(InputError, match=r"has no column that is a loss; it has objective\. Name it"):
        read(path)
    assert read(path, loss_column="objective").train_loss.name == "objective"


# ---------------------------------------------------------------- the wire format


@pytest.mark.parametrize("num", [3, 200])
def test_many_messages_at_once_are_what_each_is_alone(num: int) -> None:
    """Whole ones, broken ones and empty ones; few of them are walked through one by one."""
    rng = np.random.default_rng(0)
    messages = []
    for place in range(num):
        parts = [
            varint(8) + varint(int(rng.integers(1 << 62)) << 1),
            field(3, bytes(int(rng.integers(300)))),
            field(20, 1.5),
        ]
        message = b"".join(parts[: int(rng.integers(4))]) + (b"\x2d" + b"1234") * (place % 3)
        messages.append(message + (b"", b"\x0b", b"\x0a\x7f", b"\x80" * 12, b"\0\1")[place % 5])
    assert (num < FEW) == (num == 3)
    data = b"".join(messages)
    ends = np.cumsum([len(message) for message in messages])
    found = fields_of_all(data, np.append(0, ends[:-1]), ends)
    for row_, (message, end) in enumerate(zip(messages, ends.tolist(), strict=True)):
        mine = found.owner == row_
        start, expected, whole = end - len(message), [], True
        try:
            for number, kind, begin, stop in fields(data, start, end):
                expected.append((number, kind, begin, stop))
        except ValueError:
            whole = False
        made = zip(found.number[mine], found.kind[mine], found.start[mine], found.end[mine], strict=True)
        assert [tuple(map(int, part)) for part in made] == expected
        assert bool(found.whole[row_]) == whole
