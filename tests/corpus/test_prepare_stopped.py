"""The whole command with workers, interrupted or killed: no process stays, and the rerun gives the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.corpus.texts import rows, write

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks into /proc")

COMMAND = """
import sys
from talweg.corpus import plan
plan.SMALLEST_TASK = 20_000
from talweg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def command(folder: Path, out: str) -> list[str]:
    words = ["prepare", str(folder / "a.parquet"), "-o", str(folder / out), "--vocabulary-size", "400"]
    return [sys.executable, "-c", COMMAND, *words, "--workers", "2"]


def workers(folder: Path) -> list[int]:
    """Processes that work in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"talweg.corpus.engines.worker" in words and any(str(folder).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


def until(condition: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_with_two_workers_it_leaves_no_process_and_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    write(tmp_path / "a.parquet", rows(800, num_words=300), row_group_size=20)
    out = tmp_path / "data"
    stopped = subprocess.Popen(command(tmp_path, "data"), stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: len(list(out.glob(".work-*/survey/?????"))) > 5)
    assert len(workers(tmp_path)) == 2
    if how == signal.SIGINT:
        os.killpg(stopped.pid, how)  # as a terminal does
    else:
        stopped.kill()
    said = stopped.communicate(timeout=30)[1]
    assert stopped.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    if how == signal.SIGINT:
        assert said.endswith("talweg: interrupted\n")
        assert "Traceback" not in said
    until(lambda: not workers(tmp_path), 5)
    assert not (out / "manifest.json").exists()
    done = {path: path.stat().st_mtime_ns for path in out.glob(".work-*/survey/?????")}
    assert len(done) > 5
    assert subprocess.run(command(tmp_path, "data"), check=True, stderr=subprocess.PIPE, text=True).returncode == 0
    subprocess.run(command(tmp_path, "whole"), check=True, capture_output=True)
    assert files(out) == files(tmp_path / "whole")
