"""The first pass over the text: of each document a hash and its length, the groups it belongs to, and, where they are
wanted, the bands of its near-duplicates and its measures of quality.

Documents are numbered through all tasks in their order; what is kept of one is some tens of bytes.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import inputs, minhash, npy, strings
from talweg.corpus.inputs import Batch, Source
from talweg.corpus.plan import Options, Part, Plan
from talweg.corpus.quality import language, rules
from talweg.corpus.quality.measures import measure
from talweg.corpus.quality.summary import Summary
from talweg.corpus.words import span_hashes, words
from talweg.corpus.work import Progress, load_array, output, save_arrays
from talweg.errors import InputError

STAGE = "survey"
# scheme://user@www.HOST/path?query#fragment
HOST = r"^(?i:[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(?:www\.)?)(?P<found>[^/?#]+)"
PAGE = r"^(?P<found>[^?#]+)"
INPUT = "input file"
GROUPS = ("host of url", "source", "file_path", INPUT, "url", "text")  # from the coarsest to the finest
COLUMNS = ("url", "source", "file_path")  # that groups are made of
LANGUAGE = ("language", "language_score")  # as FineWeb states them
NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


@dataclass(frozen=True, eq=False)
class Survey:
    """Arrays of length D, the number of documents of all tasks."""

    hashes: NDArray[np.uint64]  # of the text without white space and case; equal for exact duplicates
    num_bytes: NDArray[np.int64]  # UTF-8 bytes of the text; 0 for an empty document
    group_names: tuple[str, ...]  # those of GROUPS that every file can give
    group: Callable[[str], NDArray[np.uint64]]  # (D,) a hash of the group of each document; 0 where it has none

    @property
    def total_bytes(self) -> int:
        return int(self.num_bytes.sum())

    def groups(self, name: str) -> NDArray[np.uint64]:
        """(D,) the group of each document; one whose value is missing stands in a group of its text."""
        if name == "text":
            return self.hashes
        found = self.group(name)
        return np.where(found == 0, self.hashes, found)


@dataclass
class _Kept:
    """Columns that grow batch by batch."""

    parts: dict[str, list[NDArray[Any]]] = field(default_factory=dict)

    def add(self, name: str, values: NDArray[Any]) -> None:
        self.parts.setdefault(name, []).append(values)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate(parts) for name, parts in self.parts.items()}


def run(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """Survey the documents of one task."""
    task, kept, lost, documents = plan.tasks[index], _Kept(), list[str](), list[int]()
    damage = cast(Literal["fatal", "skip"], plan.options.on_damage)
    total, before, summary = float(plan.bytes_of(task)), 0.0, Summary()
    for part in task.parts:
        source, piece = plan.piece(part)
        columns = columns_of(source)
        count, read = 0, 0.0
        for batch in inputs.read(source, piece, columns, on_damage=damage, lost=lost.append):
            _survey(batch, part.source, kept)
            _look_closer(batch, plan.options, kept, summary)
            count += len(batch.strings)
            read = min(read + float(kept.parts["num_bytes"][-1].sum()), float(piece.bytes))
            progress(before + read, total)
        before += piece.bytes
        documents.append(count)
    about = json.dumps({"lost": lost, "quality": summary.to_json() if plan.options.quality else None}).encode()
    arrays = kept.arrays() | {"documents": np.array(documents), "about": np.frombuffer(about, dtype=np.uint8)}
    if plan.options.near:
        sketches = arrays.pop("sketches", np.empty((0, minhash.CELLS), dtype=np.uint8))
        npy.save(_sketch_file(work, index), sketches)
    save_arrays(output(work, STAGE, index), arrays)


def _survey(batch: Batch, source: int, kept: _Kept) -> None:
    """Hash, length and groups."""
    hashes = strings.text_hashes(batch.strings)
    kept.add("hashes", hashes)
    kept.add("num_bytes", np.where(hashes == 0, 0, np.diff(strings.raw(batch.strings)[1])))
    kept.add("rows", batch.rows)
    kept.add(INPUT, np.full(hashes.size, source + 1, dtype=np.uint64))
    for name in GROUPS:
        column = batch.columns.get("url" if name == "host of url" else name)
        if column is not None:
            kept.add(name, _hashed(column, name))


def _look_closer(batch: Batch, options: Options, kept: _Kept, summary: Summary) -> None:
    """Signatures and measures, where they are wanted; both are made of the same words."""
    if not (options.near or options.quality):
        return
    data, ends = strings.raw(strings.valid(batch.strings))
    found = words(data, ends)
    if options.near:
        signatures = minhash.signatures(data, ends, found)
        kept.add("sketches", signatures.sketches)
        for number in range(minhash.BANDS):
            kept.add(f"band {number}", signatures.bands[:, number])
    if options.quality:
        measures = measure(data, ends, found)
        languages = _languages(batch, data, ends)
        if languages is not None:
            measures["english"] = language.english(*languages)
        rejected = summary.add(measures, data, ends, languages[0] if languages is not None else None)
        kept.add("rejected", np.packbits(rejected, axis=1))


def _languages(
    batch: Batch, data: NDArray[np.uint8], ends: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.float64]] | None:
    """Code and score of each document: as the input states them, else found out where that can be; None: not known."""
    if all(name in batch.columns for name in LANGUAGE):
        codes, scores = (strings.texts(batch.columns[name]) for name in LANGUAGE)
        numbers = np.array([float(score) if NUMBER.fullmatch(score) else np.nan for score in scores])
        known = [code if np.isfinite(score) else "" for code, score in zip(codes, numbers, strict=True)]
        return [code or language.NOT_KNOWN for code in known], numbers
    return language.detect(data, ends) if language.available() else None


def columns_of(source: Source) -> list[str]:
    """What is read beside the text."""
    return [name for name in (*COLUMNS, *LANGUAGE) if name in source.columns]


def read_again(plan: Plan, part: Part) -> Iterator[Batch]:
    """The batches of a part, the same documents as the survey saw. What is damaged was told then.

    Where damage is passed over all its columns are read again: what is lost of one column is lost of the others.
    """
    source, piece = plan.piece(part)
    damage = cast(Literal["fatal", "skip"], plan.options.on_damage)
    columns = columns_of(source) if damage == "skip" else []
    return inputs.read(source, piece, columns, on_damage=damage, lost=lambda message: None)


def load(work: Path, plan: Plan) -> Survey:
    """What all tasks found. Groups are read when they are asked for, since their columns are many."""
    names = ["hashes", "num_bytes"]
    hashes, num_bytes = (np.concatenate([column(work, i, name) for i in range(len(plan.tasks))]) for name in names)
    if not num_bytes.any():
        source = plan.sources[0]
        raise InputError(f"{source.url}: every text in column {source.text_column or 'text'} is empty")
    shared = set.intersection(*(set(source.columns) for source in plan.sources)) | {INPUT, "text"}
    group_names = tuple(name for name in GROUPS if ("url" if name == "host of url" else name) in shared)

    def group(name: str) -> NDArray[np.uint64]:
        return np.concatenate([column(work, i, name) for i in range(len(plan.tasks))])

    return Survey(hashes, num_bytes, group_names, group)


def column(work: Path, index: int, name: str) -> NDArray[Any]:
    """A column of one task, such as num_bytes: (documents,). A task without documents has none."""
    path = output(work, STAGE, index)
    return load_array(path, name) if load_array(path, "documents").any() else np.empty(0, dtype=np.uint64)


def band(work: Path, plan: Plan, number: int) -> NDArray[np.uint64]:
    """(D,) the hash of one band of the signature of each document."""
    return np.concatenate([column(work, i, f"band {number}") for i in range(len(plan.tasks))])


class Sketches:
    """The sketches of all documents, on the disk: only those asked for are read."""

    def __init__(self, work: Path, plan: Plan) -> None:
        self._parts = [np.load(_sketch_file(work, i), mmap_mode="r") for i in range(len(plan.tasks))]
        self._ends = np.cumsum([len(part) for part in self._parts])

    def __getitem__(self, documents: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(documents, CELLS), in any order."""
        found = np.empty((documents.size, minhash.CELLS), dtype=np.uint8)
        task = np.searchsorted(self._ends, documents, side="right")
        for i in np.unique(task).tolist():
            mine = task == i
            found[mine] = self._parts[i][documents[mine] - (self._ends[i] - len(self._parts[i]))]
        return found


def _sketch_file(work: Path, index: int) -> Path:
    return output(work, STAGE, index).with_suffix(".sketches.npy")


def quality(work: Path, plan: Plan) -> Summary | None:
    """What was measured of all documents; None where it was not asked for."""
    whole = Summary()
    for one in _about(work, plan):
        if one["quality"] is None:
            return None
        whole.merge(Summary.from_json(one["quality"]))
    return whole


def rejected(work: Path, plan: Plan, names: Sequence[str]) -> NDArray[np.bool_]:
    """(D,) documents that any of these rules rejects."""
    at = [rules.NAMES.index(name) for name in names]
    packed = np.concatenate(
        [column(work, i, "rejected").reshape(-1, -(-len(rules.NAMES) // 8)) for i in range(len(plan.tasks))]
    )
    found = np.unpackbits(packed.astype(np.uint8), axis=1)[:, at].any(axis=1)
    return np.asarray(found, dtype=bool)


def places(
    work: Path, plan: Plan, which: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of these documents, in any order: the file, where its piece of it begins (0 in a parquet file), and the row."""
    found = np.zeros((3, which.size), dtype=np.int64)
    before = 0
    for i, task in enumerate(plan.tasks):
        documents = load_array(output(work, STAGE, i), "documents")
        mine = (which >= before) & (which < before + documents.sum())
        here = which[mine] - before
        before += int(documents.sum())
        if not here.size:
            continue
        part = np.searchsorted(np.cumsum(documents), here, side="right")
        pieces = [plan.piece(each) for each in task.parts]
        begins = np.array([0 if source.kind == "parquet" else piece.begin for source, piece in pieces])
        found[:, mine] = (
            np.array([each.source for each in task.parts])[part],
            begins[part],
            column(work, i, "rows")[here],
        )
    return found[0], found[1], found[2]


def task_documents(work: Path, plan: Plan) -> NDArray[np.int64]:
    """(tasks,) how many documents each task holds."""
    return np.array([load_array(output(work, STAGE, i), "documents").sum() for i in range(len(plan.tasks))])


def file_documents(work: Path, plan: Plan) -> NDArray[np.int64]:
    """(files,) how many documents each file holds."""
    counted = np.zeros(len(plan.sources), dtype=np.int64)
    for i, task in enumerate(plan.tasks):
        documents = load_array(output(work, STAGE, i), "documents")
        np.add.at(counted, [part.source for part in task.parts], documents)
    return counted


def lost(work: Path, plan: Plan) -> list[str]:
    """What could not be read, and was passed over because that was asked for."""
    return [*plan.lost, *(each for one in _about(work, plan) for each in one["lost"])]


def _about(work: Path, plan: Plan) -> Iterator[dict[str, Any]]:
    for i in range(len(plan.tasks)):
        yield json.loads(load_array(output(work, STAGE, i), "about").tobytes())


def _hashed(values: Any, name: str) -> NDArray[np.uint64]:
    """(rows,) 64-bit hashes of the values; 0 where there is none."""
    import pyarrow.compute as pc

    values = strings.valid(values)
    pattern = {"host of url": HOST, "url": PAGE}.get(name)
    if pattern is not None:
        matched = pc.struct_field(pc.extract_regex(values, pattern), "found")
        values = pc.fill_null(pc.ascii_lower(matched) if name == "host of url" else matched, "")
    data, ends = strings.raw(values)
    return np.where(np.diff(ends) > 0, span_hashes(data, ends[:-1], ends[1:]), np.uint64(0))
