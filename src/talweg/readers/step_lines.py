"""Lines with a step and a loss, as build-nanogpt and home-made trainers print them; build-nanogpt's log.txt.

    step   250 | loss: 6.021553 | lr 2.1014e-04 | norm: 0.4134 | dt: 338.30ms | tok/sec: 1549794.21
    validation loss: 5.9981                    of the updates done so far: 250 above that line
    250 val 5.9981                             log.txt, with train and hella (HellaSwag's accuracy)
    Step 100/2000, Train Loss: 3.2110, Val Loss: 3.3000, LR: 3.0e-04
    completed step: 5, seconds: 1.203, TFLOP/s/device: 50.1, ..., loss: 10.123        MaxText
    eval metrics after step: 19, loss=9.9, total_weights=65536.0                      MaxText

What a loss is the mean of is known of build-nanogpt alone: the whole update, over all processes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from talweg.errors import InputError
from talweg.logs.assemble import assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.named import USUAL, USUAL_ROLES, Names, Roles, columns_of, take_named
from talweg.logs.prefix import core, fields_in, rank_in, without_prefix
from talweg.logs.recipes import NUMBER, Fields, Span
from talweg.run import Facts, Run

NAME = "step_lines"

BUILD = re.compile(
    rf"\bstep:? +(?P<step>[0-9]+) \| loss: (?P<loss>{NUMBER}) \| lr:? (?P<learning_rate>{NUMBER}) "
    rf"\| norm: ?(?P<grad_norm>{NUMBER}) \| dt: ?(?P<seconds_per_step>{NUMBER})ms "
    rf"\| tok/sec: ?(?P<tokens_per_second>{NUMBER})\s*$"
)
ENTRY = re.compile(
    rf"^(?P<step>[0-9]+) (?:train (?P<loss>{NUMBER})|val (?P<val>{NUMBER})|hella (?P<hellaswag>{NUMBER}))\s*$"
)
VALIDATION = re.compile(
    rf"(?:\bvalidation loss: (?P<val_without_step>{NUMBER})"
    rf"|\bHellaSwag accuracy: [0-9]+/[0-9]+=(?P<hellaswag_without_step>{NUMBER}))\s*$"
)
OTHER = re.compile(
    r"\b(?:completed |(?P<evaluated>eval metrics after )|global[ _])?"
    r"step {0,9}[ :=#] {0,9}\[?(?P<step>[0-9][0-9,]*)(?: ?/ ?(?P<planned>[0-9]+)| of [0-9]+)?\]?"
    r"(?P<rest>\s{0,9}[,|:;)-].*|\s{1,9}[A-Za-z].*)$",
    re.IGNORECASE,
)
EPOCH = re.compile(r"\[?epochs?[ :=]{1,9}\[?(?P<epoch>[0-9]+)(?: ?/ ?[0-9]+)?\]?[\s,|:;-]{0,9}\[?$", re.IGNORECASE)
LOSS_NAMES = ("loss", "train loss", "train_loss", "training loss", "train/loss")
VAL_NAMES = ("val loss", "val_loss", "validation loss", "val/loss", "eval loss", "eval_loss", "test loss")
NAMES: Names = {
    **USUAL,
    **{(name, ""): ("loss", 1.0) for name in LOSS_NAMES},
    **{(name, ""): ("val", 1.0) for name in VAL_NAMES},
    ("seconds", ""): ("seconds_per_step", 1.0),
}
LABELS = {"val": "val loss"}
LEAST = 3  # lines of a kind by which an unknown trainer is recognised. Our choice
KNOWN = re.compile(  # lines of trainers that have a reader of their own
    r"\([-+]?(?:[0-9.]+|nan)z\)|\([0-9.]+%\) \| loss|\bMFU\b|step [0-9]+: train loss \S+ val loss|"
    r"grad_norm: .*\btps:|\biter\b|"
    r"step:[0-9]+/[0-9]+ (?:train|val)_(?:loss|time):"
)
TOKENS = re.compile(r"^total desired batch size: ([0-9,]+)")
ACCUMULATION = re.compile(r"^=> calculated gradient accumulation steps: ([0-9]+)")
CHATTER = re.compile(r"^(?:using device: |loaded [0-9]+ tokens|found [0-9]+ shards|num (?:non-)?decayed |using fused)")


def sniff(head: Head) -> float:
    """How surely these are such lines: build-nanogpt's are unmistakable, others need several of a kind."""
    if head.is_source or ("step" not in head.text.lower() and " train " not in head.text):
        return 0.0
    lines = head.text.split("\n")
    if any(BUILD.search(line) for line in lines if "tok/sec" in line):
        return 0.9
    entries = [match for line in lines if (match := ENTRY.match(line))]
    if len(entries) >= LEAST and len(entries) >= 0.9 * sum(map(bool, lines)):
        return 0.9 if any(match["loss"] for match in entries) else 0.0
    steps: set[str] = set()
    for line in lines:
        if "loss" in line.lower() and not KNOWN.search(line) and (match := _other(line)):
            steps.add(match["step"])
        if len(steps) >= LEAST:
            return 0.4
    return 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that these lines tell of. Raises InputError when no loss stands in them."""
    source = log.source or "this log"
    if asked.columns:
        raise InputError(f"{source} is no table: the names of its fields are known; leave --loss-column out")
    said = _Said()
    lines = Lines(said.parse, said.take).read(log.chunks())
    points = lines.points()
    for name in ("val", "hellaswag"):
        if f"{name}_without_step" in points:
            points.setdefault(name, _placed(points.pop(f"{name}_without_step"), points.get("loss")))
    if "loss" not in points and "val" not in points:
        raise InputError(f"{source}: no line with a step and a loss was found (step 250 | loss: 6.02 | ...)")
    planned, notes = points.pop("planned", None), lines.reading().notes
    if planned is not None and (joined := _over_epochs(points, planned)) is not None:
        points, notes = joined, (*notes, "each epoch counts its steps anew; they were counted on")
    roles: Roles = {
        "loss": ("train_loss", "batch" if said.is_build else "unknown"),
        "val": ("val_loss", "evaluation"),
        **USUAL_ROLES,
    }
    # of several epochs the number behind the bar is that of one
    facts = said.facts(None if planned is None or "epoch" in points else int(planned.value[-1]))
    reading = replace(lines.reading(), notes=notes)
    return assemble(columns_of(points, roles, LABELS), source=log.source, format=NAME, facts=facts, reading=reading)


def _other(line: str) -> re.Match[str] | None:
    """A line of a trainer that is not known: a step behind nothing but a prefix or an epoch, then a loss."""
    match = OTHER.search(line)
    if match is None:
        return None
    before = EPOCH.search(line, 0, match.start())
    if core(OTHER, line) is None and (before is None or core(EPOCH, line[: match.start()]) is None):
        return None
    fields: dict[str, Span] = {}
    take_named(fields, line, match.start("rest"), NAMES, strict=True)
    return match if "loss" in fields or "val" in fields else None


def _placed(points: Points, losses: Points | None) -> Points:
    """An evaluation without a step stands before the line of its step, where each has a line and they count from 0."""
    if losses is None or not len(losses):
        return points
    every = losses.step.min() == 0 and len(losses) > 1 and bool(np.median(np.diff(np.unique(losses.step))) == 1)
    step = np.where(np.isnan(points.step), losses.step[0], points.step + (1 if every else 0))
    return replace(points, step=step)


def _over_epochs(points: dict[str, Points], per_epoch: Points) -> dict[str, Points] | None:
    """The steps counted on through the epochs, where each epoch counts them anew up to the number behind the bar."""
    epoch, total = points.get("epoch"), np.unique(per_epoch.value)
    if epoch is None or total.size != 1 or epoch.rank is not None or epoch.step.max() > total[0]:
        return None
    anew = np.diff(epoch.step) < 0
    if not anew.any() or not bool((np.diff(epoch.value)[anew] == 1).all()):
        return None
    first = min(float(epoch.value[0]), 1.0)
    found = {}
    for name, field_points in points.items():
        at = np.maximum(np.searchsorted(epoch.line, field_points.line, side="right") - 1, 0)
        found[name] = replace(field_points, step=field_points.step + (epoch.value[at] - first) * total[0])
    return found


@dataclass
class _Said:
    """Which of these trainers it is, and the sizes that it prints."""

    is_build: bool = False
    sizes: dict[str, float] = field(default_factory=dict)

    def parse(self, line: str) -> Fields | None:
        """Where the numbers of an update or an evaluation stand in its line."""
        fields = fields_in(line, BUILD, ENTRY, VALIDATION, scales={"seconds_per_step": 1e-3})
        if fields is not None:
            self.is_build = True
            return fields
        match = _other(line)
        if match is None:
            return None
        found = {name: Span(*match.span(name)) for name in ("step", "planned") if match[name] is not None}
        if epoch := EPOCH.search(line, 0, match.start()):
            found["epoch"] = Span(*epoch.span("epoch"))
        if (rank := rank_in(match)) is not None:
            found["rank"] = Span(*rank)
        take_named(found, line, match.start("rest"), NAMES, strict=True)
        if match["evaluated"]:
            return {"step": found["step"], "val": found["loss"]} if "loss" in found else None
        return found

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """A line without a loss: a size, or nothing to us."""
        line = without_prefix(line)
        if tokens := TOKENS.match(line):
            self.sizes["tokens_per_step"] = float(tokens[1].replace(",", ""))
        elif not ACCUMULATION.match(line):
            return CHATTER.match(line) is not None
        return True

    def facts(self, planned: int | None) -> Facts:
        printed: Mapping[str, object] = {**self.sizes, "planned_steps": planned}
        facts = Facts.stated("printed in the log", **printed)
        if self.is_build:
            whose = "build-nanogpt averages it over the update and all processes"
            facts = facts.over(Facts.stated(whose, train_loss_ranks="mean"))
        return facts
