"""The configuration of a training run: TOML in, a frozen tree of dataclasses out. Imports no torch.

A value of None is left open: `resolve.resolve` fills it and says why, so that `config.resolved.toml` tells what really
ran. In a file or on the command line an open value is left out, or written "auto".
"""

import difflib
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from talweg.errors import InputError
from talweg.model.shape import PRESETS, Activation, Initialisation, Norm, Positions
from talweg.schedule import DecayShape, Kind

HORIZONS = ("steps", "tokens", "epochs", "minutes")  # the keys of [run] that say how long it is; one of them is given


@dataclass(frozen=True)
class RunConfig:
    """Where the run lives and how long it is. Give its length once: steps, tokens, epochs or minutes."""

    name: str = "run"
    out: Path = Path("runs")  # the run folder is out/name
    seed: int = 1337  # of the first weights, the order of the text, dropout
    steps: int | None = None  # optimizer updates
    tokens: float | None = None  # rounded down to whole steps
    epochs: float | None = None  # passes over the training tokens
    minutes: float | None = None  # wall time; the steps are set by a measurement at the start
    # when the run is lost, or a number is not finite; rollback: to a good checkpoint, at half the rate, past that text
    on_divergence: Literal["stop", "rollback", "continue"] = "stop"


@dataclass(frozen=True)
class DataConfig:
    """The folder that `talweg prepare` wrote."""

    path: Path | None = None  # always needed


@dataclass(frozen=True)
class ModelConfig:
    """One decoder-only GPT. A preset is a set of values that lie below those given; talweg is the defaults here."""

    preset: Literal["talweg", "nanogpt"] = "talweg"
    init_from: Path | None = None  # weights to begin with, which say what is open here; docs/checkpoints.md
    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 256  # tokens
    vocabulary_size: int | None = None  # auto: from the data manifest, rounded up to a multiple of 64
    norm: Norm = "rmsnorm"
    positions: Positions = "rope"
    activation: Activation = "relu2"  # gelu is the exact one, gelu_tanh the approximation that GPT-2 was trained with
    qk_norm: bool = True
    initialisation: Initialisation = "zero_out"  # zero_out: each block begins as the identity
    tied_head: bool = True
    bias: bool = False
    dropout: float = 0.0
    document_mask: bool = False  # attention within the document only; positions stay those of the window
    kv_heads: int | None = None  # of keys and values, each shared by heads / kv_heads queries; auto: as many as heads
    feed_forward_width: int | None = None  # auto: 4 x width; swiglu 8 / 3 x width, which is as many weights
    norm_gain: bool = False  # of rmsnorm; layernorm always has one
    norm_epsilon: float | None = None  # auto: 1e-6 with rmsnorm, 1e-5 with layernorm
    rope_base: float = 10_000.0
    value_residual: bool = False  # the first block's values mixed into those of each later one, by two learned numbers
    x0_shortcut: bool = False  # the embedding mixed into the stream before each later block, by two learned numbers
    logit_softcap: float = 0.0  # c: logits become c tanh(logits / c); 0 turns it off


@dataclass(frozen=True)
class BatchConfig:
    """tokens_per_step is the mathematics; micro_batch only splits it up."""

    tokens_per_step: int | None = None  # a multiple of the context; auto: from a law, by the tokens of the run
    micro_batch: int | None = None  # sequences per forward pass; auto: what fits, and is fastest on a CPU


@dataclass(frozen=True)
class OptimizerConfig:
    """Weight decay on matrices only. One peak_lr serves every optimizer: Muon's updates are scaled to AdamW's."""

    name: Literal["adamw", "muon", "schedule_free"] = "muon"  # muon: of the blocks' matrices; the rest is AdamW's
    peak_lr: float | None = None  # auto: from two laws, by the parameters and the tokens of the run
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    muon_momentum: float | None = None  # auto: by the steps of the run, 0.85 to 0.95
    grad_clip: float = 1.0  # of the global norm; 0 turns it off
    average_decay: float = 0.0  # of the moving average of the weights that is evaluated beside them; 0: none
    embedding_lr_factor: float | None = None  # times the schedule's rate; auto: 2 with muon, else 1
    head_lr_factor: float = 1.0  # of a head that is not tied to the embedding
    vector_lr_factor: float = 1.0  # gains and biases
    scalar_lr_factor: float = 1.0  # learned mixing weights
    base_width: int = 0  # the width at which peak_lr was found: the rate of the hidden matrices follows it. 0: off


@dataclass(frozen=True)
class ScheduleConfig:
    """The horizon is the run's length; everything here is a share of it or a step within it."""

    kind: Kind = "linear"  # with schedule_free: constant
    warmup_steps: int | None = None  # auto: a tenth of the run, with muon a thirtieth; at most 300 steps
    min_lr: float = 0.0
    decay_share: float = 0.2  # wsd: the share of the run that decays
    decay_shape: DecayShape = "linear"  # wsd: 1 - share, or sqrt: 1 - sqrt(share), of the decay that is over
    end_share: float = 1.0  # the decay is complete at this share of the run


@dataclass(frozen=True)
class EvaluationConfig:
    """Validation text, and as much of the training text without dropout, at regular steps."""

    every: int | None = None  # steps; auto: about 30 evaluations a run
    tokens: int | None = None  # auto: as many as 1.5 % of the run allow; a number beyond the text: all of it
    diagnose: bool = True  # ask the causes too, and tell in one line when a verdict changes


@dataclass(frozen=True)
class CheckpointConfig:
    """What a run goes on from. The end of a run, Ctrl-C and SIGTERM save always."""

    every: int | None = None  # steps; auto: at each evaluation, as long as that takes under 1 % of the time
    keep_last: int = 2
    keep_every: int = 0  # steps: of these, one each stays for good; 0: none
    keep_best: bool = False  # the one of the lowest val_loss stays, and `checkpoints/best` names it


@dataclass(frozen=True)
class LogConfig:
    """Trackers that get a copy of log.jsonl; none can stop or slow the run."""

    tensorboard: bool = False
    wandb: bool = False  # without a network: WANDB_MODE=offline
    mlflow: bool = False  # to MLFLOW_TRACKING_URI, else to a folder beside the runs
    trackio: bool = False
    project: str = "talweg"  # the name under which they gather runs


@dataclass(frozen=True)
class HardwareConfig:
    """Where and how the arithmetic is done. docs/many-devices.md tells of several ranks."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: the fastest that is here
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 where it pays; fp16 on GPUs without it
    compile: Literal["auto", "on", "off"] = "auto"  # torch.compile; auto: on a GPU
    threads: int | None = None  # CPU threads; auto: all cores
    strategy: Literal["ddp", "fsdp"] = "ddp"  # of several ranks: each holds the whole model, or a part of it


@dataclass(frozen=True)
class Config:
    """The whole configuration. Dotted names such as `optimizer.peak_lr` are the same in TOML, flags, remedies, docs."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    source: str = field(default="", compare=False, repr=False)  # the text of the file this came from
    given: frozenset[str] | None = field(default=None, compare=False, repr=False)  # keys of it; None: it had no file

    @property
    def tokens_per_step(self) -> int:
        """batch.tokens_per_step, once it is known."""
        assert self.batch.tokens_per_step is not None, "the batch is still open"
        return self.batch.tokens_per_step

    @property
    def sequences_per_step(self) -> int:
        return self.tokens_per_step // self.model.context


SECTIONS: dict[str, type] = {f.name: f.default_factory for f in fields(Config) if f.compare}  # type: ignore[misc]


def known_keys() -> frozenset[str]:
    """Every dotted key, e.g. `optimizer.peak_lr`."""
    return frozenset(f"{name}.{f.name}" for name, section in SECTIONS.items() for f in fields(section))


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML configuration. `overrides` are "section.key=value" and win over the file.

    Raises InputError for a file that cannot be read, an unknown key, a value of the wrong type or out of range, or a
    length that is given twice or not at all.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read: {reason}; talweg train needs a TOML file") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {section} stands outside a section{_nearest(section)}")
        values.update({f"{section}.{key}": value for key, value in table.items()})
    config = build(values, overrides, where=str(path))
    note = "".join(f"# given on the command line: {override}\n" for override in overrides)
    return replace(config, source=f"{text.rstrip()}\n{note}")


def build(values: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "configuration") -> Config:
    """A checked configuration from dotted keys with their values, and overrides as in `load`."""
    given = {key: _checked(key, value, where) for key, value in values.items()}
    replaced = dict(_override(text) for text in overrides)
    if any(f"run.{name}" in replaced for name in HORIZONS):  # a new length takes the place of the file's
        given = {key: value for key, value in given.items() if key.removeprefix("run.") not in HORIZONS}
    given.update(replaced)
    named = frozenset(given)
    given = {**preset(given.get("model.preset", ModelConfig.preset)), **_implied(given), **given}
    sections: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        prefix = f"{name}."
        own = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        sections[name] = section(**own)
    config = Config(**sections, given=named)
    from talweg.train.validate import validate

    validate(config, where)
    return config


def preset(name: str) -> dict[str, Any]:
    """The dotted keys that a model preset sets."""
    return {f"model.{key}": value for key, value in PRESETS[name].items()}


def _implied(given: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says of other keys that nobody gave: schedule-free AdamW has a constant rate."""
    return {"schedule.kind": "constant"} if given.get("optimizer.name") == "schedule_free" else {}


def items(config: Config) -> dict[str, Any]:
    """Every dotted key with its value."""
    return {
        f"{name}.{f.name}": getattr(getattr(config, name), f.name) for name in SECTIONS for f in fields(SECTIONS[name])
    }


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The same configuration with these dotted keys changed; unchecked."""
    changed: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        changed[section] = replace(changed.get(section, getattr(config, section)), **{name: value})
    return replace(config, **changed)


def _override(text: str) -> tuple[str, Any]:
    """One "section.key=value" of the command line. Text needs no quotes there."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise InputError(f"{text} is no setting; write section.key=value")
    kinds = _kinds(key, "command line")
    if value.strip() in ("auto", "none", "None"):
        return key, _checked(key, "auto", "command line")
    if not {int, float, bool} & set(kinds):
        return key, _checked(key, value.strip().strip("\"'"), "command line")
    try:
        return key, _checked(key, tomllib.loads(f"value = {value.strip().lower()}")["value"], "command line")
    except tomllib.TOMLDecodeError:
        raise InputError(f"{key}={value}: needed {_wanted(kinds)}") from None


def _kinds(key: str, where: str) -> tuple[Any, ...]:
    """The types that the value of this key may have; for a choice, the choices stand as strings."""
    section, _, name = key.partition(".")
    if section not in SECTIONS or name not in {f.name for f in fields(SECTIONS[section])}:
        raise InputError(f"{where}: no setting is called {key}{_nearest(key)}")
    return tuple(_flat(get_type_hints(SECTIONS[section])[name]))


def _flat(hint: Any) -> list[Any]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(hint) for kind in _flat(part)]
    return list(get_args(hint)) if origin is Literal else [hint]


def _checked(key: str, value: Any, where: str) -> Any:
    """The value as the type that its key wants."""
    kinds = _kinds(key, where)
    choices = [kind for kind in kinds if isinstance(kind, str)]
    if value == "auto" and type(None) in kinds:
        return None
    if choices and value in choices:
        return value
    if bool in kinds or isinstance(value, bool):
        right = bool in kinds and isinstance(value, bool)
    elif int in kinds:  # 1e4 is a whole number too, however it is written
        right = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        value = int(value) if right else value
    elif float in kinds:
        right = isinstance(value, int | float)
        value = float(value) if right else value
    else:
        right = not choices and isinstance(value, str)
        value = Path(value) if right and Path in kinds else value
    if not right:
        raise InputError(f"{where}: {key} = {value!r}: needed {_wanted(kinds)}")
    return value


def _wanted(kinds: tuple[Any, ...]) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        Path: "a path",
        type(None): '"auto"',
    }
    return " or ".join(f'"{kind}"' if isinstance(kind, str) else names[kind] for kind in kinds)


def _nearest(key: str) -> str:
    """What the person may have meant: a key of the same last part first, else the most similar one."""
    known = sorted(known_keys())
    same = [name for name in known if name.partition(".")[2] == key.rpartition(".")[2]]
    near = same or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    last = difflib.get_close_matches(
        key.rpartition(".")[2], [name.partition(".")[2] for name in known], n=1, cutoff=0.6
    )
    near = near or [name for name in known if last and name.partition(".")[2] == last[0]]
    return f"; did you mean {near[0]}?" if near else "; docs/configuration.md lists them"
