"""The documentation under test: generated pages are fresh, links resolve, commands run, the worked examples work."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "notes").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = load(ROOT / "docs" / "generate.py").pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_generated_page_is_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), f"{path.name} is stale; run `make format`"


def anchors(path: Path) -> set[str]:
    """The names that a Markdown page's headings can be linked by."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    prose = BLOCK.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http:", "https:")):
            continue
        file, _, anchor = target.partition("#")
        page = path.parent / file if file else path
        assert page.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(page), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_are_named_exist(path: Path) -> None:
    if path.name == "LOG.md":  # it also speaks of what is gone
        return
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|tests|docs|demo|notes|bench)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), f"{path.name} names {name}"


def commands(path: Path) -> Iterator[str]:
    """The lines of a page's sh blocks, without comments; a trailing backslash joins lines."""
    for language, body in BLOCK.findall(path.read_text(encoding="utf-8")):
        if language == "sh":
            for line in body.replace("\\\n", " ").splitlines():
                if command := line.partition(" #")[0].strip():
                    yield command


def test_readme_commands_run(tmp_path: Path) -> None:
    """Those that need no training, in a folder of their own; of the others, that they exist."""
    shutil.copytree(ROOT / "docs" / "example", tmp_path / "docs" / "example")
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = 0
    for command in commands(ROOT / "README.md"):
        program, *words = command.split()
        if program == "make":
            assert set(words) <= targets, command
        elif program in ("talweg", "head") and not any(
            word in command for word in ("runs/", "web/", "talweg train", "train.log")
        ):
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
            )
            assert done.returncode in (0, 1), f"{command}\n{done.stderr}"
            assert done.stderr == "", command
            ran += 1
    assert ran >= 3


# --- a data folder, read as docs/data-format.md says


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small data folder, made of tokens so that it needs no parquet."""
    import numpy as np

    from talweg.corpus.exchange import import_tokens
    from talweg.corpus.tokenizer import raw_bytes

    for name in ("train", "val"):
        np.array([104, 105, 256, 33, 256, 34, 35, 36, 256], "<u2").tofile(tmp_path / f"{name}.bin")
    import_tokens([tmp_path], tmp_path / "data", tokenizer=raw_bytes())
    return tmp_path / "data"


def on_the_page(language: str) -> str:
    page = (ROOT / "docs" / "data-format.md").read_text(encoding="utf-8")
    (found,) = [body for kind, body in BLOCK.findall(page) if kind == language]
    return found


def test_a_data_folder_is_read_by_numpy_as_the_page_says(data: Path) -> None:
    code = f"data = {str(data)!r}\n{on_the_page('python')}print(tokens.dtype, ends.tolist(), second.tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "uint16 [3, 5, 9] [33, 256]", done.stderr


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")
def test_a_shard_is_read_in_c_as_the_page_says(data: Path, tmp_path: Path) -> None:
    (tmp_path / "read.c").write_text(on_the_page("c"))
    program = tmp_path / "read"
    subprocess.run(["cc", "-Wall", "-Werror", "-o", program, tmp_path / "read.c"], check=True)
    done = subprocess.run([program, data / "train-00000.npy"], capture_output=True, text=True, check=True)
    assert [int(line) for line in done.stdout.split()] == [104, 105, 256, 33, 256, 34, 35, 36, 256]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_a_data_folder_is_checked_as_the_page_says(data: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            on_the_page("sh"), shell=True, cwd=data, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )

    done = check()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 4
    (data / "val-00000.npy").write_bytes(b"")
    assert check().returncode != 0


# --- the worked examples of CONTRIBUTING.md, installed as a stranger's package would be


@pytest.fixture
def stranger(tmp_path: Path) -> dict[str, str]:
    """An environment in which a package with the two examples is installed."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    examples = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)^```$", text, re.M | re.S))
    entries = "\n".join(body for language, body in BLOCK.findall(text) if language == "toml")
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    for kind, name in (("cause", "gradient_norm_growing"), ("reader", "brackets")):
        (package / f"{name}.py").write_text(examples[kind], encoding="utf-8")
    information = tmp_path / "my_package-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        re.sub(r'\[project\.entry-points\."([\w.]+)"\]', r"[\1]", entries).replace('"', "")
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "src")])}


def python(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_cause_joins_the_catalogue(stranger: dict[str, str]) -> None:
    code = (
        "import numpy as np; from talweg import causes, simulated; from talweg.run import Run\n"
        "cause = causes.catalogue()['gradient_norm_growing']; rng = np.random.default_rng(0)\n"
        "print(cause.examine(cause.example(rng)).verdict, cause.examine(Run()).verdict, cause.examine(Run()).needs,\n"
        "      cause.examine(simulated.healthy(rng)).verdict != 'present', causes.summary(cause))"
    )
    said = python(code, stranger)
    assert said.startswith("present unknown ('grad_norm', 'peak_learning_rate') True the gradient is far longer")
    assert "growth = median" in python(
        "from talweg.cli import main; main(['explain', 'gradient_norm_growing'])", stranger
    )


def test_the_example_reader_reads(stranger: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(
        "hello\n" + "".join(f"[{k}] L={4 / (k + 1):.4f}\n" for k in range(9)) + "[9] L=nan V=3.5\n"
    )
    code = f"import talweg; run = talweg.read({str(tmp_path / 'x.log')!r}); print(run.format, len(run.train_loss), "
    said = python(
        code + "run.train_loss.num_not_finite, run.val_loss.value[0], run.reading.lines_not_understood)", stranger
    )
    assert said.split() == ["brackets", "10", "1", "3.5", "1"]


def test_the_example_reader_conforms(stranger: dict[str, str], tmp_path: Path) -> None:
    """By the two lines that the page gives, with the logs that they name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"<!-- example: conformance -->\n```python\n(.*?)^```$", text, re.M | re.S)
    short = "".join(f"[{k}] L={4 / (k + 1):.4f}{' V=3.5000' if k % 3 == 0 else ''}\n" for k in range(20))
    (tmp_path / "short.log").write_text("hello\n" + short)
    (tmp_path / "resumed.log").write_text(short + "".join(f"[{k}] L={5 / (k + 1):.4f}\n" for k in range(15, 25)))
    code = f"import os; os.chdir({str(tmp_path)!r}); from pathlib import Path; import my_package.brackets\n"
    assert python(f"{code}{lines}print('conforms')", stranger).strip() == "conforms"
