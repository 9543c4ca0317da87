"""The configuration of a training run: TOML in, a frozen tree of dataclasses out. Imports no torch.

`resolve` fills every value that is left open, with the reason, so that `config.resolved.toml` says what really ran.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from talweg.schedule import Kind


@dataclass(frozen=True)
class RunConfig:
    """Where the run lives and how long it is. Give its length once: steps, tokens, epochs or minutes."""

    name: str = "run"
    out: Path = Path("runs")  # the run folder is out/name
    seed: int = 1337
    steps: int | None = None  # optimizer updates
    tokens: float | None = None  # rounded down to whole steps
    epochs: float | None = None  # passes over the training tokens
    minutes: float | None = None  # wall time; the steps are set by a measurement at the start


@dataclass(frozen=True)
class DataConfig:
    """The folder that `talweg prepare` wrote."""

    path: Path | None = None


@dataclass(frozen=True)
class ModelConfig:
    """One decoder-only GPT. The defaults are the modern form; norm, positions and activation give the classic one."""

    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 256  # tokens
    vocabulary_size: int | None = None  # None: from the data manifest, rounded up to a multiple of 64
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    positions: Literal["rope", "learned"] = "rope"
    activation: Literal["relu2", "gelu"] = "relu2"
    qk_norm: bool = True
    tied_head: bool = True
    bias: bool = False
    dropout: float = 0.0


@dataclass(frozen=True)
class BatchConfig:
    """tokens_per_step is the mathematics; micro_batch only splits it up."""

    tokens_per_step: int = 8192
    micro_batch: int | None = None  # sequences per forward pass; None: as many as fit


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; weight decay on matrices only."""

    name: Literal["adamw"] = "adamw"
    peak_lr: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    grad_clip: float = 1.0  # of the global norm; 0 turns it off


@dataclass(frozen=True)
class ScheduleConfig:
    """The horizon is the run's length; everything here is a share of it or a step within it."""

    kind: Kind = "cosine"
    warmup_steps: int | None = None  # None: a tenth of the run, at most 300 steps
    min_lr: float = 0.0
    decay_share: float = 0.2  # wsd: the share of the run that decays
    end_share: float = 1.0  # the decay is complete at this share of the run


@dataclass(frozen=True)
class EvaluationConfig:
    every: int | None = None  # steps; None: about 30 evaluations a run
    tokens: int | None = None  # None: the whole validation set


@dataclass(frozen=True)
class CheckpointConfig:
    every: int | None = None  # steps; None: at each evaluation
    keep: int = 2


@dataclass(frozen=True)
class HardwareConfig:
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where a measured matrix product says it pays
    threads: int | None = None  # CPU threads; None: all cores


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
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
