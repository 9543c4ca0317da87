"""Before the first step: the data opened, the configuration resolved, the model built or restored."""

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from talweg import __version__
from talweg.corpus import manifest as manifests
from talweg.corpus.manifest import Manifest
from talweg.corpus.shards import open_split
from talweg.corpus.windows import ORDER, Batch, Windows
from talweg.errors import InputError
from talweg.files import write_text
from talweg.model.gpt import GPT
from talweg.model.shape import Shape, begun_with, from_values
from talweg.schedule import Schedule
from talweg.train import checkpoint as checkpoints
from talweg.train import evaluate, hardware, optimizers
from talweg.train.config import Config, items, with_values
from talweg.train.exchange.initial import adopt
from talweg.train.exchange.pairs import fill
from talweg.train.loss_scale import LossScale
from talweg.train.micro_batch import out_of_memory
from talweg.train.ranks import Ranks, join
from talweg.train.resolve import Resolved, resolve, to_toml
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
    initial: Mapping[str, str] | None = None  # where the first weights came from: source, sha256; None: random ones

    @property
    def config(self) -> Config:
        return self.resolved.config

    @property
    def schedule(self) -> Schedule:
        return self.resolved.schedule

    @property
    def sequences_per_step(self) -> int:
        return self.config.tokens_per_step // self.config.model.context


def begin(config: Config) -> tuple[Plan, Training, tuple[str, ...]]:
    """Open or create the run. The notes say what a person should know, e.g. a checkpoint that was refused."""
    given, notes = config, list[str]()
    if config.data.path is None:
        raise InputError("data.path is missing; give the folder that talweg prepare wrote")
    manifest = manifests.read(config.data.path)
    folder = config.run.out / config.run.name
    machine = hardware.measure(config)
    ranks = join(machine.device)
    machine = ranks.agreed(machine)
    saved = checkpoints.newest(folder, notes.append)
    earlier = saved.state["config"] if saved else None
    split = open_split(config.data.path, "train")
    config, initial = adopt(config, manifest, saved.state if saved else None)
    windows = Windows(split, config.model.context, config.run.seed)
    resolved = resolve(
        config,
        manifest,
        machine,
        seconds_per_step=lambda partial: ranks.agreed(seconds_per_step(partial, windows)),
        fits=fits,
        ranks=ranks.world,
        earlier=earlier,
    )
    resolved = replace(resolved, reasons={**resolved.reasons, **initial.reasons})
    config = resolved.config
    assert config.evaluation.tokens is not None
    assert config.data.path is not None
    hardware.prepare(config.hardware.threads or 1)
    val = evaluate.text(open_split(config.data.path, "val"), config.model.context, config.evaluation.tokens)
    train = evaluate.text(split, config.model.context, val.num_tokens)
    plan = Plan(folder, resolved, manifest, windows, val, train, initial.record)
    if plan.sequences_per_step < ranks.world:
        raise InputError(
            f"batch.tokens_per_step = {config.tokens_per_step} is {plan.sequences_per_step} sequences of "
            f"{config.model.context}, too few for {ranks.world} ranks; raise it, or start fewer"
        )
    training = fresh(config, ranks, initial.weights, notes.append)
    if saved:
        notes += restore(plan, training, saved)
    try:
        if ranks.first:
            _write_folder(plan, given)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror}; give another run.out, or free some space"
        ) from None
    return plan, training, tuple(notes)


class _Objective(nn.Module):
    """The training loss as a forward pass, which is what DistributedDataParallel watches."""

    def __init__(self, model: GPT, total_loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.total_loss = total_loss

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.total_loss(*tensors)


def fresh(
    config: Config,
    ranks: Ranks | None = None,
    weights: Mapping[str, Tensor] | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> Training:
    """A new model and optimizer; the random numbers of initialisation and dropout start from the seed.

    ranks: those that train together; None: this process alone. weights: in place of random ones. tell: gets a line
    where the model is not compiled.
    """
    ranks = ranks or Ranks(device=config.hardware.device)
    torch.manual_seed(config.run.seed)
    model = GPT(shape(config)).to(ranks.device)
    if weights is not None:
        fill(model, weights)
    objective = hardware.compiled(model.total_loss, config, tell)
    if ranks.world > 1:
        objective = nn.parallel.DistributedDataParallel(_Objective(model, objective), gradient_as_bucket_view=False)
        torch.manual_seed(config.run.seed + ranks.rank)  # dropout differs between ranks
    scale = LossScale() if config.hardware.precision == "fp16" else None
    return Training(model, optimizers.build(model, config), objective, ranks, scale)


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


def snapshot(plan: Plan, training: Training, log_bytes: int) -> checkpoints.Checkpoint:
    """Everything that is needed to go on exactly."""
    model = {name: parameter.detach().contiguous() for name, parameter in training.model.named_parameters()}
    moments = optimizers.state_tensors(training.model, training.optimizer)
    moments["random/cpu"] = torch.get_rng_state()
    if plan.config.hardware.device == "cuda":
        moments["random/cuda"] = torch.cuda.get_rng_state()
    state = {
        "talweg": __version__,
        "step": training.step,
        "tokens": training.tokens,
        "order": ORDER,
        "cursor": training.cursor,
        "evaluated": training.evaluated,
        "log_bytes": log_bytes,
        "rollbacks": training.rollbacks,
        "rate_factor": training.rate_factor,
        "loss_scale": asdict(training.loss_scale) if training.loss_scale else None,
        "tokenizer_sha256": plan.manifest.tokenizer.sha256,
        "train_tokens": plan.manifest.train.tokens,
        "train_sha256": _train_sha256(plan.manifest),
        "parent": None,
        "initial": dict(plan.initial) if plan.initial else None,
        "schedule": asdict(plan.schedule),
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in items(plan.config).items()},
    }
    return checkpoints.Checkpoint(model, moments, state)


def facts(plan: Plan, model: GPT) -> dict[str, Any]:
    """What the run is, in the words of `run.Facts`."""
    config, schedule, manifest = plan.config, plan.schedule, plan.manifest
    known = {
        "parameters": model.num_parameters(),
        **{name: getattr(config.model, name) for name in ("layers", "heads", "width", "context", "vocabulary_size")},
        "dropout": config.model.dropout,
        "bias": config.model.bias,
        "tokens_per_step": config.tokens_per_step,
        "micro_batch": config.batch.micro_batch,
        "accumulation": -(-plan.sequences_per_step // (config.batch.micro_batch or 1)),
        "planned_steps": plan.resolved.steps,
        "optimizer": config.optimizer.name,
        "schedule": schedule.kind,
        "peak_learning_rate": schedule.peak_lr,
        "min_learning_rate": None if schedule.kind == "constant" else schedule.min_lr,
        "warmup_steps": schedule.warmup_steps,
        "decay_end_step": None if schedule.kind == "constant" else schedule.end_step,
        "decay_start_step": schedule.decay_start if schedule.kind == "wsd" else None,
        **{name: getattr(config.optimizer, name) for name in ("beta1", "beta2", "weight_decay", "grad_clip")},
        "precision": config.hardware.precision,
        "seed": config.run.seed,
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


def restore(plan: Plan, training: Training, saved: checkpoints.Checkpoint) -> list[str]:
    """Load the checkpoint into `training`; the notes say what has changed since."""
    state, now = saved.state, items(plan.config)
    changed = {
        key: f"{key} {value} -> {now[key]}"
        for key, value in begun_with(state["config"]).items()
        if key in now and str(now[key]) != str(value) and now[key] != value
    }
    for key in changed:
        if key.startswith("model.") and key not in ("model.dropout", "model.preset"):
            raise InputError(f"{plan.folder} was begun with another model ({changed[key]}); give another run.name")
    if state.get("order") != ORDER:
        found = f"in the order {state['order']}" if "order" in state else "in an order without a name"
        raise InputError(
            f"{plan.folder} has read its text {found}, this version reads it in the order {ORDER}: finish the run with "
            f"the version that began it (Talweg {state.get('talweg')}), or give another run.name"
        )
    if state["tokenizer_sha256"] != plan.manifest.tokenizer.sha256:
        raise InputError(
            f"{plan.folder} was begun with another tokenizer than {plan.config.data.path} has; give another run.name"
        )
    if state.get("train_sha256") != _train_sha256(plan.manifest):  # the cursor would mean other windows
        raise InputError(
            f"{plan.folder} was begun on {_other_text(state, plan.manifest)}; give the data it was begun with, "
            "or another run.name"
        )
    with torch.no_grad():
        for name, parameter in training.model.named_parameters():
            parameter.copy_(saved.model[name])
    optimizers.restore(training.model, training.optimizer, saved.optimizer)
    torch.set_rng_state(saved.optimizer["random/cpu"])
    if plan.config.hardware.device == "cuda" and "random/cuda" in saved.optimizer:
        torch.cuda.set_rng_state(saved.optimizer["random/cuda"])
    for name in ("step", "cursor", "tokens", "evaluated", "log_bytes"):
        setattr(training, name, state[name])
    training.saved = training.step
    training.rollbacks, training.rate_factor = state.get("rollbacks", 0), state.get("rate_factor", 1.0)
    if training.loss_scale is not None and state.get("loss_scale"):
        training.loss_scale = LossScale(**state["loss_scale"])
    note = f"goes on from step {training.step}"
    return [f"{note}, with {', '.join(changed.values())}" if changed else note]


def _train_sha256(manifest: Manifest) -> str:
    """One hash of the training text as the manifest has it: of the sha256 of its shards and their documents, in order.

    The same text in another folder has the same; where the shards themselves were changed `open_split` or `verify`
    tells.
    """
    hashes = [each for shard in manifest.train.shards for each in (shard.sha256, shard.documents_sha256)]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _other_text(state: Mapping[str, Any], manifest: Manifest) -> str:
    """What tells the text that a checkpoint has read from this one."""
    before, now = state.get("train_tokens"), manifest.train.tokens
    if before is None:
        return "a text that its checkpoint does not name"
    return (
        f"another text, of {before:,} training tokens, this one has {now:,}"
        if before != now
        else (f"another text of as many training tokens ({now:,})")
    )


def _write_folder(plan: Plan, given: Config) -> None:
    """The configuration as given and as resolved, and the tokenizer, so that the folder stands alone."""
    config = plan.config
    assert config.data.path is not None
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_text(plan.folder / "config.toml", given.source or to_toml(given, only_changed=True))
    write_text(plan.folder / "config.resolved.toml", to_toml(config, plan.resolved.reasons))
    tokenizer = config.data.path / "tokenizer.json"
    if tokenizer.is_file() and not (plan.folder / "tokenizer.json").exists():
        shutil.copyfile(tokenizer, plan.folder / "tokenizer.json")
