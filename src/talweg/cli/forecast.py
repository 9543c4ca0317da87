"""`talweg forecast`: the rest of the curve, and what another plan would give."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from talweg.cli.log import asked_of
from talweg.errors import InputError
from talweg.options import REPEATED

if TYPE_CHECKING:
    from talweg.evidence import Forecast
    from talweg.run import Run


def forecast(
    run: str,
    /,
    *,
    what_if: Annotated[tuple[str, ...], REPEATED] = (),
    config: Path | None = None,
    data: Path | None = None,
    tokenizer: str | None = None,
    format: Literal["text", "json"] = "text",
    out: Path | None = None,
    log_format: str | None = None,
    which: str | None = None,
    loss_column: str | None = None,
    column: Annotated[tuple[str, ...], REPEATED] = (),
) -> int:
    """Forecast the rest of the curve, and under another plan.

    With 50, 80 and 95 % intervals. The law that is fitted, what it rests on and how well it has done: docs/science.md.

    Args:
        run: a run folder, any trainer's log, or - for standard input
        what_if: a change of the plan, such as schedule.min_lr=0 or run.steps=40000; may be given several times
        config: the trainer's configuration, where it is not found beside the log
        data: the data folder that the run was trained on, or its token files (nanoGPT's train.bin, llm.c's, .npy)
        tokenizer: of such token files: gpt2, or a tokenizer.json or .tiktoken file
        format: of the answer
        out: (or -o) a picture (.svg) or the figures (.json), beside what is printed
        log_format: the name of the log's format, where the guess is wrong (docs/formats.md)
        which: of several runs in one place, this one: its name, or its number from 1
        loss_column: the column of the training loss, where its name does not say so
        column: another column, as val_loss=NAME; may be given several times
    """
    from talweg.evidence import why_no_forecast
    from talweg.readers import read

    changes = _changes(what_if)
    if out is not None and out.suffix not in (".svg", ".json"):
        raise InputError(f"{out}: a forecast is written as .svg or .json")
    found = read(run, **asked_of(config, data, tokenizer, log_format, which, loss_column, column))
    forecasts = _forecasts(found, changes)
    if not forecasts:
        raise InputError(f"{run}: no forecast: {why_no_forecast(found) or 'too little of the curve was logged'}")
    _show(found, forecasts, format)
    if out is not None:
        _write(found, forecasts, out)
    return 0


def _forecasts(run: "Run", changes: Mapping[str, str]) -> list["Forecast"]:
    from talweg.evidence import forecast as forecast_run

    own = forecast_run(run)
    other = forecast_run(run, what_if=changes) if changes else None
    return [found for found in (own, other) if found is not None]


def _changes(texts: tuple[str, ...]) -> dict[str, str]:
    changes = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not value:
            raise InputError(f"--what-if {text}: a key and a value are needed, as in --what-if schedule.min_lr=0")
        changes[key.strip().replace("-", "_")] = value.strip()
    return changes


def _show(run: "Run", forecasts: list["Forecast"], format: str) -> None:
    from shutil import get_terminal_size

    from talweg.report.ahead import to_json, to_text

    if format == "json":
        import json

        print(json.dumps(to_json(run, forecasts), indent=1, allow_nan=False))
        return
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(to_text(run, forecasts, width=get_terminal_size((100, 24)).columns, color=color))


def _write(run: "Run", forecasts: list["Forecast"], out: Path) -> None:
    import json

    from talweg.files import write_text
    from talweg.report.ahead import to_json, to_svg

    svg = out.suffix == ".svg"
    write_text(out, to_svg(run, forecasts) if svg else json.dumps(to_json(run, forecasts), allow_nan=False) + "\n")
    print(out)
