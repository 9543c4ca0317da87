"""The Slurm engine: its batch scripts, run by a stand-in for Slurm, and by a real one where it can be started."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from talweg.corpus.engines import local, slurm
from talweg.errors import InputError
from tests.corpus import chain
from tests.corpus.test_engines import CHAIN, quiet

pytest.importorskip("datatrove", reason="the extra `cluster` is not installed")
ROOT = Path(__file__).parents[2]
NASTY = "a b'c\"d %j $(touch injected) `touch injected`;touch injected #"
SBATCH = """#!/bin/bash
# Writes down how it was called, then runs the array at once, as Slurm would one after another.
script="${@: -1}"
number=$(( $(ls "$SPOOL" | wc -l) + 1 ))
mkdir "$SPOOL/$number"
cp "$script" "$SPOOL/$number/script"
printf '%s\\n' "$@" > "$SPOOL/$number/arguments"
if [ -n "$REFUSE" ]; then echo "sbatch: error: $REFUSE" >&2; exit 1; fi
last=$(sed -n 's/^#SBATCH --array="0-\\([0-9]*\\).*/\\1/p' "$script")
if [ -z "$HOLD" ]; then
    for i in $(seq 0 "$last"); do
        RUN_OFFSET=0 SLURM_ARRAY_TASK_ID=$i SLURM_NODELIST=here bash "$script" >>"$SPOOL/$number/said" 2>&1
    done
fi
echo "Submitted batch job $number"
"""
SQUEUE = '#!/bin/bash\nif [ -n "$SILENT" ]; then exit 1; fi\necho $QUEUED\n'


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Slurm on PATH; the folder holds one folder for each call of sbatch."""
    commands, spool = tmp_path / "bin", tmp_path / "spool"
    spool.mkdir()
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", "#!/bin/bash\necho here\n")):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SPOOL", str(spool))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm, "LOOK", 0.05)
    monkeypatch.setattr(slurm, "SETTLE", 0.1)
    return spool


def run(work: Path, workers: int | None = None, sbatch: str = "") -> None:
    slurm.run(work, workers=workers, progress=quiet, sbatch=sbatch, chain=CHAIN)


def reference(work: Path, **tasks: int) -> dict[str, bytes]:
    local.run(chain.plan(work, **tasks), workers=1, progress=quiet, chain=CHAIN)
    return chain.result(work)


def directives(script: Path) -> dict[str, str]:
    """As Slurm reads them: quotes and backslashes as in a shell."""
    found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", script.read_text(), re.M)
    return {name: shlex.split(value)[0] if value else "" for name, value in found}


def test_a_chain_of_arrays_with_any_path_gives_the_same_bytes(tmp_path: Path, spool: Path) -> None:
    work = chain.plan(tmp_path / NASTY / "work", survey=3, encode=2)
    run(work, workers=2, sbatch="--partition=cpu --time=4:00:00 --mem=8G --comment='two words' --exclusive")
    assert chain.result(work) == reference(tmp_path / "reference", survey=3, encode=2)
    assert sorted(chain.executed(work)) == sorted(chain.executed(tmp_path / "reference"))
    assert not list(tmp_path.rglob("injected"))
    survey, decide, encode, _ = (directives(spool / str(i) / "script") for i in range(1, 5))
    assert [survey["array"], decide["array"], encode["array"]] == ["0-2%2", "0-0%2", "0-1%2"]
    assert survey["job-name"] == "talweg-survey"
    assert {name: survey[name] for name in ("partition", "time", "mem", "comment", "exclusive", "cpus-per-task")} == {
        "partition": "cpu",
        "time": "4:00:00",
        "mem": "8G",
        "comment": "two words",
        "exclusive": "",
        "cpus-per-task": "1",
    }
    assert not {"mem-per-cpu", "qos", "mail-user"} & set(survey)
    assert survey["kill-on-invalid-dep"] == "yes"
    assert survey["output"] == str(work / "logs" / "survey" / "slurm_logs").replace("%", "%%") + "/%A_%a.out"
    assert "--dependency" not in (spool / "1" / "arguments").read_text()
    assert "--dependency=afterok:1\n" in (spool / "2" / "arguments").read_text()
    assert "--dependency=afterok:3\n" in (spool / "4" / "arguments").read_text()
    assert len(list(spool.iterdir())) == 4


def test_the_script_runs_this_python_with_this_environment_and_nothing_else(tmp_path: Path, spool: Path) -> None:
    work = chain.plan(tmp_path / "work")
    run(work)
    text = (spool / "1" / "script").read_text()
    assert directives(spool / "1" / "script")["mem-per-cpu"] == "2G"
    commands = [line for line in text.splitlines() if not line.startswith("#")]
    assert commands[0] == "set -e"
    assert shlex.split(commands[1]) == ["export", f"PYTHONPATH={slurm.python_path()}"]
    assert shlex.split(commands[2])[1].endswith("/python")
    assert shlex.split(commands[2])[2:4] == ["-P", "-m"]
    assert len(commands) == 3


@pytest.mark.slow
def test_only_what_is_missing_is_submitted(tmp_path: Path, spool: Path) -> None:
    work = chain.plan(tmp_path / "work", survey=3, encode=3)
    run(work)
    (work / "executed").unlink()
    chain.output(work, "encode", 1).unlink()
    run(work)
    assert chain.executed(work) == ["encode:1"]
    assert directives(spool / "5" / "script")["array"] == "0-0"
    assert len(list(spool.iterdir())) == 5
    run(work)
    assert len(list(spool.iterdir())) == 5


@pytest.mark.slow
def test_bad_input_and_a_killed_job_are_one_line(tmp_path: Path, spool: Path) -> None:
    work = chain.plan(tmp_path / "refused", survey=2, faults={"survey:1": "input error"})
    with pytest.raises(InputError, match=r"^survey:1 is corrupt; leave it out$"):
        run(work)
    work = chain.plan(tmp_path / "killed", survey=2, faults={"survey:1": "SIGKILL"})
    with pytest.raises(InputError, match=r"survey: 1 of 2 tasks are not done \(task 1\); see .*slurm_logs; the same"):
        run(work)
    run(work)
    assert chain.result(work) == reference(tmp_path / "reference", survey=2)


def test_jobs_that_are_still_queued_are_waited_for_and_not_submitted_again(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = chain.plan(tmp_path / "work", survey=2)
    monkeypatch.setenv("HOLD", "1")
    with pytest.raises(InputError, match=r"survey: 2 of 2 tasks are not done"):
        run(work)
    assert len(list(spool.iterdir())) == 4
    monkeypatch.setenv("QUEUED", "3 99")

    def do_a_task(stage: str, done: float, total: float) -> None:  # as the job does while it is waited for
        if done < total:
            chain.run_task(work, stage, chain.missing(work, stage)[0])

    slurm.run(work, workers=None, progress=do_a_task, chain=CHAIN)
    assert not chain.missing(work, "publish")
    assert len(list(spool.iterdir())) == 4


def test_what_slurm_refuses_or_lacks(tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = chain.plan(tmp_path / "work")
    with monkeypatch.context() as patch:
        patch.setenv("REFUSE", "invalid partition specified: gpu")
        with pytest.raises(InputError, match=r"refused the jobs of survey: invalid partition specified: gpu; change"):
            run(work, sbatch="--partition=gpu")
        patch.delenv("REFUSE")
        patch.setenv("HOLD", "1")
        patch.setenv("SILENT", "1")
        patch.setattr(slurm, "PATIENCE", 2)
        with pytest.raises(InputError, match=r"squeue does not answer"):
            run(work)
    (tmp_path / "bin" / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(InputError, match=r"no sbatch on this machine; run this on a login node"):
        run(work)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-p cpu", r"'-p' is no option for sbatch; write each as --name=value"),
        ("--partition cpu", r"'cpu' is no option for sbatch"),
        ("--array=0-3", r"--array is what this engine sets for each stage; leave it out"),
        ("--comment='open", r"cannot be read \(No closing quotation\)"),
    ],
)
def test_options_for_sbatch_that_cannot_be_used(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(chain.plan(tmp_path), sbatch=options)


def test_a_folder_that_slurm_cannot_be_told_of(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line break or a backslash"):
        run(chain.plan(tmp_path / "a\nb"))


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))):
        pytest.skip("needs root and Slurm: apt-get install slurmctld slurmd slurm-client munge")
    script, folder = ROOT / "bench" / "slurm_local.sh", tmp_path / "slurm"
    started = subprocess.run([script, "start", folder], capture_output=True, text=True)
    if started.returncode:
        pytest.skip(f"Slurm does not start here: {started.stderr.strip()}")
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    monkeypatch.setattr(slurm, "LOOK", 0.2)
    monkeypatch.setattr(slurm, "SETTLE", 2.0)
    yield
    subprocess.run([script, "stop", folder], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_a_real_slurm_of_one_node(tmp_path: Path) -> None:
    """The chain; then with a task that is killed, whose stage fails and takes those that wait for it along."""
    work = chain.plan(tmp_path / NASTY / "work", survey=4, encode=4)
    run(work, sbatch="--mem-per-cpu=200M")
    assert chain.result(work) == reference(tmp_path / "reference", survey=4, encode=4)
    assert sorted(chain.executed(work)) == sorted(chain.executed(tmp_path / "reference"))
    assert not list(tmp_path.rglob("injected"))
    assert len(list((work / "logs" / "survey" / "slurm_logs").glob("*.out"))) == 4

    work = chain.plan(tmp_path / "killed", survey=3, faults={"survey:1": "SIGKILL"})
    with pytest.raises(InputError, match=r"survey: 1 of 3 tasks are not done \(task 1\); see .*slurm_logs"):
        run(work, workers=1, sbatch="--mem-per-cpu=200M")
    assert subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout == ""
    (work / "executed").unlink()
    run(work, sbatch="--mem-per-cpu=200M")
    assert chain.executed(work) == ["survey:1", "decide:0", "encode:0", "publish:0"]
    assert chain.result(work) == reference(tmp_path / "reference3", survey=3)
