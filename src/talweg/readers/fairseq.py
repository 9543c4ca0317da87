"""fairseq's output, in its formats json, simple and tqdm; every loss in it is in bits.

    ... | INFO | train_inner | epoch 001:    100 / 2000 loss=9.1, nll_loss=8.9, ppl=480, ..., num_updates=100, lr=...
    ... | INFO | train_inner | {"epoch": 1, "loss": "9.1", "ppl": "480", ..., "num_updates": "100", "lr": "2e-05"}
    ... | INFO | valid | epoch 001 | valid on 'valid' subset | loss 8.1 | nll_loss 7.9 | ppl 240 | num_updates 2000

A train_inner line tells the mean over the updates since the one before it; the first versions, whose lines have no such
tag, tell the mean since the epoch began. nll_loss, where it is there, is the model's loss per token without what label
smoothing and other terms add.
"""

import ast
import math
import re
from dataclasses import replace

import numpy as np

from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble, with_loads
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.prefix import core, rank_in
from talweg.logs.recipes import Fields, Span, of_match
from talweg.run import Facts, LossKind, Run

NAME = "fairseq"

NUMBER = r"(?:[-+]?(?:[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|inf)|[-+]?nan)"  # commas stand between fields here
TAG = r"(?:\[(?P<hydra>\w+)\]\[INFO\] - |(?P<tag>\w+) \| )"
JSON = re.compile(rf"{TAG}(?P<rest>\{{\"epoch\": [0-9]+, .*\}})\s*$")
PROGRESS = re.compile(  # simple, and the bar of tqdm
    rf"{TAG}?epoch (?P<epoch>[0-9]+)(?: \| [\w ]+)?:\s+(?:[0-9]+ / [0-9]+ |[0-9]+%\|.*?\| [0-9]+/[0-9]+ \[[^,\]]*, )"
    r"(?P<rest>[^=]*\bloss=.*)$"
)
SUBSET = re.compile(rf"{TAG}?epoch (?P<epoch>[0-9]+) \| \w+ on '(?P<subset>[^']+)' subset (?P<rest>\| .*)$")
EPOCH = re.compile(rf"{TAG}?epoch (?P<epoch>[0-9]+) (?P<rest>\| loss .*)$")
OVERFLOW = re.compile(
    rf"(?:\[fairseq\.trainer\]\[INFO\] - |fairseq\.trainer \| )?(?:NOTE|WARNING): (?:gradient )?overflow detected,"
    rf".*setting loss scale to: (?P<overflow>{NUMBER})\s*$"
)
PAIRS = (
    (JSON, re.compile(rf"\"(?P<key>\w+)\": \"?(?P<value>{NUMBER})\"?(?=[,}}])")),
    (PROGRESS, re.compile(rf"(?P<key>\w+)=(?P<value>{NUMBER})(?=[,\]\s]|$)")),
    (SUBSET, re.compile(rf"\| (?P<key>\w+) (?P<value>{NUMBER})\s*(?=\||$)")),
    (EPOCH, re.compile(rf"\| (?P<key>\w+) (?P<value>{NUMBER})\s*(?=\||$)")),
)
LONGEST_FIELDS = 5_000  # characters of a line that are searched for fields
NATS_PER_BIT = math.log(2)
LOSSES = ("nll_loss", "inner_loss", "loss")  # the first that is there; inner_loss: without that of experts' gates
ROLES = {"lr": "learning_rate", "gnorm": "grad_norm", "loss_scale": "loss_scale", "wps": "tokens_per_second"}

ARGUMENTS = re.compile(r"\bNamespace\(|\{'_name': None, 'common'")
ARGUMENT = re.compile(r"(?:\b|')([a-z]\w*)'?\s*[=:]\s*(\[[^\]]*\]|'[^']*'|\([^)]*\)|[^,\s{}()\[\]]+)")
STATED = {
    "context": ("tokens_per_sample",),
    "micro_batch": ("batch_size", "max_sentences"),
    "layers": ("decoder_layers",),
    "heads": ("decoder_attention_heads",),
    "width": ("decoder_embed_dim",),
    "dropout": ("dropout",),
    "weight_decay": ("weight_decay",),
    "grad_clip": ("clip_norm",),
    "warmup_steps": ("warmup_updates",),
    "ranks": ("distributed_world_size",),
    "seed": ("seed",),
}
WEIGHTS = re.compile(r"num\. (?:shared )?model params: ([0-9,]+) \(num\. trained: ([0-9,]+)\)")
DEVICES = re.compile(r"training on ([0-9]+) (?:devices|GPUs)")
DICTIONARY = re.compile(r"\bdictionary: ([0-9]+) types")
LOADED = re.compile(r"loaded checkpoint .* \(epoch [0-9]+ @ ([0-9]+) updates\)")


def sniff(head: Head) -> float:
    """Its lines name num_updates beside the epoch, as no other trainer's do."""
    text = head.text
    if "num_updates" not in text or head.is_source:
        return 0.0
    return 0.95 if any("num_updates" in line and parse(line) for line in text.split("\n")) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output tells of. Raises InputError when no loss stands in it."""
    asked.refuse_columns(f"{log.source or 'this log'} is of fairseq")
    told = _Told()
    lines = Lines(parse, told.take).read(log.chunks())
    points = lines.points()
    subsets = [name.removesuffix(" num_updates") for name in points if name.endswith(" num_updates")]
    within = next((prefix for prefix in ("", "running ") if f"{prefix}loss" in points), None)
    losses = [name for name in LOSSES if f"{within or ''}{name}" in points] if within is not None else []
    valid = next(
        (name for name in ("valid", *subsets) if f"{name} loss" in points and name not in ("epoch", "running")), None
    )
    if not losses and valid is None:
        raise InputError(
            f"{log.source or 'this log'}: no line with a loss of fairseq was found (train_inner | ... loss=9.1, ...)"
        )
    facts, columns, notes = told.facts(), [], []
    scale = NATS_PER_BIT
    if valid is not None:
        name = next(f"{valid} {loss}" for loss in LOSSES if f"{valid} {loss}" in points)
        scale = _nats_per_unit(points, name, f"{valid} ppl")
        columns.append(Column.of(name, points[name], "val_loss", "evaluation", scale))
    if losses:
        name = f"{within}{losses[0]}"
        scale = _nats_per_unit(points, name, f"{within}ppl")
        kind, window = _kind(points[name], within == "")
        columns.append(Column.of(name, points[name], "train_loss", kind, scale))
        facts = facts.over(Facts.stated("the updates between lines", train_loss_window=window))
        facts = facts.over(Facts.stated("fairseq logs the mean of all ranks", train_loss_ranks="mean"))
        facts = facts.over(_tokens(points, within or ""))
        if kind == "running_mean":
            notes.append("a training loss is the mean since its epoch began, as fairseq logged it before train_inner")
        columns += _derived(points, within or "", points[name])
    if scale == NATS_PER_BIT:
        notes.append("fairseq logs losses in bits; those of training and validation were turned into nats (x ln 2)")
    taken = {column.name for column in columns}
    for name, found in points.items():
        if name not in taken and name != "overflow" and not name.endswith(("num_updates", "epoch epoch")):
            if name == f"{within}wps":  # 0 in the first line, of which it does not know the time
                found = _above_zero(found)
            role = ROLES.get(name.removeprefix(within)) if within is not None and name.startswith(within) else None
            columns.append(Column.of(name, found, role))
    reading = lines.reading()
    reading = replace(reading, notes=(*reading.notes, *notes))
    return told.resumed(assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading))


def parse(line: str) -> Fields | None:
    """Where the numbers of a line of training, of an epoch, of a validation or of a skipped update stand."""
    if "overflow detected" in line and (match := core(OVERFLOW, line)) is not None:
        return of_match(match)
    if "loss" not in line:
        return None
    found_by = ((pattern, pair, core(pattern, line)) for pattern, pair in PAIRS)
    pattern, pair, match = next((found for found in found_by if found[2] is not None), (None, None, None))
    if pattern is None or pair is None or match is None:
        return None
    tag = match["hydra"] or match["tag"] or ""
    if pattern is SUBSET:
        before = f"{match['subset']} "
    elif pattern is EPOCH or tag == "train":
        before = "epoch "
    elif tag in ("train_inner", ""):
        before = "" if tag or pattern is JSON else "running "
    else:
        before = f"{tag} "
    fields: dict[str, Span] = {}
    start = match.start("rest")
    for found in pair.finditer(line, start, min(match.end("rest"), start + LONGEST_FIELDS)):
        key = found["key"].removeprefix(f"{tag}_") if pattern is JSON and tag else found["key"]
        if key == "num_updates":
            fields["step"] = Span(*found.span("value"))
        fields.setdefault(f"{before}{key}", Span(*found.span("value")))
    if "step" not in fields or not any(key.endswith("loss") for key in fields):
        return None
    if (rank := rank_in(match)) is not None:
        fields["rank"] = Span(*rank)
    return fields


def _nats_per_unit(points: dict[str, Points], loss: str, perplexity: str) -> float:
    """ln 2, unless the perplexity says that a fork logs nats: it is 2 to the loss, or e to it."""
    bits, ppl = points[loss], points.get(perplexity)
    if ppl is None or len(ppl) != len(bits):
        return NATS_PER_BIT
    there = np.isfinite(ppl.value) & (ppl.value > 1) & np.isfinite(bits.value)
    if not there.any():
        return NATS_PER_BIT
    nats, value = np.log(ppl.value[there]), bits.value[there]
    off = [float(np.median(np.abs(nats - scale * value))) for scale in (NATS_PER_BIT, 1.0)]
    return 1.0 if off[1] < 0.01 < off[0] else NATS_PER_BIT


def _above_zero(points: Points) -> Points:
    keep = ~(points.value <= 0)
    rank = None if points.rank is None else points.rank[keep]
    return replace(points, line=points.line[keep], step=points.step[keep], value=points.value[keep], rank=rank)


def _kind(loss: Points, tagged: bool) -> tuple[LossKind, int | None]:
    """What one loss is the mean of, and over how many updates."""
    if not tagged:
        return "running_mean", None
    gaps = np.diff(np.unique(loss.step))
    if not gaps.size:
        return "unknown", None
    apart = int(np.median(gaps))
    return ("batch", None) if apart == 1 else ("interval_mean", apart)


def _tokens(points: dict[str, Points], before: str) -> Facts:
    words = points.get(f"{before}wpb")
    if words is None:
        return Facts()
    return Facts.stated("wpb, tokens per batch: the median of the log", tokens_per_step=float(np.median(words.value)))


def _derived(points: dict[str, Points], before: str, loss: Points) -> list[Column]:
    """Seconds an update takes, and how many updates were skipped so far."""
    found = []
    words, speed = points.get(f"{before}wpb"), points.get(f"{before}wps")
    if words is not None and speed is not None and len(words) == len(speed):
        there = speed.value > 0
        seconds = words.value[there] / speed.value[there]
        found.append(Column("wpb / wps", words.step[there], seconds, "seconds_per_step", place=words.line[there]))
    overflow = points.get("overflow")
    if overflow is not None or f"{before}loss_scale" in points:
        places = overflow.line if overflow is not None else np.empty(0, dtype=np.int64)
        count = np.searchsorted(places, loss.line).astype(np.float64)
        found.append(Column("overflows", loss.step, count, "skipped_steps", place=loss.line, rank=loss.rank))
    return found


# ---------------------------------------------------------------- what else it prints


class _Told:
    """The arguments and sizes that the lines without a loss tell; those of the last start count."""

    def __init__(self) -> None:
        self.arguments: dict[str, object] = {}
        self.printed: dict[str, object] = {}
        self.resumes: list[float] = []

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """Read what one line tells; whether it was understood."""
        if ARGUMENTS.search(line):
            self.arguments = {}
            for name, text in ARGUMENT.findall(line):
                self.arguments.setdefault(name, _literal(text))
        elif (found := WEIGHTS.search(line)) is not None:
            self.printed["trainable_parameters"] = float(found[2].replace(",", ""))
        elif (found := DEVICES.search(line)) is not None:
            self.printed["ranks"] = int(found[1])
        elif (found := DICTIONARY.search(line)) is not None:
            self.printed["vocabulary_size"] = int(found[1])
        elif (found := LOADED.search(line)) is not None:
            self.resumes.append(float(found[1]))
        else:
            return False
        return True

    def facts(self) -> Facts:
        known = self.arguments
        found: dict[str, object] = {}
        for fact, names in STATED.items():
            value = next((known[name] for name in names if _is_number(known.get(name))), None)
            found[fact] = value
        if _is_number(planned := known.get("max_update")) and planned:
            found["planned_steps"] = planned
        rates, betas = known.get("lr"), known.get("adam_betas")
        rate = rates[0] if isinstance(rates, list) and rates else rates
        if _is_number(rate):
            found["peak_learning_rate"] = float(rate)  # type: ignore[arg-type]
        betas = _literal(betas) if isinstance(betas, str) else betas
        if isinstance(betas, tuple) and len(betas) == 2:
            found |= {"beta1": float(betas[0]), "beta2": float(betas[1])}
        if isinstance(optimizer := known.get("optimizer"), str):
            found["optimizer"] = optimizer.lower()
        flags = [short for short in ("fp16", "bf16") if known.get(short) is True]
        off = known.get("fp16") is False and known.get("bf16") is False
        found["precision"] = flags[0] if flags else "fp32" if off else None
        if isinstance(tied := known.get("share_decoder_input_output_embed"), bool):
            found["tied_embeddings"] = tied or known.get("share_all_embeddings") is True
        stated = Facts.stated("the arguments printed in the log", **found, **_schedule(known))
        return Facts.stated("printed in the log", **self.printed).over(stated)

    def resumed(self, run: Run) -> Run:
        """The run with the updates at which a checkpoint was loaded."""
        return with_loads(run, self.resumes, run.facts.train_loss_window or 1)


def _schedule(known: dict[str, object]) -> dict[str, object]:
    """Polynomial decay of power 1 is linear; fairseq's inverse square root has no kind of ours."""
    kind, power = known.get("lr_scheduler"), known.get("power", 1.0)
    end = known.get("total_num_update")
    if kind == "polynomial_decay" and power == 1.0 and _is_number(end):
        least = known.get("end_learning_rate")
        return {
            "schedule": "linear",
            "decay_end_step": int(end),  # type: ignore[call-overload]
            "min_learning_rate": least if _is_number(least) else None,
        }
    return {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
