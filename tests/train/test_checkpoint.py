"""Checkpoints: whole or absent, whatever happens while they are written or afterwards."""

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from talweg.errors import InputError
from talweg.train import checkpoint as checkpoints
from talweg.train.checkpoint import Checkpoint
from talweg.train.config import Config, build
from talweg.train.exchange import open_model
from talweg.train.loop import train
from talweg.train.resolve import to_toml
from talweg.train.retention import Retention

from .test_loop import log, measured, run_until, same, weights

Make = Callable[..., Config]


def small(step: int, size: int = 100) -> Checkpoint:
    return Checkpoint({"w": torch.full((size,), float(step))}, {"w/step": torch.tensor(1.0)}, {"step": step})


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, small(3), Retention(2))
    assert path.name == "step_00000003"
    assert (tmp_path / "checkpoints" / "latest").read_text() == "step_00000003\n"
    read = checkpoints.load(path)
    assert torch.equal(read.model["w"], torch.full((100,), 3.0))
    assert read.state["step"] == 3


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoints.save(tmp_path, small(step), Retention(2))
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["latest", "step_00000003", "step_00000004"]


def of_loss(step: int, val_loss: float | None) -> Checkpoint:
    return replace(small(step), state={"step": step, "val_loss": val_loss})


def kept(folder: Path) -> list[int]:
    """The steps that are there, and what the pointers say must be among them."""
    names = {p.name for p in (folder / "checkpoints").iterdir()}
    for pointer in {"latest", "best"} & names:
        assert (folder / "checkpoints" / pointer).read_text().strip() in names
    return sorted(int(name.removeprefix("step_")) for name in names if name.startswith("step_"))


def test_one_every_so_many_steps_stays_for_good(tmp_path: Path) -> None:
    for step in range(2, 21, 2):
        checkpoints.save(tmp_path, small(step), Retention(2, every=6))
    assert kept(tmp_path) == [6, 12, 18, 20]


def test_the_one_of_the_lowest_validation_loss_stays_and_is_named(tmp_path: Path) -> None:
    """Of equal ones the earliest; one that was not evaluated at its own step, or is NaN, is no candidate."""
    course = [(1, 3.0), (2, 2.5), (3, None), (4, 2.5), (5, math.nan), (6, 2.7)]
    for step, loss in course:
        checkpoints.save(tmp_path, of_loss(step, loss), Retention(1, best=True))
    assert kept(tmp_path) == [2, 6]
    assert (tmp_path / "checkpoints" / "best").read_text() == "step_00000002\n"
    checkpoints.save(tmp_path, of_loss(7, 2.4), Retention(1, best=True))
    assert kept(tmp_path) == [7]
    assert (tmp_path / "checkpoints" / "best").read_text() == "step_00000007\n"
    checkpoints.save(tmp_path, of_loss(8, 2.6), Retention(1))  # no longer asked for
    assert kept(tmp_path) == [8]
    assert not (tmp_path / "checkpoints" / "best").exists()


def test_what_lies_beyond_the_course_that_the_run_took_goes(tmp_path: Path) -> None:
    """Else a resume would take up the steps after those that a rollback began again from."""
    for step in (2, 4, 6):
        checkpoints.save(tmp_path, of_loss(step, 1.0 / step), Retention(3, every=6, best=True))
    checkpoints.save(tmp_path, of_loss(5, 2.0), Retention(3, every=6, best=True))
    assert kept(tmp_path) == [2, 4, 5]
    assert checkpoints.find(tmp_path).name == "step_00000005"


def test_a_refused_one_is_set_aside_and_takes_no_ones_place(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoints.save(tmp_path, small(step), Retention(2))
    (tmp_path / "checkpoints" / "step_00000002" / "state.json").write_text("{}")
    assert checkpoints.newest(tmp_path, lambda _: None) is not None
    assert (tmp_path / "checkpoints" / "step_00000002.damaged" / "state.json").is_file()
    checkpoints.save(tmp_path, small(3), Retention(2))
    names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert {"step_00000001", "step_00000003", "step_00000002.damaged"} <= names


def test_the_run_keeps_its_best_by_the_loss_it_logged(configured: Make) -> None:
    config = configured(run__name="a", checkpoint__keep_best=True, checkpoint__keep_last=1, evaluation__every=8)
    list(train(config))
    path = config.run.out / "a" / "checkpoints"
    best = json.loads((path / (path / "best").read_text().strip() / "state.json").read_text())
    evaluated = {r["step"]: r["val_loss"] for r in log(config) if "val_loss" in r}
    assert sorted(evaluated) == [0, 8, 12]
    assert evaluated[best["step"]] == best["val_loss"] == min(evaluated.values())
    assert open_model(path / "best").facts["step"] == best["step"]  # the file may be given in place of the folder


def test_a_save_is_afforded_when_a_hundred_times_as_long_has_passed() -> None:
    now = time.monotonic()
    assert not checkpoints.Pace(1.0, now - 90).affords_another()
    assert checkpoints.Pace(1.0, now - 101).affords_another()
    assert checkpoints.Pace().affords_another()  # of the first save nothing is known


def test_where_nobody_said_how_often_to_save_it_is_at_evaluations_that_afford_it(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, saves = iter([True, False, False, True, False, False]), list[int]()
    monkeypatch.setattr(checkpoints.Pace, "affords_another", lambda _: next(answers))
    monkeypatch.setattr(checkpoints, "save", lambda folder, saved, *rest: saves.append(saved.state["step"]))
    list(train(configured(run__name="open", checkpoint__every=None, evaluation__every=2)))
    assert saves == [0, 6, 12]  # the last always
    saves.clear()
    list(train(configured(run__name="given", checkpoint__every=3, evaluation__every=2)))
    assert saves == [0, 3, 6, 9, 12]


def test_tensors_are_written_as_safetensors_reads_them(tmp_path: Path) -> None:
    kinds = {
        "a": torch.arange(7, dtype=torch.float32).reshape(7, 1)[::2],
        "b": torch.tensor(3, dtype=torch.int64),
        "c": torch.randn(2, 3).bfloat16(),
        "d": torch.tensor([True, False]),
        "e": torch.zeros(0, 4, dtype=torch.float16),
        "f": torch.randn(2, 3).double().T,
        "g": torch.arange(5, dtype=torch.uint8),
        "h": torch.arange(5, dtype=torch.int32),
    }
    path = checkpoints.save(tmp_path, Checkpoint(kinds, {}, {"step": 1}), Retention())
    read = safetensors.torch.load_file(path / "model.safetensors")
    assert read.keys() == kinds.keys()
    for name, tensor in kinds.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_the_old_name_of_a_setting_is_answered_with_the_new_one() -> None:
    with pytest.raises(InputError, match=r"no setting is called checkpoint.keep; did you mean checkpoint.keep_last\?"):
        build({"run.steps": 1, "checkpoint.keep": 2})


@pytest.mark.parametrize("name", checkpoints.FILES)
def test_a_flipped_byte_is_noticed_and_the_one_before_is_used(tmp_path: Path, name: str) -> None:
    checkpoints.save(tmp_path, small(1), Retention(2))
    newest = checkpoints.save(tmp_path, small(2), Retention(2))
    content = bytearray((newest / name).read_bytes())
    content[len(content) // 2] ^= 1
    (newest / name).write_bytes(content)
    told: list[str] = []
    read = checkpoints.newest(tmp_path, told.append)
    assert read is not None
    assert read.state["step"] == 1
    assert told == [
        f"{newest / name} is damaged: its sha256 is not the one in MANIFEST.json; using the checkpoint before"
    ]


def test_a_missing_file_and_a_cut_manifest_are_noticed(tmp_path: Path) -> None:
    for step, harm in ((1, ""), (2, "missing"), (3, "cut")):
        path = checkpoints.save(tmp_path, small(step), Retention(5))
        if harm == "missing":
            (path / "model.safetensors").unlink()
        if harm == "cut":
            (path / "MANIFEST.json").write_text('{"sha2')
    told: list[str] = []
    read = checkpoints.newest(tmp_path, told.append)
    assert read is not None
    assert read.state["step"] == 1
    assert len(told) == 2


def test_when_all_are_damaged_nothing_is_overwritten(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, small(1), Retention(1))
    (path / "state.json").unlink()
    with pytest.raises(InputError, match="every checkpoint is damaged; move the folder away to begin anew"):
        checkpoints.newest(tmp_path, print)


def test_a_folder_without_checkpoints(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path, print) is None
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoints.find(tmp_path)


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_the_same(configured: Make) -> None:
    straight, harmed = configured(run__name="straight"), configured(run__name="harmed")
    list(train(straight))
    run_until(harmed, 10)
    newest = checkpoints.find(harmed.run.out / "harmed")
    assert newest.name == "step_00000010"
    (newest / "model.safetensors").write_bytes(b"")
    notes = [record["note"] for record in train(harmed) if "note" in record]
    assert "step_00000010/model.safetensors is damaged" in notes[0]
    assert notes[1] == "goes on from step 8"
    assert same(weights(straight, 12), weights(harmed, 12))
    assert measured(log(straight)) == measured(log(harmed))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or os.name == "nt" or os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays_good(tiny_disk: Path) -> None:
    checkpoints.save(tiny_disk, small(1, size=20_000), Retention(1))
    with pytest.raises(
        InputError, match=r"step_00000002 could not be written: No space left on device; free some space"
    ):
        checkpoints.save(tiny_disk, small(2, size=60_000), Retention(1))
    assert sorted(p.name for p in (tiny_disk / "checkpoints").iterdir()) == ["latest", "step_00000001"]
    with pytest.raises(InputError, match="No space left"):  # not even with those gone that need not stay
        checkpoints.save(tiny_disk, small(3, size=60_000), Retention(1, every=2, best=True))
    read = checkpoints.newest(tiny_disk, print)
    assert read is not None
    assert read.state["step"] == 1


def test_a_run_whose_disk_is_full_goes_on_exactly_when_there_is_room(configured: Make, tiny_disk: Path) -> None:
    straight, filled = configured(run__name="straight"), configured(run__name="filled", run__out=str(tiny_disk))
    list(train(straight))
    with pytest.raises(InputError, match=r"could not be written: No space left on device"):
        list(train(filled))
    subprocess.run(["mount", "-o", "remount,size=3m", str(tiny_disk)], check=True)
    list(train(filled))
    assert same(weights(straight, 12), weights(filled, 12))
    assert measured(log(straight)) == measured(log(filled))


def test_a_folder_that_cannot_be_written_is_one_line(configured: Make, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where the run folder should be")
    with pytest.raises(InputError, match=r"a cannot be written: .*; give another run.out, or free some space"):
        list(train(configured(run__name="a")))


def test_a_file_that_may_not_grow_is_one_line_too(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, small(1), Retention(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(InputError, match="could not be written: File too large"):
            checkpoints.save(tmp_path, small(2, size=60_000), Retention(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    read = checkpoints.newest(tmp_path, print)
    assert read is not None
    assert read.state["step"] == 1


SLOW_SAVE = """
import os, sys, time
from talweg.train import checkpoint
from talweg.train.config import load
from talweg.train.loop import train
real = os.fsync
def slow(handle):
    real(handle)
    if "/checkpoints/" in os.readlink(f"/proc/self/fd/{handle}"):
        print("saving", flush=True)
        time.sleep(float(sys.argv[2]))
checkpoint.os.fsync = slow
for record in train(load(sys.argv[1])):
    if "loss" in record:
        print("step", record["step"], flush=True)
"""


def started(config: Config, folder: Path, pause: float) -> "subprocess.Popen[str]":
    path = folder / "given.toml"
    path.write_text(to_toml(config, only_changed=True))
    command = [sys.executable, "-c", SLOW_SAVE, str(path), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(process: "subprocess.Popen[str]", line: str, *, after: str = "") -> None:
    assert process.stdout is not None
    for found in process.stdout:
        after = "" if found.strip() == after else after
        if not after and found.strip() == line:
            return
    raise AssertionError(f"the process ended before it said {line}")


def test_kill_9_in_the_middle_of_a_checkpoint_leaves_one_to_go_on_from(configured: Make, tmp_path: Path) -> None:
    straight, killed = configured(run__name="straight"), configured(run__name="killed")
    list(train(straight))
    process = started(killed, tmp_path, pause=0.05)
    wait_for(process, "saving", after="step 7")  # the first file of the checkpoint of step 8
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    names = {p.name for p in (tmp_path / "killed" / "checkpoints").iterdir()}
    assert any(name.endswith(".partial") for name in names)
    assert "step_00000008" not in names
    list(train(killed))
    assert same(weights(straight, 12), weights(killed, 12))
    assert measured(log(straight)) == measured(log(killed))
    assert not list((tmp_path / "killed" / "checkpoints").glob(".*partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_cleanly(configured: Make, tmp_path: Path, number: signal.Signals) -> None:
    config = configured(run__name="a", run__steps=100_000)
    process = started(config, tmp_path, pause=0.0)
    wait_for(process, "step 5")
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    steps = [int(line.split()[1]) for line in out.splitlines() if line.startswith("step")]
    state = checkpoints.load(checkpoints.find(tmp_path / "a")).state
    assert state["step"] == (steps or [5])[-1] + 1
