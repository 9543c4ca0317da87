"""What befalls logs on their way to us: nothing may be invented, and each defect has one clear line."""

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.errors import InputError
from talweg.logs.given import Asked, Log
from talweg.readers import read
from talweg.readers.nanogpt import read as read_nanogpt
from talweg.run import Run
from tests.readers.test_nanogpt import LOG, points, slow

EXPECTED = slow(LOG)


def losses(run: Run) -> tuple[dict[float, float], dict[float, float], dict[float, float]]:
    return points(run.train_loss), points(run.train_eval_loss), points(run.val_loss)


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "train.log"
    path.write_bytes(content)
    return path


def refused(path: Path | str) -> str:
    """The one line that a person gets."""
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert "\n" not in message
    return message


APT = """\
Start-Date: 2026-11-20  06:12:01
Commandline: apt-get install libfoo
Install: libfoo:amd64 (1.2-3, automatic), libbar:amd64 (0.9), loss-tools:amd64 (3.1, automatic)
End-Date: 2026-11-20  06:12:09
"""


def test_a_missing_file(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "nothing.log")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_log(tmp_path: Path, content: bytes) -> None:
    assert "is empty" in refused(saved(tmp_path, content))


@pytest.mark.parametrize(
    "text", [APT, "hello\n", "a, b, c\nd, e, f\n", "1 2 3\n4 5 6\n", "{}\n", "[]\n", "{\n", "[1, 2]\n"]
)
def test_a_log_of_another_program_is_never_a_run(tmp_path: Path, text: str) -> None:
    assert "loss" in refused(saved(tmp_path, text.encode()))


def test_prose_about_a_loss_is_not_a_point(tmp_path: Path) -> None:
    prose = "as I said, iter 500: loss 3.2000, time 3900.00ms, mfu 12.00%\n"
    prose += "best so far was step 9: train loss 1.0, val loss 1.0\n"
    assert losses(read(saved(tmp_path, (LOG + prose).encode()))) == EXPECTED


def test_binary_garbage(tmp_path: Path) -> None:
    assert "is not text" in refused(saved(tmp_path, bytes(range(256)) * 40))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"SQLite format 3\0", "SQLite"),
        (b"PAR1....", "parquet"),
        (b"PK\x03\x04....", "zip"),
        (b"\x80\x02}q\0", "pickle"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, content: bytes, name: str) -> None:
    assert name in refused(saved(tmp_path, content))


def test_binary_garbage_within_a_log_is_passed_over(tmp_path: Path) -> None:
    first, second = LOG[: LOG.index("step 20")], LOG[LOG.index("step 20") :]
    garbage = b"\xff\xfe\x00\x80iter\x00\xc3\n"
    assert losses(read(saved(tmp_path, first.encode() + garbage + second.encode()))) == EXPECTED


def test_a_folder_without_a_log(tmp_path: Path) -> None:
    assert "without a log.jsonl" in refused(tmp_path)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, mode: str) -> object:  # the tests may run as root, who may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "may not be read" in refused(tmp_path / "train.log")


def test_a_configuration_instead_of_a_log(tmp_path: Path) -> None:
    assert "--config" in refused(saved(tmp_path, b"n_layer = 12\nbatch_size = 12\nblock_size = 1024\n"))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode())))
    run = read("-")
    assert losses(run) == EXPECTED
    assert run.source == "-"


@pytest.mark.parametrize("cut", range(1, 75))
def test_a_last_line_cut_anywhere_gives_the_whole_point_or_none(tmp_path: Path, cut: int) -> None:
    text = LOG[:-cut]
    iters, train, val = losses(read(saved(tmp_path, text.encode())))
    assert iters.items() <= EXPECTED[0].items()
    assert train == EXPECTED[1]
    assert val == EXPECTED[2]


@pytest.mark.parametrize("cut", range(1, 46))
def test_a_last_evaluation_cut_anywhere_gives_the_whole_point_or_none(tmp_path: Path, cut: int) -> None:
    text = LOG[: LOG.index("saving")]
    run = read(saved(tmp_path, text[:-cut].encode()))
    assert len(run.val_loss) == (2 if cut == 1 else 1)  # 1: only the end of the line is missing
    assert points(run.val_loss).items() <= EXPECTED[2].items()
    left = text[:-cut].split("\n")[-1]
    assert any("cut off" in note for note in run.reading.notes) == (cut > 1 and left.startswith("step"))


def test_windows_line_ends(tmp_path: Path) -> None:
    run = read(saved(tmp_path, LOG.replace("\n", "\r\n").encode()))
    assert losses(run) == EXPECTED
    assert run.reading.lines == 6


def test_colours(tmp_path: Path) -> None:
    coloured = LOG.replace("iter", "\x1b[32miter\x1b[0m").replace("loss", "\x1b[1;31mloss\x1b[0m")
    assert losses(read(saved(tmp_path, coloured.encode()))) == EXPECTED


def test_a_progress_bar_on_the_same_stream(tmp_path: Path) -> None:
    bar = "\r  5%|▌         | 5/100 [00:01<00:20,  4.5it/s]\r 10%|█         | 10/100 [00:02<00:18,  4.6it/s]"
    text = LOG.replace("iter 10", f"{bar}iter 10").replace("iter 20", f"{bar}\riter 20")
    assert losses(read(saved(tmp_path, text.encode()))) == EXPECTED


def test_backspaces(tmp_path: Path) -> None:
    text = LOG.replace("loss 5.0956", "losx\bs 5.0956").replace("iter 10", "12/99" + "\b" * 40 + "iter 10")
    assert losses(read(saved(tmp_path, text.encode()))) == EXPECTED


def test_a_bar_that_goes_back_by_backspaces_erases_no_line(tmp_path: Path) -> None:
    text = LOG.replace("12.88%\n", "12.88%" + "\b" * 60 + "12/99\n")
    assert losses(read(saved(tmp_path, text.encode()))) == EXPECTED


def test_lines_without_end_do_not_hang_it(tmp_path: Path) -> None:
    for line in (
        "[" * 50_000,
        "iter 5: loss 3.2, " + "a " * 30_000,
        "iter" + " " * 50_000,
        "1:" * 50_000,
        "[a]" * 20_000,
    ):
        assert "loss" in refused(saved(tmp_path, (line + "x\n").encode())) if "3.2" not in line else True
        run = read(saved(tmp_path, (LOG + line + "\n").encode()))
        assert len(run.val_loss) == (1 if "3.2" in line else 2)  # that one goes back to step 5: a resume


def test_thousands_separators(tmp_path: Path) -> None:
    run = read(
        saved(
            tmp_path, b"iter 1,000: loss 4.2000, time 3,917.80ms, mfu 1.00%\niter 12,500: loss 4.1000, time 10.00ms\n"
        )
    )
    assert points(run.train_loss) == {1000: 4.2, 12500: 4.1}
    assert run.seconds_per_step.value[0] == pytest.approx(3.9178)


@pytest.mark.parametrize(
    "prefix",
    [
        "[rank0]: ",
        "[default0]:",
        "0: ",
        "2026-11-23 12:00:00,394 - INFO - ",
        "2026-11-23T12:00:00.1Z ",
        "(train pid=71) ",
        "[rank0]:2026-11-23 12:00:00 INFO: ",
        "[2026-11-23 12:00:00,394] [INFO] ",
        "  ",
        "12:00:01 | ",
    ],
)
def test_prefixes_of_launchers(tmp_path: Path, prefix: str) -> None:
    text = "".join(prefix + line for line in LOG.splitlines(keepends=True))
    assert losses(read(saved(tmp_path, text.encode()))) == EXPECTED


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"], ids=lambda name: str(name)
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    assert losses(read(saved(tmp_path, LOG.encode(encoding)))) == EXPECTED


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_logs(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    assert losses(read(saved(tmp_path, pack(LOG.encode())))) == EXPECTED


def test_a_compressed_log_that_is_cut_off_gives_what_is_left(tmp_path: Path) -> None:
    lines = "".join(
        f"iter {n}: loss {5 + (n * 7919 % 997) / 1000:.4f}, time 3900.00ms, mfu 1.00%\n" for n in range(20_000)
    )
    packed = gzip.compress(lines.encode())
    run = read(saved(tmp_path, packed[: len(packed) // 2]))
    assert 5_000 < len(run.train_loss) < 20_000
    assert points(run.train_loss).items() <= slow(lines)[0].items()
    assert any("damaged or cut off" in note for note in run.reading.notes)


def test_a_resume_replaces_what_it_overtakes(tmp_path: Path) -> None:
    def line(step: int, loss: float) -> str:
        return f"iter {step}: loss {loss:.4f}, time 3900.00ms, mfu 1.00%\n"

    text = line(10, 5.0) + line(20, 4.0) + line(30, 3.5) + line(20, 4.1) + line(25, 3.9)
    run = read(saved(tmp_path, text.encode()))
    assert points(run.train_loss) == {10: 5.0, 20: 4.1, 25: 3.9}
    assert any("goes back to step 20" in note for note in run.reading.notes)


def test_a_second_run_in_the_same_file_replaces_the_first(tmp_path: Path) -> None:
    other = "iter 0: loss 9.0000, time 1.00ms, mfu 1.00%\niter 5: loss 8.0000, time 1.00ms, mfu 1.00%\n"
    run = read(saved(tmp_path, (LOG + other).encode()))
    assert points(run.train_loss) == {0: 9.0, 5: 8.0}
    assert any("starts over at step 0" in note for note in run.reading.notes)


def test_identical_lines_of_several_processes_count_once(tmp_path: Path) -> None:
    text = "".join(line * 4 for line in LOG.splitlines(keepends=True))
    assert losses(read(saved(tmp_path, text.encode()))) == EXPECTED
    late = LOG + "".join(LOG.splitlines(keepends=True)[:3])  # one that lags behind must not take the newest points away
    assert losses(read(saved(tmp_path, late.encode()))) == EXPECTED


def test_of_several_ranks_with_their_own_losses_the_first_is_taken(tmp_path: Path) -> None:
    text = "".join(
        f"[rank{rank}]: iter {step}: loss {5 - step / 100 + rank / 10:.4f}, time 1.00ms, mfu 1.00%\n"
        for step in range(0, 50, 10)
        for rank in (1, 0, 2)
    )
    run = read(saved(tmp_path, text.encode()))
    assert points(run.train_loss) == {0: 5.0, 10: 4.9, 20: 4.8, 30: 4.7, 40: 4.6}
    assert any("3 processes" in note for note in run.reading.notes)


def test_line_numbers_are_no_ranks(tmp_path: Path) -> None:
    text = "".join(f"{number}:{line}" for number, line in enumerate(LOG.splitlines(keepends=True), 1))
    assert losses(read(saved(tmp_path, text.encode()))) == EXPECTED


GARBAGE = st.lists(
    st.tuples(st.integers(0, 6), st.text(st.characters(exclude_characters="\n\r"), max_size=60)), max_size=6
)
FRAGMENTS = st.sampled_from(
    [
        "iter ",
        "iter 10",
        "iter 7: loss",
        "step 3: train loss 4.0, val",
        "loss 4.0",
        "iter x: loss 4.0",
        "step 20:",
        "[rank1]:",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), GARBAGE.map(lambda g: g[0][1] if g else "") | FRAGMENTS), max_size=8))
def test_inserted_garbage_lines_never_change_the_points(inserted: list[tuple[int, str]]) -> None:
    lines = LOG.splitlines()
    for place, garbage in inserted:
        lines.insert(place, garbage)
    assert losses(read_nanogpt(Log.of_text("\n".join(lines) + "\n"), Asked())) == EXPECTED
