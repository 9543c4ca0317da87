"""A flat or nested list of settings: JSON, or lines of `key: value` or `key = value`, in many trainers' spellings."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from talweg.errors import InputError
from talweg.run import Facts
from talweg.textfile import read_text

NAME = "table"

# fact <- spellings, the surest first
SPELLINGS: dict[str, tuple[str, ...]] = {
    "parameters": ("parameters", "num_parameters", "n_params", "num_params", "total_parameters", "total_params"),
    "layers": ("n_layer", "n_layers", "num_layers", "num_hidden_layers", "layers", "depth"),
    "heads": ("n_head", "n_heads", "num_heads", "num_attention_heads", "heads"),
    "width": ("n_embd", "d_model", "hidden_size", "hidden_dim", "model_dim", "embed_dim", "width"),
    # what the run was trained with before what the model could take
    "context": (
        *("block_size", "context_length", "sequence_length", "sequence_len", "seq_length", "seq_len", "max_seq_len"),
        *("max_seq_length", "max_sequence_length", "context", "n_ctx", "n_positions", "max_position_embeddings"),
    ),
    "vocabulary_size": ("padded_vocab_size", "vocab_size", "vocabulary_size", "n_vocab"),
    "dropout": ("dropout", "dropout_rate", "resid_pdrop", "hidden_dropout", "hidden_dropout_prob"),
    "bias": ("bias", "use_bias"),
    "tokens_per_step": ("tokens_per_step", "tokens_per_iteration", "tokens_per_batch", "batch_tokens"),
    "micro_batch": (
        *("micro_batch", "micro_batch_size", "device_batch_size", "per_device_train_batch_size"),
        *("train_batch_size", "batch_size"),
    ),
    "accumulation": (
        *("gradient_accumulation_steps", "gradient_accumulation_iters", "grad_accum_steps", "grad_accumulation_steps"),
        *("accumulation", "accumulation_steps", "accumulate_grad_batches", "grad_accum"),
    ),
    "planned_steps": (
        *("planned_steps", "max_steps", "max_iters", "max_iterations", "total_steps", "num_train_steps", "train_steps"),
        *(
            "num_training_steps",
            "train_iters",
            "num_iterations",
            "total_iterations",
            "num_steps",
            "total_iters",
            "steps",
        ),
    ),
    "optimizer": ("optimizer", "optimizer_name", "optimizer_type", "optim"),
    "schedule": ("lr_scheduler_type", "lr_schedule", "lr_scheduler", "lr_decay_style", "schedule", "scheduler"),
    "peak_learning_rate": (
        *("peak_learning_rate", "peak_lr", "max_learning_rate", "max_lr", "learning_rate", "lr", "base_lr"),
    ),
    "min_learning_rate": ("min_learning_rate", "min_lr", "lr_min", "final_lr", "end_lr", "eta_min"),
    "warmup_steps": (
        *("warmup_steps", "num_warmup_steps", "warmup_iters", "warmup_iterations", "lr_warmup_steps"),
        *("lr_warmup_iters", "warmup"),
    ),
    "decay_end_step": ("decay_end_step", "lr_decay_iters", "lr_decay_steps", "cosine_cycle_iters"),
    "beta1": ("beta1", "adam_beta1"),
    "beta2": ("beta2", "adam_beta2"),
    "weight_decay": ("weight_decay", "wd"),
    "grad_clip": (
        *("grad_clip", "max_grad_norm", "grad_clip_norm", "gradient_clip_val", "gradient_clipping", "clip_grad"),
        *("clip_grad_norm", "max_l2_norm"),
    ),
    "seed": ("seed", "random_seed"),
    "unique_tokens": ("unique_tokens", "num_train_tokens"),
    "val_tokens": ("val_tokens", "num_val_tokens"),
    "bytes_per_token": ("bytes_per_token",),
    "dataset": ("dataset", "dataset_name"),
    "tokenizer": ("tokenizer", "tokenizer_name"),
}
OTHERS = {"betas", "min_lr_ratio", "min_lr_rate", "warmup_ratio", "world_size", "num_gpus", "global_batch_size"}
OTHERS |= {"bf16", "fp16", "dtype", "precision", "mixed_precision", "torch_dtype"}
KNOWN = {name for names in SPELLINGS.values() for name in names} | OTHERS
TEXTS = ("optimizer", "dataset", "tokenizer")
WHOLE = {"layers", "heads", "width", "context", "vocabulary_size", "micro_batch", "accumulation", "planned_steps"}
WHOLE |= {"warmup_steps", "decay_end_step", "seed"}
SCHEDULES = {
    **dict.fromkeys(("cosine", "cosine_with_min_lr", "cosine_decay", "warmup_cosine", "cosine_with_warmup"), "cosine"),
    **dict.fromkeys(("linear", "linear_decay", "linear_with_warmup", "warmup_linear"), "linear"),
    **dict.fromkeys(("constant", "constant_with_warmup"), "constant"),
    **dict.fromkeys(("wsd", "warmup_stable_decay", "trapezoidal", "trapezoid", "trapeze"), "wsd"),
}
PRECISIONS = {"bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16", "16-mixed": "fp16"}
PRECISIONS |= {"fp32": "fp32", "float32": "fp32", "32": "fp32"}
LONGEST_LINE = 1000  # a setting is shorter; the pattern is slow on lines without end
LINE = re.compile(r"^(\s*)[-\"']{0,2}([A-Za-z_][\w./ -]*?)[\"']?\s*[:=]\s*(.*?),?\s*$")


def sniff(path: Path, head: str) -> float:
    """The share of its names that are known spellings; a few of them make a configuration, one does not."""
    try:
        names = [name for name, _ in _pairs(head)]
    except InputError:
        return 0.0
    known = sum(name in KNOWN for name in names)
    return 0.0 if known < 2 else 0.3 + 0.6 * known / len(names)


def read(path: Path) -> Facts:
    """What the file states in spellings that are known. Raises InputError when there is none."""
    facts = _facts(dict(_pairs(read_text(path).text)), Path(path).name)
    if not facts.sources:
        raise InputError(
            f"{path} states no setting in a spelling that is known (n_layer, learning_rate, max_steps, ...)"
        )
    return facts


def facts_of(values: Mapping[str, object], source: str) -> Facts:
    """What settings that a tracker keeps, nested or flat, state in spellings that are known; perhaps nothing.

    Of settings of one name the outermost counts; where several stand equally deep and differ, none does.
    """
    found: dict[str, list[Any]] = {}
    depths: dict[str, int] = {}
    level = {str(name): value for name, value in values.items()}
    while level:
        below: dict[str, object] = {}
        for path, value in level.items():
            if isinstance(value, Mapping) and "value" in value:
                value = value["value"]
            if isinstance(value, Mapping):
                below |= {f"{path}/{name}": item for name, item in value.items()}
                continue
            name, depth = _name(path), len(re.split(r"[./]", path))
            if depth <= depths.setdefault(name, depth):
                found[name] = [*(found.get(name, ()) if depth == depths[name] else ()), value]
                depths[name] = depth
        level = below
    return _facts({name: given[0] for name, given in found.items() if given.count(given[0]) == len(given)}, source)


def _facts(values: Mapping[str, Any], source: str) -> Facts:
    stated: dict[str, object] = {}
    for fact, names in SPELLINGS.items():
        name = next((name for name in names if _as_fact(fact, values.get(name)) is not None), None)
        if name is not None:
            stated[fact] = _as_fact(fact, values[name])
    stated |= _computed(values, stated)
    return Facts.stated(source, **stated)


def _pairs(text: str) -> Iterator[tuple[str, Any]]:
    """Lower-case names, without the names of what they stand in, and their values."""
    if text.lstrip().startswith(("{", "[")) and not text.lstrip().startswith("[["):
        try:
            yield from _flat(json.loads(text))
            return
        except json.JSONDecodeError:
            pass
    above: list[tuple[int, str]] = []  # indentation and name of the lines that this one stands under
    for line in text.split("\n"):
        if len(line) > LONGEST_LINE or line.lstrip().startswith("#"):
            continue
        if not (match := LINE.match(line.split(" #")[0])):
            continue
        indent, name, value = len(match[1]), _name(match[2]), match[3]
        above = [(column, owner) for column, owner in above if column < indent]
        if value == "":
            above.append((indent, name))
        elif name == "value" and above:  # a tracker's config.yaml: the name stands above, its value below it
            yield above[-1][1], _literal(value)
        else:
            yield name, _literal(value)


def _flat(document: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(document, Mapping):
        return
    for name, value in document.items():
        if isinstance(value, Mapping) and "value" in value:
            yield _name(str(name)), value["value"]
        elif isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield _name(str(name)), value


def _name(text: str) -> str:
    return re.split(r"[./]", text.strip())[-1].lower().replace("-", "_").replace(" ", "_").lstrip("_")


def _literal(text: str) -> object:
    """The value of a line: number, truth value, list of numbers or text."""
    text = text.strip().strip("\"'")
    if text.lower() in ("true", "yes", "false", "no"):
        return text.lower() in ("true", "yes")
    if text.lower() in ("null", "none", "~", ""):
        return None
    if text[:1] in "[(" and text[-1:] in "])":
        return [_literal(part) for part in text[1:-1].split(",")]
    try:
        return float(text.replace("_", "")) if "_" not in text[:1] else text
    except ValueError:
        return text


def _as_fact(fact: str, value: object) -> object:
    """The value in the type that the fact has; None when it cannot be that."""
    if value is None:
        return None
    if fact == "schedule":
        return SCHEDULES.get(str(value).lower())
    if fact == "bias":
        return value if isinstance(value, bool) else None
    if fact in TEXTS:
        return (
            value.lower()
            if isinstance(value, str) and fact == "optimizer"
            else value
            if isinstance(value, str)
            else None
        )
    value = _literal(value) if isinstance(value, str) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None  # a trainer's -1 means "not set"
    if isinstance(value, int) and value.bit_length() > 63:
        return None
    return round(value) if fact in WHOLE else float(value)


def _computed(values: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, object]:
    """Facts that stand in the file as shares, pairs or flags."""
    computed: dict[str, object] = {}
    betas = values.get("betas")
    if isinstance(betas, list) and len(betas) == 2 and all(isinstance(beta, int | float) for beta in betas):
        computed |= {"beta1": float(betas[0]), "beta2": float(betas[1])}
    peak, steps, ratio = stated.get("peak_learning_rate"), stated.get("planned_steps"), values.get("warmup_ratio")
    share = next(
        (values[name] for name in ("min_lr_ratio", "min_lr_rate") if _number(values.get(name)) is not None), None
    )
    if peak is not None and share is not None and "min_learning_rate" not in stated:
        computed["min_learning_rate"] = peak * share
    if steps and _number(ratio) and not stated.get("warmup_steps"):
        computed["warmup_steps"] = round(steps * ratio)
    for name in ("precision", "mixed_precision", "dtype", "torch_dtype"):
        said = str(values.get(name, "")).lower()
        found = next((precision for part, precision in PRECISIONS.items() if part in said), None)
        if found and "precision" not in computed:
            computed["precision"] = found
    for name in ("bf16", "fp16"):
        if values.get(name) is True:
            computed["precision"] = name
    return computed | _batch(values, {**stated, **computed})


def _batch(values: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, object]:
    """Accumulation over all ranks and tokens per update, as far as the file leaves no doubt about them.

    A batch size per device says nothing about the update unless the number of devices stands there too.
    """
    batch: dict[str, object] = {}
    context = stated.get("context")
    ranks = next((_number(values.get(name)) for name in ("world_size", "num_gpus") if _number(values.get(name))), None)
    if ranks and "accumulation" in stated:
        batch["accumulation"] = round(stated["accumulation"] * ranks)
    if "tokens_per_step" in stated or not context:
        return batch
    if (whole := _number(values.get("global_batch_size"))) is not None:
        return batch | {"tokens_per_step": whole * context}
    per_device = any(name in values for name in ("device_batch_size", "per_device_train_batch_size"))
    if "micro_batch" in stated and (ranks or not per_device):
        updates = batch.get("accumulation", stated.get("accumulation", ranks or 1))
        batch["tokens_per_step"] = float(stated["micro_batch"] * updates * context)
    return batch


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)
