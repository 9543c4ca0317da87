"""The commands that make and hand on: prepare and export."""

import os
import sys
from pathlib import Path
from typing import Literal

from talweg.errors import InputError


def prepare(
    text: tuple[str, ...],
    /,
    *,
    out: Path | None = None,
    tokenizer: str = "bpe",
    vocabulary_size: int = 8192,
    val_share: float = 0.01,
    val_tokens: int = 2_000_000,
    text_column: str | None = None,
    seed: int = 0,
    dedup: Literal["off", "exact", "near"] = "exact",
    near: bool = True,
    quality: bool = True,
    filter: tuple[str, ...] = (),
    on_damage: Literal["fatal", "skip"] = "fatal",
    report_only: bool = False,
    report: Path | None = None,
    engine: Literal["local", "datatrove", "ray", "slurm"] = "local",
    workers: int | None = None,
    sbatch: str = "",
) -> int:
    """Turn text into token shards for training, and measure it.

    Reads parquet, jsonl and plain text, in folders, by patterns or from URLs (s3://, https://, hf://...); nanoGPT's
    train.bin and llm.c's shards are taken over. A file of plain text is one document; lines of <|endoftext|> part
    documents, and what is longer than 64 kB is cut at blank lines. The split for validation keeps whole groups (host,
    source, file) together, and near-duplicates with them. A preparation that was stopped goes on where it was.

    Args:
        text: files, folders, patterns or URLs
        out: (or -o) the data folder to write
        tokenizer: bpe (trained on this text), gpt2, bytes, or a tokenizer.json or .tiktoken file
        vocabulary_size: tokens of the trained bpe
        val_share: share of the text kept for validation, in whole groups
        val_tokens: never more than about so many
        text_column: the column that holds the text; found by its name and type when left out
        seed: of the split
        dedup: copies that are left out: exact ones, near ones too, or none; left_out.parquet lists them
        near: look for near-duplicates
        quality: measure the quality of every document
        filter: leave out what these rules reject: gopher, c4, fineweb, noise, or the name of a rule; none by default
        on_damage: skip passes over what cannot be read, and says so
        report_only: count and measure, write no data folder
        report: also write the report to this .html or .json file
        engine: what runs the work
        workers: tasks at once; left out, as many as there are cores
        sbatch: options for the jobs of slurm, such as "--partition=cpu --time=4:00:00"
    """
    from talweg.corpus.processor import avoid_slow_sorts

    avoid_slow_sorts()
    from talweg.corpus.exchange import holds_tokens
    from talweg.corpus.prepare import UNITS
    from talweg.corpus.prepare import prepare as prepare_corpus
    from talweg.corpus.show import check, show
    from talweg.progress import Stages

    if report is not None:
        check(report)
        if out is not None and holds_tokens(text):
            raise InputError(f"{text[0]} holds tokens, of which no report is made; leave --report out")
    shown: list[str] = []
    with Stages(UNITS) as stages:
        manifest = prepare_corpus(
            text,
            out,
            tokenizer=tokenizer,
            vocabulary_size=vocabulary_size,
            val_share=val_share,
            val_tokens=val_tokens,
            text_column=text_column,
            seed=seed,
            dedup=dedup,
            near=near,
            quality=quality,
            filters=filter,
            on_damage=on_damage,
            report_only=report_only,
            engine=engine,
            workers=workers,
            sbatch=sbatch,
            progress=stages.update,
            report=lambda manifest, summary: shown.extend(show(manifest, summary, report, *_screen())),
        )
    print(
        "\n".join(shown) if shown else f"{manifest.train.tokens:,} training tokens, {manifest.val.tokens:,} to validate"
    )
    for warning in manifest.warnings if not shown else ():
        print(f"note: {warning}", file=sys.stderr)
    if out is not None:
        page = f" · {out / 'report.html'}" if (out / "report.html").exists() else ""
        print(f"\nwritten to {out}{page} · now talweg train CONFIG --data.path {out}")
    return 0


def export(
    path: Path,
    /,
    *,
    to: Literal["nanogpt", "llmc", "datatrove", "hf"],
    out: Path,
    dtype: Literal["uint16", "uint32"] | None = None,
    tokenizer: str | None = None,
    average: bool = False,
) -> int:
    """Write prepared data, or a model, for another program.

    Data go to nanogpt, llmc or datatrove, and are held against their sha256 first; tokenizer.json is written beside the
    tokens, and docs/data-format.md says what each format keeps of the documents. A model goes to hf (a folder that HF
    transformers loads, with the same logits) or to nanogpt (ckpt.pt); docs/checkpoints.md says which models those hold.

    Args:
        path: a data folder; or a model: a run folder, a checkpoint, nanoGPT's ckpt.pt, an HF folder
        to: the format
        out: the folder to write, empty or not there yet
        dtype: of a token; left out, what the format takes for this vocabulary
        tokenizer: of a model that has none beside it: gpt2, bytes, or the path of a tokenizer.json
        average: of a model: the moving average of its weights (optimizer.average_decay) in place of the weights
    """
    if _holds_data(path, to):
        if average:
            raise InputError(f"{path} holds data, and --average is of the weights of a model; leave it out")
        return _export_data(path, to, out, dtype, tokenizer)
    if dtype is not None:
        raise InputError(f"{path} is a model, and --dtype is of the tokens of data; leave it out")
    from talweg.train.exchange.outgoing import export_model

    exported = export_model(path, out, to=to, tokenizer=tokenizer, average=average)
    print(f"{out}  {exported.source} as {exported.form}: {', '.join(exported.files)}")
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
    return 0


def _holds_data(path: Path, to: str) -> bool:
    """Whether a data folder is meant. A checkpoint has a MANIFEST.json, the same name where capitals do not count."""
    if (path / "manifest.json").is_file() and not (path / "state.json").is_file():
        return True
    model = path.is_file() or any(
        (path / name).exists() for name in ("state.json", "checkpoints", "config.json", "ckpt.pt")
    )
    return to != "hf" and not model


def _export_data(path: Path, to: str, out: Path, dtype: str | None, tokenizer: str | None) -> int:
    from talweg.corpus.exchange import export as export_data
    from talweg.progress import Stages

    if to == "hf":
        raise InputError(f"{path} holds tokens, and --to hf writes a model; give a run folder or a checkpoint")
    if tokenizer is not None:
        raise InputError(f"{path} holds tokens and their tokenizer; leave --tokenizer out")
    with Stages({"checking": "MB", "exporting": "M tokens"}) as stages:
        exported = export_data(path, out, to=to, dtype=dtype, progress=stages.update)
    print(f"{out}  {exported.tokens:,} tokens as {exported.dtype} in {len(exported.files)} files")
    return 0


def _screen() -> tuple[int, bool]:
    """Columns, and whether colours are wanted."""
    from shutil import get_terminal_size

    on_screen = sys.stdout.isatty()
    return get_terminal_size((80, 24)).columns if on_screen else 80, on_screen and not os.environ.get("NO_COLOR")
