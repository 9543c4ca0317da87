"""Configurations of trainers: `read_facts(path)` finds out which kind of file it is and reads what it states.

A file in this folder is a kind of configuration: `NAME`, `sniff(path, head) -> float` (how sure it is, 0 to 1) and
`read(path) -> Facts`. One that is no text has `sniff_raw(path, raw) -> float`, asked first with the beginning of the
file as it is stored. One that needs to know what else is known of the run, such as the number of devices, has
`TAKES_KNOWN = True` and `read(path, known) -> Facts`. None of them executes anything.
"""

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType

from talweg.errors import InputError
from talweg.run import Facts
from talweg.textfile import HEAD, Decompressed, read_text


@cache
def kinds() -> dict[str, ModuleType]:
    """The modules of this folder that are kinds of configuration, by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "sniff")}


def kind_of(path: Path | str) -> ModuleType:
    """The kind of configuration that this file is. Raises InputError when it is none that is known."""
    return surest(Path(path))[0]


def surest(path: Path) -> tuple[ModuleType, float]:
    """The kind of configuration that a file is, and how sure that is, 0 to 1. Raises InputError when it is none."""
    if path.is_dir():
        path = _within(path)
    sure = _stored(path)
    if not sure:
        head = read_text(path).head
        sure = {module: float(module.sniff(path, head)) for module in kinds().values()}
    best = max(sure, key=lambda module: sure[module])
    if sure[best] <= 0:
        raise InputError(
            f"{path} is no configuration that Talweg knows: it needs assignments of settings, as in a nanoGPT config "
            "(batch_size = 12), a Talweg config.toml, or JSON or key: value lines (learning_rate: 6e-4)"
        )
    return best, sure[best]


def _stored(path: Path) -> dict[ModuleType, float]:
    """The kinds that know a file by its stored bytes: a checkpoint is not read whole, as text, to be told apart."""
    with Decompressed(path, str(path)) as file:
        raw = file.read(HEAD)
    binary = [module for module in kinds().values() if hasattr(module, "sniff_raw")]
    return {module: sure for module in binary if (sure := float(module.sniff_raw(path, raw))) > 0}


def read_facts(path: Path | str, known: Facts | None = None) -> Facts:
    """What a configuration file states; a folder of `talweg prepare` is read by its manifest.json.

    known: what else is known of the run; a batch per device, say, becomes one per update by the number of devices.
    Raises InputError when the file cannot be read or is no configuration.
    """
    path = Path(path)
    module = kind_of(path)
    file = _within(path) if path.is_dir() else path
    facts: Facts = module.read(file, known) if getattr(module, "TAKES_KNOWN", False) else module.read(file)
    return facts


def read_data(path: Path | str, tokenizer: str | None = None) -> Facts:
    """What is known of the text at a path: a folder of `talweg prepare`, or token files of another's making.

    tokenizer: gpt2, or the file of the one that made those. Raises InputError when there is neither.
    """
    from talweg.configs import token_files  # it brings what measures a text

    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no {path}; give the folder of talweg prepare, or the one that holds train.bin")
    if not (path / "manifest.json").is_file() and token_files.holds_tokens(path):
        return token_files.measured(path, tokenizer)
    if path.is_dir() and not (path / "manifest.json").is_file():
        raise InputError(f"{path} holds no manifest.json of talweg prepare, and no train*.bin or train*.npy")
    return read_facts(path)


def _within(folder: Path) -> Path:
    """The file of a folder that says most of it."""
    for name in ("config.resolved.toml", "config.toml", "manifest.json", "config.json"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} holds no config.toml, manifest.json or config.json; give the file itself")
