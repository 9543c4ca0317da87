"""The local engine: the same bytes for any number of workers, and every way a worker can end."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from talweg.corpus.engines import ENGINES, local, python_path
from talweg.corpus.engines import run as run_engine
from talweg.errors import InputError
from tests.corpus import chain

CHAIN = "tests.corpus.chain"
ROOT = Path(__file__).parents[2]


def quiet(stage: str, done: float, total: float) -> None:
    pass


def run(work: Path, workers: int = 2) -> None:
    local.run(work, workers=workers, progress=quiet, chain=CHAIN)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_bytes_and_does_each_task_once(tmp_path: Path, workers: int) -> None:
    work = chain.plan(tmp_path / "work", survey=5, encode=7)
    reference = chain.plan(tmp_path / "reference", survey=5, encode=7)
    for stage in chain.STAGES:
        for index in range(chain.num_tasks(reference, stage)):
            chain.run_task(reference, stage, index)
    run(work, workers)
    assert chain.result(work) == chain.result(reference)
    assert set(Counter(chain.executed(work)).values()) == {1}
    assert len(chain.executed(work)) == 5 + 1 + 7 + 1


def test_a_single_task_and_a_single_worker_run_in_this_process(tmp_path: Path) -> None:
    pids = lambda work: {line.split()[-1] for line in (work / "executed").read_text().splitlines()}  # noqa: E731
    run(chain.plan(tmp_path / "one", survey=3), workers=1)
    run(chain.plan(tmp_path / "two"), workers=2)
    assert pids(tmp_path / "one") == pids(tmp_path / "two") == {str(os.getpid())}
    run(chain.plan(tmp_path / "three", survey=3, seconds=0.2), workers=3)
    assert len(pids(tmp_path / "three")) == 4


def test_progress_counts_tasks_and_starts_at_what_is_there(tmp_path: Path) -> None:
    work, said = chain.plan(tmp_path, survey=3), list[tuple[str, float, float]]()
    chain.run_task(work, "survey", 1)
    local.run(work, workers=2, progress=lambda *args: said.append(args), chain=CHAIN)
    assert said[:3] == [("survey", 1, 3), ("survey", 2, 3), ("survey", 3, 3)]
    assert said[-1] == ("publish", 1, 1)


def test_only_what_is_missing_is_done(tmp_path: Path) -> None:
    work = chain.plan(tmp_path, survey=4, encode=4)
    run(work)
    before = chain.result(work)
    (work / "executed").unlink()
    chain.output(work, "encode", 2).unlink()
    run(work)
    assert chain.executed(work) == ["encode:2"]
    assert chain.result(work) == before
    run(work)
    assert chain.executed(work) == ["encode:2"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("SIGKILL", "encode: the process of task 2 was killed, .* memory; fewer --workers .* only what is missing"),
        ("SIGSEGV", r"encode: the process of task 2 crashed \(SIGSEGV\); .*--workers 1"),
        ("input error", "^encode:2 is corrupt; leave it out$"),
    ],
)
def test_a_task_that_fails_is_one_line_and_the_rerun_does_the_rest(tmp_path: Path, fault: str, message: str) -> None:
    work = chain.plan(tmp_path / "work", encode=4, seconds=0.05, faults={"encode:2": fault})
    with pytest.raises(InputError, match=message) as caught:
        run(work)
    assert "\n" not in str(caught.value)
    assert "survey:0" in chain.executed(work)
    chain.plan(work, encode=4)
    done = set(range(4)) - set(chain.missing(work, "encode"))
    (work / "executed").unlink()
    run(work)
    assert not {f"encode:{i}" for i in done} & set(chain.executed(work))
    run(chain.plan(tmp_path / "reference", encode=4), workers=1)
    assert chain.result(work) == chain.result(tmp_path / "reference")


def test_errors_that_are_not_the_persons_keep_their_type_and_traceback(tmp_path: Path) -> None:
    for fault, kind, what in (
        ("bug", ZeroDivisionError, "planted"),
        ("no space", OSError, "No space left"),
        ("unpicklable", RuntimeError, "it cannot travel"),
    ):
        work = chain.plan(tmp_path / kind.__name__, survey=2, faults={"survey:0": fault})
        with pytest.raises(kind, match=what) as caught:
            run(work)
        assert "_strike" in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert isinstance(caught.value, RuntimeError)


def test_what_a_library_prints_does_not_disturb(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(chain.plan(tmp_path, survey=2, faults={"survey:0": "print"}))
    out, err = capfd.readouterr()
    assert out == ""
    assert "is no answer" in err


def begun(work: Path, task: str, seconds: float = 20) -> None:
    """Waits until a task has struck its fault."""
    for _ in range(int(seconds / 0.05)):
        if (work / f"struck-{task}").exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{task} did not begin")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ctrl_c_and_kill_end_the_workers_at_once_and_leave_what_is_done(tmp_path: Path, how: signal.Signals) -> None:
    """The command in a process of its own, which has no main guard: the workers must not import it."""
    work = chain.plan(tmp_path, survey=3, faults={"survey:0": "wait"})
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom talweg.corpus.engines import local\n"
        f"local.run(Path({str(work)!r}), workers=2, progress=lambda *a: None, chain={CHAIN!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{python_path()}"}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE) as process:
        begun(work, "survey:0")
        while chain.missing(work, "survey") != [0]:
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(how)
        _, err = process.communicate(timeout=10)
    assert process.returncode in (-how, 130)
    assert (b"KeyboardInterrupt" in err) == (how == signal.SIGINT)
    pids = {int(line.split()[-1]) for line in (work / "executed").read_text().splitlines()}
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() - began < 5, "a worker outlived the command"
        time.sleep(0.05)
    assert chain.missing(work, "survey") == [0]
    run(work)
    assert Counter(chain.executed(work))["survey:1"] == 1


def test_an_output_that_vanishes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = chain.plan(tmp_path, survey=2)
    monkeypatch.setattr(chain, "run_task", lambda *args: None)
    with pytest.raises(InputError, match=r"survey: 2 of 2 tasks are not done \(task 0, 1\); their output"):
        run(work, workers=1)


def test_an_engine_that_is_not_there_and_workers_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no engine spark; give one of {', '.join(ENGINES)}"):
        run_engine("spark", tmp_path, workers=1, progress=quiet)
    with pytest.raises(InputError, match="0 workers can do nothing; give --workers 1 or more"):
        run_engine("local", tmp_path, workers=0, progress=quiet)
    work = chain.plan(tmp_path)
    run_engine("local", work, workers=None, progress=quiet, chain=CHAIN)
    assert not chain.missing(work, "publish")
