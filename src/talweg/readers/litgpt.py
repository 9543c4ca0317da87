"""litgpt's standard output (pretrain, finetune), and that of lit-gpt before it.

    Epoch 1 | iter 4 step 2 | loss train: 4.801, val: n/a | iter time: 342.45 ms (step) remaining time: 1:11:15
    iter 100: val loss 2.6085, val time: 217.41 ms

`iter` counts micro-batches, `step` updates; a line of a finished update ends on (step). `loss train` is the mean of the
last micro-batches of rank 0, as many as an update has; the older `loss 4.80, iter time` is one of them.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from talweg.errors import InputError
from talweg.logs.assemble import assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.named import Names, Roles, columns_of, take_named
from talweg.logs.prefix import core, rank_in, without_prefix
from talweg.logs.recipes import NUMBER, Fields, Span, of_match
from talweg.run import Facts, Run

NAME = "litgpt"

TRAIN = re.compile(
    rf"\b(?:Ep(?:och)? (?P<epoch>[0-9]+)(?:/[0-9]+)? \| )?iter +(?P<iter>[0-9]+)"
    rf"(?: learning rate (?P<learning_rate>{NUMBER}))?(?: \|)? +step +(?P<step>[0-9]+) ?[:|] "
    rf"loss(?P<mean> train(?: \(curr\))?:)? +(?P<loss>{NUMBER})(?P<rest>,.*| \|.*|\s*)$",
    re.IGNORECASE,
)
VALIDATION = re.compile(
    rf"\b(?:iter|step) (?P<val_iter>[0-9]+): val loss:? (?P<val>{NUMBER})"
    rf"(?:, val time: (?P<val_time>{NUMBER}) ?ms)?\.?\s*$"
)
FINAL = re.compile(rf"\bFinal evaluation \| val loss: (?P<final>{NUMBER}) \| val ppl: (?P<final_ppl>{NUMBER})\s*$")
OURS = re.compile(
    r"^(?:[^\n]{0,80}\s)?(?:Ep(?:och)? [0-9]+ \| )?iter +[0-9]+(?: \|)? +step +[0-9]+ ?[:|] "
    r"loss(?: train[^\n]{0,9}:)? +[0-9n]",
    re.MULTILINE | re.IGNORECASE,
)
FINISHED = re.compile(r"\((?:optimizer\.|opt\.)?step\)")
NAMES: Names = {
    **{("iter time", unit): ("iter_time", scale) for unit, scale in (("ms", 1e-3), ("s", 1.0))},
    **{("train time", unit): ("iter_time", scale) for unit, scale in (("ms", 1e-3), ("s", 1.0))},
    **{(name, ""): ("last_val", 1.0) for name in ("val", "val_loss valid")},
    **{(name, ""): ("learning_rate", 1.0) for name in ("lr", "learning rate")},
}
LABELS = {
    "loss": "loss train",
    "val": "val loss",
    "final": "final val loss",
    "iter_time": "iter time",
    "within": "loss within an update",
    "last_val": "val loss before",
    "final_ppl": "final val ppl",
    "val_time": "val time (ms)",
}

KEY = re.compile(r"'([a-z_0-9]+)': ((?:PosixPath\()?'[^']*'|[-+0-9.e]+|True|False|None)")
BETAS = re.compile(r"'betas': [\[(]([0-9.]+), ([0-9.]+)[\])]")
WHOLE = {
    "n_layer": "layers",
    "n_head": "heads",
    "n_embd": "width",
    "padded_vocab_size": "vocabulary_size",
    "micro_batch_size": "micro_batch",
    "seed": "seed",
    "lr_warmup_steps": "warmup_steps",
}
REAL = {
    "max_norm": "grad_clip",
    "weight_decay": "weight_decay",
    "lr": "peak_learning_rate",
    "min_lr": "min_learning_rate",
}
NEEDED = (
    *WHOLE,
    *REAL,
    "vocab_size",
    "block_size",
    "max_seq_length",
    "global_batch_size",
    "max_tokens",
    "max_steps",
    "devices",
)
NEEDED += ("num_nodes", "bias", "tie_embeddings", "precision", "optimizer", "initial_checkpoint_dir", "checkpoint_dir")
TOTAL = re.compile(r"^Total parameters: ([0-9,]+)$")
TRAINABLE = re.compile(r"^Number of trainable parameters: ([0-9,]+)$")
RESUMED = re.compile(r"^Resuming training from ")
CHATTER = re.compile(
    r"^(?:Validating|Verifying|Time to instantiate|Measured TFLOPs|Saving |Training time|Memory used|Seed set|"
    r"Number of non|The longest sequence| *['{}\]\[])"
)
BOOLEAN = {"True": True, "False": False}
PRECISION = {"32": "fp32", "bf16": "bf16", "16": "fp16"}


def sniff(head: Head) -> float:
    """How surely this is litgpt's output: micro-batches, updates and a loss in one line."""
    return 0.95 if "iter " in head.text and OURS.search(head.text) and not head.is_source else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output tells of. Raises InputError when no loss stands in it."""
    source = log.source or "this log"
    asked.refuse_columns(f"{source} is litgpt's output")
    said = _Said()
    lines = Lines(said.parse, said.take).read(log.chunks())
    points = lines.points()
    if "loss" not in points and "within" in points:  # nothing says where an update ends
        points["loss"] = _last_of_each_step(points.pop("within"))
    if not any(name in points for name in ("loss", "val", "final")):
        raise InputError(f"{source}: no line with a loss of litgpt was found (iter 4 step 2 | loss train: 4.8, ...)")
    counts = _micro_batches(points)
    facts = said.facts(points.get("loss"), counts)
    if "val" in points and counts is not None:
        iters = points.pop("val_iter").value
        points["val"] = replace(points["val"], step=np.round((iters + counts.offset) / counts.per_update))
    points.pop("val_iter", None)
    for name in sorted(set(points) - {"loss", "val", "final", "final_ppl", "val_time"}):
        points[name] = _last_of_each_step(points[name])
    if counts is not None and counts.per_update == 1 and "iter_time" in points:
        points["seconds_per_step"] = points.pop("iter_time")
    columns = columns_of(_with_final(points), _roles(said), LABELS)
    return assemble(columns, source=log.source, format=NAME, facts=facts, reading=lines.reading())


def _roles(said: "_Said") -> Roles:
    return {
        "loss": ("train_loss", "batch" if said.is_mean else "micro_batch"),
        "val": ("val_loss", "evaluation"),
        "learning_rate": ("learning_rate", "unknown"),
        "seconds_per_step": ("seconds_per_step", "unknown"),
    }


# ---------------------------------------------------------------- micro-batches and updates


@dataclass(frozen=True)
class _Counts:
    """iter + offset = per_update x step at the end of each update."""

    per_update: int  # micro-batches of one process
    offset: int  # 1 where iter counts from 0


def _micro_batches(points: Mapping[str, Points]) -> _Counts | None:
    """How `iter` and `step` hang together; None where no one ratio holds for all finished updates."""
    if "loss" not in points or "iter" not in points:
        return None
    iters = points["iter"]
    ends = np.isin(iters.line, points["loss"].line) & (iters.step > 0)
    step, done = iters.step[ends], iters.value[ends]
    for offset in (0, 1):
        ratios = np.unique((done + offset) / step)
        if ratios.size == 1 and ratios[0] >= 1 and float(ratios[0]).is_integer():
            return _Counts(int(ratios[0]), offset)
    return None


def _last_of_each_step(points: Points) -> Points:
    """Several micro-batches of one update stand at one step: the last of each stretch is kept."""
    if points.rank is not None or len(points) < 2:
        return points
    keep = np.append(points.step[1:] != points.step[:-1], True)
    return replace(points, line=points.line[keep], step=points.step[keep], value=points.value[keep])


def _with_final(points: dict[str, Points]) -> dict[str, Points]:
    """The evaluation after the last update is one of val_loss, unless one stands there with more digits."""
    final, val = points.get("final"), points.get("val")
    if final is None or (val is not None and final.step[-1] <= np.nanmax(val.step)):
        return points
    del points["final"]
    if val is not None:
        line, step = np.append(val.line, final.line), np.append(val.step, final.step)
        final = Points(line, step, np.append(val.value, final.value), None, val.decimals)
    return {**points, "val": final}


# ---------------------------------------------------------------- what is printed before the first update


@dataclass
class _Said:
    """The settings and sizes that it prints."""

    is_mean: bool = False  # the loss is a mean over the micro-batches of an update
    settings: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    resumes: list[int] = field(default_factory=list)  # lines that tell of a checkpoint taken up

    def parse(self, line: str) -> Fields | None:
        """Where the numbers of an update or an evaluation stand in its line."""
        match = core(TRAIN, line)
        if match is not None:
            self.is_mean |= match["mean"] is not None
            loss = "loss" if FINISHED.search(match["rest"]) else "within"
            fields = {loss: Span(*match.span("loss"))}
            fields |= {
                name: Span(*match.span(name)) for name in ("step", "iter", "epoch", "learning_rate") if match[name]
            }
            take_named(fields, line, match.start("rest"), NAMES, strict=True)
        elif (match := core(VALIDATION, line) or core(FINAL, line)) is not None:
            fields = of_match(match)
        else:
            return None
        if (rank := rank_in(match)) is not None:
            fields["rank"] = Span(*rank)
        return fields

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """A line without a loss: settings, or nothing to us."""
        line = without_prefix(line)
        known = [(key, value) for key, value in KEY.findall(line) if key in NEEDED]
        if known:
            self.settings.update((key, value.removeprefix("PosixPath(").strip("'")) for key, value in known)
        elif betas := BETAS.search(line):
            self.sizes["beta1"], self.sizes["beta2"] = float(betas[1]), float(betas[2])
        elif total := TOTAL.match(line):
            self.sizes["parameters"] = self.sizes["trainable_parameters"] = float(total[1].replace(",", ""))
        elif trainable := TRAINABLE.match(line):
            self.sizes["trainable_parameters"] = float(trainable[1].replace(",", ""))
        elif RESUMED.match(line):
            self.resumes.append(number)
        else:
            return CHATTER.match(line) is not None
        return True

    def facts(self, losses: Points | None, counts: _Counts | None) -> Facts:
        values: dict[str, object] = dict(self.sizes)
        values |= {fact: self._number(key) for key, fact in WHOLE.items()}
        values |= {fact: self._real(key) for key, fact in REAL.items()}
        if values["vocabulary_size"] is None:
            values["vocabulary_size"] = self._number("vocab_size")
        context = values["context"] = self._number("max_seq_length") or self._number("block_size")
        values["bias"] = BOOLEAN.get(self.settings.get("bias", ""))
        values["tied_embeddings"] = {"True": True, "False": False, "None": False}.get(
            self.settings.get("tie_embeddings", "")
        )
        values["precision"] = PRECISION.get(self.settings.get("precision", "").partition("-")[0])
        values["optimizer"] = self._text("optimizer")
        values["initialised_from"] = self._text("initial_checkpoint_dir") or self._text("checkpoint_dir")
        devices, nodes = self._number("devices"), self._number("num_nodes")
        values["ranks"] = devices * (nodes or 1) if devices else None
        rows, batch = self._number("micro_batch_size"), self._number("global_batch_size")
        if rows and batch and batch % rows == 0:
            values["accumulation"] = batch // rows
        if batch and context:
            values["tokens_per_step"] = float(batch * context)
            tokens = self._number("max_tokens")
            values["planned_steps"] = self._number("max_steps") or (tokens // (batch * context) if tokens else None)
        if "initial_checkpoint_dir" in self.settings and values.get("planned_steps"):  # pretrain.py
            values["schedule"], values["decay_end_step"] = "cosine", values["planned_steps"]
        else:
            values["min_learning_rate"] = None  # finetuning has another schedule
        if losses is not None and self.resumes:
            places = [bisect_right(losses.line.tolist(), number) for number in self.resumes]
            values["resumed_at"] = tuple(sorted({float(losses.step[at]) for at in places if at < len(losses)})) or None
        whose = Facts.stated("litgpt logs the loss of rank 0", train_loss_ranks="one")
        return Facts.stated("printed in the log", **values).over(whose)

    def _number(self, key: str) -> int | None:
        real = self._real(key)
        return int(real) if real is not None and real.is_integer() else None

    def _real(self, key: str) -> float | None:
        try:
            return float(self.settings[key])
        except (KeyError, ValueError):
            return None

    def _text(self, key: str) -> str | None:
        text = self.settings.get(key, "None")
        return None if text in ("None", "True", "False") else text
