"""The rows as the Trainer prints them, one dict a line, and the progress bars and settings that stand between them.

    {'loss': 3.2, 'grad_norm': 1.1, 'learning_rate': 4e-05, 'epoch': 0.5}        version 4: numbers
    {'loss': '3.2', 'grad_norm': '1.1', 'learning_rate': '4e-05', ...}           version 5: texts of four digits
     10%|#         | 30/300 [00:03<00:27, 10.00it/s]                             on the same stream, or on another

axolotl and TRL print the same with more in it.
"""

import re
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.logs.lines import Points
from talweg.logs.prefix import BEFORE, rank_in
from talweg.logs.recipes import NUMBER, Fields, Span

LONGEST = 20_000  # characters of a line that is looked at
SIGNIFICANT = 4  # digits of what stands there as text
KEY = re.compile(r"\s*(['\"])(?P<key>(?:(?!\1)[^\\]|\\.){1,200})\1: ")
VALUE = re.compile(
    rf"(?:np\.float[0-9]+\(|tensor\()?(?P<quote>['\"])?(?P<number>{NUMBER})(?(quote)(?P=quote))(?=[,}})])"
)
OTHER = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[A-Za-z_][\w.]*|\[[^\[\]{}]*\]")
END = re.compile(r"(?:, [a-z]+='?[\w:]+'?)*\)?(?P<end>[,}])")  # tensor(3.2, device='cuda:0')
BAR = re.compile(r"[0-9]{1,3}%(?:\|[^|]*\|)?\s*(?P<bar>[0-9]+)/(?P<total>[0-9]+) \[")
MARKS = ("learning_rate", "grad_norm", "epoch", "eval_runtime", "train_runtime")

SETTING = re.compile(r"^\s*[\"']?([a-z][a-z_0-9]*)[\"']?\s*[=:]\s*(.+?),?\s*$")
# what "Running training" lists, and how unsloth spells it
STARTS = {
    "num examples": "examples",
    "num update steps per epoch": "steps_per_epoch",
    "instantaneous batch size per device": "micro_batch",
    "batch size per device": "micro_batch",
    "total train batch size": "batch",
    "total batch size": "batch",
    "gradient accumulation steps": "accumulation",
    "total optimization steps": "steps",
    "total steps": "steps",
    "number of trainable parameters": "trainable",
    "trainable parameters": "trainable",
}
START = re.compile(rf"\b({'|'.join(STARTS)})(?: \([^)]*\))? = ([0-9][0-9,]*)(?=\s*(?:$|\|| of ))", re.IGNORECASE)
OPENS = re.compile(r"\b\w*(?:Arguments|Config)\(\s*$")
RUNNING = "***** Running"
CHATTER = re.compile(
    r"^\s*$|\*\*\*\*\*|Unsloth|Num Epochs = |Saving model checkpoint|Configuration saved in|Model weights saved"
    r"|tokenizer config file saved"
    r"|Special tokens file saved|Deleting older checkpoint|Batch size = |Loading checkpoint shards|Training completed"
    r"|^\s*(?:epoch|train_|eval_|total_flos|perplexity)\S*\s+=|%\|.*(?:it/s|s/it|examples/s)"
    r"|The following columns|Could not locate"
)
SETTINGS = frozenset(
    (
        *("logging_steps", "logging_first_step", "logging_strategy", "logging_nan_inf_filter", "max_steps"),
        *("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate"),
        *("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio", "weight_decay", "adam_beta1"),
        *("adam_beta2", "max_grad_norm", "optim", "bf16", "fp16", "seed"),
    )
)


@dataclass
class Printed:
    """What was met on the way, beside the numbers."""

    texts: set[str] = field(default_factory=set)  # names whose values stand there as text
    settings: dict[str, str] = field(default_factory=dict)  # as a TrainingArguments or a configuration is printed
    start: dict[str, float] = field(default_factory=dict)  # by the names of STARTS
    running: str = ""
    inside: bool = False  # of arguments that are printed, one a line

    def parse(self, line: str) -> Fields | None:
        """Where the numbers of a row stand, each under ":" and its name, and those of a progress bar."""
        if len(line) > LONGEST or not ("'" in line or "%" in line):
            return None
        found: dict[str, Span] = {}
        bar = BAR.search(line)
        if bar is not None and BEFORE.fullmatch(line, 0, bar.start()):
            found = {"bar": Span(*bar.span("bar")), "total": Span(*bar.span("total"))}
        row = self._row(line)
        return found | row if row else found or None

    def _row(self, line: str) -> dict[str, Span] | None:
        """The entries of the first dict in the line that is a row and whole."""
        for opening in re.finditer(r"\{(?=['\"])", line):
            if not BEFORE.fullmatch(line, 0, opening.start()):
                return None
            if (entries := _entries(line, opening.end())) is None or not is_row(entries):
                continue
            self.texts |= {name for name, (_, quoted) in entries.items() if quoted}
            fields = {f":{name}": span for name, (span, _) in entries.items() if span is not None}
            before = re.compile(r"\{").search(line, opening.start())
            if before is not None and (rank := rank_in(before)) is not None:
                fields["rank"] = Span(*rank)
            return fields
        return None

    def take(self, line: str, number: int, above: int) -> bool:
        """A line that is neither: settings, or nothing to us."""
        listed = START.findall(line) if len(line) < 1000 else []
        if listed:
            if self.running != "evaluation":
                self.start |= {STARTS[name.lower()]: float(count.replace(",", "")) for name, count in listed}
            return True
        if RUNNING in line:
            self.running = "training" if "training" in line else "evaluation"
            return True
        if OPENS.search(line[-80:]):
            self.inside = True
            return True
        if self.inside and line.strip() == ")":
            self.inside = False
            return True
        setting = SETTING.match(line) if len(line) < 1000 else None
        if setting is not None and setting[1] in SETTINGS:
            self.settings[setting[1]] = setting[2].strip("\"'")
            return True
        return (self.inside and setting is not None) or CHATTER.search(line[:LONGEST]) is not None


def _entries(line: str, at: int) -> dict[str, tuple[Span | None, bool]] | None:
    """By name: where its number stands, None where it has none, and whether it is a text. None: no whole dict."""
    entries: dict[str, tuple[Span | None, bool]] = {}
    while True:
        key = KEY.match(line, at)
        if key is None:
            return None
        value = VALUE.match(line, key.end())
        other = None if value is not None else OTHER.match(line, key.end())
        end = END.match(line, (value or other or key).end())
        if end is None or (value is None and other is None):
            return None
        span = None if value is None else Span(*value.span("number"))
        entries[key["key"]] = (span, value is not None and value["quote"] is not None)
        if end["end"] == "}":
            return entries
        at = end.end()


def is_row(names: object) -> bool:
    """Whether a dict with these names is a row of the Trainer's, and not something that another program prints."""
    assert isinstance(names, dict)
    if "loss" in names:
        return any(mark in names for mark in MARKS)
    if any(name.startswith("eval_") for name in names):
        return "epoch" in names or "eval_runtime" in names
    return "train_runtime" in names or ("epoch" in names and len(names) > 1)


def coarse(points: Points) -> float:
    """The last of four significant digits, at the size that the values mostly have."""
    finite = np.abs(points.value[np.isfinite(points.value) & (points.value != 0)])
    if not finite.size:
        return 0.0
    return float(10.0 ** (np.floor(np.log10(np.median(finite))) + 1 - SIGNIFICANT))


def distinct(points: dict[str, Points]) -> tuple[dict[str, Points], NDArray[np.int64], int]:
    """The fields of rows without those that are printed twice in a row, the lines of the rows, and how many were left.

    Several processes print the same row where each node has one that prints.
    """
    fields = {name[1:]: found for name, found in points.items() if name.startswith(":")}
    if not fields:
        return {}, np.empty(0, dtype=np.int64), 0
    there = np.zeros(max((int(found.line[-1]) for found in fields.values() if len(found)), default=-1) + 1, dtype=bool)
    for found in fields.values():
        there[found.line] = True
    lines = np.flatnonzero(there)
    table = np.full((len(fields), lines.size), -1, dtype=np.int64)  # no NaN that is printed has these bits
    for column, found in zip(table, fields.values(), strict=True):
        column[np.searchsorted(lines, found.line)] = np.ascontiguousarray(found.value).view(np.int64)
    same = np.append(False, np.all(table[:, 1:] == table[:, :-1], axis=0)) if lines.size else np.empty(0, dtype=bool)
    same &= np.isin(lines, fields["epoch"].line) if "epoch" in fields else False
    lines = lines[~same]
    kept = {name: _only(found, np.isin(found.line, lines)) for name, found in fields.items()}
    return kept, lines, int(same.sum())


def _only(points: Points, keep: NDArray[np.bool_]) -> Points:
    if bool(keep.all()):
        return points
    rank = None if points.rank is None else points.rank[keep]
    return replace(points, line=points.line[keep], step=points.step[keep], value=points.value[keep], rank=rank)
