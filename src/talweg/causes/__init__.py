"""One file per cause of a loss that is higher than it could be. A module in this folder is a cause; nothing lists them.

A cause has a docstring (its page), GROUP, NEEDS, `examine(run) -> Finding` and `example(rng) -> Run`. Packages of
others add causes by the entry point group `talweg.causes`: the entry's name is the cause's name, its value the
module.
"""

import difflib
import importlib
import importlib.metadata
import inspect
import pkgutil
from functools import lru_cache
from types import ModuleType

from talweg.errors import InputError

ENTRY_POINTS = "talweg.causes"
GROUPS = ("data", "schedule", "optimization", "capacity", "numerics", "measurement", "implementation")
SECTIONS = ("Physics", "Refuted by", "Known problems", "References")


@lru_cache(maxsize=1)
def catalogue() -> dict[str, ModuleType]:
    """Every cause by name, in alphabetical order. A cause of this folder wins over an entry point of its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name not in found:
            found[entry.name] = entry.load()
    return dict(sorted(found.items()))


def page(name: str) -> str:
    """The page of one cause, as its file says it. Raises InputError for a name that is not in the catalogue."""
    module = catalogue().get(name)
    if module is None:
        near = difflib.get_close_matches(name, catalogue(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the catalogue has {', '.join(catalogue())}"
        raise InputError(f"there is no cause named {name!r}; {hint}")
    return inspect.getdoc(module) or ""


def summary(module: ModuleType) -> str:
    """What the cause is, in one sentence: the first line of its page without the name."""
    first = (inspect.getdoc(module) or "").partition("\n")[0]
    return first.partition(": ")[2]


def refuted_by(module: ModuleType) -> str:
    """The measurement that would prove this cause wrong, on one line."""
    return section(module, "Refuted by")


def section(module: ModuleType, title: str) -> str:
    """One section of the page, on one line; empty if the page has none of that title."""
    lines: list[str] = []
    inside = False
    for line in (inspect.getdoc(module) or "").splitlines():
        opened = next((s for s in SECTIONS if line.startswith(f"{s}:")), None)
        if opened is not None:
            inside = opened == title
            line = line.removeprefix(f"{title}:") if inside else line
        if inside:
            lines.append(line.strip())
    return " ".join(part for part in lines if part)
