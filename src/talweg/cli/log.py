"""`talweg read`: what was understood of a log, and the log as a table."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from talweg.errors import InputError
from talweg.options import REPEATED

if TYPE_CHECKING:
    from talweg.run import Run


def read(
    log: str,
    /,
    *,
    config: Path | None = None,
    data: Path | None = None,
    tokenizer: str | None = None,
    format: str | None = None,
    which: str | None = None,
    loss_column: str | None = None,
    column: Annotated[tuple[str, ...], REPEATED] = (),
    to: Literal["csv", "json", "parquet"] | None = None,
    out: Path | None = None,
    follow: bool = False,
    all: bool = False,
) -> int:
    """Show what was understood of a log, or convert it.

    The format, the columns with their counts and ranges, the facts with where each came from, and what was not
    understood. Every format that is read is named in docs/formats.md.

    Args:
        log: a run folder, any trainer's log or folder, a tracker's files, or - for standard input
        config: the trainer's configuration, where it is not found beside the log
        data: the data folder that the run was trained on, or its token files (nanoGPT's train.bin, llm.c's, .npy)
        tokenizer: of such token files: gpt2, or a tokenizer.json or .tiktoken file
        format: the name of the format, where the guess is wrong
        which: of several runs in one place, this one: its name, or its number from 1
        loss_column: the column of the training loss, where its name does not say so
        column: another column, as val_loss=NAME; may be given several times
        to: convert: csv, json or parquet, to standard output or to --out
        out: (or -o) the file that is written; its ending tells the form too
        follow: go on, a line for each change, until Ctrl-C
        all: show every column
    """
    asked = asked_of(config, data, tokenizer, format, which, loss_column, column)
    if follow:
        return _follow(log, asked)
    from talweg.readers import read as read_log

    found = read_log(log, **asked)
    if to is None and out is None:
        _show(found, all)
    else:
        _convert(found, to, out)
    return 0


def asked_of(
    config: Path | None,
    data: Path | None,
    tokenizer: str | None,
    format: str | None,
    which: str | None,
    loss_column: str | None,
    column: Sequence[str],
) -> dict[str, Any]:
    """The options of every command that reads a log, as `talweg.read` takes them."""
    return {
        "config": config,
        "data": data,
        "tokenizer": tokenizer,
        "format": format,
        "which": which,
        "loss_column": loss_column,
        "columns": _named(column),
    }


def _named(columns: Sequence[str]) -> Mapping[str, str]:
    named = {}
    for text in columns:
        role, sign, name = text.partition("=")
        if not sign or not name:
            raise InputError(f"--column {text} names no column of the log; as in --column val_loss=dev/nll")
        named[role.replace("-", "_")] = name
    return named


def _show(run: "Run", everything: bool) -> None:
    from shutil import get_terminal_size

    from talweg.report.understood import understood

    on_screen = sys.stdout.isatty()
    color = on_screen and not os.environ.get("NO_COLOR")
    print(understood(run, width=get_terminal_size((100, 24)).columns, color=color, everything=everything))


def _convert(run: "Run", to: str | None, out: Path | None) -> None:
    from talweg.conversion import FORMS, to_csv, to_json, write

    form = to or (out.suffix.removeprefix(".") if out is not None else "")
    if form not in FORMS:
        raise InputError(f"{out}: a run is written as {', '.join(FORMS)}; end the name so, or say --to")
    if out is not None:
        print(write(run, out, form))
    elif form == "csv":
        sys.stdout.writelines(to_csv(run))
    elif form == "json":
        import json

        json.dump(to_json(run), sys.stdout, allow_nan=False)
        sys.stdout.write("\n")
    else:
        raise InputError("parquet is no text: name the file that is to be written with --out")


def _follow(log: str, asked: Mapping[str, Any]) -> int:
    from talweg.follow import follow

    for run in follow(log, **asked):
        print(" · ".join(_latest(run)), flush=True)
    return 0


def _latest(run: "Run") -> list[str]:
    """The newest points: step, training and validation loss."""
    told = [f"step {run.last_step or 0:,.0f}"]
    for name, series in (("train", run.train_loss), ("val", run.val_loss), ("lr", run.learning_rate)):
        if series:
            told.append(f"{name} {series.value[-1]:.6g}" + (f" (step {series.step[-1]:,.0f})" if name == "val" else ""))
    return told
