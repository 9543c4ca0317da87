"""nanochat's standard output (base_train, mid_train, chat_sft), that of autoresearch, and that of their forks.

    step 00003/00150 (2.00%) | loss: 6.929694 | lrm: 0.10 | dt: 33.14ms | tok/sec: 15,449 | bf16_mfu: 0.00 | epoch: 10
    Step 00050 | Validation bpb: 4.257870

`loss` is no loss of a batch: it is a running mean of the last micro-batches of rank 0, each with the weight 0.1, and
corrected for its start. Validation is in bits per byte. `lrm` multiplies the rates, which are not printed.
"""

import re
from dataclasses import dataclass, field

from talweg.errors import InputError
from talweg.logs.assemble import assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.named import USUAL, USUAL_ROLES, Names, Roles, columns_of, take_named
from talweg.logs.prefix import core, rank_in, without_prefix
from talweg.logs.recipes import Fields, Span
from talweg.run import Facts, Run

NAME = "nanochat"

LINE = re.compile(
    r"\bstep\s+(?P<step>[0-9]+)(?:\s*/\s*(?P<planned>[0-9]+))?(?:\s*\([0-9.]+%\))?\s*\|\s*(?P<rest>\S.*)$",
    re.IGNORECASE,
)
OURS = re.compile(
    r"\bstep [0-9]+(?:/[0-9]+)? \([0-9.]+%\) \| loss: [0-9n]|\bStep [0-9]+ \| Validation bpb: [0-9n]"
    r"|\bStep [0-9]+/[0-9]+ \| Training loss: [0-9n]"
)
NAMES: Names = {
    **USUAL,
    ("loss", ""): ("loss", 1.0),
    ("training loss", ""): ("training_loss", 1.0),
    ("validation bpb", ""): ("bits_per_byte", 1.0),
    ("validation loss", ""): ("val_loss", 1.0),
    ("bf16_mfu", ""): ("mfu", 1e-2),  # in percent, without the sign
    ("mfu", ""): ("mfu", 1e-2),
}
ROLES: Roles = {
    "loss": ("train_loss", "running_mean"),
    "training_loss": ("train_loss", "micro_batch"),
    "bits_per_byte": ("val_bits_per_byte", "evaluation"),
    "val_loss": ("val_loss", "evaluation"),
    **USUAL_ROLES,
}
LABELS = {"training_loss": "Training loss", "bits_per_byte": "Validation bpb", "val_loss": "Validation loss"}
NEEDED = (*LABELS, "loss", "core metric", "chatcore metric")

COUNT = re.compile(r"^([a-z_]+) *: ([0-9,]+)$")
SETTING = re.compile(r'^ *"([a-z_]+)": ([0-9]+),?$')
PRINTED: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("vocabulary_size", re.compile(r"^Vocab size: ([0-9,]+)$")),
    ("parameters", re.compile(r"^Number of parameters: ([0-9,]+)")),
    ("planned_steps", re.compile(r"^(?:Using user-provided|Calculated) number of iterations.*: ([0-9,]+)$")),
    ("tokens_per_step", re.compile(r"^Total batch size ([0-9,]+) => gradient accumulation steps: [0-9,]+")),
    ("tokens_of_all_ranks", re.compile(r"^Tokens / micro-batch: ([0-9,]+)$")),
    ("ranks", re.compile(r".*\bDistributed world size: ([0-9]+)")),
)
MICRO_BATCH = re.compile(r"^Tokens / micro-batch / rank: ([0-9,]+) x ([0-9,]+) = [0-9,]+$")
PRECISION = re.compile(r"^COMPUTE_DTYPE: torch\.(\w+)")
RESUMED = re.compile(r"^Resuming optimization from step ([0-9]+)")
CHATTER = re.compile(
    r"^(?:\s*[█░ ]+$|[{}!]+$|Autodetected|WARNING: |✓ |GPU: |Model config:|Parameter counts:|Estimated FLOPs|Scaling |"
    r"Total (?:number of training tokens|training)|Tokens : |Auto-computed|Peak memory|Minimum validation|Overriding: |"
    r"Saved (?:model|optimizer|metadata)|"
    r".*nanochat\.(?:common|checkpoint_manager)\b| *\"(?:window_pattern|n_kv_head)\")"
)
SHAPE = {
    "sequence_len": "context",
    "vocab_size": "vocabulary_size",
    "n_layer": "layers",
    "n_head": "heads",
    "n_embd": "width",
}
PRECISIONS = {"bfloat16": "bf16", "float32": "fp32", "float16": "fp16"}
EMA_DECAY = 0.9  # ema_beta, which is written into the loop of each of its trainers


def sniff(head: Head) -> float:
    """How surely this is nanochat's output: the share of the run in brackets, or bits per byte after a bar."""
    return 0.95 if "|" in head.text and OURS.search(head.text) and not head.is_source else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output tells of. Raises InputError when no loss stands in it."""
    source = log.source or "this log"
    asked.refuse_columns(f"{source} is nanochat's output")
    said = _Said()
    lines = Lines(parse, said.take).read(log.chunks())
    points = lines.points()
    if not any(name in points for name in ("loss", "training_loss", "bits_per_byte", "val_loss")):
        raise InputError(
            f"{source}: no line with a loss of nanochat was found (step 00010/01000 (1.00%) | loss: 4.2 ...)"
        )
    if "mfu" in points and not points["mfu"].value.any():
        del points["mfu"]  # the peak of a device that it does not know is infinite: its share is always 0
    planned = points.pop("planned", None)
    facts = said.facts(points, None if planned is None else int(planned.value[-1]))
    return assemble(
        columns_of(points, ROLES, LABELS), source=log.source, format=NAME, facts=facts, reading=lines.reading()
    )


def parse(line: str) -> Fields | None:
    """Where the numbers of an update or an evaluation stand in its line."""
    match = core(LINE, line)
    if match is None:
        return None
    fields = {"step": Span(*match.span("step"))}
    if match["planned"] is not None:
        fields["planned"] = Span(*match.span("planned"))
    if (rank := rank_in(match)) is not None:
        fields["rank"] = Span(*rank)
    take_named(fields, line, match.start("rest"), NAMES, strict=True)
    return fields if any(name in fields for name in NEEDED) else None


# ---------------------------------------------------------------- what is printed before the first update


@dataclass
class _Said:
    """The sizes and settings that it prints; of several starts in one log those of the last."""

    numbers: dict[str, int] = field(default_factory=dict)
    shape: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # parameters by group
    precision: str | None = None
    resumed: set[float] = field(default_factory=set)

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """A line without a loss: a size, or nothing to us."""
        line = without_prefix(line)
        for name, pattern in PRINTED:
            if found := pattern.match(line):
                self.numbers[name] = _number(found[1])
                return True
        if setting := SETTING.match(line):
            if setting[1] in SHAPE:
                self.shape[SHAPE[setting[1]]] = int(setting[2])
        elif count := COUNT.match(line):
            self.counts[count[1]] = _number(count[2])
        elif sizes := MICRO_BATCH.match(line):
            self.numbers["micro_batch"], self.numbers["context"] = _number(sizes[1]), _number(sizes[2])
        elif precision := PRECISION.match(line):
            self.precision = PRECISIONS.get(precision[1])
        elif resumed := RESUMED.match(line):
            self.resumed.add(float(resumed[1]))
        else:
            return CHATTER.match(line) is not None
        return True

    def facts(self, points: dict[str, Points], planned: int | None) -> Facts:
        numbers = dict(self.numbers)
        world = numbers.pop("tokens_of_all_ranks", None)
        step, context, rows = numbers.get("tokens_per_step"), numbers.get("context"), numbers.get("micro_batch")
        if context and rows and step and step % (context * rows) == 0:
            numbers["accumulation"] = step // (context * rows)
        if context and rows and world and world % (context * rows) == 0:
            numbers["ranks"] = world // (context * rows)
        if total := self.counts.get("total"):
            numbers["parameters"] = total
            numbers["trainable_parameters"] = total  # its optimizer holds all; there are no position embeddings
        tied = False if {"wte", "lm_head"} <= self.counts.keys() else None
        values: dict[str, object] = {**self.shape, **numbers, "precision": self.precision, "tied_embeddings": tied}
        values.setdefault("planned_steps", planned)
        for name in ("parameters", "trainable_parameters", "tokens_per_step"):
            values[name] = float(str(values[name])) if values.get(name) is not None else None
        printed = Facts.stated("printed in the log", **values, resumed_at=tuple(sorted(self.resumed)) or None)
        own = Facts.stated("nanochat logs one micro-batch of rank 0", train_loss_ranks="one")
        if "loss" in points:
            smoothed = "nanochat logs a running mean of the loss"
            own = own.over(Facts.stated(smoothed, train_loss_decay=EMA_DECAY))
        if "bits_per_byte" in points:
            own = own.over(Facts.stated("nanochat reads its validation text from the beginning", eval_is_fixed=True))
        return printed.over(own)


def _number(text: str) -> int:
    return int(text.replace(",", ""))
