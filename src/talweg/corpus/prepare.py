"""`talweg prepare`: text in, a data folder out (its form: `manifest`).

The work is a chain of stages of tasks (`stages`). What they make stands in a work folder inside the target until all is
done, so a command that was stopped goes on where it was, and whatever stops it leaves no folder that could be taken
for a finished one. The same input gives the same bytes, on any number of workers.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from talweg.corpus import engines, inputs, plan, publish, stages, survey
from talweg.corpus import manifest as manifests
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.exchange import holds_tokens, import_tokens
from talweg.corpus.manifest import Manifest
from talweg.corpus.plan import Options, Plan
from talweg.corpus.quality import rules
from talweg.corpus.quality.summary import Summary
from talweg.corpus.tokenizer import Tokenizer
from talweg.corpus.work import output
from talweg.errors import InputError
from talweg.files import locked

Progress = Callable[[str, float, float], None]  # stage, done, total
Report = Callable[[Manifest, Summary | None], None]
Dedup = Literal["off", "exact", "near"]
OnDamage = Literal["fatal", "skip"]
UNITS = {stages.WORDS[stage]: "MB" for stage in stages.BY_TASK}  # of done and total, by stage

WORK = ".work-"
OURS = re.compile(rf"{publish.SHARD.pattern}|{'|'.join(map(re.escape, publish.OTHERS))}|\..*")
VAL_TOKENS = 2_000_000  # validation is never larger, unless asked for: its level is then sure to about 0.02 nats
SMALLEST_BPE, LARGEST_BPE = 257 + 1, 1_000_000  # every byte, the separator and a merge; our choice
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare(
    given: Sequence[Path | str] | Path | str,
    out: Path | None = None,
    *,
    tokenizer: str = "bpe",
    vocabulary_size: int = 8192,
    val_share: float = 0.01,
    val_tokens: int = VAL_TOKENS,
    text_column: str | None = None,
    seed: int = 0,
    dedup: Dedup = "exact",
    near: bool = True,
    quality: bool = True,
    filters: Sequence[str] = (),
    on_damage: OnDamage = "fatal",
    report_only: bool = False,
    engine: str = "local",
    workers: int | None = None,
    sbatch: str = "",
    progress: Progress | None = None,
    report: Report | None = None,
) -> Manifest:
    """Write the data folder `out` from files, folders, patterns or URLs of text, and return its manifest.

    tokenizer: "bpe" (trained on this text), "gpt2", "bytes", or the path of a tokenizer.json or .tiktoken file.
    val_share: of the text, in whole groups, but no more than about val_tokens. dedup: which copies are left out: "off",
    "exact", or "near" ones too. near: whether near-duplicates are looked for; if so, none is on both sides of the
    split. quality: whether measures of quality are taken; filters: rules by which documents are left out. on_damage:
    "skip" passes over what cannot be read, and the manifest's warnings name it. report_only: count everything, write no
    data folder; out is None. engine: where the tasks run, "local", "datatrove", "ray" or "slurm" (sbatch: options of
    its jobs), at most `workers` at once. progress(stage, done, total) is called as the work goes on, report(manifest,
    summary) with what was found; the summary of quality is None where none was taken.

    Files of tokens (nanoGPT's train.bin and val.bin, llm.c's shards) are taken over as they are; they need the
    tokenizer they were made with, and know of seed and val_share only.

    A preparation that was stopped goes on where it was. Raises InputError for what cannot be read or written; what
    stood in `out` is then as it was.
    """
    if not 0 < val_share <= 0.5:
        raise InputError(f"a share of {val_share:g} for validation leaves one side empty; give 0 < val_share <= 0.5")
    if val_tokens < 1:
        raise InputError(f"{val_tokens:,} tokens for validation leave it empty; give 1 or more")
    engines.check(engine, workers)
    _check_vocabulary(tokenizer, vocabulary_size)
    if filters and not quality:
        raise InputError("filters need the measures of quality; leave --no-quality out")
    if dedup == "near" and not near:
        raise InputError("near-duplicates cannot be left out without looking for them; give near or dedup=exact")
    if (out is None) is not report_only:
        raise InputError("give either --out, where to write, or --report-only, to write nothing")
    chosen = None if tokenizer == "bpe" else tokenizers.given(tokenizer)
    lost: list[str] = []
    files = [given] if isinstance(given, str | Path) else given
    if out is not None and holds_tokens(files):
        return import_tokens(files, out, tokenizer=chosen, val_share=val_share, seed=seed, progress=progress)
    sources = inputs.find(files, text_column, on_damage=on_damage, lost=lost.append, out=out)
    options = Options(
        tokenizer=chosen.sha256 if chosen else tokenizer,
        vocabulary_size=vocabulary_size,
        val_share=val_share,
        val_tokens=val_tokens,
        seed=seed,
        dedup=dedup,
        near=near,
        quality=quality,
        filters=_filters(filters),
        on_damage=on_damage,
        report_only=report_only,
    )
    planned = plan.make(options, sources, lost)
    with _target(out) as folder:
        work = _work_folder(folder, planned, chosen)
        more = {"sbatch": sbatch} if engine == "slurm" else {}
        engines.run(engine, work, workers=workers, progress=_in_megabytes(planned, progress), **more)
        manifest = manifests.read(output(work, publish.STAGE, 0))
        summary = survey.quality(work, planned)
        shutil.rmtree(work)
    if report is not None:
        report(manifest, summary)
    return manifest


def _check_vocabulary(tokenizer: str, vocabulary_size: int) -> None:
    if tokenizer == "bpe" and not SMALLEST_BPE <= vocabulary_size <= LARGEST_BPE:
        raise InputError(
            f"a vocabulary of {vocabulary_size:,} tokens; a byte-level BPE needs {SMALLEST_BPE} to {LARGEST_BPE:,}"
        )


def _filters(names: Sequence[str]) -> tuple[str, ...]:
    """The rules that these names mean, without one that needs tokens: documents are chosen before they are encoded."""
    found = [rule.name for rule in rules.chosen(names) if rule.measure != "bytes_per_token"] if names else []
    if names and not found:
        raise InputError("bytes_per_token is counted of tokens, after documents were chosen, so it cannot be a filter")
    return tuple(found)


def _in_megabytes(planned: Plan, progress: Progress | None) -> Progress:
    """What engines report, tasks of a stage, in a person's words; where tasks hold text, in megabytes of it."""

    def report(stage: str, done: float, total: float) -> None:
        unit = planned.total_bytes / 1e6 / total if stage in stages.BY_TASK and total else 1.0
        if progress is not None and total:
            progress(stages.WORDS[stage], done * unit, total * unit)

    return report


def _work_folder(out: Path, planned: Plan, tokenizer: Tokenizer | None) -> Path:
    """The folder of this very plan, from an earlier attempt or new; those of other plans are removed."""
    work = out / f"{WORK}{planned.fingerprint}"
    for other in out.glob(f"{WORK}*"):
        if other != work:
            shutil.rmtree(other)
    work.mkdir(exist_ok=True)
    if tokenizer is not None:
        tokenizer.save(work)
    plan.write(work, planned)
    return work


@contextmanager
def _target(out: Path | None) -> Iterator[Path]:
    """The folder to work in, ours alone for the time. A disk that is full becomes one clear line."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="talweg-") as folder:
            yield Path(folder).resolve()
        return
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(out)
        with locked(out / ".lock", f"another talweg prepare is at work in {out}; wait for it or give another --out"):
            yield out.resolve()
    except OSError as error:
        if error.errno in FULL:
            raise InputError(
                f"{out}: {os.strerror(error.errno or 0)}; make room and give the same command, or give another --out"
            ) from None
        if isinstance(error, PermissionError | FileExistsError | NotADirectoryError):
            raise InputError(f"{out} cannot be written: {error.strerror}; give another --out") from None
        raise


def _refuse_foreign(out: Path) -> None:
    """A folder of something else is not written into: a tokenizer.json there may be a model's."""
    if (out / manifests.FILE).exists() or any(out.glob(f"{WORK}*")):
        return
    others = sorted(path.name for path in out.iterdir() if not OURS.fullmatch(path.name))
    if others:
        raise InputError(f"{out} holds other files ({others[0]}); give a folder that is empty or not there yet")
