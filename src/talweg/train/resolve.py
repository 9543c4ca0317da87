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
from talweg.train.config import HORIZONS, SECTIONS, Config, items, preset, with_values
from talweg.train.validate import check_schedule

NUM_EVALUATIONS = 30  # our choice: enough points for a trend
EVALUATION_SHARE = 0.15  # our choice: of the run's arithmetic that evaluations may take, before they get fewer
MIN_EVALUATIONS = 12
WARMUP_SHARE, MAX_WARMUP = 0.1, 300
LOGITS_BYTES = {"cpu": 2**26, "cuda": 2**30, "mps": 2**28}  # our choice: the logits that one forward pass holds
VOCABULARY_MULTIPLE = 64  # matrix units work in tiles of this width; the padding tokens never occur


@dataclass(frozen=True)
class Machine:
    """What the hardware offers, as `hardware.measure` found it."""

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    reasons: Mapping[str, str] = field(default_factory=dict)  # by dotted key


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
        constant = schedule.kind == "constant"
        end = self.steps if constant else round(schedule.end_share * self.steps)
        start = end - round(schedule.decay_share * self.steps) if schedule.kind == "wsd" else 0
        return Schedule(schedule.kind, peak, schedule.min_lr, schedule.warmup_steps, end, start)


def resolve(
    config: Config,
    manifest: Manifest,
    machine: Machine,
    *,
    seconds_per_step: Callable[[Config], float] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> Resolved:
    """Fill what is open.

    seconds_per_step: measures a run of this configuration; called only when its length is given in minutes.
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

    for key in ("hardware.device", "hardware.precision", "hardware.threads"):
        fill(key, getattr(machine, key.partition(".")[2]), machine.reasons.get(key, ""))
    _size(config, manifest, fill)
    evaluated = min(config.evaluation.tokens or manifest.val.tokens, manifest.val.tokens)
    fill("evaluation.tokens", evaluated, "the whole validation set")
    steps, reason = _steps(config, manifest, evaluated, seconds_per_step, earlier or {})
    fill("run.steps", steps, reason)
    ending = round(config.schedule.end_share * steps)
    warmup = min(round(WARMUP_SHARE * steps), MAX_WARMUP, ending // 2)
    fill("schedule.warmup_steps", warmup, f"a tenth of the run, at most {MAX_WARMUP} steps")
    check_schedule(config, steps)
    every, why = _evaluation_interval(config, steps, evaluated)
    fill("evaluation.every", every, why)
    fill("checkpoint.every", config.evaluation.every, "at each evaluation, as long as that takes under 1 % of the time")
    return Resolved(config, reasons)


def _size(config: Config, manifest: Manifest, fill: Callable[[str, Any, str], None]) -> None:
    """What of the model is open, and the micro-batch."""
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
    sequences = config.batch.tokens_per_step // config.model.context
    room = LOGITS_BYTES[config.hardware.device]
    fits = max(room // (4 * vocabulary * config.model.context), 1)
    parts = math.ceil(sequences / fits)
    micro_batch = math.ceil(sequences / parts)
    reason = f"{parts} forward passes an update keep the logits of each under {room >> 20} MiB"
    fill("batch.micro_batch", micro_batch, reason)


def _steps(
    config: Config,
    manifest: Manifest,
    evaluated: int,
    measure: Callable[[Config], float] | None,
    earlier: Mapping[str, Any],
) -> tuple[int, str]:
    """The length of the run in updates, from whichever way it was given."""
    run, per_step = config.run, config.batch.tokens_per_step
    if run.steps is not None:
        return run.steps, ""
    if run.tokens is not None:
        steps, reason = int(run.tokens // per_step), f"{run.tokens:,.0f} tokens of {per_step:,} a step"
    elif run.epochs is not None:
        tokens = run.epochs * manifest.train.tokens
        steps, reason = int(tokens // per_step), f"{run.epochs:g} passes over {manifest.train.tokens:,} tokens"
    elif earlier.get("run.minutes") == run.minutes:
        steps, reason = int(earlier["run.steps"]), "as the run began"
    else:
        assert run.minutes is not None
        assert measure is not None
        seconds = measure(config)
        updates = run.minutes * 60 / seconds  # as many as there would be without evaluations
        steps = max(int(updates - num_evaluations(config, updates, evaluated) * evaluation_cost(config, evaluated)), 1)
        reason = f"{run.minutes:g} minutes at {seconds:.4f} s an update, measured at the start, and the evaluations"
    if steps < 1:
        raise InputError(f"the run is shorter than one step of {per_step:,} tokens ({reason}); make it longer")
    return steps, reason


def evaluation_cost(config: Config, evaluated: int) -> float:
    """One evaluation in updates: a forward pass is a third of the arithmetic, over validation and training text."""
    return evaluated * 2 / 3 / config.batch.tokens_per_step


def num_evaluations(config: Config, steps: float, evaluated: int) -> int:
    """How many evaluations a run of this many steps gets."""
    affordable = EVALUATION_SHARE * steps / evaluation_cost(config, evaluated)
    return int(min(NUM_EVALUATIONS, max(affordable, MIN_EVALUATIONS)))


def _evaluation_interval(config: Config, steps: int, evaluated: int) -> tuple[int, str]:
    """About 30 evaluations, fewer where they would take too much of the time."""
    number = num_evaluations(config, steps, evaluated)
    reason = f"{number} evaluations a run"
    if number < NUM_EVALUATIONS:
        reason += f"; {NUM_EVALUATIONS} would take more than {EVALUATION_SHARE:.0%} of its arithmetic"
    return max(round(steps / number), 1), reason


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
