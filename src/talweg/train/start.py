"""Before the first step: the data opened, the configuration resolved, the model built or restored."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from talweg.corpus import manifest as manifests
from talweg.corpus.manifest import Manifest
from talweg.corpus.shards import Split, open_split
from talweg.corpus.windows import Batch, Windows
from talweg.errors import InputError
from talweg.files import write_text
from talweg.model.gpt import GPT
from talweg.model.shape import Shape, from_values
from talweg.schedule import Schedule
from talweg.train import checkpoint as checkpoints
from talweg.train import evaluate, hardware, mfu, optimizers, parallel
from talweg.train.average import Average
from talweg.train.clock import Clock
from talweg.train.config import Config, items, with_values
from talweg.train.exchange.initial import adopt
from talweg.train.exchange.pairs import fill
from talweg.train.loss_scale import LossScale
from talweg.train.mfu import Peak
from talweg.train.micro_batch import out_of_memory
from talweg.train.ranks import Ranks, join, same_on_all
from talweg.train.resolve import Resolved, resolve, to_toml
from talweg.train.resume import restore, text_sha256
from talweg.train.update import Training, accumulate, apply

PACE_SECONDS, PACE_STEPS = 2.0, 4  # how long the pace is measured when the length is given in minutes


@dataclass(frozen=True, eq=False)
class Plan:
    """What does not change while training."""

    folder: Path
    resolved: Resolved
    manifest: Manifest
    windows: Windows
    val: evaluate.Text
    train: evaluate.Text  # a fixed slice of the training text, as large as `val`
    peak: Peak  # floating-point operations a second that one device can do, for the utilisation
    initial: Mapping[str, str] | None = None  # where the first weights came from: source, sha256; None: random ones

    @property
    def config(self) -> Config:
        return self.resolved.config

    @property
    def schedule(self) -> Schedule:
        return self.resolved.schedule


def begin(config: Config) -> tuple[Plan, Training, tuple[str, ...]]:
    """Open or create the run. The notes say what a person should know, e.g. a checkpoint that was refused."""
    given, notes = config, list[str]()
    if config.data.path is None:
        raise InputError("data.path is missing; give the folder that talweg prepare wrote")
    folder, data = config.run.out / config.run.name, config.data.path
    machine = hardware.measure(config)
    ranks = join(machine.device)
    machine = ranks.agreed(machine)
    manifest, split = ranks.together(lambda: (manifests.read(data), open_split(data, "train")))
    same_on_all(_common(config, manifest), ranks)
    saved = ranks.together(lambda: checkpoints.newest(folder, notes.append) if ranks.first else None)
    state = ranks.agreed(saved.state if saved else None)
    config, initial = ranks.together(lambda: adopt(given, manifest, state))
    windows = Windows(split, config.model.context, config.run.seed)
    resolved = ranks.together(
        lambda: resolve(
            config,
            manifest,
            machine,
            seconds_per_step=lambda partial: ranks.agreed(seconds_per_step(partial, windows) / ranks.world),
            fits=lambda partial: ranks.agreed(fits(partial)),
            ranks=ranks.world,
            earlier=state["config"] if state else None,
        )
    )
    resolved = replace(resolved, reasons={**resolved.reasons, **initial.reasons})
    hardware.prepare(resolved.config.hardware.threads or 1)
    val, train = ranks.together(lambda: _texts(resolved.config, split))
    peak = ranks.agreed(mfu.peak(machine.device, resolved.config.hardware.precision))
    plan = Plan(folder, resolved, manifest, windows, val, train, peak, initial.record)
    ranks.together(lambda: _check_shares(plan, ranks))
    training = fresh(resolved.config, ranks, initial.weights, notes.append)
    if state:
        notes += restore(plan, training, saved or checkpoints.Checkpoint({}, {}, state))
        training.clock.before = state.get("seconds", 0.0)  # a rollback does not give back the time
        training.clock.reserved = state.get("reserved_seconds", 0.0)
    elif initial.record:
        notes.append(f"begins with the weights of {initial.record['source']}")
    ranks.together(lambda: _write_folder(plan, given) if ranks.first else None)
    return plan, training, tuple(notes)


def _common(config: Config, manifest: Manifest) -> dict[str, str]:
    """What all ranks have to agree on, by the name a person would call it. Paths may differ between machines."""
    stated = {key: str(value) for key, value in items(config).items() if key not in ("data.path", "run.out")}
    return {**stated, "a text of sha256": text_sha256(manifest), "a tokenizer of sha256": manifest.tokenizer.sha256}


def _texts(config: Config, split: Split) -> tuple[evaluate.Text, evaluate.Text]:
    """What is evaluated: of the validation text, and as much of the training text."""
    assert config.evaluation.tokens is not None
    assert config.data.path is not None
    val = evaluate.text(open_split(config.data.path, "val"), config.model.context, config.evaluation.tokens)
    return val, evaluate.text(split, config.model.context, val.num_tokens)


def _check_shares(plan: Plan, ranks: Ranks) -> None:
    """Raise InputError where the batch cannot be shared among the ranks."""
    config, sequences = plan.config, plan.config.sequences_per_step
    found = f"batch.tokens_per_step = {config.tokens_per_step} is {sequences} sequences of {config.model.context}"
    if sequences < ranks.world:
        raise InputError(f"{found}, too few for {ranks.world} ranks; raise it, or start fewer")
    if ranks.world == 1 or config.hardware.strategy != "fsdp":
        return
    if sequences % ranks.world:
        better = -(-sequences // ranks.world) * ranks.world * config.model.context
        raise InputError(
            f"{found}, which {ranks.world} ranks cannot share evenly, as hardware.strategy = fsdp needs; "
            f"give {better}, or ddp"
        )
    if config.optimizer.name not in parallel.BY_ELEMENT:
        raise InputError(
            f"optimizer.name = {config.optimizer.name} needs whole matrices, which hardware.strategy = fsdp cuts into "
            f"parts; give ddp, or one of {', '.join(parallel.BY_ELEMENT)}"
        )


def fresh(
    config: Config,
    ranks: Ranks | None = None,
    weights: Mapping[str, Tensor] | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> Training:
    """A new model and optimizer; the random numbers of initialisation start from the seed, the same on every rank.

    ranks: those that train together; None: this process alone. weights: in place of random ones. tell: gets a line
    where the model is not compiled.
    """
    ranks = ranks or Ranks(device=config.hardware.device)
    torch.manual_seed(config.run.seed)
    model = GPT(shape(config)).to(ranks.device)
    model.max_logit = torch.zeros((), device=ranks.device)  # before compiling: after it, that would be done once more
    if weights is not None:
        fill(model, weights)
    objective = parallel.spread(model, config, ranks, tell)
    scale = LossScale() if config.hardware.precision == "fp16" else None
    decay, minutes = config.optimizer.average_decay, config.run.minutes
    return Training(
        model,
        optimizers.build(model, config),
        objective,
        ranks,
        scale,
        average=Average(model, decay) if decay else None,
        clock=Clock(60 * minutes if minutes else None),
    )


def shape(config: Config) -> Shape:
    """The model's own description of what the configuration asks for."""
    return from_values(items(config))


def fits(config: Config) -> bool:
    """Whether two micro-batches and their update fit into the memory of the device, tried on a model thrown away."""
    parts = min(2 * (config.batch.micro_batch or 1), config.sequences_per_step)
    changed = {"batch.tokens_per_step": parts * config.model.context, "hardware.compile": "off"}
    config = with_values(config, changed)
    try:
        training = fresh(config)
        apply(training, config, 0.0, accumulate(training, config, _Zeros(config.model.context)))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return False
    finally:
        hardware.give_back(config.hardware.device)
    return True


@dataclass(frozen=True)
class _Zeros:
    """A text of token 0 only."""

    context: int

    def batch(self, first: int, count: int) -> Batch:
        zeros = np.zeros((count, self.context), dtype=np.int64)
        return Batch(zeros, zeros, zeros)


def seconds_per_step(config: Config, windows: Windows) -> float:
    """The time of one update of this configuration, measured on a model that is thrown away."""
    hardware.prepare(config.hardware.threads or 1)
    training = fresh(config)
    times: list[float] = []
    while len(times) < PACE_STEPS or sum(times) < PACE_SECONDS:
        begin = time.perf_counter()
        apply(training, config, 0.0, accumulate(training, config, windows))
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def facts(plan: Plan, model: GPT, ranks: int = 1) -> dict[str, Any]:
    """What the run is, in the words of `run.Facts`."""
    config, schedule, manifest = plan.config, plan.schedule, plan.manifest
    known = {
        "parameters": model.num_parameters(),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        **{name: getattr(config.model, name) for name in ("layers", "heads", "width", "context", "vocabulary_size")},
        "dropout": config.model.dropout,
        "bias": config.model.bias,
        "tokens_per_step": config.tokens_per_step,
        "micro_batch": config.batch.micro_batch,
        "accumulation": -(-config.sequences_per_step // (config.batch.micro_batch or 1)),
        "planned_steps": plan.resolved.steps,
        "optimizer": config.optimizer.name,
        "schedule": schedule.kind,
        "peak_learning_rate": schedule.peak_lr,
        "min_learning_rate": None if schedule.kind == "constant" else schedule.min_lr,
        "warmup_steps": schedule.warmup_steps,
        "decay_end_step": None if schedule.kind == "constant" else schedule.end_step,
        "decay_start_step": schedule.decay_start if schedule.kind == "wsd" else None,
        "decay_shape": schedule.decay_shape if schedule.kind == "wsd" else None,
        **{name: getattr(config.optimizer, name) for name in ("beta1", "beta2", "weight_decay", "grad_clip")},
        "precision": config.hardware.precision,
        "seed": config.run.seed,
        "ranks": ranks,
        "initialised_from": plan.initial["source"] if plan.initial else None,
        "eval_windows": len(plan.val.inputs),
        "eval_is_fixed": True,
        "dataset": str(config.data.path),
        "tokenizer": manifest.tokenizer.name,
        "bytes_per_token": manifest.bytes_per_token,
        **_text_facts(manifest),
    }
    return {name: value for name, value in known.items() if value is not None}


def _text_facts(manifest: Manifest) -> dict[str, Any]:
    """What the manifest says of the text. `configs.manifest` reads the same from the file; a test holds them equal."""
    train, overlap, quality = manifest.train, manifest.overlap, manifest.quality
    total = sum(train.tokens_by_length)
    return {
        "unique_tokens": train.unique_tokens,
        "train_tokens": train.tokens,
        "near_unique_tokens": train.near_unique_tokens,
        "largest_token_id": train.largest_token_id,
        "tokens_by_length": [tokens / total for tokens in train.tokens_by_length] if total else None,
        "val_overlap_share": overlap.ngrams_in_train / overlap.ngrams if overlap and overlap.ngrams else None,
        "val_overlap_ngram": overlap.ngram if overlap else None,
        "noisy_share": quality.noisy_bytes / quality.bytes if quality and quality.bytes else None,
        "val_tokens": manifest.val.tokens,
        "val_documents": manifest.val.documents,
        "unigram_nats": manifest.unigram_nats,
        "bigram_nats": manifest.bigram_nats,
    }


def _write_folder(plan: Plan, given: Config) -> None:
    """The configuration as given and as resolved, and the tokenizer, so that the folder stands alone."""
    config = plan.config
    assert config.data.path is not None
    tokenizer = config.data.path / "tokenizer.json"
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        write_text(plan.folder / "config.toml", given.source or to_toml(given, only_changed=True))
        write_text(plan.folder / "config.resolved.toml", to_toml(config, plan.resolved.reasons))
        if tokenizer.is_file() and not (plan.folder / "tokenizer.json").exists():
            shutil.copyfile(tokenizer, plan.folder / "tokenizer.json")
    except OSError as error:
        raise InputError(
            f"{plan.folder} cannot be written: {error.strerror}; give another run.out, or free some space"
        ) from None
