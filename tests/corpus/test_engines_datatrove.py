"""Our stages as steps of datatrove's local executor."""

from pathlib import Path

import pytest

from talweg.corpus.engines import datatrove, local
from talweg.errors import InputError
from tests.corpus import chain
from tests.corpus.test_engines import CHAIN, quiet

pytest.importorskip("datatrove", reason="the extra `cluster` is not installed")


def run(work: Path, workers: int = 2) -> None:
    datatrove.run(work, workers=workers, progress=quiet, chain=CHAIN)


def reference(work: Path, **tasks: int) -> dict[str, bytes]:
    local.run(chain.plan(work, **tasks), workers=1, progress=quiet, chain=CHAIN)
    return chain.result(work)


def test_a_rank_does_every_wth_task(tmp_path: Path) -> None:
    work = chain.plan(tmp_path, survey=7)
    datatrove.Step(CHAIN, work, "survey")(None, rank=1, world_size=3)
    assert chain.executed(work) == ["survey:1", "survey:4"]


def test_same_bytes_and_only_what_is_missing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, said = chain.plan(tmp_path / "a b'c", survey=5, encode=3), list[tuple[str, float, float]]()
    datatrove.run(work, workers=2, progress=lambda *args: said.append(args), chain=CHAIN)
    assert chain.result(work) == reference(tmp_path / "reference", survey=5, encode=3)
    assert sorted(chain.executed(work)) == sorted(chain.executed(tmp_path / "reference"))
    assert said[0] == ("survey", 0, 5)
    assert {path.name for path in (work / "logs" / "survey" / "completions").iterdir()} == {
        f"{i:05d}" for i in range(5)
    }
    (work / "executed").unlink()
    chain.output(work, "encode", 1).unlink()  # its marker says that it is complete
    run(work)
    assert chain.executed(work) == ["encode:1"]
    assert chain.result(work) == chain.result(tmp_path / "reference")


def test_bad_input_arrives_as_itself_and_quietly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    work = chain.plan(tmp_path, survey=3, faults={"survey:1": "input error"})
    with pytest.raises(InputError, match=r"^survey:1 is corrupt; leave it out$"):
        run(work)
    assert capfd.readouterr() == ("", "")
    assert "is corrupt" in (work / "logs" / "survey" / "logs" / "task_00001.log").read_text()
    with pytest.raises(InputError, match=r"^survey:1 is corrupt; leave it out$"):
        datatrove.raise_refusal(work, "survey")


def test_a_killed_process_is_named_where_datatrove_would_wait_for_ever(tmp_path: Path) -> None:
    work = chain.plan(tmp_path, survey=3, faults={"survey:1": "SIGKILL"})
    with pytest.raises(InputError, match=r"survey: the process of task 1 was killed, .*only what is missing"):
        run(work)
    run(work)
    assert chain.result(work) == reference(tmp_path / "reference", survey=3)
