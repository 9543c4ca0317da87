"""The command line: parses and calls; decides nothing.

Each command is a function whose signature is its options and whose docstring is its help. Only the parser of the
command that is asked for is built, and whatever is slow to import is imported where it is used.
"""

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from talweg import __version__
from talweg.cli.data import export, prepare
from talweg.cli.forecast import forecast
from talweg.cli.log import asked_of, read
from talweg.cli.model import evaluate
from talweg.errors import InputError
from talweg.options import REPEATED, nearest, parse, split_overrides

if TYPE_CHECKING:
    from talweg.diagnosis import Diagnosis

NOTHING_WRONG, CAUSE_PRESENT, NOT_JUDGED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
ALSO = {"-o": "--out", "--vocab-size": "--vocabulary-size"}  # what else an option may be called
EXTRAS = {  # what to install when an optional package is not there
    "torch": "train",
    "safetensors": "train",
    "pyarrow": "data",
    "tokenizers": "data",
    "tiktoken": "data",
    "bokeh": "report",
    "fsspec": "data",
    "datatrove": "cluster",
    "ray": "cluster",
}


def train(
    config: Path,
    /,
    *,
    on_divergence: Literal["stop", "rollback", "continue"] | None = None,
    overrides: Sequence[str] = (),
) -> int:
    """Train a GPT that diagnoses itself as it goes, and at its end.

    A run that was stopped goes on from its last checkpoint, exactly as if it had not been stopped. Every key of the
    configuration is an option too, such as --optimizer.peak_lr 2e-3; docs/configuration.md lists them.

    Args:
        config: the TOML file
        on_divergence: if the run is lost: stop (the default), go back to a good checkpoint at half the rate, or go on
    """
    # Read when torch is imported. Threads that wait by spinning steal the time of those that work: on two busy cores
    # a model of 1 M parameters made 20,700 tokens a second with this, 13,900 without (1 thread: 18,800).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from talweg.progress import Training
    from talweg.train.config import load
    from talweg.train.loop import train as train_records

    if on_divergence is not None:
        overrides = [*overrides, f"run.on_divergence={on_divergence}"]
    if int(os.environ.get("RANK", "0")):  # started by torchrun: the first rank alone writes and shows
        return _help_to_train(config, overrides)
    settings = load(config, overrides)
    folder = settings.run.out / settings.run.name
    lost = False
    with Training() as progress:
        for record in train_records(settings):
            progress.update(record)
            lost = bool(record.get("stopped", False))
            if "signal" in record:  # the person wants out, and the run is saved
                return INTERRUPTED
    diagnosis = _diagnosis(str(folder))
    _show(diagnosis)
    with contextlib.suppress(ModuleNotFoundError, InputError):  # no report extra, no page
        print(f"report      {_write_report(diagnosis, folder / 'report.html')}")
    return CAUSE_PRESENT if lost else NOTHING_WRONG


def _help_to_train(config: Path, overrides: Sequence[str]) -> int:
    """Train as one rank of several; what another tells is not said again."""
    from talweg.train.config import load
    from talweg.train.loop import train as train_records
    from talweg.train.ranks import tells_itself

    try:
        return INTERRUPTED if any("signal" in record for record in train_records(load(config, overrides))) else 0
    except InputError as error:
        if tells_itself(error):
            raise
        return NOT_JUDGED


def sample(
    checkpoint: Path,
    /,
    *,
    prompt: str = "",
    tokens: int = 200,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    stop: Annotated[tuple[str, ...], REPEATED] = (),
    num: int = 1,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    tokenizer: str | None = None,
    average: bool = False,
) -> int:
    """Write text with a trained model.

    It sees its context at most: when that is full, it goes on from the last half of it.

    Args:
        checkpoint: a run folder (its latest checkpoint), a checkpoint, nanoGPT's ckpt.pt, an HF folder
        prompt: text to go on from; empty: the start of a document; - reads it from standard input
        tokens: how many to write
        temperature: 0 takes the most probable token each time
        top_k: choose among this many tokens only
        top_p: choose among the most probable tokens that have this probability together
        min_p: choose among the tokens that are at least this share as probable as the most probable one
        stop: end before this text; may be given several times
        num: how many texts, with --- between them; the second has the seed of the first + 1, and so on
        seed: of the choice
        device: where to compute; auto is the fastest that is here
        tokenizer: of a model that has none beside it: gpt2, bytes, or the path of a tokenizer.json
        average: the moving average of the weights (optimizer.average_decay) in place of the weights
    """
    from talweg.train.choose import Choice
    from talweg.train.sample import sample as sample_texts

    given = sys.stdin.read() if prompt == "-" else prompt
    choice = Choice(temperature, top_k, top_p, min_p)
    texts = sample_texts(
        checkpoint,
        given,
        tokens=tokens,
        choice=choice,
        seed=seed,
        stop=stop,
        num=num,
        device=device,
        tokenizer=tokenizer,
        average=average,
    )
    for i, pieces in enumerate(texts):
        sys.stdout.write(f"---\n{given}" if i else given)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
    return NOTHING_WRONG


def diagnose(
    run: str,
    /,
    *,
    config: Path | None = None,
    data: Path | None = None,
    tokenizer: str | None = None,
    format: Literal["text", "json", "markdown", "html"] = "text",
    fail_on: Literal["present", "never"] = "present",
    log_format: str | None = None,
    which: str | None = None,
    loss_column: str | None = None,
    column: Annotated[tuple[str, ...], REPEATED] = (),
) -> int:
    """Say why the loss has stopped falling, and what that costs.

    Each cause is given in nats with an 80 % interval, and with what would win it back.
    Exit code: 0 nothing is wrong, 1 a cause is present, 2 it could not be read or judged.

    Args:
        run: a run folder, any trainer's log, or - for standard input
        config: the trainer's configuration, where the log does not hold it
        data: the data folder that the run was trained on, or its token files (nanoGPT's train.bin, llm.c's, .npy)
        tokenizer: of such token files: gpt2, or a tokenizer.json or .tiktoken file
        format: of the answer
        fail_on: never makes exit code 1 into 0
        log_format: the name of the log's format, where the guess is wrong (docs/formats.md)
        which: of several runs in one place, this one: its name, or its number from 1
        loss_column: the column of the training loss, where its name does not say so
        column: another column, as val_loss=NAME; may be given several times
    """
    diagnosis = _diagnosis(run, asked_of(config, data, tokenizer, log_format, which, loss_column, column))
    if format == "text":
        _show(diagnosis)
    else:
        print(_rendered(diagnosis, format))
    if diagnosis.by_verdict("present"):
        return CAUSE_PRESENT if fail_on == "present" else NOTHING_WRONG
    if diagnosis.state in ("too_short", "broken") or not diagnosis.by_verdict("absent"):
        raise InputError(f"{run}: could not be judged: {diagnosis.headline}")
    return NOTHING_WRONG


def explain(cause: str | None = None, /) -> int:
    """Show the page of one cause, or list them all.

    A page holds the physics, the statistic, and what would refute it.

    Args:
        cause: its name
    """
    from talweg.causes import catalogue, page, summary

    if cause is not None:
        print(page(cause))
        return 0
    modules = catalogue()
    width = max(map(len, modules))
    for name, module in sorted(modules.items(), key=lambda item: (item[1].GROUP, item[0])):
        print(f"{name:<{width}}  {module.GROUP:<14}  {summary(module)}")
    return 0


def report(
    run: str,
    /,
    *,
    out: Path | None = None,
    config: Path | None = None,
    data: Path | None = None,
    tokenizer: str | None = None,
    log_format: str | None = None,
    which: str | None = None,
    loss_column: str | None = None,
    column: Annotated[tuple[str, ...], REPEATED] = (),
) -> int:
    """Write the diagnosis as one file that needs no network.

    Args:
        run: a run folder, any trainer's log, or - for standard input
        out: (or -o) the file: .html, .md or .json; left out, report.html in the run folder, else in this folder
        config: the trainer's configuration, where the log does not hold it
        data: the data folder that the run was trained on, or its token files (nanoGPT's train.bin, llm.c's, .npy)
        tokenizer: of such token files: gpt2, or a tokenizer.json or .tiktoken file
        log_format: the name of the log's format, where the guess is wrong (docs/formats.md)
        which: of several runs in one place, this one: its name, or its number from 1
        loss_column: the column of the training loss, where its name does not say so
        column: another column, as val_loss=NAME; may be given several times
    """
    target = out or (Path(run) if Path(run).is_dir() else Path()) / "report.html"
    if target.suffix not in REPORT_FORMATS:
        raise InputError(f"{target}: a report ends in {', '.join(REPORT_FORMATS)}")
    diagnosis = _diagnosis(run, asked_of(config, data, tokenizer, log_format, which, loss_column, column))
    print(_write_report(diagnosis, target))
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "prepare": prepare,
    "export": export,
    "train": train,
    "sample": sample,
    "eval": evaluate,
    "diagnose": diagnose,
    "forecast": forecast,
    "explain": explain,
    "report": report,
    "read": read,
}
REPORT_FORMATS = {".html": "html", ".md": "markdown", ".json": "json"}


def _diagnosis(run: str, asked: Mapping[str, Any] = {}) -> "Diagnosis":
    from talweg.diagnosis import diagnose
    from talweg.readers import read

    return diagnose(read(run, **asked))


def _show(diagnosis: "Diagnosis") -> None:
    from shutil import get_terminal_size

    from talweg.report.terminal import HEIGHT, LEAST_HEIGHT, render

    on_screen = sys.stdout.isatty()
    size = get_terminal_size((100, HEIGHT + 1))
    height = max(size.lines - 1, LEAST_HEIGHT) if on_screen else HEIGHT  # a line is left for the prompt
    color = on_screen and not os.environ.get("NO_COLOR")
    print(render(diagnosis, width=size.columns, color=color, height=height))


def _rendered(diagnosis: "Diagnosis", format: str) -> str:
    if format == "json":
        import json

        from talweg.report.json import to_json

        return json.dumps(to_json(diagnosis), indent=1, allow_nan=False)
    if format == "markdown":
        from talweg.report.markdown import to_markdown

        return to_markdown(diagnosis)
    from talweg.report.html import to_html

    return to_html(diagnosis)


def _write_report(diagnosis: "Diagnosis", target: Path) -> Path:
    from talweg.files import write_text

    write_text(target, _rendered(diagnosis, REPORT_FORMATS[target.suffix]) + "\n")
    return target


def overview() -> str:
    """What `talweg --help` prints."""
    lines = [f"talweg {__version__}: trains small GPTs, and tells why the loss has stopped falling", ""]
    width = max(map(len, COMMANDS))
    for name, command in COMMANDS.items():
        lines.append(f"  talweg {name:<{width}}  {(command.__doc__ or '').splitlines()[0]}")
    return "\n".join([*lines, "", "talweg COMMAND --help tells the rest."])


def _call(name: str, words: list[str]) -> int:
    """Parse the options of one command by its signature, and run it."""
    command = COMMANDS[name]
    parsed: dict[str, object] = {}
    if name == "train":
        words, overrides = split_overrides(words)
        parsed["overrides"] = overrides
    arguments, unknown = parse(command, name, [ALSO.get(word, word) for word in words])
    if unknown:
        named = [p.name for p in inspect.signature(command).parameters.values() if p.kind is p.KEYWORD_ONLY]
        options = [f"--{name.replace('_', '-')}" for name in named if name != "overrides"]
        raise InputError(f"talweg {name} does not know {unknown[0]}{nearest(unknown[0], options)}")
    return command(*arguments.args, **{**arguments.kwargs, **parsed})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; every failure that a person can cause is one line on stderr and exit code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except InputError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        return _fail(f'this needs {package}, which is not installed: pip install "talweg[{EXTRAS[package]}]"')
    except BrokenPipeError:  # the reader of our output went away: say nothing
        _abandon_stdout()
        return PIPE_CLOSED
    except OSError as error:
        _abandon_stdout()
        where = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print("talweg: interrupted", file=sys.stderr)
        return INTERRUPTED


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else NOT_JUDGED
    if words[0] == "--version":
        print(__version__)
        return 0
    if words[0] not in COMMANDS:
        raise InputError(f"talweg has no command {words[0]}{nearest(words[0], COMMANDS)}; talweg --help lists them")
    return _call(words[0], words[1:])


def _abandon_stdout() -> None:
    """Let go of what could not be written, so that the flush at the exit does not fail over it once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    print(f"talweg: {' '.join(message.split())}", file=sys.stderr)
    return NOT_JUDGED
