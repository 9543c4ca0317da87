"""llm.c: its main.log, and what train_gpt2 prints (the CUDA, C and Python programs).

    s:250 tel:6.1000                                        main.log: validation; eval: is HellaSwag's accuracy
    s:250 trl:5.9731 lr:0.000214 norm:1.15                  (older ones stop behind the loss)
    step  251/19560 | loss 5.973110 (+0.12z)| norm 1.1500 (-0.40z)| lr 2.14e-04 | 44.90 ms | 45.6% bf16 MFU | ...
    val loss 6.100021                                       standard output: of the updates done so far

A loss is the mean over the whole update and all processes. main.log counts from 0 what standard output counts from 1.
"""

import re
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.named import USUAL_ROLES, Roles, columns_of
from talweg.logs.prefix import fields_in, without_prefix
from talweg.logs.recipes import NUMBER, Fields
from talweg.run import Facts, Run

NAME = "llmc"

TRAIN = re.compile(
    rf"\bs:(?P<step>[0-9]+) trl:(?P<loss>{NUMBER})"
    rf"(?: lr:(?P<learning_rate>{NUMBER}))?(?: norm:(?P<grad_norm>{NUMBER}))?\s*$"
)
VALIDATION = re.compile(rf"\bs:(?P<step>[0-9]+) tel:(?P<val>{NUMBER})\s*$")
HELLASWAG = re.compile(rf"\bs:(?P<step>[0-9]+) eval:(?P<hellaswag>{NUMBER})\s*$")
STEP = re.compile(
    rf"\bstep +(?P<step>[0-9]+)/(?P<planned>[0-9]+) ?[|:] (?:train )?loss (?P<loss>{NUMBER})"
    rf"(?: \((?P<loss_z>{NUMBER})z\))? ?"
    rf"(?:\| norm (?P<grad_norm>{NUMBER})(?: \((?P<norm_z>{NUMBER})z\))? ?)?(?:\| lr (?P<learning_rate>{NUMBER}) )?"
    rf"(?:\|? ?\(?(?P<seconds_per_step>{NUMBER}) ms(?:,| \||\)) ?)?(?:(?P<mfu>{NUMBER})%[A-Za-z0-9 ]* MFU \| )?"
    rf"(?:(?P<tokens_per_second>{NUMBER}) tok/s)?\)?\s*$"
)
OF_C = re.compile(
    rf"\bstep (?P<step>[0-9]+): train loss (?P<loss>{NUMBER}) \(took (?P<seconds_per_step>{NUMBER}) ms\)\s*$"
)
VAL_LOSS = re.compile(rf"\bval loss:? (?P<val_without_step>{NUMBER})\s*$")
ACCURACY = re.compile(rf"\bHellaSwag: [0-9]+/[0-9]+ = (?P<hellaswag_without_step>{NUMBER})\s*$")
OURS = re.compile(
    r"(?:^|[\s\]:])s:[0-9]+ (?:trl|tel):[-0-9ni]"
    r"|^(?:[^\n]{0,80}[\s:\]])?step +[0-9]+/[0-9]+ ?[|:] (?:train )?loss [-0-9ni][^|\n]*(?:\| ?norm [-0-9ni]|ms[,)])"
    r"|^step [0-9]+: train loss [-0-9ni][^ \n]* \(took [0-9.]+ ms\)",
    re.MULTILINE,
)
SCALES = {"seconds_per_step": 1e-3, "mfu": 1e-2}
ROLES: Roles = {
    "loss": ("train_loss", "batch"),
    "val": ("val_loss", "evaluation"),
    **USUAL_ROLES,
}
LABELS = {"loss": "train loss", "val": "val loss"}
NEAR = 10  # printed units: a rate that was no larger before it prints as 0 has sunk below its digits. Our choice

ROW = re.compile(r"^\| ([A-Za-z][^|]*?)\s*\| (\S.*?)\s*\|$")
# row of the table that it prints -> fact; later rows win
WHOLE = {
    "max_sequence_length T": "max_context",
    "sequence length T": "context",
    "micro batch size B": "micro_batch",
    "batch size B": "micro_batch",
    "total batch size": "tokens_per_step",
    "vocab_size V": "vocabulary_size",
    "num_layers L": "layers",
    "num_heads NH": "heads",
    "channels C": "width",
    "num_parameters": "weights",
    "train_num_batches": "planned_steps",
    "num_processes": "ranks",
    "warmup iterations": "warmup_steps",
}
REAL = {
    "learning rate (LR)": "peak_learning_rate",
    "learning rate": "peak_learning_rate",
    "final LR fraction": "final_fraction",
    "weight decay": "weight_decay",
}
SIZES = re.compile(
    r"^batch_size B=([0-9]+) \* seq_len T=([0-9]+) \* num_processes=([0-9]+) and total_batch_size=([0-9]+)"
)
ACCUMULATION = re.compile(r"^=> setting grad_accum_steps=([0-9]+)")
PRECISION = {"BF16": "bf16", "FP16": "fp16", "FP32": "fp32", "TF32": "fp32"}
SCHEDULES = ("cosine", "linear", "constant", "wsd")
CHATTER = re.compile(
    r"^(?:\+-*\+|\|.*\||-{3,}|num_parameters: |allocating |generating:|HellaSwag|Writing |WARNING|total )"
)


def sniff(head: Head) -> float:
    """How surely this is of llm.c: a line of main.log, or a step line with its separators."""
    return 0.95 if OURS.search(head.text) and not head.is_source else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that a main.log or standard output tells of. Raises InputError when no loss stands in it."""
    source = log.source or "this log"
    asked.refuse_columns(f"{source} is of llm.c")
    said = _Said()
    lines = Lines(parse, said.take).read(log.chunks())
    points = lines.points()
    if not any(name in points for name in ("loss", "val", "val_without_step")):
        raise InputError(
            f"{source}: no line with a loss of llm.c was found (s:250 trl:5.97, or step 251/19560 | loss 5.97)"
        )
    planned = points.pop("planned", None)
    notes: list[str] = []
    for name in ("val", "hellaswag"):
        if f"{name}_without_step" in points:
            points.setdefault(name, _placed(points.pop(f"{name}_without_step"), points.get("loss")))
    if "mfu" in points:
        points["mfu"] = _only(points["mfu"], points["mfu"].value >= 0)  # -100 % until there is a figure
    if "learning_rate" in points:
        points["learning_rate"] = _shown(points["learning_rate"], notes)
    told = lines.reading()
    return assemble(
        columns_of(points, ROLES, LABELS),
        source=log.source,
        format=NAME,
        facts=said.facts(None if planned is None else int(planned.value[-1])),
        reading=replace(told, notes=(*told.notes, *notes)),
    )


def parse(line: str) -> Fields | None:
    """Where the numbers of an update or an evaluation stand in its line."""
    return fields_in(line, TRAIN, STEP, VALIDATION, OF_C, VAL_LOSS, ACCURACY, HELLASWAG, scales=SCALES)


def _only(points: Points, keep: NDArray[np.bool_]) -> Points:
    rank = None if points.rank is None else points.rank[keep]
    return replace(points, line=points.line[keep], step=points.step[keep], value=points.value[keep], rank=rank)


def _placed(points: Points, losses: Points | None) -> Points:
    """Evaluations that name no step stand at the updates done: as many as the last line says, or one more."""
    if losses is None or not len(losses):
        return points
    from_zero = losses.step.min() == 0
    before_all = losses.step[0] - (0 if from_zero else 1)
    step = np.where(np.isnan(points.step), before_all, points.step + (1 if from_zero else 0))
    return replace(points, step=step)


def _shown(rate: Points, notes: list[str]) -> Points:
    """The learning rates without those that have sunk below the printed digits: they are unknown, not 0."""
    unit = 10.0**-rate.decimals
    zero = rate.value == 0
    if not zero.any() or zero.all():
        return rate
    seen = np.flatnonzero(~zero)
    before = np.searchsorted(seen, np.arange(len(rate))) - 1
    left = np.where(before >= 0, rate.value[seen[np.maximum(before, 0)]], np.inf)
    right = np.where(before + 1 < seen.size, rate.value[seen[np.minimum(before + 1, seen.size - 1)]], np.inf)
    sunk = zero & (np.minimum(left, right) <= NEAR * unit)
    if sunk.any():
        notes.append(f"{int(sunk.sum())} learning rates below {unit:g} are printed as 0 and were left out")
    return _only(rate, ~sunk)


# ---------------------------------------------------------------- the table


@dataclass
class _Said:
    """The sizes and settings that it prints before the first update."""

    numbers: dict[str, float] = field(default_factory=dict)
    schedule: str | None = None
    precision: str | None = None

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """A line without a loss: a row of the table, or nothing to us."""
        line = without_prefix(line)
        if row := ROW.match(line):
            self._row(row[1], row[2])
        elif sizes := SIZES.match(line):
            names = ("micro_batch", "context", "ranks", "tokens_per_step")
            self.numbers.update(zip(names, map(float, sizes.groups()), strict=True))
        elif steps := ACCUMULATION.match(line):
            self.numbers["accumulation_of_one"] = float(steps[1])
        else:
            return CHATTER.match(line) is not None
        return True

    def _row(self, name: str, value: str) -> None:
        if name in WHOLE or name in REAL:
            try:
                self.numbers[WHOLE.get(name) or REAL[name]] = float(value)
            except ValueError:
                return
        elif name == "LR scheduler":
            self.schedule = value if value in SCHEDULES else None
        elif name in ("precision", "Precision"):
            self.precision = PRECISION.get(value.upper())

    def facts(self, planned: int | None) -> Facts:
        n = dict(self.numbers)
        positions, weights, width = n.pop("max_context", None), n.pop("weights", None), n.get("width")
        n.setdefault("context", positions or 0)
        fraction, own = n.pop("final_fraction", None), n.pop("accumulation_of_one", None)
        rows, step, context = n.get("micro_batch"), n.get("tokens_per_step"), n["context"]
        if rows and step and context and step % (rows * context) == 0:
            n["accumulation"] = step / (rows * context)
        elif own and n.get("ranks"):
            n["accumulation"] = own * n["ranks"]
        peak, end = n.get("peak_learning_rate"), n.setdefault("planned_steps", planned or 0)
        values: dict[str, object] = {key: (value if key in FLOATS else int(value)) for key, value in n.items() if value}
        if "warmup_steps" in n:
            values["warmup_steps"] = int(n["warmup_steps"])  # 0 is a warm-up of none
        if "weight_decay" in n:
            values["weight_decay"] = n["weight_decay"]
        if weights and positions and width:
            values["parameters"], values["trainable_parameters"] = weights - positions * width, weights
        if self.schedule is not None and end:
            values["schedule"] = self.schedule
            if self.schedule != "constant":
                values["decay_end_step"] = int(end)
                values["min_learning_rate"] = None if peak is None or fraction is None else peak * fraction
            if self.schedule == "wsd":  # schedulers.h: the last fifth, by a root
                values["decay_start_step"], values["decay_shape"] = int(0.8 * end), "sqrt"
        printed = Facts.stated("printed in the log", **values, precision=self.precision)
        return printed.over(
            Facts.stated("llm.c averages it over the update and all processes", train_loss_ranks="mean")
        )


FLOATS = ("tokens_per_step", "peak_learning_rate", "weight_decay")
