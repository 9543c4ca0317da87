"""modded-nanogpt and parameter-golf: `step:250/1325 val_loss:4.4878 train_time:7456ms step_avg:29.83ms`.

Their logs begin with the source code of the run, which is passed over. A training loss is of rank 0 alone; since 2025
modded-nanogpt prints none. `train_time` is the time spent training so far; the seconds of a step are its differences.
Later forks of parameter-golf print `250/20000 train_loss: 2.74 train_time: 0.8m tok/s: 8435706`.
"""

import math
import re
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.named import LONGEST, Names, Roles, columns_of, take_named
from talweg.logs.prefix import core, rank_in, without_prefix
from talweg.logs.recipes import Fields, Span
from talweg.run import Facts, LossKind, Reading, Run

NAME = "modded_nanogpt"

LINE = re.compile(
    r"(?:\bstep:|(?<![\w/.:-])(?=[0-9]+/[0-9]+ (?:train|val)_loss: ))"
    r"(?P<step>[0-9]+)/(?P<planned>[0-9]+) +(?P<rest>\w+:.*)$"
)
OURS = re.compile(
    r"^(?:[^\n]{0,80}[\s:\]])?step:[0-9]+/[0-9]+ (?:(?:train|val)_loss:[-0-9ni]|train_time:[0-9.]+m?s)"
    r"|^[0-9]+/[0-9]+ (?:val_loss: \S+ val_bpb|train_loss: \S+ train_time): ",
    re.MULTILINE,
)
TIMES = {"ms": 1e-3, "s": 1.0, "m": 60.0, "": 1.0}
NAMES: Names = {
    ("train_loss", ""): ("train_loss", 1.0),
    ("val_loss", ""): ("val_loss", 1.0),
    ("val_bpb", ""): ("val_bits_per_byte", 1.0),
    **{("train_time", unit): ("train_time (s)", scale) for unit, scale in TIMES.items()},
    **{("step_avg", unit): ("step_avg (s)", scale) for unit, scale in TIMES.items()},
    **{(name, unit): ("seconds_per_step", TIMES[unit]) for name in ("step_ms", "step_time") for unit in ("ms", "s")},
    ("step_ms", ""): ("seconds_per_step", 1e-3),
    ("mfu", "%"): ("mfu", 1e-2),
    ("lr", ""): ("learning_rate", 1.0),
    ("grad_norm", ""): ("grad_norm", 1.0),
    ("tok_s", ""): ("tokens_per_second", 1.0),  # of this step; tok/s is the mean since the start
}
LOSSES = ("train_loss", "val_loss", "val_bits_per_byte")
CLOCK = "train_time (s)"
COARSE = 0.1  # of a step's time: printed too coarsely to tell it. Our choice

RULE = re.compile(r"^={50,}$")  # below the source code
LEAST_LINES = 5  # below source code: fewer may be examples in it. Our choice
LEAST_CODE = 50  # lines above it; fewer are none of a trainer. Our choice
CODE = re.compile(r"[=({\"']")
CHATTER = re.compile(
    r"^(?:\|.*\||\+[-=+]+\+|Running P|(?:loop_)?warmup_step: ?[0-9]|peak memory|logs/|Hyperparameters:|  [a-z_]+: )"
)
PAIR = re.compile(r"(?<![\w:])([a-z_]+): ?([^\s,]+)")
STATED = {
    "world_size": "ranks",
    "train_batch_tokens": "tokens_per_step",
    "train_seq_len": "context",
    "iterations": "planned_steps",
    "seed": "seed",
    "num_heads": "heads",
    "num_layers": "layers",
    "model_dim": "width",
    "vocab_size": "vocabulary_size",
    "beta1": "beta1",
    "beta2": "beta2",
    "val_tokens": "val_tokens",
    "model_params": "parameters",
    "tie_embeddings": "tied_embeddings",
    "grad_clip_norm": "grad_clip",
    "grad_accum_steps": "accumulation_of_one",
}
REAL = ("tokens_per_step", "beta1", "beta2", "val_tokens", "parameters", "grad_clip")
SHARDS = re.compile(r"^val_loader:.* tokens:([0-9]+)")


def sniff(head: Head) -> float:
    """How surely this is of that family: a step of how many, and a loss or the time spent training."""
    if "/" not in head.text or OURS.search(head.text) is None:
        return 0.0
    return 0.95 if not head.is_source or len(OURS.findall(head.text)) > LEAST_LINES else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this log tells of. Raises InputError when no loss stands in it."""
    source = log.source or "this log"
    asked.refuse_columns(f"{source} is of modded-nanogpt")
    said = _Said()
    lines = Lines(parse, said.take).read(log.chunks())
    points = lines.points()
    if not any(name in points for name in LOSSES):
        raise InputError(f"{source}: no line with a loss of modded-nanogpt was found (step:250/1325 val_loss:4.48 ...)")
    planned = points.pop("planned")
    kind: LossKind = "batch" if said.is_golf or "val_bits_per_byte" in points else "micro_batch"
    roles: Roles = {
        "train_loss": ("train_loss", kind),
        **{name: (name, "evaluation") for name in LOSSES[1:]},
        **{name: (name, "unknown") for name in ("seconds_per_step", "mfu", "learning_rate", "grad_norm")},
        "tokens_per_second": ("tokens_per_second", "unknown"),
    }
    columns = columns_of(points, roles)
    if CLOCK in points and "seconds_per_step" not in points:
        columns += _seconds(points[CLOCK])
    return assemble(
        columns,
        source=log.source,
        format=NAME,
        facts=said.facts(points, int(planned.value[-1])),
        reading=said.without_source(lines.reading()),
    )


def parse(line: str) -> Fields | None:
    """Where the numbers of an update or an evaluation stand in its line."""
    match = core(LINE, line)
    if match is None:
        return None
    fields = {"step": Span(*match.span("step")), "planned": Span(*match.span("planned"))}
    if (rank := rank_in(match)) is not None:
        fields["rank"] = Span(*rank)
    take_named(fields, line, match.start("rest"), NAMES, strict=True)
    return fields if any(name in fields for name in (*LOSSES, CLOCK)) else None


def _seconds(clock: Points) -> list[Column]:
    """The seconds of a step, from one reading of the clock to the next; none where they are read too coarsely."""
    keep = np.isfinite(clock.step) & np.isfinite(clock.value)
    if clock.rank is not None:
        keep &= clock.rank == clock.rank.min()
    line, step, spent = clock.line[keep], clock.step[keep], clock.value[keep]
    steps = np.diff(step)
    steps[steps <= 0] = np.nan  # a validation, or a start anew
    seconds = np.diff(spent) / steps
    unit = 10.0**-clock.decimals / steps
    told: NDArray[np.bool_] = unit <= COARSE * seconds  # of a clock that starts anew neither
    if not told.any():
        return []
    resolution = float(unit[told].max())
    return [
        Column(
            "train_time, differences",
            step[1:][told],
            seconds[told],
            "seconds_per_step",
            "unknown",
            resolution,
            line[1:][told],
        )
    ]


# ---------------------------------------------------------------- what is printed before the first step


@dataclass
class _Said:
    """The settings that parameter-golf prints, and where the source code ends."""

    values: dict[str, str] = field(default_factory=dict)
    num_others: int = 0  # lines that said nothing so far
    code_ends: int = 0  # the number of the line below the source code; 0: there is none
    num_code: int = 0  # lines of it that are not blank

    @property
    def is_golf(self) -> bool:
        """parameter-golf averages its training loss over the micro-batches of rank 0; the other logs the last one."""
        return "train_batch_tokens" in self.values

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """A line without a loss: settings, the end of the code, or nothing to us."""
        line = without_prefix(line)
        if num_losses:
            return False
        if RULE.match(line):
            if not self.code_ends and self.num_others > LEAST_CODE:
                self.code_ends, self.num_code = number + 1, self.num_others
                self.values.clear()  # a comment is no setting
            return True
        if found := SHARDS.match(line):
            self.values["val_tokens"] = found[1]
            return True
        pairs = [(name, value) for name, value in PAIR.findall(line[:LONGEST]) if name in STATED]
        if pairs and not CODE.search(line):
            self.values.update(pairs)
            return True
        self.num_others += 1
        return CHATTER.match(line) is not None

    def without_source(self, told: Reading) -> Reading:
        """The lines of the source code are none of the log."""
        if not self.code_ends:
            return told
        unknown = tuple(item for item in told.unknown if item[0] > self.code_ends)
        notes = (*told.notes, f"its first {self.code_ends:,} lines are source code and were passed over")
        left = max(told.lines_not_understood - self.num_code, len(unknown))
        return replace(told, lines_not_understood=left, unknown=unknown, notes=notes)

    def facts(self, points: dict[str, Points], planned: int) -> Facts:
        values: dict[str, object] = {"planned_steps": planned}
        for name, text in self.values.items():
            fact = STATED[name]
            if fact == "tied_embeddings":
                values[fact] = {"True": True, "False": False}.get(text)
            elif (number := _number(text)) is not None:
                values[fact] = number if fact in REAL else int(number)
        if not values.get("grad_clip"):
            values.pop("grad_clip", None)  # 0: off
        own, ranks = values.pop("accumulation_of_one", None), values.get("ranks")
        if isinstance(own, int) and isinstance(ranks, int):
            values["accumulation"] = own * ranks
            values["micro_batch"] = _share(values.get("tokens_per_step"), values.get("context"), own * ranks)
        facts = Facts.stated("printed in the log", **values)
        if "val_loss" in points:
            facts = facts.over(Facts.stated("it reads the same validation tokens each time", eval_is_fixed=True))
        if "train_loss" in points:
            facts = facts.over(Facts.stated("it logs the loss of rank 0", train_loss_ranks="one"))
        if (size := _bytes_per_token(points)) is not None:
            facts = facts.over(Facts.stated("val_loss / (val_bpb ln 2)", bytes_per_token=size))
        return facts


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _share(tokens: object, context: object, parts: int) -> int | None:
    """Sequences of a micro-batch, where they come out even."""
    if not isinstance(tokens, float) or not isinstance(context, int) or not parts or tokens % (context * parts):
        return None
    return int(tokens) // (context * parts)


def _bytes_per_token(points: dict[str, Points]) -> float | None:
    """By the evaluations that are printed in both units; each figure is rounded, so the median of them."""
    if "val_loss" not in points or "val_bits_per_byte" not in points:
        return None
    nats, bits = points["val_loss"], points["val_bits_per_byte"]
    _, a, b = np.intersect1d(nats.line, bits.line, return_indices=True)
    size = nats.value[a] / (bits.value[b] * math.log(2)) if a.size else np.empty(0)
    size = size[np.isfinite(size) & (size > 0)]
    return float(np.median(size)) if size.size else None
