"""The command line as a person meets it: exit codes, one-line messages, help, and how fast it starts."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from talweg import cli, options
from talweg.diagnosis import Cause, Diagnosis, State
from talweg.errors import InputError
from talweg.finding import Finding, Verdict
from talweg.run import Run

HEAVY = {"numpy", "torch", "pyarrow", "tokenizers", "tiktoken", "bokeh", "tyro", "rich", "safetensors"}


def talweg(*words: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "talweg", *words], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=60
    )


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, nothing but one line on stderr, and that line says each of `parts`."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("talweg: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def falling(num: int = 60) -> list[tuple[int, float]]:
    return [(100 * k, 3.0 + 4.0 / (1 + k) ** 0.5) for k in range(num)]


def csv_log(points: list[tuple[int, float]]) -> str:
    return "step,loss\n" + "".join(f"{step},{loss:.5f}\n" for step, loss in points)


# --- starting


def test_import_is_light() -> None:
    code = "import sys, talweg; print(*sorted(m.split('.')[0] for m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_help_imports_nothing_heavy_and_is_fast() -> None:
    code = "import sys; from talweg.cli import main; main(['--help']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        assert talweg("--help").returncode == 0
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.3  # the least of several: what the machine does besides is not ours


def test_overview_names_every_command_within_80_columns() -> None:
    text = cli.overview()
    for name in ("prepare", "export", "train", "sample", "diagnose", "explain", "report"):
        assert f"talweg {name} " in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_help_of_a_command_names_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code in (0, None)
    text = capsys.readouterr().out
    code = cli.COMMANDS[name].__code__
    for option in code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]:
        assert option == "overrides" or f"--{option.replace('_', '-')}" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


# --- words that are not understood


def test_without_a_command_the_overview_is_shown_and_the_exit_code_is_2() -> None:
    done = talweg()
    assert done.returncode == 2
    assert "talweg diagnose" in done.stdout


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["diagnos", "x"], ["no command diagnos", "did you mean diagnose?"]),
        (["diagnose", "x", "--fromat", "json"], ["does not know --fromat", "did you mean --format?"]),
        (["diagnose", "x", "--format", "yaml"], ["yaml", "markdown"]),
        (["diagnose", "x", "y"], ["does not know y"]),
        (["diagnose"], ["RUN", "talweg diagnose --help"]),
        (["sample", "x", "--top-k", "few"], ["--top-k", "few"]),
        (["train", "c.toml", "--run.steps"], ["--run.steps needs a value"]),
        (["report", "x", "-o", "report.pdf"], ["report.pdf", ".html"]),
    ],
)
def test_a_word_that_is_not_understood_is_one_line(words: list[str], parts: list[str]) -> None:
    assert_refused(talweg(*words), *parts)


def test_dotted_options_are_taken_for_the_configuration() -> None:
    words = ["--run.steps", "5", "c.toml", "--optimizer.peak-lr=1e-3", "--model.dropout", "-0.1"]
    rest, overrides = options.split_overrides(words)
    assert rest == ["c.toml"]
    assert overrides == ["run.steps=5", "optimizer.peak_lr=1e-3", "model.dropout=-0.1"]


# --- failures that a person can cause


def test_what_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: list[str]) -> int:
        raise InputError("log.csv has no loss column;\n it has step, lr")

    monkeypatch.setattr(cli, "_dispatch", refuse)
    assert cli.main([]) == 2
    assert capsys.readouterr().err == "talweg: log.csv has no loss column; it has step, lr\n"


@pytest.mark.parametrize(("package", "extra"), [("torch", "train"), ("pyarrow.parquet", "data"), ("bokeh", "report")])
def test_a_missing_extra_says_what_to_install(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lack(_: list[str]) -> int:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr(cli, "_dispatch", lack)
    assert cli.main([]) == 2
    assert f'pip install "talweg[{extra}]"' in capsys.readouterr().err


def test_a_module_of_ours_that_is_missing_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(_: list[str]) -> int:
        raise ModuleNotFoundError("No module named 'talweg.nothing'", name="talweg.nothing")

    monkeypatch.setattr(cli, "_dispatch", lack)
    with pytest.raises(ModuleNotFoundError):
        cli.main([])


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupt)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "talweg: interrupted\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "talweg", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, done.stderr) == (2, "talweg: No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes close differently on Windows")
def test_a_closed_pipe_is_quiet() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "talweg", "--help"], stdout=write_end, stderr=subprocess.PIPE, text=True
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")


# --- logs


def test_a_missing_file(tmp_path: Path) -> None:
    assert_refused(talweg("diagnose", "nowhere.log", cwd=tmp_path), "nowhere.log")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty.log", ""),
        ("blank.log", "\n\n  \n"),
        ("other.log", "Nov 23 10:00:00 host sshd[1]: Accepted publickey for root\n" * 40),
        ("binary.log", "\x00\x01\x02\x7f" * 500),
        ("rates.csv", "step,lr\n1,0.1\n2,0.1\n3,0.1\n"),
        ("nan.csv", csv_log([(k, float("nan")) for k in range(50)])),
        ("short.csv", csv_log(falling(1))),
    ],
)
def test_a_log_that_cannot_be_judged_is_one_line(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    done = talweg("diagnose", name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("talweg: ")
    assert done.stderr.count("\n") == 1
    assert name in done.stderr


@pytest.mark.parametrize("change", ["plain", "crlf", "cut"])
def test_a_log_reads_the_same_with_other_line_ends_and_a_cut_last_line(change: str, tmp_path: Path) -> None:
    text = csv_log(falling())
    if change == "crlf":
        text = text.replace("\n", "\r\n")
    if change == "cut":
        text += "6000,3."  # the value would be wrong if it were read
    (tmp_path / "log.csv").write_bytes(text.encode())
    done = talweg("diagnose", "log.csv", "--format", "json", "--fail-on", "never", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"steps": 5900' in done.stdout


def test_standard_input_is_read(tmp_path: Path) -> None:
    done = talweg("diagnose", "-", "--fail-on", "never", stdin=csv_log(falling()), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5,900" in done.stdout


def test_a_config_with_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[optimizer]\npeak_lrr = 1e-3\n")
    assert_refused(talweg("train", "c.toml", cwd=tmp_path), "optimizer.peak_lrr", "optimizer.peak_lr")
    (tmp_path / "c.toml").write_text("[optimizer]\npeak_lr = 1e-3\n")
    assert_refused(talweg("train", "c.toml", "--optimizer.peek_lr", "1", cwd=tmp_path), "optimizer.peak_lr")


def test_a_config_that_is_not_there_or_no_toml(tmp_path: Path) -> None:
    assert_refused(talweg("train", "c.toml", cwd=tmp_path), "c.toml")
    (tmp_path / "c.toml").write_text("[optimizer\n")
    assert_refused(talweg("train", "c.toml", cwd=tmp_path), "c.toml")


def test_a_parquet_without_text(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"id": [1, 2], "score": [0.5, 0.5]}), tmp_path / "x.parquet")
    assert_refused(talweg("prepare", "x.parquet", "--out", "data", cwd=tmp_path), "x.parquet", "id", "score")
    assert_refused(talweg("prepare", "--out", "data", cwd=tmp_path))
    assert_refused(talweg("prepare", "none.parquet", "--out", "data", cwd=tmp_path), "none.parquet")


def test_prepared_tokens_go_out_to_another_trainer(tmp_path: Path) -> None:
    import numpy as np

    from talweg.corpus.exchange import import_tokens
    from talweg.corpus.tokenizer import raw_bytes

    for name in ("train", "val"):
        np.array([104, 105, 256, 33, 256], "<u2").tofile(tmp_path / f"{name}.bin")
    import_tokens([tmp_path], tmp_path / "data", tokenizer=raw_bytes())
    done = talweg("export", "data", "--to", "nanogpt", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out  10 tokens as uint16 in 2 files\n"), done.stderr
    assert (tmp_path / "out" / "val.bin").read_bytes() == (tmp_path / "val.bin").read_bytes()
    assert_refused(talweg("export", "data", "--to", "nanogpt", "--out", "out", cwd=tmp_path), "out holds other files")
    assert_refused(talweg("export", "data", "--to", "hdf5", "--out", "x", cwd=tmp_path), "hdf5", "nanogpt")
    assert_refused(talweg("export", "nowhere", "--to", "llmc", "--out", "x", cwd=tmp_path), "nowhere is no folder")
    assert_refused(talweg("export", "data", "--to", "hf", "--out", "x", cwd=tmp_path), "data holds tokens, and --to hf")
    words = ("--tokenizer", "gpt2")
    assert_refused(
        talweg("export", "data", "--to", "llmc", *words, "--out", "x", cwd=tmp_path), "leave --tokenizer out"
    )


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--workers", "0"], ["0 workers can do nothing"]),
        (["--val-share", "2"], ["a share of 2 for validation"]),
        (["--dedup", "fuzzy"], ["fuzzy", "near"]),
        (["--engine", "spark"], ["spark", "slurm"]),
        (["--on-damage", "ignore"], ["ignore", "skip"]),
        (["--filter", "gofer"], ["gofer is no filter"]),
        (["--report", "x.pdf"], ["x.pdf", ".html"]),
        (["--report-only"], ["--out", "--report-only"]),
        (["--tokenizr", "gpt2"], ["--tokenizr", "did you mean --tokenizer?"]),
    ],
)
def test_what_prepare_cannot_do_is_one_line_and_leaves_no_trace(
    words: list[str], parts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("some text\n<|endoftext|>\nmore text\n" * 9)
    assert_refused(talweg("prepare", "a.txt", "-o", "data", *words, cwd=tmp_path), *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_progress_of_prepare_is_plain_lines_in_a_pipe(tmp_path: Path) -> None:
    documents = (" ".join(f"word{i}x{n}" for n in range(60)) for i in range(60))
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(documents))
    done = talweg("prepare", "a.txt", "-o", "data", "--tokenizer", "bytes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("reading    0%\n")
    assert not set("\x1b\r") & set(done.stdout + done.stderr)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert (tmp_path / "data" / "manifest.json").is_file()


# --- answers


@pytest.mark.parametrize(
    ("verdicts", "state", "code"),
    [
        (["present", "absent"], "falling", 1),
        (["present"], "too_short", 1),
        (["unknown", "absent"], "falling", 0),
        (["unknown", "unknown"], "falling", 2),
        (["absent"], "too_short", 2),
        (["absent"], "broken", 2),
    ],
)
def test_exit_codes(verdicts: list[Verdict], state: State, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    causes = tuple(Cause(f"c{n}", "data", "", "", Finding(v, "because")) for n, v in enumerate(verdicts))
    diagnosis = Diagnosis(Run(), state, "headline", None, None, None, causes, (), (), ())
    monkeypatch.setattr(cli, "_diagnosis", lambda *_, **__: diagnosis)
    monkeypatch.setattr(cli, "_show", lambda _: None)
    assert cli.main(["diagnose", "x"]) == code
    assert cli.main(["diagnose", "x", "--fail-on", "never"]) == (0 if code == 1 else code)


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A trainer that yields the records in this list, and a configuration that it never looks at."""
    records: list[dict[str, object]] = []
    monkeypatch.setitem(sys.modules, "talweg.train.loop", SimpleNamespace(train=lambda _: iter(records)))
    monkeypatch.setattr(cli, "_diagnosis", lambda _: Diagnosis(Run(), "falling", "", None, None, None, (), (), (), ()))
    monkeypatch.setattr(cli, "_show", lambda _: print("diagnosed"))
    monkeypatch.setattr(cli, "_write_report", lambda _, path: path)
    (tmp_path / "c.toml").write_text("[run]\nsteps = 5\n[data]\npath = 'd'\n")
    monkeypatch.chdir(tmp_path)
    return records


def test_train_shows_its_records_and_ends_with_the_diagnosis(
    training: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    training += [
        {"talweg": "0", "step": 0, "facts": {"planned_steps": 5}},
        {"step": 0, "val_loss": 7.6, "val_bits_per_byte": 4.1},
        {"step": 0, "loss": 7.6, "lr": 1e-3, "tokens": 0},
        {"step": 1, "note": "the seam of the run"},
    ]
    assert cli.main(["train", "c.toml"]) == 0
    shown = capsys.readouterr()
    assert shown.out.split() == ["diagnosed", "report", str(Path("runs/run/report.html"))]
    assert "val 7.6000  (4.100 bits per byte)" in shown.err
    assert "0 of 5  loss 7.6000  lr 1.00e-03" in shown.err
    assert "the seam of the run" in shown.err


def test_train_that_is_stopped_by_a_signal_says_so_and_no_more(
    training: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    training.append({"step": 3, "note": "stopped by Ctrl-C at step 3, and saved", "signal": "Ctrl-C"})
    assert cli.main(["train", "c.toml"]) == 130
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "stopped by Ctrl-C at step 3, and saved\n")


def test_explain_lists_names_and_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    from talweg.causes import catalogue

    assert cli.main(["explain"]) == 0
    listed = capsys.readouterr().out
    for name in catalogue():
        assert name in listed
    assert cli.main(["explain", "overfiting"]) == 2
    assert "did you mean overfitting" in capsys.readouterr().err
    assert cli.main(["explain", "overfitting"]) == 0
    assert "Refuted by" in capsys.readouterr().out


def test_report_is_written_beside_the_run_or_where_it_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    (tmp_path / "log.csv").write_text(csv_log(falling()))
    for name in ("report.html", "answer.md", "answer.json"):
        done = talweg("report", "log.csv", *(["-o", name] if name != "report.html" else []), cwd=tmp_path)
        assert (done.returncode, done.stdout.strip()) == (0, name), done.stderr
        assert (tmp_path / name).stat().st_size > 500
