"""What a person meets who starts `talweg train` by torchrun: real processes, their output, their signals."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from talweg.train import checkpoint as checkpoints
from talweg.train.config import Config
from talweg.train.loop import train
from talweg.train.resolve import to_toml

from .test_ranks import PLAIN, losses

Make = Callable[..., Config]
pytestmark = pytest.mark.slow


def command(world: int, config: Config, folder: Path) -> list[str]:
    path = folder / f"{config.run.name}.toml"
    path.write_text(to_toml(config, only_changed=True))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    return [sys.executable, *launcher, "-m", "talweg", "train", str(path)]


def finished(world: int, config: Config, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(world, config, folder), capture_output=True, text=True, timeout=300)


@contextmanager
def running(world: int, config: Config, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Once the run has logged its sixth update."""
    log = config.run.out / config.run.name / "log.jsonl"
    process = subprocess.Popen(
        command(world, config, folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for _ in range(1200):
            if log.is_file() and '"step": 5, "loss"' in log.read_text():
                break
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.communicate()


def ranks_of(launcher: "subprocess.Popen[str]") -> list[int]:
    """The process ids of the ranks, in their order."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    rank = {int(pid): re.search(rb"\0RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes()) for pid in children}
    return [pid for pid, found in sorted(rank.items(), key=lambda item: int(item[1][1]) if item[1] else -1) if found]


def no_traceback_of_ours(output: str) -> bool:
    """torchrun itself writes one when a rank fails."""
    return re.search(r'File ".*\btalweg/(train|cli|__main__)', output) is None


@pytest.mark.parametrize(("world", "strategy"), [(2, "ddp"), (4, "fsdp")])
def test_torchrun_gives_the_losses_of_one_process(configured: Make, tmp_path: Path, world: int, strategy: str) -> None:
    alone, config = configured(run__name="alone", **PLAIN), configured(hardware__strategy=strategy, **PLAIN)
    list(train(alone))
    result = finished(world, config, tmp_path)
    assert result.returncode == 0, result.stderr
    assert losses(config) == pytest.approx(losses(alone), rel=1e-5)
    assert no_traceback_of_ours(result.stderr)
    assert result.stdout.count("report ") == 1  # the diagnosis is the first rank's


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_torchrun_saves_and_the_run_goes_on(
    configured: Make, tmp_path: Path, number: signal.Signals
) -> None:
    config = configured(run__steps=100_000, **PLAIN)
    with running(2, config, tmp_path) as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    saved = checkpoints.load(checkpoints.find(tmp_path / "run"))
    assert saved.state["step"] > 5
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    assert no_traceback_of_ours(output)
    records = train(config)
    assert next(r["note"] for r in records if "note" in r) == (
        f"goes on from step {saved.state['step']}, with ranks 2 -> 1"
    )
    records.close()


def test_a_rank_that_is_killed_ends_all_and_fewer_go_on(configured: Make, tmp_path: Path) -> None:
    alone, config = configured(run__name="alone", run__steps=400, **PLAIN), configured(run__steps=400, **PLAIN)
    list(train(alone))
    begin = time.monotonic()
    with running(2, config, tmp_path) as process:
        os.kill(ranks_of(process)[1], signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
    assert time.monotonic() - begin < 120
    assert process.returncode != 0
    assert "SIGKILL" in output  # by torchrun; "another rank ended" too, unless its own signal comes first
    assert no_traceback_of_ours(output)
    list(train(config))
    assert losses(config)[:100] == pytest.approx(losses(alone)[:100], rel=1e-4)


def test_a_typing_error_is_said_once(configured: Make, tmp_path: Path) -> None:
    config = configured()
    words = [*command(2, config, tmp_path), "--optimizer.peek_lr", "1"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert result.returncode != 0
    assert result.stderr.count("talweg: ") == 1
    few = configured(run__name="few", batch__tokens_per_step=32)
    result = finished(2, few, tmp_path)
    assert result.stderr.count("talweg: ") == 1
    assert "too few for 2 ranks" in result.stderr
    assert no_traceback_of_ours(result.stderr)
