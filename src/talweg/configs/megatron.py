"""Megatron's arguments: the block that Megatron-LM, Megatron-DeepSpeed and GPT-NeoX print when they start.

    ------------------------ arguments ------------------------
      adam_beta1 ...................................... 0.9
      lr_decay_style .................................. cosine
    -------------------- end of arguments ---------------------

A file that holds such a block is a configuration, and so is the shell script that starts the trainer (--num-layers 12
--lr-decay-style cosine ...). Nothing is executed: a variable of the script is followed where it is set once.

Lengths may stand in iterations, samples or tokens; those in samples and tokens are divided by the batch, unless that
grows while it is trained.
"""

import ast
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from talweg.errors import InputError
from talweg.run import Facts
from talweg.textfile import read_text

NAME = "megatron"

# a launcher may have put the number of a process before each line
BEGIN = re.compile(r"-{5,} arguments -{5,}\s*$")
END = re.compile(r"-{5,} end of arguments -{5,}\s*$")
ARGUMENT = re.compile(r"(?:^|[\s:\]|])(?P<name>[A-Za-z_]\w*) \.*\s(?P<value>.*?)\s*$")
ORIGIN = re.compile(r"(?:\.{2,}|(?<=[\]})]))(?:updated|default)$")  # GPT-NeoX says so behind a value
FLAG = re.compile(r"(?<!\S)[\"']?--([a-z][a-z0-9-]+)(?:(?: +|=)(?!-[a-z-])(\"[^\"\n]*\"|'[^'\n]*'|[^\s\\\"')]+))?")
ASSIGNED = re.compile(r"^\s*(?:export +)?([A-Za-z_]\w*)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s;#(]+)\s*(?:#.*)?$", re.MULTILINE)
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
FEWEST_FLAGS = 3  # of OWN: other trainers have one or two of these too
OWN = {"num_layers", "hidden_size", "num_attention_heads", "seq_length", "train_iters", "lr_decay_style"}

# fact <- arguments, the surest first, where nothing is computed
WHOLE: dict[str, tuple[str, ...]] = {
    "layers": ("num_layers",),
    "heads": ("num_attention_heads",),
    "width": ("hidden_size",),
    "context": ("seq_length", "encoder_seq_length"),
    "vocabulary_size": ("padded_vocab_size",),
    "micro_batch": ("micro_batch_size", "train_micro_batch_size_per_gpu"),
    "ranks": ("world_size", "global_num_gpus"),
    "seed": ("seed",),
}
REAL: dict[str, tuple[str, ...]] = {
    "dropout": ("hidden_dropout",),
    "peak_learning_rate": ("lr",),
    "min_learning_rate": ("min_lr",),
    "beta1": ("adam_beta1",),
    "beta2": ("adam_beta2",),
    "weight_decay": ("weight_decay",),
    "grad_clip": ("clip_grad", "gradient_clipping"),
}
GLOBAL_BATCH = ("global_batch_size", "train_batch_size")
DECAYS = {"cosine": "cosine", "linear": "linear", "constant": "constant"}
WSD_SHAPES = {"linear": "linear", "minus_sqrt": "sqrt"}  # its other shapes cannot be rebuilt from facts
PRECISION = {"torch.float16": "fp16", "torch.half": "fp16", "torch.bfloat16": "bf16", "torch.float32": "fp32"}

Values = Mapping[str, object]


def sniff(path: Path, head: str) -> float:
    """Sure where a block of arguments begins, or where several of its lines stand."""
    lines = head.split("\n")
    if any(BEGIN.search(line) for line in lines):
        return 0.95
    found = {pair[0] for line in lines if " .." in line and (pair := argument(line)) is not None}
    if len(OWN & found) >= 3:
        return 0.9
    return 0.92 if "--" in head and len(OWN.intersection(_of_script(head))) >= FEWEST_FLAGS else 0.0


def read(path: Path) -> Facts:
    """What the last block of arguments in a file states, or a script. Raises InputError when it is neither."""
    values: dict[str, object] = {}
    text = read_text(path).text
    for line in text.split("\n"):
        if BEGIN.search(line):
            values = {}
        elif " .." in line and (pair := argument(line)) is not None:
            values[pair[0]] = pair[1]
    if not OWN.intersection(values):
        values = _of_script(text)
    if not OWN.intersection(values):
        raise InputError(f"{path} holds no arguments of Megatron (num_layers ...... 12, or --num-layers 12)")
    return facts(values, Path(path).name)


def _of_script(text: str) -> dict[str, object]:
    """The arguments that a shell script gives; those whose value it computes, or sets twice, are left out."""
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    variables: dict[str, str | None] = {}
    for name, value in ASSIGNED.findall(text):
        value = value.strip("\"'")
        variables[name] = value if variables.get(name, value) == value else None
    values: dict[str, object] = {}
    for name, given in FLAG.findall(text):
        value = given.strip("\"'")
        for _ in range(3):  # a variable may be set from another
            value = VARIABLE.sub(lambda found: variables.get(found[1] or found[2]) or "\0", value)
        key = name.replace("-", "_")
        if "\0" in value or "$" in value or "`" in value:
            values.pop(key, None)
        else:
            values[key] = literal(value) if value else True
    return values


def argument(line: str) -> tuple[str, object] | None:
    """The name and the value of a line of the block; None where it is no such line."""
    match = ARGUMENT.search(line)
    if match is None:
        return None
    return match["name"], literal(ORIGIN.sub("", match["value"]))


def literal(text: str) -> object:
    """A Python literal, otherwise the text itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning: an odd escape in a path
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def facts(values: Values, source: str) -> Facts:
    """What these arguments state, and what follows from them."""
    found: dict[str, object] = {}
    for fact, names in WHOLE.items():
        number = _first(values, names)
        if number is not None and (number > 0 or fact == "seed"):
            found[fact] = round(number)
    for fact, names in REAL.items():
        if (number := _first(values, names)) is not None:
            found[fact] = number
    found |= _optimizer(values) | _model(values) | _batch(values) | _lengths(values) | _data(values)
    return Facts.stated(source, **found)


def grows(values: Values) -> bool:
    """Whether the batch grows while it is trained, so that samples are no measure of updates."""
    return values.get("rampup_batch_size") is not None


def _first(values: Values, names: tuple[str, ...]) -> float | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _optimizer(values: Values) -> dict[str, object]:
    found: dict[str, object] = {}
    name = values.get("optimizer")
    if isinstance(name, Mapping):  # GPT-NeoX and DeepSpeed: {"type": "Adam", "params": {"lr": ..., "betas": [...]}}
        settings = name.get("params")
        name = name.get("type")
        if isinstance(settings, Mapping):
            betas = settings.get("betas")
            if isinstance(betas, list | tuple) and len(betas) == 2:
                found |= {"beta1": float(betas[0]), "beta2": float(betas[1])}
            if (rate := _first(settings, ("lr",))) is not None:
                found["peak_learning_rate"] = rate
    name = values.get("optimizer_type", name)
    if isinstance(name, str):
        found["optimizer"] = name.lower()
    start, end = _first(values, ("start_weight_decay",)), _first(values, ("end_weight_decay",))
    if start is not None and end is not None and start != end:
        found["weight_decay"] = None  # it changes while it is trained
    flags = [short for short in ("bf16", "fp16") if values.get(short) is True or values.get("precision") == short]
    kind = PRECISION.get(str(values.get("params_dtype"))) or (
        "fp32" if values.get("fp16") is False and values.get("bf16") is False else None
    )
    if precision := flags[0] if flags else kind:
        found["precision"] = precision
    return found


def _model(values: Values) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, negated in (("untie_embeddings_and_output_weights", True), ("no_weight_tying", True)):
        if isinstance(flag := values.get(name), bool):
            found["tied_embeddings"] = flag is not negated
    if isinstance(flag := values.get("add_bias_linear"), bool):
        found["bias"] = flag
    return found


def _batch(values: Values) -> dict[str, object]:
    """Tokens per update, and micro-batches per update over all ranks."""
    whole, context = _first(values, GLOBAL_BATCH), _first(values, WHOLE["context"])
    micro = _first(values, WHOLE["micro_batch"])
    if whole is None or grows(values):
        return {}
    found: dict[str, object] = {}
    if context is not None:
        found["tokens_per_step"] = whole * context
    if micro and whole % micro == 0:
        found["accumulation"] = round(whole / micro)
    iterations = _first(values, ("eval_iters",))
    if iterations and values.get("full_validation") is not True:
        found["eval_windows"] = round(iterations * whole)
        found["eval_is_fixed"] = False  # the validation text is read on from one evaluation to the next
    return found


def _updates(values: Values, name: str) -> float | None:
    """A length that stands in iterations, samples or tokens, in updates; 0 is "not given" beside another unit."""
    iterations = _first(values, (f"{name}_iters",))
    whole, context = _first(values, GLOBAL_BATCH), _first(values, WHOLE["context"])
    samples, tokens = _first(values, (f"{name}_samples",)), _first(values, (f"{name}_tokens",))
    if (tokens or samples) and not iterations:
        if whole is None or grows(values) or (tokens and context is None):
            return None
        return tokens / (whole * (context or 1.0)) if tokens else (samples or 0.0) / whole
    return iterations


def _lengths(values: Values) -> dict[str, object]:
    """Planned steps and the schedule: warm-up and decay end where Megatron's scheduler ends them."""
    planned = _updates(values, "train")
    decay = _updates(values, "lr_decay")
    given = ("lr_decay_iters", "lr_decay_samples", "lr_decay_tokens")
    end = planned if decay is None and all(values.get(name) is None for name in given) else decay
    found: dict[str, object] = {"planned_steps": None if planned is None else int(planned)}
    style = values.get("lr_decay_style")
    if not isinstance(style, str):
        return found
    share = _first(values, ("lr_warmup_fraction", "warmup"))
    warmup = _updates(values, "lr_warmup") if not share else None if end is None else share * end
    if warmup is not None:
        found["warmup_steps"] = round(warmup)
    if style.lower() == "wsd":
        length = _updates(values, "lr_wsd_decay")
        shape = WSD_SHAPES.get(str(values.get("lr_wsd_decay_style")).lower())
        if shape is not None and length is not None and end is not None:
            found |= {"schedule": "wsd", "decay_shape": shape, "decay_start_step": round(end - length)}
    elif style.lower() in DECAYS:
        found["schedule"] = DECAYS[style.lower()]
    if end is not None and style.lower() != "constant":
        found["decay_end_step"] = round(end)
    return found


def _data(values: Values) -> dict[str, object]:
    path = values.get("data_path")
    if isinstance(path, list | tuple) and len(path) == 1:
        path = path[0]
    vocabulary, tokenizer = _first(values, ("vocab_size",)), values.get("tokenizer_type")
    return {
        "dataset": path if isinstance(path, str) and path else None,
        "tokenizer": tokenizer if isinstance(tokenizer, str) and tokenizer else None,
        "tokenizer_vocabulary": None if vocabulary is None else round(vocabulary),
    }
