"""Options from a signature: parsed by tyro, whose complaints become one line.

A positional-only parameter is a word without an option; of the others, `val_share: float = 0.01` is `--val-share`.
Imports tyro only to parse.
"""

import contextlib
import difflib
import inspect
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from talweg.errors import InputError

REPEATED = "repeated"  # in Annotated[tuple[str, ...], REPEATED]: the option is given once for each value


def nearest(word: str, known: Iterable[str]) -> str:
    """A half-sentence that suggests what was meant, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the dotted options (--section.key value, --section.key=value) out of `words`, as section.key=value."""
    rest, overrides, words = [], [], list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or "." not in name:
            rest.append(word)
            continue
        if not equals:
            if not words:
                raise InputError(f"{word} needs a value: {word} VALUE")
            value = words.pop(0)
        overrides.append(f"{name.replace('-', '_')}={value}")
    return rest, overrides


def parse(command: Callable[..., int], name: str, words: list[str]) -> tuple[inspect.BoundArguments, list[str]]:
    """The arguments that `words` give to `command`, and the words that it does not know.

    A parameter called `overrides` is no option of its own: `split_overrides` finds it. Raises InputError for a value
    that does not fit, and SystemExit after printing the help.
    """
    import tyro

    signature = inspect.signature(command)
    visible = []
    for p in signature.parameters.values():
        marks = [tyro.conf.UseAppendAction] if REPEATED in get_args(p.annotation) else []
        marks.append(tyro.conf.arg(metavar=metavar(p), help_behavior_hint=_hint(p)))
        if p.name != "overrides":
            visible.append(p.replace(annotation=Annotated[_kind(p), *marks]))

    def arguments(*args: object, **kwargs: object) -> inspect.BoundArguments:
        return signature.bind(*args, **kwargs)

    arguments.__signature__ = signature.replace(parameters=visible)  # type: ignore[attr-defined]
    arguments.__doc__ = command.__doc__
    arguments.__annotations__ = {p.name: p.annotation for p in visible}
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(arguments, prog=f"talweg {name}", args=words, return_unknown_args=True)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(f"{_one_line(complaint.getvalue())}; see talweg {name} --help") from None


def metavar(parameter: inspect.Parameter) -> str | None:
    """How the help calls a value: by its name where it has no option, else by its type."""
    if parameter.kind is parameter.POSITIONAL_ONLY:
        word = parameter.name.upper()
        return f"[{word}]" if parameter.default is None else f"{word}..." if _is_many(parameter) else word
    types = [kind for kind in get_args(_kind(parameter)) if kind is not type(None)]
    choices = [choice for kind in types for choice in get_args(kind) if isinstance(choice, str)]
    if choices and parameter.default is None:
        return "{" + ",".join(choices) + "}"  # without the None that stands for "not given"
    return {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}.get(types[0] if types else parameter.annotation)


def _kind(parameter: inspect.Parameter) -> Any:
    """The annotation without REPEATED."""
    annotation = parameter.annotation
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_many(parameter: inspect.Parameter) -> bool:
    return get_origin(_kind(parameter)) is tuple


def _hint(parameter: inspect.Parameter) -> str | None:
    """What the help says of the default: nothing where it is "not given"; None leaves it to tyro."""
    return "" if parameter.default is None or _is_many(parameter) else None


def _one_line(box: str) -> str:
    """The message in the box that the option parser draws: its rows up to the first rule."""
    rows = [row.strip(" │|") for row in box.splitlines()[1:]]
    message = []
    for row in rows:
        if re.fullmatch(r"[─\-╰╯+]+.*", row) and not row.startswith("--"):
            break
        message.append(row)
    text = " ".join(" ".join(message).split()).partition(" Got errors:")[0].removesuffix(".")
    text = text.replace(", 'None')", ")")  # which stands for an option that is not given
    return text or "the options could not be understood"
