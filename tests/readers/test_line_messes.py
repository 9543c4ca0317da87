"""What befalls logs of lines on their way to us, tried on each format that is read line by line."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.logs.given import Asked, Head, Log
from talweg.readers import formats, read
from talweg.run import COLUMN_NAMES, Run

NANOCHAT = """\
Step 00000 | Validation bpb: 4.557704
step 00000/00150 (0.00%) | loss: 6.930634 | lrm: 0.03 | dt: 139.87ms | tok/sec: 3,660 | mfu: 1.00 | epoch: 1 pq: 0 rg: 0
step 00001/00150 (0.67%) | loss: 6.830299 | lrm: 0.05 | dt: 71.98ms | tok/sec: 7,113 | mfu: 2.00 | epoch: 1 pq: 0 rg: 0
Step 00002 | Validation bpb: 4.001000
step 00002/00150 (1.33%) | loss: 6.730078 | lrm: 0.07 | dt: 91.05ms | tok/sec: 5,623 | mfu: 2.00 | epoch: 1 pq: 0 rg: 1
"""
LLMC = """\
step    1/300 | loss 4.705116 (+nanz)| norm 1.8484 (+nanz)| lr 2.00e-04 | 36.90 ms | 45.6% bf16 MFU | 27752 tok/s
step    2/300 | loss 4.675659 (+0.12z)| norm 1.5319 (-0.40z)| lr 3.00e-04 | 44.90 ms | 45.6% bf16 MFU | 22808 tok/s
val loss 4.600001
step    3/300 | loss 4.623504 (+0.12z)| norm 1.3825 (-0.40z)| lr 4.00e-04 | 62.79 ms | 45.6% bf16 MFU | 16308 tok/s
val loss 4.500001
"""
MAIN_LOG = """\
s:0 tel:11.0092
s:0 trl:11.0091 lr:0.000001 norm:15.37
s:1 trl:10.9598 lr:0.000002 norm:15.24
s:2 tel:10.9000
s:2 trl:10.8556 lr:0.000003 norm:14.84
"""
MODDED = """\
step:0/300 val_loss:10.8282 train_time:0ms step_avg:nanms
step:1/300 train_loss:10.7000 train_time:57ms step_avg:57.31ms
step:2/300 train_loss:10.6000 train_time:115ms step_avg:57.31ms
step:2/300 val_loss:10.5900 train_time:115ms step_avg:57.31ms
step:3/300 train_loss:10.5000 train_time:172ms step_avg:57.31ms
"""
LITGPT = """\
Epoch 1 | iter 2 step 1 | loss train: 4.802, val: n/a | iter time: 147.13 ms (step) remaining time: 2:18:37
Epoch 1 | iter 4 step 2 | loss train: 4.801, val: n/a | iter time: 342.45 ms (step) remaining time: 1:11:15
Validating ...
iter 4: val loss 4.7000, val time: 217.41 ms
Epoch 1 | iter 6 step 3 | loss train: 4.743, val: 4.700 | iter time: 51.80 ms (step) remaining time: 0:47:29
"""
BUILD = """\
validation loss: 10.9511
step     0 | loss: 10.955029 | lr 8.3916e-07 | norm: 15.3626 | dt: 27700.72ms | tok/sec: 18927.00
step     1 | loss: 10.900000 | lr 1.6783e-06 | norm: 15.0000 | dt: 338.30ms | tok/sec: 1549794.21
validation loss: 10.8300
step     2 | loss: 10.800000 | lr 2.5175e-06 | norm: 14.0000 | dt: 338.30ms | tok/sec: 1549794.21
"""
LOGS = {
    "nanochat": NANOCHAT,
    "llmc": LLMC,
    "llmc main.log": MAIN_LOG,
    "modded_nanogpt": MODDED,
    "litgpt": LITGPT,
    "step_lines": BUILD,
}

Points = dict[str, dict[float, float]]


def points(run: Run) -> Points:
    """By column: step and value, NaN as text so that it equals itself."""
    columns = {name: getattr(run, name) for name in COLUMN_NAMES} | dict(run.others)
    return {
        name: {float(s): float(v) for s, v in zip(series.step, series.value, strict=True)}
        for name, series in columns.items()
        if series and not series.num_not_finite
    }


def losses(run: Run) -> Points:
    found = points(run)
    return {name: found.get(name, {}) for name in ("train_loss", "val_loss", "val_bits_per_byte")}


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "train.log"
    path.write_bytes(content)
    return path


@pytest.fixture(params=LOGS, ids=lambda name: str(name).replace(" ", "_"))
def log(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The name of a reader and a small log of its format."""
    return request.param.split(" ")[0], LOGS[request.param]


def test_each_is_recognised_and_by_its_own_reader_alone(log: tuple[str, str], tmp_path: Path) -> None:
    name, text = log
    sure = {other: reader.sniff(Head(text)) for other, reader in formats().items()}
    assert {other for other, share in sure.items() if share > 0} == {name}
    assert sure[name] >= 0.9
    assert read(saved(tmp_path, text.encode())).format == name


def test_all_lines_are_understood(log: tuple[str, str], tmp_path: Path) -> None:
    run = read(saved(tmp_path, log[1].encode()))
    assert (run.reading.lines, run.reading.lines_not_understood) == (5, 0)
    assert sum(map(len, losses(run).values())) == (5 if "Validating" not in log[1] else 4)
    assert run.superseded == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode() + b"\n",
        lambda text: text.encode("utf-16"),
        lambda text: gzip.compress(text.encode()),
        lambda text: "".join(line * 8 for line in text.splitlines(keepends=True)).encode(),
        lambda text: text.replace("loss", "\x1b[32mloss\x1b[0m").encode(),
        lambda text: ("  5%|▌    | 5/100 [00:01<00:20,  4.5it/s]\r" + text).encode(),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: text.encode() + b"\xff\xfe\x00\x80 step 5 \xc3\n",
    ],
    ids=["crlf", "cr", "utf16", "gzip", "eight-times", "colours", "bar", "blank-lines", "garbage"],
)
def test_a_mess_changes_no_point(log: tuple[str, str], tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    clean = points(read(saved(tmp_path, log[1].encode())))
    assert points(read(saved(tmp_path, spoil(log[1])))) == clean


@pytest.mark.parametrize("prefix", ["[rank0]: ", "0: ", "2026-11-23 12:00:00,394 - INFO - ", "(train pid=71) "])
def test_prefixes_of_launchers(log: tuple[str, str], tmp_path: Path, prefix: str) -> None:
    text = "".join(prefix + line for line in log[1].splitlines(keepends=True))
    assert losses(read(saved(tmp_path, text.encode()))) == losses(read(saved(tmp_path, log[1].encode())))


def test_a_log_cut_anywhere_gives_points_of_the_whole_or_none(log: tuple[str, str]) -> None:
    name, text = log
    reader = formats()[name]
    whole = losses(reader.read(Log.of_text(text), Asked()))
    first = text.index("\n", text.index("\n") + 1) + 1
    for cut in range(first, len(text)):
        found = losses(reader.read(Log.of_text(text[:cut]), Asked()))
        for column, values in found.items():
            assert values.items() <= whole[column].items(), text[:cut]


def test_a_resume_overtakes_what_was_trained_before(log: tuple[str, str], tmp_path: Path) -> None:
    """The last three lines again with other losses: what they said first is superseded, and nothing else."""
    lines = log[1].splitlines(keepends=True)
    again = [line if place == 0 else _with_other_losses(line) for place, line in enumerate(lines[2:], 1)]
    before = losses(read(saved(tmp_path, log[1].encode())))
    run = read(saved(tmp_path, "".join([*lines, *again]).encode()))
    after = losses(run)
    assert {name: set(values) for name, values in after.items()} == {name: set(v) for name, v in before.items()}
    assert after != before
    assert "train_loss" in run.superseded


def _with_other_losses(line: str) -> str:
    """The first number after a loss, or bpb, made larger by 7."""
    for key in ("loss: ", "loss train: ", "trl:", "tel:", "bpb: ", "train_loss:", "val_loss:", "loss "):
        head, found, tail = line.partition(key)
        if found:
            return head + key + "7" + tail
    return line


GARBAGE = st.lists(
    st.tuples(st.integers(0, 5), st.text(st.characters(exclude_characters="\n\r"), max_size=60)), max_size=5
)


@settings(max_examples=40, deadline=None)
@given(GARBAGE, st.sampled_from(sorted(LOGS)))
def test_inserted_garbage_never_changes_the_losses(inserted: list[tuple[int, str]], which: str) -> None:
    reader = formats()[which.split(" ")[0]]
    lines = LOGS[which].splitlines()
    whole = losses(reader.read(Log.of_text(LOGS[which]), Asked()))
    for place, garbage in inserted:
        lines.insert(place, garbage)
    assert losses(reader.read(Log.of_text("\n".join(lines) + "\n"), Asked())) == whole


def test_endless_lines_do_not_hang_it(log: tuple[str, str]) -> None:
    name, text = log
    reader = formats()[name]
    for line in (
        "[" * 50_000,
        "step" + " " * 50_000,
        "1:" * 50_000,
        "[a]" * 20_000,
        "step 5 | " + "a: 1 " * 20_000,
        "|" * 50_000,
    ):
        reader.sniff(Head(line))
        whole = losses(reader.read(Log.of_text(text), Asked()))
        assert (
            losses(reader.read(Log.of_text(text + line + "\n"), Asked()))["train_loss"].items()
            >= whole["train_loss"].items()
        )


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_losses_that_are_not_finite_stay_so(log: tuple[str, str], tmp_path: Path, bad: str) -> None:
    number = {"nanochat": "6.830299", "llmc": "4.675659", "modded_nanogpt": "10.6000", "litgpt": "4.801"}
    old = "10.9598" if log[1] == MAIN_LOG else number.get(log[0], "10.900000")
    run = read(saved(tmp_path, log[1].replace(old, bad).encode()))
    assert run.train_loss.num_not_finite == 1
    assert len(run.train_loss) == 3
