"""The import table of the house, as a test. Each room may import itself and what stands beside it here."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "talweg"

# small modules without imports of their own (but for errors); open to every room
GROUND = {"errors", "files", "textfile", "estimate", "schedule"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "textfile": set(),
    "estimate": set(),
    "schedule": set(),
    "run": set(),
    "finding": set(),
    "curve": set(),
    "laws": {"curve"},
    "settings": {"run"},
    "configs": {"run", "corpus", "settings"},
    "logs": {"run"},
    "readers": {"run", "configs", "logs"},
    "conformance": {"run", "logs"},
    "evidence": {"run", "curve", "laws"},
    "simulated": {"run", "laws"},
    "causes": {"run", "finding", "curve", "laws", "evidence", "simulated"},
    "readings": {"run", "finding", "curve", "laws", "evidence"},
    "myths": {"run", "finding", "curve", "laws", "evidence", "readings"},
    "diagnosis": {"run", "finding", "curve", "laws", "evidence", "causes", "readings", "myths"},
    "corpus": set(),
    "model": set(),
    "selfcheck": {"readers", "diagnosis"},
    "train": {"run", "corpus", "model", "laws", "selfcheck"},
    "report": {"run", "finding", "curve", "laws", "evidence", "diagnosis"},
    "conversion": {"run"},
    "follow": {"run", "logs", "readers"},
    "progress": set(),
    "options": set(),
    "cli": {"*"},
    "__init__": {"*"},
    "__main__": {"cli"},
}
NO_NEIGHBOURS = {"causes", "readers", "configs"}  # files in these rooms never import each other
TORCH_ROOMS = {"model", "train"}
# What a file may import at its top. Everything else is an extra, and imported late where it is used.
BARE_INSTALL = {"numpy", "rich", "tyro", "talweg"}


def room_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_what_the_table_allows(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS, f"{path}: a room that the table does not know"
    allowed = ROOMS[room] | GROUND | {room}
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "torch":
            assert room in TORCH_ROOMS, f"{path} imports torch"
        if top != "talweg" or "*" in allowed:
            continue
        target = rest.split(".")[0]
        if target in ROOMS:
            assert target in allowed, f"{path} imports {name}; {room} may import {sorted(allowed)}"
        if target == room and room in NO_NEIGHBOURS:
            neighbour = rest.split(".")[1] if "." in rest else ""
            assert path.name == "__init__.py" or not (path.parent / f"{neighbour}.py").exists(), (
                f"{path} imports its neighbour {name}"
            )


def at_the_top(tree: ast.Module) -> list[str]:
    """The packages that importing the file imports; `if TYPE_CHECKING:` is never run."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return [name.partition(".")[0] for name in names]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_extras_are_imported_late(path: Path) -> None:
    allowed = BARE_INSTALL | ({"torch", "safetensors"} if room_of(path) in TORCH_ROOMS else set())
    for name in at_the_top(ast.parse(path.read_text(encoding="utf-8"))):
        assert name in allowed or name in sys.stdlib_module_names, f"{path} imports {name} at its top"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_is_under_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


def test_the_table_names_no_room_that_is_gone() -> None:
    rooms = {room_of(path) for path in FILES}
    assert rooms <= set(ROOMS)
