"""Files beside a log that are taken for its configuration, by name and by content.

Looked through are the log's own folder, the folders in which trainers keep their configuration (config, .hydra,
checkpoint-300, wandb/latest-run/files, ...), and what lies above it where its name is that of a part of a run (logs,
version_0, checkpoint-300). A file is used where nothing speaks against it: not where another of its kind disagrees, nor
beside the logs of several runs, nor where it contradicts what the log itself states.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from talweg.configs import read_facts, surest
from talweg.errors import InputError
from talweg.run import FACT_NAMES, Facts
from talweg.settings import nearby
from talweg.settings.command import commands
from talweg.settings.documents import Settings, namespace
from talweg.settings.spellings import facts as spelled
from talweg.textfile import read_text

SURE = 0.7  # of a file that has no name of a configuration. Our choice
SCRIPT = re.compile(r".+\.(?:sh|sbatch|slurm)$|(?:.*[._-])?(?:command|cmd)\.txt$", re.IGNORECASE)
ROLES = ("command", "config", "defaults")  # what a file has to say; the first counts most
NOT_OF_A_RUN = ("manifest", "talweg", "token_files")
EXACT = ("layers", "heads", "width")
ROUNDED = {
    "parameters": 0.1,
    "tokens_per_step": 0.01,
    "planned_steps": 0.01,
}  # counts of weights leave out this or that
UNREADABLE = (InputError, ValueError, RecursionError, OSError)


@dataclass(frozen=True)
class Near:
    """files: configurations near a log, the nearest first; whether they are used is decided when the log is read."""

    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """files: those that are used, the one that counts most first."""

    files: tuple[Path, ...] = ()
    facts: Facts = field(default_factory=Facts)  # what they state together
    notes: tuple[str, ...] = ()


def near(log: Path, but: Path | None = None) -> Near:
    """The configurations near a log. but: one that the person gave; no other of its kind is looked at."""
    given = None if but is None else kind(but)
    found = [path for path in nearby.near(log) if kind(path) not in (None, given, *NOT_OF_A_RUN)]
    own, mine = nearby.own_of(log, found)
    words = _named_by_commands(own)
    further = [path for word in words if (path := nearby.named(log, word)) is not None and path not in own]
    own += [path for path in further if kind(path) not in (None, given, *NOT_OF_A_RUN)]
    notes: tuple[str, ...] = ()
    if found and not own:
        names = ", ".join(dict.fromkeys(path.name for path in found[:3]))
        notes = (
            f"{nearby.num_logs(log)} logs lie in this folder, so {names} may be of another run and was not used; give "
            "it with --config if it is of this one",
        )
    surer = [path for path in own if path in mine or path in further or path.name in {Path(w).name for w in words}]
    settled = {(kind(path), role(path)) for path in surer}
    return Near(tuple(p for p in own if p in surer or (kind(p), role(p)) not in settled), notes)


def told(files: Iterable[str], log: Path) -> str:
    """What a person should know of the files that were used."""
    names = [os.path.relpath(path, nearby.folder_of(log)).replace(os.sep, "/") for path in files]
    return f"configuration taken from {', '.join(names)} beside the log"


def kind(path: Path) -> str | None:
    """The kind of a configuration; None where its content is none, or not surely where its name says nothing."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _kind(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _kind(path: Path, changed: int, size: int) -> str | None:
    try:
        module, sure = surest(path)
    except UNREADABLE:
        return None
    named = nearby.NAMED.match(path.name) and path.suffix != ".py"
    return str(module.NAME) if sure >= SURE or named else None


def role(path: Path) -> str:
    if SCRIPT.match(path.name):
        return "command"
    return "defaults" if path.name == "train.py" else "config"


def _named_by_commands(found: Iterable[Path]) -> set[str]:
    """What the commands beside the log were given that may be the name of a file."""
    named: set[str] = set()
    for path in found:
        if role(path) == "command":
            for command in commands(read_text(path).text):
                named |= {*command.files, *(value for value in command.settings.values() if isinstance(value, str))}
    return named


# ---------------------------------------------------------------- which of them is the run's


def choose(
    found: Sequence[Path],
    known: Facts,
    *,
    last_step: float | None = None,
    peak: float | None = None,
    roles: Sequence[str] = ROLES[:2],
    objection: Callable[[Path], str | None] = lambda path: None,
) -> Chosen:
    """Those of the files near a log that may be its configuration, and what they state.

    known: what is known of the run otherwise, which counts more. last_step, peak: the highest step and learning rate
    of its columns. objection: why a file cannot be this run's, beyond what facts tell.
    """
    notes: list[str] = []
    facts: dict[Path, Facts] = {}
    for path in found:
        stated = _read(path, known) if role(path) in roles else None
        if stated is None or not stated.sources:
            continue
        # what a trainer takes by default may well differ from what a run was told
        differs = None if role(path) == "defaults" else contradiction(stated, known, last_step, peak)
        if why := objection(path) or differs:
            notes.append(f"{path.name} beside the log is not of this run and was left out: {why}")
        else:
            facts[path] = stated
    facts = _agreeing(facts, notes)
    files = tuple(sorted(facts, key=lambda path: ROLES.index(role(path))))  # stable: the nearest first
    return Chosen(files, _together(files, known), tuple(notes))


def _read(path: Path, known: Facts) -> Facts | None:
    if not _is_trained_length(known):
        known = replace(known, context=None)
    try:
        return read_facts(path, known)
    except UNREADABLE:
        return None


def contradiction(facts: Facts, known: Facts, last_step: float | None, peak: float | None) -> str | None:
    """Why a configuration cannot be that of a run; None where nothing speaks against it."""
    planned = facts.planned_steps
    if planned is not None and last_step is not None and last_step > planned + 1 and known.step_unit is None:
        return f"it plans {planned:,} steps, the log goes to {last_step:,.0f}"
    if facts.peak_learning_rate and peak and peak > 1.05 * facts.peak_learning_rate:
        return f"its peak learning rate is {facts.peak_learning_rate:g}, the log's {peak:g}"
    for name in (*EXACT, *ROUNDED):
        ours, theirs = getattr(known, name), getattr(facts, name)
        if ours and theirs and abs(theirs / ours - 1) > ROUNDED.get(name, 0.0):
            return f"it states {theirs:,.0f} {name.replace('_', ' ')}, the log {ours:,.0f}"
    return None


def _agreeing(facts: dict[Path, Facts], notes: list[str]) -> dict[Path, Facts]:
    """Without those of one kind, equally deep in the folders, that contradict one another."""
    kept = dict(facts)
    groups: dict[tuple[object, ...], list[Path]] = {}
    for path in facts:
        groups.setdefault((kind(path), role(path), len(path.parts)), []).append(path)
    for group in groups.values():
        stated = {name: [p for p in group if getattr(facts[p], name) is not None] for name in FACT_NAMES}
        differing = [name for name, paths in stated.items() if len({getattr(facts[p], name) for p in paths}) > 1]
        if differing:
            names = [path.name for path in stated[differing[0]]]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            notes.append(
                f"{', '.join(names[:3])}{more} beside the log disagree on {differing[0].replace('_', ' ')}, so none "
                "was used; give the right one with --config"
            )
            kept = {path: fact for path, fact in kept.items() if path not in group}
    return kept


def _together(files: Sequence[Path], known: Facts) -> Facts:
    """What these files state; read once more where one of them says what another lacks, such as the devices."""
    together = Facts()
    for _ in range(2):
        together = Facts()
        for path in files:
            together = together.over(_read(path, known) or Facts())
        together = _with_tokens(together, known)
        more = known.over(together)
        if all(getattr(more, name) == getattr(known, name) for name in ("ranks", "context", "tokens_per_step")):
            break
        known = more
    return together


def _with_tokens(facts: Facts, known: Facts) -> Facts:
    """Tokens per update, where its factors stand in different files."""
    names = ("micro_batch", "accumulation", "context")
    whole = known.over(facts)
    factors = [getattr(whole, name) for name in names]
    if whole.tokens_per_step is not None or None in factors or not _is_trained_length(whole):
        return facts
    product = float(factors[0] * factors[1] * factors[2])
    parts = [f"{name} {value} ({whole.sources.get(name, '')})" for name, value in zip(names, factors, strict=True)]
    return facts.over(Facts.stated(" x ".join(parts), tokens_per_step=product))


def _is_trained_length(facts: Facts) -> bool:
    """Whether the context is that of the sequences in training, not the longest that a model could take."""
    return "n_positions" not in facts.sources.get("context", "")


def under(known: Facts, facts: Facts) -> Facts:
    """`known`, completed by a configuration; counts that agree as far as a log prints them are no conflict."""
    both = known.over(facts)
    same = {
        name
        for name, most in ROUNDED.items()
        if (mine := getattr(known, name)) and (theirs := getattr(facts, name)) and abs(theirs / mine - 1) <= most
    }
    conflicts = {name: text for name, text in both.conflicts.items() if name not in same or name in known.conflicts}
    return replace(both, conflicts=conflicts)


# ---------------------------------------------------------------- what the log itself holds of it


def in_log(head: str, known: Facts) -> Facts:
    """Arguments that a trainer printed (Namespace(lr=0.1, ...)), and the one command that stands in a log."""
    facts = Facts()
    started = commands(head, prompts=True)
    if len({(command.script, str(command.settings)) for command in started}) == 1:
        settings = dict(started[0].settings)
        if started[0].ranks is not None:
            settings.setdefault("world_size", started[0].ranks)
        facts = spelled(Settings.of(settings), "the command line in the log", known)
    if len(arguments := namespace(head)) > 2:
        facts = facts.over(spelled(Settings.of(arguments), "arguments printed in the log", known))
    return facts
