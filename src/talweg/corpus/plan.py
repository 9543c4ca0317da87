"""What one `talweg prepare` is going to do: its options, its files, and the tasks they are cut into.

The plan is all that a machine needs to do a task, so it stands as plan.json in the work folder. A task is a row of
pieces of files (row groups of parquet, stretches of lines), in the order of the input. How they are cut depends on the
input alone, never on the machine, so any number of workers makes the same bytes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from talweg import __version__
from talweg.corpus.inputs import Piece, Source
from talweg.corpus.records import build
from talweg.errors import InputError
from talweg.files import write_text

FILE = "plan.json"
# Text in a task: small enough that a stopped command loses seconds, large enough that a task's own cost does not show.
SMALLEST_TASK, LARGEST_TASK = 32_000_000, 256_000_000
TASKS = 64  # as many as there are where both bounds allow it; our choice
PAIR_BYTES = 2_000_000_000  # of text, from which pairs of tokens are counted; beyond it, in every second task, third...


@dataclass(frozen=True)
class Options:
    """What a person asked for; `prepare` explains each."""

    tokenizer: str
    vocabulary_size: int
    val_share: float
    val_tokens: int
    seed: int
    dedup: str
    near: bool
    quality: bool
    filters: tuple[str, ...]
    on_damage: str
    report_only: bool = False


@dataclass(frozen=True)
class Part:
    """One piece of one file, by their numbers."""

    source: int
    piece: int


@dataclass(frozen=True)
class Task:
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Plan:
    talweg: str
    options: Options
    sources: tuple[Source, ...]
    tasks: tuple[Task, ...]
    folder: str  # that relative paths start from
    lost: tuple[str, ...] = ()  # files that could not be opened, where that is allowed

    @property
    def fingerprint(self) -> str:
        """Of everything that the result depends on: another input or option, another fingerprint."""
        return hashlib.sha256(_text(self).encode()).hexdigest()[:16]

    @cached_property
    def total_bytes(self) -> int:
        """Of text, as well as it is known before it is read."""
        return sum(piece.bytes for source in self.sources for piece in source.pieces)

    def piece(self, part: Part) -> tuple[Source, Piece]:
        source = self.sources[part.source]
        piece = source.pieces[part.piece]
        return (source if "://" in source.url else replace(source, url=str(Path(self.folder) / source.url))), piece

    def bytes_of(self, task: Task) -> int:
        return sum(self.piece(part)[1].bytes for part in task.parts)

    def counts_pairs(self, task: int) -> bool:
        """Whether pairs of tokens are counted in this task, or only tokens."""
        return task % max(-(-self.total_bytes // PAIR_BYTES), 1) == 0


def make(options: Options, sources: Sequence[Source], lost: Sequence[str] = ()) -> Plan:
    """Cut the files into tasks of about equal size."""
    total = sum(piece.bytes for source in sources for piece in source.pieces)
    size = min(max(total // TASKS, SMALLEST_TASK), LARGEST_TASK)
    tasks: list[Task] = []
    parts: list[Part] = []
    held = 0
    for s, source in enumerate(sources):
        for p, piece in enumerate(source.pieces):
            parts.append(Part(s, p))
            held += piece.bytes
            if held >= size:
                tasks.append(Task(tuple(parts)))
                parts, held = [], 0
    if parts:
        tasks.append(Task(tuple(parts)))
    if not tasks:
        raise InputError(f"{', '.join(source.url for source in sources)}: no rows; there is no text to prepare")
    return Plan(__version__, options, tuple(sources), tuple(tasks), str(Path.cwd()), tuple(lost))


def _text(plan: Plan) -> str:
    return json.dumps(asdict(plan), ensure_ascii=False, indent=1) + "\n"


def write(work: Path, plan: Plan) -> None:
    write_text(work / FILE, _text(plan))


@lru_cache(maxsize=4)
def read(work: Path) -> Plan:
    """The plan of a work folder."""
    path = work / FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path} is missing or damaged; run talweg prepare again") from None
    return build(Plan, value, path)
