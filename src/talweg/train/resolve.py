"""Fills every value that the configuration left open, and says why. Imports no torch.

What only a measurement can tell (the device, whether bf16 pays, seconds per step) comes in from outside.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from talweg.corpus.manifest import Manifest
from talweg.errors import InputError
from talweg.model.shape import from_values
from talweg.schedule import Schedule
from talweg.train import horizon, micro_batch
from talweg.train.config import HORIZONS, SECTIONS, Config, items, preset, with_values
from talweg.train.validate import check_rates, check_schedule

COMPILE = {  # what hardware.compile = auto means
    "cuda": ("on", "on a GPU it fuses what lies between the matrix products"),
    "cpu": ("off", "on a CPU it takes a minute or more, and gains 6 % over the written-out kernels (notes/machine.md)"),
    "mps": ("off", "not tried on this device"),
}
# A share of the run by optimizer: a tenth is what AdamW wants; with muon a fiftieth to a thirtieth ended 0.01 to 0.02
# lower than a tenth (notes/time_to_loss.md).
WARMUP, MUON_WARMUP, MAX_WARMUP = (0.1, "a tenth"), (1 / 30, "a thirtieth"), 300
MEASURED = {"hardware.precision", "hardware.compile"}  # what a run keeps that goes on on the same kind of device
VOCABULARY_MULTIPLE = 64  # matrix units work in tiles of this width; the padding tokens never occur


@dataclass(frozen=True)
class Machine:
    """What the hardware offers, as `hardware.measure` found it."""

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    reasons: Mapping[str, str] = field(default_factory=dict)  # by dotted key
    memory: int | None = None  # bytes that are free; None: not known


@dataclass(frozen=True)
class Resolved:
    """A configuration in which nothing is left open, and by dotted key why the open ones got their value."""

    config: Config
    reasons: Mapping[str, str]

    @property
    def steps(self) -> int:
        assert self.config.run.steps is not None
        return self.config.run.steps

    @property
    def schedule(self) -> Schedule:
        schedule, peak = self.config.schedule, self.config.optimizer.peak_lr
        assert schedule.warmup_steps is not None
        assert peak is not None
        constant = schedule.kind == "constant"
        end = self.steps if constant else round(schedule.end_share * self.steps)
        start = end - round(schedule.decay_share * self.steps) if schedule.kind == "wsd" else 0
        return Schedule(schedule.kind, peak, schedule.min_lr, schedule.warmup_steps, end, start, schedule.decay_shape)


def resolve(
    config: Config,
    manifest: Manifest,
    machine: Machine,
    *,
    seconds_per_step: Callable[[Config], float] | None = None,
    fits: Callable[[Config], bool] | None = None,
    ranks: int = 1,
    earlier: Mapping[str, Any] | None = None,
) -> Resolved:
    """Fill what is open, in the order in which one thing follows from another: the device and the model, the batch
    (from the tokens of the run), the micro-batch, the steps, the peak learning rate, the schedule, the evaluations.

    seconds_per_step: measures a run of this configuration; called only when its length is given in minutes.
    fits: whether a forward and backward pass fits into the memory, tried; not called where the device is a CPU.
    ranks: processes that train together.
    earlier: the dotted values of the run that is continued: what is open keeps the value the run began with.
    """
    reasons: dict[str, str] = {}
    for key, value in (earlier or {}).items():
        if items(config).get(key, 0) is None and value is not None and key not in {f"run.{name}" for name in HORIZONS}:
            config = with_values(config, {key: value})
            reasons[key] = "as the run began"

    def fill(key: str, value: Any, reason: str) -> None:
        nonlocal config
        if items(config)[key] in (None, "auto"):
            config = with_values(config, {key: value})
            reasons[key] = reason

    fill("hardware.device", machine.device, machine.reasons.get("hardware.device", ""))
    if earlier and earlier.get("hardware.device") == config.hardware.device:
        for key in MEASURED & earlier.keys():  # measured again, another may win by a little
            fill(key, earlier[key], "as the run began")
    for key in ("hardware.precision", "hardware.threads"):
        fill(key, getattr(machine, key.partition(".")[2]), machine.reasons.get(key, ""))
    fill("hardware.compile", *COMPILE[config.hardware.device])
    _model(config, manifest, fill)
    if config.batch.tokens_per_step is None:
        pace = None if seconds_per_step is None else lambda trial: seconds_per_step(_cut(trial, machine, fits, ranks))
        fill("batch.tokens_per_step", *horizon.tokens_per_step(config, manifest, pace, ranks))
    if config.batch.micro_batch is None:
        fill("batch.micro_batch", *_micro_batch(config, machine, fits, ranks))
    evaluated = min(config.evaluation.tokens or horizon.LEAST_EVALUATED, manifest.val.tokens)
    steps, reason = horizon.steps(config, manifest, evaluated, seconds_per_step, earlier or {})
    fill("run.steps", steps, reason)
    fill("optimizer.peak_lr", *horizon.peak_rate(config))
    fill("optimizer.muon_momentum", *horizon.muon_momentum(steps))
    fill("optimizer.embedding_lr_factor", *horizon.embedding_lr_factor(config))
    check_rates(config)
    fill("schedule.warmup_steps", *_warmup(config, steps))
    check_schedule(config, steps)
    fill("evaluation.tokens", *horizon.evaluation_tokens(config, manifest, steps))
    assert config.evaluation.tokens is not None
    evaluated = min(config.evaluation.tokens, manifest.val.tokens)
    fill("evaluation.every", *horizon.evaluation_interval(config, steps, evaluated))
    fill("checkpoint.every", config.evaluation.every, "at each evaluation, as long as that takes under 1 % of the time")
    return Resolved(config, reasons)


def _model(config: Config, manifest: Manifest, fill: Callable[[str, Any, str], None]) -> None:
    """What of the model is open."""
    own = manifest.tokenizer.vocabulary_size
    padded = math.ceil(own / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
    fill("model.vocabulary_size", padded, f"{own} tokens, rounded up to a multiple of {VOCABULARY_MULTIPLE}")
    vocabulary = config.model.vocabulary_size or padded
    if vocabulary < own:
        raise InputError(
            f"model.vocabulary_size = {vocabulary}, but the data have {own} tokens; leave it out or give at least {own}"
        )
    model = from_values({**items(config), "model.vocabulary_size": vocabulary})
    fill("model.kv_heads", model.groups, "as many as heads")
    fill("model.feed_forward_width", model.hidden, f"{model.hidden / model.width:.3g} x width")
    fill("model.norm_epsilon", model.epsilon, f"that of {model.norm}")


def _warmup(config: Config, steps: int) -> tuple[int, str]:
    """Steps of warm-up that leave room for the decay, and why."""
    schedule = config.schedule
    ending = round(schedule.end_share * steps)
    share, told = MUON_WARMUP if config.optimizer.name == "muon" else WARMUP
    decay = round(schedule.decay_share * steps) if schedule.kind == "wsd" else 0
    warmup = max(min(round(share * steps), MAX_WARMUP, ending // 2, ending - decay), 0)
    return warmup, f"{told} of the run, at most {MAX_WARMUP} steps"


def _micro_batch(
    config: Config, machine: Machine, fits: Callable[[Config], bool] | None, ranks: int
) -> tuple[int, str]:
    """Of one rank, which trains a part of the batch."""
    own = math.ceil(config.sequences_per_step / ranks) * config.model.context
    return micro_batch.choose(with_values(config, {"batch.tokens_per_step": own}), machine.memory, fits)


def _cut(trial: Config, machine: Machine, fits: Callable[[Config], bool] | None, ranks: int) -> Config:
    """A configuration whose pace is to be measured, with the micro-batch that it would get."""
    if trial.batch.micro_batch is not None:
        return trial
    return with_values(trial, {"batch.micro_batch": _micro_batch(trial, machine, fits, ranks)[0]})


def to_toml(config: Config, reasons: Mapping[str, str] | None = None, *, only_changed: bool = False) -> str:
    """The configuration as TOML that `load` reads back; reasons stand as comments.

    only_changed leaves out what has its default value.
    """
    reasons, lines = reasons or {}, []
    defaults = {**items(Config()), **preset(config.model.preset)}
    horizon = {f"run.{name}" for name in HORIZONS if name != "steps"} if config.run.steps is not None else set()
    for section in SECTIONS:
        body = []
        for key, value in items(config).items():
            if not key.startswith(f"{section}.") or value is None or (only_changed and value == defaults[key]):
                continue
            comment = f"  # {reasons[key]}" if reasons.get(key) else ""
            mark = "# " if key in horizon else ""  # the length stands once
            body.append(f"{mark}{key.partition('.')[2]} = {_toml_value(value)}{comment}")
        if body:
            lines += [f"[{section}]", *body, ""]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, Path):
        return json.dumps(value.as_posix(), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)  # numbers, booleans and strings are written the same in both
