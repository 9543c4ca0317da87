"""nanotron's console output: one line a logged iteration, every number with three significant digits.

    11/23/2026 12:00:02 [INFO|DP=0]: iteration: 2 / 300 | consumed_tokens: 2.05K | time_per_iteration_ms: 44.9 |
        tokens_per_sec: 22.8K | ... | grad_norm: 1.53 | lm_loss: 4.68 | lr: 0.0003 | eta: 0:04:58      (one line)

A loss is the mean of one update over all data-parallel ranks. A loss of 4.68 may be any from 4.675 to 4.685, so the
resolution of the series is 0.01 there; K, M, B, T stand for thousands and so on.
"""

import ast
import re
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.prefix import core, rank_in
from talweg.logs.recipes import NUMBER, Fields, Span
from talweg.run import Facts, LossKind, Run

NAME = "nanotron"

# its own prefix has come without a year since 2024; behind a level may stand ranks and the name of a node
PREFIX = r"(?:[0-9]{2}/[0-9]{2}(?:/[0-9]{4})? [0-9:]{8} )?(?:\[[A-Z]+(?:\|[^\]]*)?\]:?\s*)?"
LINE = re.compile(rf"{PREFIX}iteration: (?P<step>[0-9]+) / (?P<planned>[0-9]+) (?P<rest>\| .*)$")
FIELD = re.compile(rf"\|\s(?P<key>[A-Za-z_][^:|]*?): (?P<value>{NUMBER})(?P<unit>[KMBTPE]?)(?=\s+\||\s*$)")
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
OURS = ("consumed_tokens", "consumed_samples", "tokens_per_sec", "global_batch_size", "lr")
LONGEST_FIELDS = 3_000  # characters of a line that are searched for fields
DIGITS = 3  # significant ones
PLANNED = "planned iterations"
# column of Run <- name in the log, and the factor to our unit
ROLES: dict[str, tuple[str | None, float, LossKind]] = {
    "lm_loss": ("train_loss", 1.0, "batch"),
    "val_loss": ("val_loss", 1.0, "evaluation"),
    "validation_loss": ("val_loss", 1.0, "evaluation"),
    "val_lm_loss": ("val_loss", 1.0, "evaluation"),
    "lr": ("learning_rate", 1.0, "unknown"),
    "grad_norm": ("grad_norm", 1.0, "unknown"),
    "time_per_iteration_ms": ("seconds_per_step", 1e-3, "unknown"),
    "elapsed_time_per_iteration_ms": ("seconds_per_step", 1e-3, "unknown"),
    "tokens_per_sec": ("tokens_per_second", 1.0, "unknown"),
}

# the configuration is printed as nested calls, a setting a line
SETTING = re.compile(r"\b([a-z][a-z0-9_]*)=('[^']*'|\[[^\]]*\]|[^,()\s]+)")
STATED = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "width": "hidden_size",
    "context": "sequence_length",
    "vocabulary_size": "vocab_size",
    "tied_embeddings": "tie_word_embeddings",
    "micro_batch": "micro_batch_size",
    "peak_learning_rate": "learning_rate",
    "min_learning_rate": "min_decay_lr",
    "warmup_steps": "lr_warmup_steps",
    "beta1": "adam_beta1",
    "beta2": "adam_beta2",
    "weight_decay": "weight_decay",
    "grad_clip": "clip_grad",
    "seed": "seed",
}
KNOWN = {*STATED.values(), "dp", "pp", "tp", "batch_accumulation_per_replica", "train_steps", "dtype"}
KNOWN |= {"lr_decay_style", "lr_decay_steps", "lr_decay_starting_step"}
PRECISION = {"torch.bfloat16": "bf16", "torch.float16": "fp16", "torch.float32": "fp32"}
START = re.compile(
    r"\[Start training\].*\| mbs: ([0-9]+) \| grad_accum: [0-9]+ \| global_batch_size: ([0-9]+) \| "
    r"sequence_length: ([0-9]+) \| train_steps: ([0-9]+) \| start_iteration_step: ([0-9]+)"
)
PARAMETERS = re.compile(r"Total number of parameters: ([0-9.]+)([KMBT]?) ")


def sniff(head: Head) -> float:
    """One line of an iteration is unmistakable."""
    lines = () if head.is_source else head.text.split("\n")
    return 0.95 if any("iteration: " in line and parse(line) for line in lines) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output tells of. Raises InputError when no loss stands in it."""
    asked.refuse_columns(f"{log.source or 'this log'} is of nanotron")
    told = _Told()
    lines = Lines(parse, told.take).read(log.chunks())
    points = lines.points()
    if "lm_loss" not in points:
        raise InputError(f"{log.source or 'this log'}: no line with a loss of nanotron was found (... | lm_loss: 4.68)")
    facts = told.facts().over(_printed(points))
    facts = facts.over(Facts.stated("nanotron logs the mean of all data-parallel ranks", train_loss_ranks="mean"))
    columns = []
    nothing: tuple[str | None, float, LossKind] = (None, 1.0, "unknown")
    for name, found in points.items():
        if name == PLANNED:
            continue
        role, scale, kind = ROLES.get(name, nothing)
        column = Column.of(name, found, role, kind, scale)
        columns.append(replace(column, resolution=_resolution(found.value) * scale))
    return told.resumed(assemble(columns, source=log.source, format=NAME, facts=facts, reading=lines.reading()))


def parse(line: str) -> Fields | None:
    """Where the numbers of an iteration stand in its line."""
    match = core(LINE, line)
    if match is None:
        return None
    fields = {"step": Span(*match.span("step")), PLANNED: Span(*match.span("planned"))}
    start = match.start("rest")
    for found in FIELD.finditer(line, start, min(match.end("rest"), start + LONGEST_FIELDS)):
        fields.setdefault(found["key"], Span(*found.span("value"), UNITS[found["unit"]]))
    if not any(key in fields for key in OURS):
        return None
    if (rank := rank_in(match)) is not None:
        fields["rank"] = Span(*rank)
    return fields


def _resolution(value: NDArray[np.float64]) -> float:
    """The coarsest step of the last digit in the second half of a series, where the slopes are that one asks for."""
    late = np.abs(value[value.size // 2 :])
    late = late[np.isfinite(late) & (late > 0)]
    if not late.size:
        return 0.0
    return float(10.0 ** (np.floor(np.log10(late.max())) - DIGITS + 1))


# ---------------------------------------------------------------- facts


def _printed(points: dict[str, Points]) -> Facts:
    """What the lines tell of the batch, the length and the ranks, as far as three digits go."""
    found: dict[str, object] = {"planned_steps": int(points[PLANNED].value[-1])}
    whole, each = points.get("tokens_per_sec"), points.get("tokens_per_sec_per_gpu")
    if whole is not None and each is not None and len(whole) == len(each):
        ratio = float(np.median(whole.value / np.maximum(each.value, 1e-9)))
        if ratio >= 0.99 and abs(ratio - round(ratio)) < 0.3:
            found["ranks"] = round(ratio)
    facts = Facts.stated("printed with the iterations", **found)
    tokens = _tokens_per_step(points)
    return facts if tokens is None else facts.over(Facts.stated(tokens[1], tokens_per_step=tokens[0]))


def _tokens_per_step(points: dict[str, Points]) -> tuple[float, str] | None:
    """Of a batch that stays: the one value that all rounded counts allow, else the rounded one that is printed."""
    batch, consumed = points.get("global_batch_size"), points.get("consumed_tokens")
    if batch is not None and not bool(np.all(batch.value == batch.value[0])):
        return None
    if consumed is not None:
        there = (consumed.value > 0) & (consumed.step > 0)
        value, step = consumed.value[there], consumed.step[there]
        half = 0.5 * 10.0 ** (np.floor(np.log10(value)) - DIGITS + 1)
        low, high = np.max((value - half) / step, initial=0.0), np.min((value + half) / step, initial=np.inf)
        if low <= high < np.inf:
            whole = np.floor(high) - np.ceil(low)
            middle = np.ceil(low) if whole == 0 else (low + high) / 2
            return float(middle), "consumed_tokens over the iteration, rounded to three digits in each line"
    if batch is None:
        return None
    return float(batch.value[0]), "global_batch_size, rounded to three digits"


@dataclass
class _Told:
    """The settings that the lines without a loss tell, the first value of each: later ones are of data stages."""

    values: dict[str, object] = field(default_factory=dict)
    parameters: float | None = None
    start: dict[str, object] = field(default_factory=dict)  # sizes that the last start told
    resumes: list[float] = field(default_factory=list)

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """Read what one line tells; whether it was understood."""
        if (found := PARAMETERS.search(line)) is not None:
            self.parameters = float(found[1]) * UNITS[found[2]]
            return True
        if (found := START.search(line)) is not None:
            micro, whole, context, steps, first = map(int, found.groups())
            self.start = {"micro_batch": micro, "context": context, "planned_steps": steps}
            self.start |= {"tokens_per_step": float(whole * context), "accumulation": whole // max(micro, 1)}
            self.resumes.append(float(first))
            return True
        settings = [(name, text) for name, text in SETTING.findall(line) if name in KNOWN]
        for name, text in settings:
            self.values.setdefault(name, _literal(text))
        return bool(settings)

    def facts(self) -> Facts:
        known = self.values
        found = {fact: known.get(name) for fact, name in STATED.items()}
        found = {fact: value for fact, value in found.items() if isinstance(value, int | float)}
        found["precision"] = PRECISION.get(str(known.get("dtype")))
        sizes = [known.get(name) for name in ("micro_batch_size", "batch_accumulation_per_replica", "dp")]
        numbers = [size for size in sizes if isinstance(size, int)]
        if len(numbers) == 3:
            micro, accumulation, replicas = numbers
            found["accumulation"] = accumulation * replicas
            if isinstance(context := known.get("sequence_length"), int):
                found["tokens_per_step"] = float(micro * accumulation * replicas * context)
            others = [known.get(name, 1) for name in ("pp", "tp")]
            if all(isinstance(other, int) for other in others):
                found["ranks"] = replicas * others[0] * others[1]  # type: ignore[operator]
        facts = Facts.stated("the configuration printed in the log", **found, **self._schedule())
        facts = Facts.stated("printed when training started", **self.start).over(facts)
        once = self.parameters if known.get("pp", 1) == 1 else None  # stages that share weights count them twice
        return facts.over(
            Facts.stated("printed in the log, to three digits", parameters=once, trainable_parameters=once)
        )

    def resumed(self, run: Run) -> Run:
        """The run with the steps at which a checkpoint was taken up, as each start tells."""
        loads = {step for step in self.resumes if step > 0}
        seen = {step for step in run.facts.resumed_at or () if not any(0 < step - load <= 1 for load in loads)}
        both = tuple(sorted(loads | seen))
        if not both:
            return run
        sources = {**run.facts.sources, "resumed_at": "printed in the log"}
        return replace(run, facts=replace(run.facts, resumed_at=both, sources=sources))

    def _schedule(self) -> dict[str, object]:
        """nanotron holds the rate from the end of the warm-up to lr_decay_starting_step, and then decays it."""
        known = self.values
        style, length, start = (known.get(f"lr_decay_{name}") for name in ("style", "steps", "starting_step"))
        planned, warmup = known.get("train_steps"), known.get("lr_warmup_steps")
        if not isinstance(planned, int) or not isinstance(style, str) or not isinstance(warmup, int):
            return {}
        begin = start if isinstance(start, int) else warmup
        end = begin + length if isinstance(length, int) else planned
        if begin <= warmup and style in ("cosine", "linear"):
            return {"schedule": style, "decay_end_step": end}
        if style == "linear":
            return {"schedule": "wsd", "decay_shape": "linear", "decay_start_step": begin, "decay_end_step": end}
        return {}


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
