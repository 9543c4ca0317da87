"""Where the configuration of a run lies, seen from its log: by the names of files and folders alone."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

MOST_ENTRIES = 2_000  # of a folder: in a larger one nothing is looked for
LONGEST_NAME = 1_000  # characters
MOST_OUTPUTS = 4  # folders of checkpoints beside a log that are looked into
MOST_CANDIDATES = 16  # files that are opened in one folder
LARGEST_TEXT = 1 << 20  # bytes: configurations are short
LARGEST_STORED = 50 << 20  # bytes, of a file that is no zip archive
NAMED = re.compile(
    r"(?:.*[._-])?(?:config|args|arguments|hparams|hyper_?parameters|params|settings|options|flags|command|cmd|recipe"
    r"|meta_[0-9]+|ds_config|deepspeed)(?:[._-].*)?\.(?:json|ya?ml|toml|py|txt|ini|cfg)$|training_args\.bin$|ckpt\.pt$",
    re.IGNORECASE,
)
ANY = re.compile(r".+\.(?:ya?ml|toml)$|train(?:_.+)?\.py$|.+\.(?:sh|sbatch|slurm)$", re.IGNORECASE)
NEVER = re.compile(  # no configurations of a training, or those of Talweg, which its own reader reads
    r"(?:trainer_state|generation_config|preprocessor_config|tokenizer.*|special_tokens_map|package.*|manifest"
    r"|wandb-.*|adapter_config|.*index)\.json$|(?:pyproject|poetry|config\.resolved)\.toml$|(?:hydra|overrides|meta|conda"
    r"|environment|docker-compose.*|mkdocs|\.pre-commit.*)\.ya?ml$|(?:eval|sample|prepare|install|setup)[^/]*$",
    re.IGNORECASE,
)
SCRIPT = re.compile(r".+\.(?:sh|sbatch|slurm)$|(?:.*[._-])?(?:command|cmd)\.txt$", re.IGNORECASE)
CONFIGS = ("config", "configs", "conf", ".hydra", "files")
OUTPUTS = re.compile(r"(?:out|output|checkpoints?|ckpts?)(?:[-_].+)?$")
SAVED = re.compile(r"(?:checkpoint|step)[-_]([0-9]+)$")
PART = re.compile(  # a folder that holds a part of a run: its configuration may lie above it
    r"(?:logs?|tensorboard|tb|tb_logs|runs?|events|csv|csv_logs|metrics|stdout|stderr|files|\.hydra|slurm|lightning_logs"
    r"|wandb|out|output|checkpoints?)$|(?P<one>version_[0-9]+|(?:offline-)?run-[0-9_]+-\w+)$|(?:checkpoint|step)[-_][0-9]+$"
)
OTHER_LOGS = (".log", ".txt", ".out", ".csv", ".jsonl")
STATE = "trainer_state"  # Hugging Face's log, a JSON among others
ENDS = re.compile(r"[._-]*(?:trainer_state|metrics|history|log|train|training|stdout|output)$")
NO_LOGS = re.compile(
    r"(?:std)?err|debug|rank.?[0-9]|worker|node.?[0-9]|eval|val|test|sample|gener|build|install|data|prepare|token|readme|requirements|licen|notes|input|vocab"
    r"|merges|hparams|params|config|args|command",
    re.IGNORECASE,
)


def near(log: Path) -> tuple[Path, ...]:
    """Files near a log whose names are those of configurations, the nearest first; only names and sizes are read.

    They are relative to the working directory where the log is.
    """
    whole = log.absolute()
    found: dict[Path, None] = {}
    for folder in _folders(whole):
        found.update(dict.fromkeys([path for path in _configurations(folder) if path != whole][:MOST_CANDIDATES]))
    return tuple(found) if log.is_absolute() else tuple(Path(os.path.relpath(path)) for path in found)


def named(log: Path, name: str) -> Path | None:
    """The file that a command beside a log was given by this name, seen from the log's folder or the one above it."""
    if not re.search(r"\.(?:py|ya?ml|json|toml)$", name) or len(name) > LONGEST_NAME:
        return None
    for folder in (folder_of(log), folder_of(log).parent):
        path = folder / name
        try:
            if path.is_file() and path.stat().st_size <= LARGEST_TEXT:
                return path if log.is_absolute() else Path(os.path.relpath(path))
        except (OSError, ValueError):
            return None
    return None


def folder_of(log: Path) -> Path:
    return log.absolute() if log.is_dir() else log.absolute().parent


def _folders(log: Path) -> Iterator[Path]:
    """The folders that are looked through, the log's own first."""
    own = folder_of(log)
    yield own
    yield from _within(own)
    for _ in range(2):
        part = PART.match(own.name)
        if part is None or (part["one"] and _others_like(own)):
            return
        own = own.parent
        yield own
        yield from (own / name for name in CONFIGS)


def _within(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in CONFIGS)
    names = [entry.name for entry in _entries(folder) if entry.is_dir()]
    if newest := _newest(names):
        yield folder / newest
    outputs = [name for name in names if OUTPUTS.match(name) and not SAVED.match(name)]
    for name in sorted(outputs)[:MOST_OUTPUTS]:
        yield folder / name
        if newest := _newest([entry.name for entry in _entries(folder / name)]):
            yield folder / name / newest
    if "wandb" in names:
        runs = [entry.name for entry in _entries(folder / "wandb") if re.match(r"(?:offline-)?run-", entry.name)]
        if len(runs) == 1:
            yield folder / "wandb" / runs[0] / "files"
    if "lightning_logs" in names:
        versions = [entry.name for entry in _entries(folder / "lightning_logs") if entry.name.startswith("version_")]
        if len(versions) == 1:
            yield folder / "lightning_logs" / versions[0]


def _newest(names: Iterable[str]) -> str | None:
    """The checkpoint with the highest number."""
    saved = [(int(match[1]), name) for name in names if (match := SAVED.match(name))]
    return max(saved)[1] if saved else None


def _others_like(folder: Path) -> bool:
    """Whether other runs lie beside a folder such as version_0."""
    kind = re.sub(r"[0-9].*", "", folder.name)
    return any(entry.name.startswith(kind) and entry.name != folder.name for entry in _entries(folder.parent))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where there is none, where it may not be read, or where it holds too much."""
    entries: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                entries.append(entry)
                if len(entries) > MOST_ENTRIES:
                    return []
    except OSError:
        return []
    return entries


def _configurations(folder: Path) -> list[Path]:
    """Files whose names are those of configurations; of a checkpoint's meta_000150.json the newest."""
    names = []
    for entry in _entries(folder):
        known = NAMED.match(entry.name) or ANY.match(entry.name) or folder.name in ("config", "configs", "conf")
        if not known or NEVER.match(entry.name) or not entry.is_file():
            continue
        stored = entry.name.endswith((".bin", ".pt"))
        if entry.stat().st_size <= (
            LARGEST_STORED if stored and not _is_zip(folder / entry.name) else LARGEST_TEXT
        ) or (stored and _is_zip(folder / entry.name)):
            names.append(entry.name)
    metas = sorted(name for name in names if re.match(r"meta_[0-9]+\.json$", name))
    names = [name for name in names if name not in metas[:-1]]
    return [folder / name for name in sorted(names, key=lambda name: (NAMED.match(name) is None, name))]


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


# ---------------------------------------------------------------- whose it is


def own_of(log: Path, found: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Of files near a log those that may be its own; and those that bear its name.

    None of them bears the name of another log. In a folder with the logs of several runs both are the same.
    """
    others = _other_logs(log)
    stems = {_stem(name) for name in others} - {_stem(log.name)}
    own = folder_of(log)
    mine = [path for path in found if path.absolute().parent == own and _bears(path.name, _stem(log.name))]
    if others:
        return mine, mine
    return [path for path in found if not any(_bears(path.name, other) for other in stems)], mine


def _stem(name: str) -> str:
    """The part of a log's name that may tell it from the logs of other runs."""
    stem = name.split(".")[0].lower()
    return ENDS.sub("", stem) or stem


def _bears(name: str, stem: str) -> bool:
    """train_a.config.txt bears the name of train_a.log; train_a.yaml not that of train.log, as any may be called."""
    if len(stem) < 2 or name == "train.py":
        return False
    return re.match(rf"{re.escape(stem)}(?:[._-]*(?:config|args|hparams|params))?\.", name, re.IGNORECASE) is not None


def num_logs(log: Path) -> int:
    return 1 + len(_other_logs(log))


def _other_logs(log: Path) -> list[str]:
    """Other logs in the folder of a log, which may be those of other runs."""
    if log.is_dir():
        return []
    entries = _entries(log.absolute().parent)
    if STATE in log.name:
        return [entry.name for entry in entries if STATE in entry.name and entry.name != log.name]
    if log.suffix not in OTHER_LOGS:
        return []
    names = [entry.name for entry in entries if entry.name.endswith(log.suffix) and entry.is_file()]
    return [name for name in names if name != log.name and not NO_LOGS.search(name)]
