"""From the text of a configuration to nested settings: JSON, TOML, YAML, a printed Namespace, lines of `key = value`.

    nested("train:\\n  lr: 1e-3\\n")      {"train": {"lr": 0.001}}
    Settings.of(that).get("lr")         0.001

A setting is asked for by its own name, wherever it stands. Where it stands in several places with different values,
the outermost counts, failing that the one of training; otherwise it is unknown.
"""

import ast
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from talweg.settings import yaml_lines

Document = Mapping[str, Any]

MOST = 1e300  # a setting is no larger: a whole number of any length may stand in JSON
LONGEST_LINE = 1000  # a setting is shorter; the pattern is slow on lines without end
LINE = re.compile(r"^\s*[-\"']{0,2}([A-Za-z_][\w./ -]*?)[\"']?\s*[:=]\s*(.*?),?\s*$")
NAMESPACE = re.compile(r"\bNamespace\(")
ARGUMENT = re.compile(r"([A-Za-z_]\w*)=('[^']*'|\"[^\"]*\"|\[[^\]]*\]|\([^)]*\)|[^,()\[\]<>]+)(?=,|\)|$)")
# sections whose settings are not those of the training itself
APART = {
    *("eval", "evaluation", "evaluator", "val", "valid", "validation", "test", "inference", "generation", "sampling"),
    *("teacher", "reference", "reward", "draft", "ema", "logger", "wandb", "_wandb", "profiling", "profiler", "lora"),
    *("vision_config", "audio_config", "quantization_config", "checkpoint", "checkpoints", "comm"),
}
SURER = {"train", "training", "trainer", "optimizer", "optim", "optimization", "hyperparameters"}
NAMES = {"name", "type", "target", "class_path", "class_name"}  # keys that say what a section configures


@lru_cache(maxsize=8)
def nested(text: str) -> Document:
    """The settings of a text; {} where it holds none that can be told."""
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("{") and (found := _braces(start)) is not None:
        return found
    if found := namespace(text):
        return found
    for read in (tomllib.loads, yaml_lines.parse):
        try:
            document = read(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return {str(key): value for key, value in document.items()}
    return _lines(text)


def head_of(text: str, size: int) -> str:
    """A head that was cut off at `size` characters, without its last, unfinished line."""
    return text if len(text) < size else text[: text.rfind("\n") + 1]


def section(document: Document, *names: str) -> Document:
    """The settings that stand under these names; {} where there are none."""
    for name in names:
        part = document.get(name)
        document = part if isinstance(part, Mapping) else {}
    return document


def _braces(text: str) -> Document | None:
    for read in (json.loads, ast.literal_eval, yaml_lines.parse):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict):
            return {str(key): value for key, value in found.items()}
    return None


def namespace(text: str) -> Document:
    """The arguments of the first `Namespace(lr=0.1, ...)` that argparse printed into a text."""
    match = NAMESPACE.search(text)
    if match is None:
        return {}
    line = text[match.start() :].split("\n", 1)[0]
    for end in (line.rfind(")") + 1, line.find(")") + 1):
        try:
            tree = ast.parse(line[:end], mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if isinstance(tree, ast.Call):
            return _keywords(tree)
    # something among the values is no expression, such as <function f at 0x7f>
    return {name: literal(value) for name, value in ARGUMENT.findall(line)}


def _keywords(call: ast.Call) -> Document:
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            continue
        if isinstance(keyword.value, ast.Call):
            if getattr(keyword.value.func, "id", "") == "Namespace":
                found[keyword.arg] = _keywords(keyword.value)
            continue
        try:
            found[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            continue
    return found


def _lines(text: str) -> Document:
    """Lines of `key: value` or `key = value` in the midst of anything."""
    found: dict[str, Any] = {}
    section = ""
    for line in text.split("\n"):
        if len(line) > LONGEST_LINE or line.lstrip().startswith("#"):
            continue
        if header := re.match(r"\[([\w.-]+)\]\s*$", line):
            section = header[1]
        elif match := LINE.match(line.split(" #")[0]):
            part = found.setdefault(section, {}) if section else found
            if match[2] and isinstance(part, dict):
                part[match[1]] = literal(match[2])
    return found


def literal(text: str) -> Any:
    """The value of a line: number, truth value, list of numbers or text."""
    text = text.strip().strip("\"'")
    if text in ("None", "none", ""):
        return None
    if text[:1] in "[(" and text[-1:] in "])":
        return [literal(part) for part in text[1:-1].split(",")]
    return yaml_lines.scalar(text)


# ---------------------------------------------------------------- a setting by its name


@dataclass(frozen=True)
class Settings:
    """entries: by the last part of its name, in lower case, where a setting stands and its value."""

    entries: Mapping[str, tuple[tuple[tuple[str, ...], Any], ...]]

    @classmethod
    def of(cls, document: Document) -> "Settings":
        found: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
        for path, value in _flat(document, ()):
            found.setdefault(path[-1], []).append((path, value))
        return cls({name: tuple(places) for name, places in found.items()})

    def get(self, name: str) -> Any:
        """The value of the setting of this name; None where there is none, or where several differ."""
        places = [place for place in self.entries.get(name, ()) if not APART.intersection(place[0][:-1])]
        if len(places) > 1 and not _alike(places):
            shallow = min(len(path) for path, _ in places)
            outermost = [place for place in places if len(place[0]) == shallow]
            surer = [place for place in places if len(place[0]) > 1 and place[0][-2] in SURER]
            chosen = outermost if shallow == 1 or not surer else surer
            places = chosen if _alike(chosen) else []
        return places[0][1] if places else None

    def first(self, names: Iterable[str]) -> tuple[str, Any] | None:
        """Name and value of the first of these settings that is stated."""
        return next(((name, value) for name in names if (value := self.get(name)) is not None), None)

    def number(self, *names: str) -> tuple[str, float] | None:
        """Name and value of the first of these settings that is a number of at least 0: -1 means "not set"."""
        for name in names:
            value = number(self.get(name))
            if value is not None and value >= 0:
                return name, value
        return None


def number(value: object) -> float | None:
    """A number, also where it is written as a text or in a list of one; None for all else."""
    if isinstance(value, str):
        value = yaml_lines.scalar(value.strip())
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
        return None
    return float(value)


def _alike(places: Iterable[tuple[tuple[str, ...], Any]]) -> bool:
    values = [value for _, value in places]
    return all(type(value) is type(values[0]) and value == values[0] for value in values)


def _flat(document: Document, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in document.items():
        path = above + tuple(_name(part) for part in re.split(r"[./]", str(key).strip()))
        if isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]  # a tracker's config.yaml: the value stands below its name
        if isinstance(value, Mapping):
            if len(above) < 20:
                yield from _flat(value, path)
            continue
        if len(path) > 1 and path[-1].strip("_") in NAMES and value is not None:
            yield path[:-1], str(value).rpartition(".")[2]
        yield path, value


def _name(text: str) -> str:
    return text.lower().replace("-", "_").replace(" ", "_").lstrip("_") or "_"
