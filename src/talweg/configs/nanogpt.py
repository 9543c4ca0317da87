"""nanoGPT's configuration: Python files of plain assignments, `--key=value` arguments, and what train.py makes of both.

A configuration file is read as a syntax tree, never executed: literals, arithmetic of literals and of names assigned
before. Settings keep where each came from, so that a file, the arguments echoed in a log and train.py's own defaults
can be laid over one another before anything is derived from them.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from talweg.errors import InputError
from talweg.run import Facts
from talweg.textfile import read_text

NAME = "nanogpt"
DEFAULT = "nanoGPT's default"

# train.py of nanoGPT; the vocabulary is its fallback where no meta.pkl says another (50,257 rounded up to 64)
DEFAULTS: dict[str, object] = {
    "batch_size": 12,
    "block_size": 1024,
    "gradient_accumulation_steps": 40,
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "dropout": 0.0,
    "bias": False,
    "learning_rate": 6e-4,
    "max_iters": 600_000,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 1.0,
    "decay_lr": True,
    "warmup_iters": 2000,
    "lr_decay_iters": 600_000,
    "min_lr": 6e-5,
    "eval_interval": 2000,
    "eval_iters": 200,
    "vocab_size": 50_304,
    "init_from": "scratch",
    "dtype": "bfloat16",
    "optimizer": "adamw",  # no setting of train.py: it has no other
}
MODEL_KEYS = ("n_layer", "n_head", "n_embd", "block_size", "bias", "vocab_size")
KEYS = {
    *DEFAULTS,
    *("out_dir", "log_interval", "eval_only", "always_save_checkpoint", "wandb_log", "wandb_project"),
    *("wandb_run_name", "dataset", "backend", "device", "compile"),
}
OWN_KEYS = {"n_layer", "n_head", "n_embd", "block_size", "eval_iters", "max_iters", "warmup_iters", "lr_decay_iters"}
# fact <- key, where nothing is computed
STATED = {
    "layers": "n_layer",
    "heads": "n_head",
    "width": "n_embd",
    "context": "block_size",
    "vocabulary_size": "vocab_size",
    "dropout": "dropout",
    "bias": "bias",
    "micro_batch": "batch_size",
    "accumulation": "gradient_accumulation_steps",
    "planned_steps": "max_iters",
    "peak_learning_rate": "learning_rate",
    "min_learning_rate": "min_lr",
    "warmup_steps": "warmup_iters",
    "decay_end_step": "lr_decay_iters",
    "beta1": "beta1",
    "beta2": "beta2",
    "weight_decay": "weight_decay",
    "grad_clip": "grad_clip",
    "dataset": "dataset",
    "optimizer": "optimizer",
}
WHOLE = ("layers", "heads", "width", "context", "vocabulary_size", "micro_batch", "accumulation", "planned_steps")
PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
# model.py, GPT.from_pretrained
PRETRAINED = {
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}
ARGUMENT = re.compile(r"(?:^|\s)--([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S+)")


@dataclass(frozen=True)
class Setting:
    value: object
    source: str


Settings = Mapping[str, Setting]

OPERATORS: dict[type[ast.operator | ast.unaryop], Callable[..., object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
LARGEST_EXPONENT = 64  # 10 ** 10 ** 10 in a file must not hang us, nor must numbers that double line by line
LARGEST_BITS = 1024


def sniff(path: Path, head: str) -> float:
    """The share of the assigned names that nanoGPT's train.py knows; more where one is of those that few others use."""
    assigned, _ = assignments(head)
    if not assigned:
        return 0.0
    share = sum(name in KEYS for name in assigned) / len(assigned)
    return 0.75 + 0.2 * share if OWN_KEYS.intersection(assigned) else 0.95 * share


def read(path: Path) -> Facts:
    """What the file states, and what follows from that alone. Raises InputError when it assigns nothing known."""
    return facts(settings(path))


def settings(path: Path) -> dict[str, Setting]:
    """Every assignment of the file, unknown keys included. Raises InputError when nanoGPT knows none of them."""
    assigned, _ = assignments(read_text(path).text)
    if not KEYS.intersection(assigned):
        raise InputError(
            f"{path} assigns none of nanoGPT's settings (batch_size, n_layer, ...); give a train.py config"
        )
    return {name: Setting(value, Path(path).name) for name, value in assigned.items()}


def assignments(source: str) -> tuple[dict[str, object], list[str]]:
    """Names and values of the plain assignments and `--key=value` arguments, and the lines that were not understood.

    Text that is not Python as a whole (an echo with other lines in between, a command line) is read line by line.
    """
    values: dict[str, object] = {}
    ignored: list[str] = []
    module = _parsed(source)
    if module is not None:
        for statement in module.body:
            if not _assign(statement, values):
                ignored.append(ast.unparse(statement).splitlines()[0])
        return values, ignored
    for line in source.split("\n"):
        if arguments := ARGUMENT.findall(line):
            values.update((name, literal(text)) for name, text in arguments)
        elif (statement_of_line := _parsed(line.strip())) is not None:
            understood = [_assign(statement, values) for statement in statement_of_line.body]
            ignored += [] if all(understood) else [line.strip()]
        else:
            ignored.append(line.strip())
    return values, ignored


def literal(text: str) -> object:
    """The value of an argument as nanoGPT's configurator.py takes it: a Python literal, otherwise the text itself."""
    module = _parsed(text.strip())
    if module is not None and len(module.body) == 1 and isinstance(module.body[0], ast.Expr):
        value = _value(module.body[0].value, {})
        if value is not None:
            return value
    return text.strip().strip("\"'")


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning: an odd escape in a text of the person's
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _assign(statement: ast.stmt, values: dict[str, object]) -> bool:
    """Carry out one assignment; whether it was understood. A docstring is understood and says nothing."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    targets: list[ast.expr]
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, expression = [statement.target], statement.value
    elif isinstance(statement, ast.Assign):
        targets, expression = statement.targets, statement.value
    else:
        return False
    value = _value(expression, values)
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    for name in names:
        # a name whose new value is not understood no longer has its old one
        values.pop(name, None)
        if value is not None:
            values[name] = value
    return value is not None and len(names) == len(targets)


def _value(node: ast.expr, values: Mapping[str, object]) -> object:
    """The value of an expression of literals and known names; None when it is anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return values.get(node.id)
    if isinstance(node, ast.UnaryOp | ast.BinOp) and type(node.op) in OPERATORS:
        parts = (node.operand,) if isinstance(node, ast.UnaryOp) else (node.left, node.right)
        numbers = [_value(part, values) for part in parts]
        if not all(isinstance(number, int | float) for number in numbers):
            return None
        if isinstance(node.op, ast.Pow) and abs(numbers[1]) > LARGEST_EXPONENT:  # type: ignore[arg-type]
            return None
        if any(isinstance(number, int) and number.bit_length() > LARGEST_BITS for number in numbers):
            return None
        try:
            result = OPERATORS[type(node.op)](*numbers)
        except (ArithmeticError, ValueError):
            return None
        return result if isinstance(result, int | float) else None  # a root of a negative number is complex
    return None


def settings_of(stated: Facts) -> dict[str, Setting]:
    """Facts of another kind of configuration as settings of train.py, as far as it has such."""
    values: dict[str, tuple[object, str]] = {key: (getattr(stated, fact), fact) for fact, key in STATED.items()}
    if stated.schedule in ("cosine", "constant"):
        values["decay_lr"] = (stated.schedule == "cosine", "schedule")
    if stated.precision is not None:
        names = {short: name for name, short in PRECISION.items()}
        values["dtype"] = (names.get(stated.precision), "precision")
    return {
        key: Setting(value, stated.sources.get(fact, "")) for key, (value, fact) in values.items() if value is not None
    }


def over(*layers: Settings) -> dict[str, Setting]:
    """The settings of all layers; where several speak of a key, the first of them wins."""
    merged: dict[str, Setting] = {}
    for layer in reversed(layers):
        merged.update(layer)
    return merged


def defaults(stated: Settings) -> dict[str, Setting]:
    """What train.py takes where nothing is stated, as far as the rest of the settings leaves it at that."""
    values = dict(DEFAULTS)
    start = stated["init_from"].value if "init_from" in stated else "scratch"
    characters = "dataset" in stated and "char" in str(stated["dataset"].value)
    source = dict.fromkeys(values, DEFAULT)
    source["dtype"] = f"{DEFAULT} where the device supports it"
    if start == "resume":  # the shape comes out of the checkpoint
        for key in MODEL_KEYS:
            del values[key]
    elif start in PRETRAINED:
        pretrained = {**PRETRAINED[str(start)], "vocab_size": 50_257, "bias": True}
        values.update(pretrained)
        source.update(dict.fromkeys(pretrained, f"{start}, from which the run starts"))
    elif characters:  # a meta.pkl beside the data says how many characters there are
        del values["vocab_size"]
    if "device" in stated and str(stated["device"].value).startswith("cpu"):
        values["dtype"], source["dtype"] = "float32", f"{DEFAULT} on a CPU"
    return {key: Setting(value, source[key]) for key, value in values.items()}


def facts(known: Settings, printed: Facts | None = None) -> Facts:
    """The facts that these settings state or imply, after those that the log itself prints.

    A figure that train.py printed beats one computed here: a fork may have changed what lies between. The computed one
    is kept as a conflict. Where both agree to the printed digits, the computed one is the more exact.
    """
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for fact, key in STATED.items():
        if key in known and (value := _as_fact(fact, known[key].value)) is not None:
            values[fact], sources[fact] = value, known[key].source
    for derive in (_derive_schedule, _derive_precision, _derive_evaluation, _derive_sizes):
        derive(known, values, sources)
    computed = Facts(**values, sources=sources)  # type: ignore[arg-type]
    if printed is None:
        return computed
    exact = computed.parameters
    if printed.parameters and exact and abs(exact - printed.parameters) <= 5_001:  # "40.56M" says it to 5,000
        note = f"{printed.sources['parameters']}; {sources['parameters']}"
        printed = replace(printed, parameters=exact, sources={**printed.sources, "parameters": note})
    return printed.over(computed)


def conflicts(winner: Settings, loser: Settings) -> dict[str, str]:
    """By fact: the value of `loser` that `winner` overruled, with its source."""
    facts_of = {key: fact for fact, key in STATED.items()}
    return {
        facts_of[key]: f"{setting.value} ({setting.source})"
        for key, setting in loser.items()
        if key in facts_of and key in winner and winner[key].value != setting.value
    }


def _as_fact(fact: str, value: object) -> object:
    """The value in the type that the fact has; None when it cannot be that."""
    if fact in ("dataset", "optimizer"):
        return str(value)
    if fact == "bias":
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if fact in WHOLE or fact.endswith(("_steps", "_step")) else float(value)


def _derive_schedule(known: Settings, values: dict[str, object], sources: dict[str, str]) -> None:
    """get_lr of train.py; without decay_lr it is not called, so that there is no warm-up either."""
    if "decay_lr" not in known and "lr_decay_iters" not in known:
        return
    setting = known.get("decay_lr") or known["lr_decay_iters"]
    decays = bool(known["decay_lr"].value) if "decay_lr" in known else True
    values["schedule"], sources["schedule"] = ("cosine" if decays else "constant"), setting.source
    if not decays:
        values["warmup_steps"], sources["warmup_steps"] = 0, f"decay_lr = False ({setting.source})"
        for fact in ("min_learning_rate", "decay_end_step"):
            values.pop(fact, None)
            sources.pop(fact, None)


def _derive_precision(known: Settings, values: dict[str, object], sources: dict[str, str]) -> None:
    if "dtype" in known and (precision := PRECISION.get(str(known["dtype"].value))):
        values["precision"], sources["precision"] = precision, known["dtype"].source


def _derive_evaluation(known: Settings, values: dict[str, object], sources: dict[str, str]) -> None:
    """estimate_loss draws eval_iters random batches anew each time."""
    if "eval_iters" not in known and "eval_interval" not in known:
        return
    values["eval_is_fixed"], sources["eval_is_fixed"] = False, "nanoGPT draws random windows at each evaluation"
    windows = _product(known, ("eval_iters", "batch_size"))
    if windows:
        values["eval_windows"], sources["eval_windows"] = round(windows[0]), windows[1]


def _derive_sizes(known: Settings, values: dict[str, object], sources: dict[str, str]) -> None:
    """Tokens per update (the accumulation of train.py is over all ranks) and parameters."""
    if tokens := _product(known, ("batch_size", "gradient_accumulation_steps", "block_size")):
        values["tokens_per_step"], sources["tokens_per_step"] = tokens
    match [values.get(fact) for fact in ("layers", "width", "vocabulary_size", "bias")]:
        case [int(layers), int(width), int(vocabulary_size), bool(bias)]:
            values["parameters"] = parameters(layers, width, vocabulary_size, bias=bias)
            sources["parameters"] = "computed from " + _told(known, ("n_layer", "n_embd", "vocab_size", "bias"))


def parameters(layers: int, width: int, vocabulary_size: int, *, bias: bool) -> float:
    """All weights of nanoGPT's GPT without its position embeddings, as its own print counts them.

    N = V W + L (12 W^2 + 2 W) + W, and with bias L (11 W) + W more: the head is tied to the token embedding; a block
    has 4 W^2 in attention, 8 W^2 in the MLP and two LayerNorm gains; biases are 3 W + W + 4 W + W and two of LayerNorm.
    """
    weights = vocabulary_size * width + layers * (12 * width**2 + 2 * width) + width
    return float(weights + (layers * 11 * width + width if bias else 0))


def _product(known: Settings, keys: Iterable[str]) -> tuple[float, str] | None:
    """The product of these settings and how it came about; None when one of them is missing or no number."""
    keys = tuple(keys)
    product = 1.0
    for key in keys:
        value = known[key].value if key in known else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        product *= value
    return product, _told(known, keys, " x ")


def _told(known: Settings, keys: Iterable[str], sign: str = ", ") -> str:
    """E.g. "batch_size 16 x block_size 1024 (train.py)", each source named once, after its last value."""
    settings_used = [(key, known[key]) for key in keys if key in known]
    places = list(dict.fromkeys(setting.source for _, setting in settings_used))
    return sign.join(f"{key} {setting.value}" for key, setting in settings_used) + f" ({', '.join(places)})"
