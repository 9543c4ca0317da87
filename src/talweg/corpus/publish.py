"""The last stage: what all tasks made becomes the data folder, the manifest last.

Files are linked or copied into place, so that a command which is stopped here can do it again.
"""

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg import __version__
from talweg.corpus import cautions, decide, encode, npy, shared_passages, survey
from talweg.corpus import manifest as manifests
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.encode import Result
from talweg.corpus.entropy import Counts
from talweg.corpus.manifest import FORMAT, Input, Manifest, Quality, RuleCount, Shard, Side, TokenizerFacts
from talweg.corpus.plan import Plan
from talweg.corpus.quality.summary import Counted, Summary
from talweg.corpus.shards import ShardWriter, file_sha256
from talweg.corpus.show.page import page
from talweg.corpus.work import Progress, load_arrays, making_folder, output
from talweg.files import replacing, sync_folder, write_text

STAGE = "publish"
SHARD = re.compile(r"(train|val)-\d{5}(\.documents|\.overlap)?\.npy")
QUALITY_FILE, REPORT_FILE = "quality.json", "report.html"
ALWAYS = (decide.LEFT_OUT_FILE, manifests.TOKENIZER_FILE)  # beside shards and manifest
OTHERS = (*ALWAYS, QUALITY_FILE, REPORT_FILE)

Placed = tuple[Path, str]  # a file, and the name that it gets in the data folder


def run(work: Path, plan: Plan, index: int, progress: Progress) -> None:
    """Write the manifest, and unless only a report was asked for, the data folder. The only task of its stage."""
    manifest, placed = collect(work, plan)
    placed += [(work / name, name) for name in ALWAYS]
    summary = survey.quality(work, plan)
    if summary is not None:
        manifest = replace(manifest, quality=_quality(summary, plan.options.filters))
        write_text(work / QUALITY_FILE, json.dumps(summary.to_json(), ensure_ascii=False, indent=1) + "\n")
        write_text(work / REPORT_FILE, page(manifest, summary))
        placed += [(work / name, name) for name in (QUALITY_FILE, REPORT_FILE)]
    if not plan.options.report_only:
        _place(work.parent, manifest, placed)
    with making_folder(output(work, STAGE, 0)) as folder:
        manifests.write(folder, manifest)


def _quality(summary: Summary, filters: tuple[str, ...]) -> Quality:
    noise = summary.families.get("noise", Counted())
    rules = tuple(RuleCount(name, found.documents, found.bytes) for name, found in summary.rules.items())
    return Quality(rules, summary.documents, summary.bytes, noise.documents, noise.bytes, filters)


def collect(work: Path, plan: Plan) -> tuple[Manifest, list[Placed]]:
    """Everything that was counted, as the manifest says it, and the files of the shards."""
    decision, tokenizer = decide.load(work), tokenizers.load(work)
    tasks = range(len(plan.tasks))
    results = [encode.load(work, i) for i in tasks]
    overlap, shares = shared_passages.measure(work, plan)
    placed: list[Placed] = []
    train = [_renamed(output(work, encode.STAGE, i), shard, placed) for i in tasks for shard in results[i].train.shards]
    sides = {
        "train": _sum([result.train for result in results], train),
        "val": _sum([result.val for result in results], _validation(work, results, shares, tokenizer.dtype, placed)),
    }
    counts = Counts(tokenizer.vocabulary_size)
    for i in tasks:
        counts.merge(load_arrays(output(work, encode.STAGE, i) / encode.COUNTS_FILE))
    entropies = counts.entropies()
    documents = survey.file_documents(work, plan)
    manifest = Manifest(
        format=FORMAT,
        talweg=__version__,
        tokenizer=TokenizerFacts(tokenizer.name, tokenizer.sha256, tokenizer.vocabulary_size, tokenizer.separator_id),
        dtype=tokenizer.dtype.name,
        seed=plan.options.seed,
        split=decision.split,
        train=sides["train"],
        val=sides["val"],
        unigram_nats=entropies.unigram,
        bigram_nats=entropies.bigram,
        bigram_share=entropies.bigram_share,
        bytes_per_token=sides["train"].bytes / sides["train"].tokens,
        inputs=tuple(Input(s.url, s.bytes, int(n)) for s, n in zip(plan.sources, documents, strict=True)),
        duplicates=decision.duplicates,
        overlap=overlap,
        left_out=decide.LEFT_OUT_FILE,
    )
    unfaithful = sum(result.unfaithful for result in results), sum(result.tried for result in results)
    warnings = cautions.warnings(manifest, plan.options, unfaithful, survey.lost(work, plan))
    return replace(manifest, warnings=tuple(warnings)), placed


def _renamed(folder: Path, shard: Shard, placed: list[Placed]) -> Shard:
    """The next shard of train under its name in the data folder; its files are added to those to be placed."""
    stem = f"train-{len(placed) // 2:05d}"
    renamed = replace(shard, file=f"{stem}.npy", documents_file=f"{stem}.documents.npy")
    placed += [(folder / shard.file, renamed.file), (folder / shard.documents_file, renamed.documents_file)]
    return renamed


def _validation(
    work: Path,
    results: Sequence[Result],
    shares: Sequence[Sequence[NDArray[np.float32]]],
    dtype: np.dtype[Any],
    placed: list[Placed],
) -> list[Shard]:
    """The small pieces of validation that the tasks made, written anew as few shards."""
    folder = work / "val"
    folder.mkdir(exist_ok=True)
    writer = ShardWriter(folder, "val", dtype)
    for i, result in enumerate(results):
        for shard in result.val.shards:
            part = output(work, encode.STAGE, i)
            ends = np.load(part / shard.documents_file).astype(np.int64)
            writer.add(np.load(part / shard.file, mmap_mode="r"), np.diff(ends, prepend=0))
    writer.close()
    overlap = np.concatenate([share for task in shares for share in task])
    shards, first = [], 0
    for shard in writer.shards:
        path = folder / f"{Path(shard.file).stem}.overlap.npy"
        npy.save(path, overlap[first : first + shard.documents])
        first += shard.documents
        shards.append(replace(shard, overlap_file=path.name, overlap_sha256=file_sha256(path)))
        placed += [(folder / name, name) for name in (shard.file, shard.documents_file, path.name)]
    return shards


def _sum(sides: Sequence[Side], shards: Sequence[Shard]) -> Side:
    """One side of all tasks."""
    values: dict[str, Any] = {}
    for f in fields(Side):
        parts = [getattr(side, f.name) for side in sides]
        known = [part for part in parts if part is not None]
        if f.name == "shards" or not known:
            continue
        if isinstance(known[0], tuple):
            values[f.name] = tuple(int(n) for n in np.trim_zeros(np.sum(known, axis=0), "b"))
        else:
            values[f.name] = max(known) if f.name == "largest_token_id" else sum(known)
    return Side(**values, shards=tuple(shards))


def _place(out: Path, manifest: Manifest, placed: Sequence[Placed]) -> None:
    """Put every file where it belongs; what an earlier preparation left goes first."""
    (out / manifests.FILE).unlink(missing_ok=True)
    sync_folder(out)
    halves = list(out.glob(f".{manifests.FILE}.*.partial"))  # of a command that was killed
    for old in [*halves, *(path for path in out.iterdir() if SHARD.fullmatch(path.name) or path.name in OTHERS)]:
        old.unlink()
    for path, name in placed:
        try:
            os.link(path, out / name)
        except OSError:  # a file system without links
            with replacing(out / name) as target, path.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
    sync_folder(out)
    manifests.write(out, manifest)
