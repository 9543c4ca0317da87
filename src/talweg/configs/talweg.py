"""Talweg's own configuration: config.toml as a person wrote it, or config.resolved.toml with every value filled in."""

import math
import tomllib
from pathlib import Path
from typing import Any

from talweg.errors import InputError
from talweg.run import Facts
from talweg.schedule import DECAY_SHAPES, KINDS
from talweg.textfile import read_text

NAME = "talweg"
SECTIONS = {"run", "data", "model", "batch", "optimizer", "schedule", "evaluation", "checkpoint", "hardware"}
# fact <- dotted key, where nothing is computed
STATED = {
    "layers": "model.layers",
    "heads": "model.heads",
    "width": "model.width",
    "context": "model.context",
    "vocabulary_size": "model.vocabulary_size",
    "dropout": "model.dropout",
    "bias": "model.bias",
    "tokens_per_step": "batch.tokens_per_step",
    "micro_batch": "batch.micro_batch",
    "planned_steps": "run.steps",
    "seed": "run.seed",
    "optimizer": "optimizer.name",
    "peak_learning_rate": "optimizer.peak_lr",
    "beta1": "optimizer.beta1",
    "beta2": "optimizer.beta2",
    "weight_decay": "optimizer.weight_decay",
    "grad_clip": "optimizer.grad_clip",
    "min_learning_rate": "schedule.min_lr",
    "warmup_steps": "schedule.warmup_steps",
}
FRACTIONAL = ("dropout", "peak_learning_rate", "beta1", "beta2", "weight_decay", "grad_clip", "min_learning_rate")


def sniff(path: Path, head: str) -> float:
    """Sections of ours, and nothing else at the top: the head of a long file may end within a line."""
    try:
        document = tomllib.loads(head)
    except tomllib.TOMLDecodeError:
        return 0.0
    tables = {name for name, value in document.items() if isinstance(value, dict)}
    return 0.97 if tables and tables <= SECTIONS and len(tables) == len(document) else 0.0


def read(path: Path) -> Facts:
    """What the file states. Raises InputError when it is no TOML."""
    try:
        document = tomllib.loads(read_text(path).text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no valid TOML: {error}") from None
    flat = {f"{section}.{key}": value for section, part in document.items() for key, value in _items(part)}
    values: dict[str, object] = {}
    for fact, key in STATED.items():
        value = flat.get(key)
        if value is not None and value != "auto":
            values[fact] = float(value) if fact in FRACTIONAL and isinstance(value, int) else value
    if flat.get("schedule.kind") in KINDS:
        values["schedule"] = flat["schedule.kind"]
    if values.get("schedule") == "wsd" and flat.get("schedule.decay_shape") in DECAY_SHAPES:
        values["decay_shape"] = flat["schedule.decay_shape"]
    if flat.get("hardware.precision") in ("fp32", "bf16"):
        values["precision"] = flat["hardware.precision"]
    values["eval_is_fixed"] = True  # the first `evaluation.tokens` of the validation set, or all of it, every time
    values.update(_lengths(flat, values))
    return Facts.stated(Path(path).name, **values)


def _items(part: object) -> list[tuple[str, Any]]:
    return list(part.items()) if isinstance(part, dict) else []


def _lengths(flat: dict[str, Any], values: dict[str, object]) -> dict[str, object]:
    """Steps that follow from others: the plan from its tokens, the decay from its shares of the plan."""
    lengths: dict[str, object] = {}
    tokens_per_step, steps = flat.get("batch.tokens_per_step"), values.get("planned_steps")
    if steps is None and tokens_per_step and (tokens := flat.get("run.tokens")):
        steps = lengths["planned_steps"] = int(tokens // tokens_per_step)
    micro_batch, context = values.get("micro_batch"), values.get("context")
    if isinstance(micro_batch, int) and isinstance(context, int) and tokens_per_step:
        lengths["accumulation"] = max(1, math.ceil(tokens_per_step / (micro_batch * context)))
    # a share that is not stated is not assumed: an option on the command line may have set it
    if isinstance(steps, int) and "schedule.end_share" in flat and values.get("schedule") != "constant":
        end = round(steps * flat["schedule.end_share"])
        lengths["decay_end_step"] = end
        if values.get("schedule") == "wsd" and "schedule.decay_share" in flat:
            lengths["decay_start_step"] = max(0, end - round(steps * flat["schedule.decay_share"]))
    return lengths
