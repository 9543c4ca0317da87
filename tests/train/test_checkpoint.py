"""Checkpoints: whole or absent, whatever happens while they are written or afterwards."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from talweg.errors import InputError
from talweg.train import checkpoint as checkpoints
from talweg.train.checkpoint import Checkpoint
from talweg.train.config import Config
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
    wait_for(process, "saving", after="step 7")  # the log is safe on the disk
    wait_for(process, "saving")  # and the first file of the checkpoint of step 8
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
