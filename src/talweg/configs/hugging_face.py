"""Hugging Face's configurations: the config.json of a model, and the arguments of its Trainer as JSON or as printed.

    TrainingArguments(
    learning_rate=0.0006,
    lr_scheduler_type=SchedulerType.COSINE, ...

The parameters of a model are counted for the shapes whose config.json says all that it takes. The length of a window is
no setting of the Trainer; the longest that a model could take is stated only where it has a position for each.
"""

import ast
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from talweg.errors import InputError
from talweg.run import Facts
from talweg.settings.documents import Settings
from talweg.settings.spellings import facts as spelled_facts
from talweg.textfile import read_text

NAME = "hugging_face"
TAKES_KNOWN = True
UNPACKED = ("max_seq_length", "max_length", "cutoff_len")  # the longest that a sequence may be
PRINTED = re.compile(r"^\s*(?:[\w.]*(?:Arguments|Config)\(\s*)?([a-z][a-z_0-9]*)=(.*?),?\s*\)?\s*$")
BEGINS = re.compile(r"\b\w*(?:TrainingArguments|SFTConfig|TrainingConfig)\(")
OWN_ARGUMENTS = frozenset(
    (
        *("per_device_train_batch_size", "lr_scheduler_type", "max_grad_norm", "logging_steps", "num_train_epochs"),
        *("adam_beta1", "optim", "gradient_accumulation_steps", "logging_nan_inf_filter", "warmup_ratio"),
    )
)
SHAPE = {"num_hidden_layers", "hidden_size", "n_layer", "n_embd"}  # settings of both in one are somebody's own table
SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "cosine_with_min_lr": "cosine",
    "constant": "constant",
    "constant_with_warmup": "constant",
    "warmup_stable_decay": "wsd",
}
WITHOUT_WARMUP = "constant"  # this schedule takes no notice of warmup_steps
OPTIMIZERS = ("adamw", "adafactor", "adagrad", "lion", "sgd", "rmsprop", "muon", "schedule_free")
ARGUMENTS = {  # fact <- argument, where nothing is computed
    "micro_batch": "per_device_train_batch_size",
    "peak_learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "grad_clip": "max_grad_norm",
    "beta1": "adam_beta1",
    "beta2": "adam_beta2",
    "seed": "seed",
}
WHOLE = ("micro_batch", "seed")

# model types whose parameters are counted; of the second kind those whose biases the config states
LLAMA_LIKE = {"llama", "mistral", "qwen2", "qwen3", "gemma", "smollm3"}
TIED = {"gpt2": True, "gemma": True, **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), False), "smollm3": True}


def sniff(path: Path, head: str) -> float:
    """A model's config.json names its kind and the library; arguments have names that only the Trainer has."""
    start = head.lstrip()
    if start.startswith("{"):
        names = set(re.findall(r"\"([a-z_0-9]+)\"\s*:", head))
        if "model_type" in names and names & {"transformers_version", "architectures"}:
            return 0.95
        return 0.95 if len(names & OWN_ARGUMENTS) >= 3 and not names & SHAPE else 0.0
    names = {match[1] for line in start.split("\n") if len(line) < 1000 and (match := PRINTED.match(line))}
    if len(names & OWN_ARGUMENTS) < 3 or names & SHAPE:
        return 0.0
    return 0.95 if BEGINS.search(head) else 0.9


def read(path: Path, known: Facts | None = None) -> Facts:
    """Raises InputError when the file is damaged or states nothing."""
    known = known or Facts()
    text = read_text(path).text
    if text.lstrip().startswith("{"):
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{path} is damaged ({str(error).split(':')[0]}); save it anew") from None
    else:
        found = (PRINTED.match(line) for line in text.split("\n") if len(line) < 1000)
        values = {match[1]: match[2] for match in found if match}
    source = Path(path).name
    if "model_type" in values or "architectures" in values:
        return facts_of_model(values, source)
    elsewhere = known.ranks if "world_size" not in values else None  # how many processes: the Trainer does not say
    facts = facts_of_arguments({**values, "world_size": elsewhere} if elsewhere else values, source)
    facts = _completed(facts if elsewhere is None else _without_ranks(facts), values, source, known)
    if not facts.sources:
        raise InputError(f"{path} states no argument of Hugging Face's Trainer (learning_rate, max_steps, ...)")
    return facts


def _without_ranks(facts: Facts) -> Facts:
    sources = {name: source for name, source in facts.sources.items() if name != "ranks"}
    return replace(facts, ranks=None, sources=sources)


def _completed(facts: Facts, values: Mapping[str, Any], source: str, known: Facts) -> Facts:
    """With what a script's own arguments beside the Trainer's say; sequences that are not packed are of any length."""
    ours = {name: value for name, value in values.items() if name not in UNPACKED or values.get("packing") is True}
    spelled = spelled_facts(Settings.of(ours), source, known)
    more = {name: getattr(spelled, name) for name in spelled.sources if getattr(facts, name) is None}
    return facts.over(Facts(**more, sources={name: spelled.sources[name] for name in more}))


# ---------------------------------------------------------------- arguments


def facts_of_arguments(values: Mapping[str, Any], source: str) -> Facts:
    """What a TrainingArguments states. Values may be those of JSON, or texts as Python prints them.

    values: "world_size" is the number of processes, where it is known; the Trainer's own arguments do not hold it.
    """
    given = {name: plain(value) for name, value in values.items()}
    stated: dict[str, object] = {}
    for fact, name in ARGUMENTS.items():
        value = _number(given.get(name))
        if value is not None:
            stated[fact] = round(value) if fact in WHOLE else value
    steps, epochs = _number(given.get("max_steps")), None
    if steps is not None and steps > 0:  # -1: by num_train_epochs
        stated["planned_steps"] = epochs = round(steps)
    each, ranks = _number(given.get("gradient_accumulation_steps")), _number(given.get("world_size"))
    if each and ranks:
        stated |= {"accumulation": round(each * ranks), "ranks": round(ranks)}
    optimizer = _text(given.get("optim")).lower()
    if optimizer:
        stated["optimizer"] = next((name for name in OPTIMIZERS if optimizer.startswith(name)), optimizer)
    stated["precision"] = next((name for name in ("bf16", "fp16") if given.get(name) is True), None)
    stated |= _schedule(given, epochs)
    length = _number(given.get("max_seq_length", given.get("max_length")))
    if given.get("packing") is True and length:
        stated["context"] = round(length)
    return Facts.stated(source, **stated)


def _schedule(given: Mapping[str, Any], steps: int | None) -> dict[str, object]:
    """The warm-up in steps or as a share of them; decays end with the run, at 0 unless another end is stated."""
    name = _text(given.get("lr_scheduler_type")).lower()
    kind = SCHEDULES.get(name)
    found: dict[str, object] = {"schedule": kind}
    more = given.get("lr_scheduler_kwargs")
    more = more if isinstance(more, Mapping) else {}
    peak = _number(given.get("learning_rate"))
    warmup = _warmup(given, steps) if name != WITHOUT_WARMUP else 0
    found["warmup_steps"] = warmup
    if kind not in ("linear", "cosine", "wsd"):
        return found
    least, share = _number(more.get("min_lr")), None
    for key in ("min_lr_rate", "min_lr_ratio"):
        share = _number(more.get(key)) if share is None else share
    found["min_learning_rate"] = least if least is not None else (share or 0.0) * peak if peak is not None else None
    found["decay_end_step"] = steps
    decay = _number(more.get("num_decay_steps"))
    if kind == "wsd" and steps is not None and decay is not None:
        found["decay_start_step"] = round(steps - decay)
        shape = {"linear": "linear", "1-sqrt": "sqrt"}.get(_text(more.get("decay_type")))
        found["decay_shape"] = shape
    return found


def _warmup(given: Mapping[str, Any], steps: int | None) -> int | None:
    """Steps win over the share; since version 5 steps below 1 are a share too."""
    number = _number(given.get("warmup_steps"))
    share = _number(given.get("warmup_ratio"))
    if number is not None and number >= 1:
        return round(number)
    share = number if number else share
    if share:
        return None if steps is None else math.ceil(steps * share)
    return None if number is None else 0


def plain(value: object) -> Any:
    """The value that a printed one stands for: an enumeration's <SchedulerType.COSINE: 'cosine'> is its text."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if enumeration := re.fullmatch(r"<\w+\.\w+: ['\"]?(.*?)['\"]?>", text):
        return enumeration[1]
    if member := re.fullmatch(r"[A-Z]\w*\.([A-Z_0-9]+)", text):
        return member[1].lower()
    if text.lower() in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text.lower()]
    try:
        return ast.literal_eval(text) if len(text) < 1000 else text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return _float(text)


def _float(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _number(value: object) -> float | None:
    """Finite, and not below 0, which is how an argument that is not set is told."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# ---------------------------------------------------------------- models


def facts_of_model(config: Mapping[str, Any], source: str) -> Facts:
    """What the config.json of a model states; parameters where they follow from it."""
    kind = _text(config.get("model_type"))
    sizes = {
        fact: next((int(value) for name in names if (value := _number(config.get(name)))), None)
        for fact, names in (
            ("layers", ("n_layer", "num_hidden_layers")),
            ("heads", ("n_head", "num_attention_heads")),
            ("width", ("n_embd", "hidden_size")),
            ("vocabulary_size", ("vocab_size",)),
        )
    }
    tied = config.get("tie_word_embeddings", TIED.get(kind))
    facts = Facts.stated(
        source,
        **sizes,
        tied_embeddings=tied if isinstance(tied, bool) else None,
        dropout=_dropout(config, kind),
        bias=_bias(config, kind),
    )
    if kind == "gpt2":  # a learned position for each
        longest = _number(config.get("n_positions", 1024))
        facts = facts.over(Facts.stated(f"n_positions ({source})", context=None if longest is None else int(longest)))
    count = _parameters(config, kind, facts)
    return facts.over(Facts.stated(f"counted by the shape of {kind} ({source})", parameters=count))


def _dropout(config: Mapping[str, Any], kind: str) -> float | None:
    names = {"gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop")}.get(kind, ("attention_dropout",))
    values = [_number(config.get(name, 0.1 if kind == "gpt2" else None)) for name in names]
    if kind != "gpt2" and kind not in LLAMA_LIKE:
        return None
    return values[0] if len(set(values)) == 1 else None


def _bias(config: Mapping[str, Any], kind: str) -> bool | None:
    if kind == "gpt2":
        return True
    if kind in ("llama", "mistral", "smollm3"):
        both = (config.get("attention_bias", False), config.get("mlp_bias", False))
        return bool(both[0]) if both[0] == both[1] else None
    return None


def _parameters(config: Mapping[str, Any], kind: str, facts: Facts) -> float | None:
    """All weights, a tied head once, without position embeddings; None for a shape that is not known."""
    layers, width, vocabulary, tied = facts.layers, facts.width, facts.vocabulary_size, facts.tied_embeddings
    if layers is None or width is None or vocabulary is None or tied is None or facts.heads is None:
        return None
    ends = vocabulary * width * (1 if tied else 2)
    if kind == "gpt2" and not config.get("add_cross_attention"):
        inner = int(_number(config.get("n_inner")) or 4 * width)
        attention = 4 * width**2 + 4 * width
        return float(ends + layers * (attention + 2 * width * inner + inner + width + 4 * width) + 2 * width)
    inner_size = _number(config.get("intermediate_size"))
    if kind not in LLAMA_LIKE or inner_size is None:
        return None
    head = int(_number(config.get("head_dim")) or {"qwen3": 128, "gemma": 256}.get(kind) or width // facts.heads)
    # without the key-value heads a grouped model is not known: each type has its own default
    grouped = _number(config.get("num_key_value_heads"))
    if grouped is None and kind != "llama":
        return None
    query, pairs = facts.heads * head, int(grouped or facts.heads) * head
    inner = int(inner_size)
    block = 2 * query * width + 2 * width * pairs + 3 * width * inner + 2 * width
    if kind == "qwen2" or config.get("attention_bias"):
        block += query + 2 * pairs + (0 if kind == "qwen2" else width)
    if config.get("mlp_bias"):
        block += 2 * inner + width
    return float(ends + layers * (block + (2 * head if kind == "qwen3" else 0)) + width)
