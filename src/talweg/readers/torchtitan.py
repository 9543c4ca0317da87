"""torchtitan's console output, one line a logged step, whatever colours and ranks stand around it.

    step:  2  loss:  4.67566  grad_norm:  1.5319  memory:  9.46GiB(64.99%)  tps: 22,808  tflops: 0.52  mfu: 0.17%
    validate step: 50  loss:  2.4221  memory:  9.46GiB(64.99%)  tps: 13,000

A loss is the mean over all ranks. Lines with grad_norm tell the loss of their own update; the first versions (wps in
the place of tps) tell the mean over the updates since the line before, and lines in between may do either.
"""

import math
import re
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble, with_loads
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.prefix import core, rank_in
from talweg.logs.recipes import NUMBER, Fields, Span
from talweg.run import Facts, LossKind, Run

NAME = "torchtitan"

COLOUR = r"(?:\[[0-9;]*m)?"  # what is left of a colour where its escape character was lost on the way
LINE = re.compile(
    rf"{COLOUR}(?P<validate>validate )?step:\s*(?P<step>[0-9][0-9,]*)\s+{COLOUR}loss:\s*(?P<loss>{NUMBER})"
    rf"(?=\s|\[|$)(?P<rest>.*)$"
)
PAIR = re.compile(
    rf"(?:^|\s){COLOUR}(?P<key>[A-Za-z_][\w/()-]*):\s*(?P<value>{NUMBER})(?P<unit>GiB|MiB|%|ms|s)?"
    rf"(?:\((?P<share>{NUMBER})%\))?(?=\s|\[|$)"
)
OURS = ("memory", "tps", "wps", "mfu")  # one of these stands in every line of torchtitan
LONGEST_FIELDS = 1_000  # characters of a line that are searched for fields
NO_LOSS = -1.0  # printed by the ranks of a pipeline that do not hold its last stage
SCALES = {("mfu", "%"): 1e-2}
KEYS = {"mmemory": "memory"}  # the last letter of a colour that was cut away badly
# column of Run <- name in the log
ROLES = {
    "loss": "train_loss",
    "validate loss": "val_loss",
    "grad_norm": "grad_norm",
    "lr": "learning_rate",
    "mfu": "mfu",
}

SIZE = re.compile(rf"Model .*?{COLOUR}size: ([0-9,]+) total parameters")
BATCHES = re.compile(
    r"with local batch size ([0-9]+), global batch size ([0-9]+),(?: gradient.accumulation.steps:? [0-9]+,)?"
    r"(?: sequence length ([0-9]+),)?(?:\s+total steps ([0-9]+))?(?: \(warmup ([0-9]+)\))?"
)
START = re.compile(r"Training starts at step ([0-9]+)")
MESH = re.compile(r"Building [0-9]+-D device mesh with \[[^\]]*\], \[([0-9, ]+)\]")
PARALLEL = re.compile(r"Building device mesh with parallelism: (.*)$")
BUILDING = re.compile(r"Building \S+ .*?with \w*(?:Args|Config)\w*\((.*)\)")
SHAPE = {"layers": "n_layers", "heads": "n_heads", "width": "dim", "vocabulary_size": "vocab_size"}


def sniff(head: Head) -> float:
    """Its fields stand apart by two spaces and tell memory and tokens a second, which no other trainer does so."""
    if "loss:" not in head.text or head.is_source:
        return 0.0
    return 0.95 if any("loss:" in line and parse(line) for line in head.text.split("\n")) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output tells of. Raises InputError when no loss stands in it."""
    asked.refuse_columns(f"{log.source or 'this log'} is of torchtitan")
    told = _Told()
    lines = Lines(parse, told.take, _is_complete).read(log.chunks())
    points = lines.points()
    if "loss" not in points and "validate loss" not in points:
        raise InputError(
            f"{log.source or 'this log'}: no line with a loss of torchtitan was found (step: 2  loss: 4.6)"
        )
    reading = lines.reading()
    if "loss" in points and bool(np.any(points["loss"].value == NO_LOSS)):
        points["loss"] = _only(points["loss"], points["loss"].value != NO_LOSS)
        reading = replace(reading, notes=(*reading.notes, "lines of pipeline stages without a loss were left out"))
        if not points["loss"]:
            raise InputError(
                f"{log.source or 'this log'} is of a pipeline stage that has no loss (it prints -1); give the output "
                "of the last stage's first rank (LOG_RANK)"
            )
    facts = told.facts()
    kind, window = _kind(points)
    facts = facts.over(Facts.stated("the steps between lines", train_loss_window=window))
    facts = facts.over(Facts.stated("torchtitan logs the mean of all ranks", train_loss_ranks="mean"))
    kinds: dict[str, LossKind] = {"loss": kind, "validate loss": "evaluation"}
    columns = [
        Column.of(name, found, ROLES.get(name), kinds.get(name, "unknown")) for name, found in sorted(points.items())
    ]
    rate = points.get("tps", points.get("wps"))
    if rate is not None and facts.ranks:  # it is printed per device
        name = f"tps x {facts.ranks}"
        columns.append(Column.of(name, rate, "tokens_per_second", scale=float(facts.ranks)))
    run = assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading)
    return told.resumed(run)


def parse(line: str) -> Fields | None:
    """Where the numbers of a training or a validation line stand."""
    match = core(LINE, line)
    if match is None:
        return None
    before = "validate " if match["validate"] else ""
    fields = {"step": Span(*match.span("step")), f"{before}loss": Span(*match.span("loss"))}
    start = match.start("rest")
    seen = set()
    for pair in PAIR.finditer(line, start, min(match.end("rest"), start + LONGEST_FIELDS)):
        key = KEYS.get(pair["key"], pair["key"])
        seen.add(key)
        scale = SCALES.get((key, pair["unit"] or ""), 1.0)
        fields.setdefault(before + key, Span(*pair.span("value"), scale))
        if pair["share"] is not None:
            fields.setdefault(f"{before}{key} share", Span(*pair.span("share"), 1e-2))
    if not seen.intersection(OURS):
        return None
    if (rank := rank_in(match)) is not None:
        fields.setdefault("rank", Span(*rank))
    return fields


def _is_complete(line: str) -> bool:
    """Whether a last line without its end is whole, where none like it came before."""
    return re.search(r"mfu: [0-9.]+%$", line.rstrip()) is not None


def _only(points: Points, keep: NDArray[np.bool_]) -> Points:
    rank = None if points.rank is None else points.rank[keep]
    return replace(points, line=points.line[keep], step=points.step[keep], value=points.value[keep], rank=rank)


def _kind(points: dict[str, Points]) -> tuple[LossKind, int | None]:
    """What one loss is the mean of, and over how many updates."""
    if "loss" not in points:
        return "unknown", None
    gaps = np.diff(np.unique(points["loss"].step))
    apart = int(np.median(gaps)) if gaps.size else 0
    if apart == 1 or "grad_norm" in points:
        return "batch", None
    if "wps" in points and apart > 1:
        return "interval_mean", apart
    return "unknown", None


# ---------------------------------------------------------------- what else it prints


@dataclass
class _Told:
    """Sizes that stand in the lines without a loss; those of the last start count."""

    values: dict[str, object] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """Read what one line tells; whether it was understood."""
        if (found := SIZE.search(line)) is not None:
            count = float(found[1].replace(",", ""))
            self.values |= {"parameters": count, "trainable_parameters": count}
        elif (found := BATCHES.search(line)) is not None:
            self._batches(*(None if text is None else int(text) for text in found.groups()))
        elif (found := MESH.search(line)) is not None:
            self.values["ranks"] = math.prod(int(size) for size in found[1].split(",") if size.strip())
        elif (found := PARALLEL.search(line)) is not None:
            sizes = dict(re.findall(r"(\w+)=([0-9]+)", found[1]))
            degrees = [int(sizes[name]) for name in ("pp", "dp_replicate", "dp_shard", "cp", "tp") if name in sizes]
            self.values["ranks"] = math.prod(degrees)
        elif (found := BUILDING.search(line)) is not None:
            shape = dict(re.findall(r"(?:^|[\s(])(\w+)=([0-9]+)(?=[,)]|$)", found[1]))
            self.values |= {fact: int(shape[name]) for fact, name in SHAPE.items() if name in shape}
        elif not START.search(line):
            return False
        if (found := START.search(line)) is not None:
            self.starts.append(float(found[1]) - 1)
        return True

    def _batches(
        self, local: int | None, whole: int | None, context: int | None, steps: int | None, warmup: int | None
    ) -> None:
        assert local is not None
        assert whole is not None
        found = {"micro_batch": local, "context": context, "planned_steps": steps, "warmup_steps": warmup}
        self.values |= {name: value for name, value in found.items() if value is not None}
        if local:
            self.values["accumulation"] = whole // local
        if context is not None:
            self.values["tokens_per_step"] = float(whole * context)

    def facts(self) -> Facts:
        return Facts.stated("printed in the log", **self.values)

    def resumed(self, run: Run) -> Run:
        """The run with the steps at which a checkpoint was taken up: where a start is not the first step."""
        step = run.train_loss.step
        return with_loads(run, self.starts, float(np.median(np.diff(step))) if step.size > 1 else 1.0)
