"""What a checkpoint holds of a run, and how a run goes on from one, with as many ranks as then or others."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from talweg import __version__
from talweg.corpus.manifest import Manifest
from talweg.corpus.windows import ORDER
from talweg.errors import InputError
from talweg.model.shape import begun_with
from talweg.train import checkpoint as checkpoints
from talweg.train import optimizers, parallel
from talweg.train.config import items
from talweg.train.loss_scale import LossScale
from talweg.train.update import Training

if TYPE_CHECKING:
    from talweg.train.start import Plan


def snapshot(plan: "Plan", training: Training, log_bytes: int) -> checkpoints.Checkpoint:
    """Everything that is needed to go on exactly. Random numbers are not among it: `ranks.draw_anew` makes them."""
    averaged = optimizers.evaluation_weights(training.model, training.optimizer)
    model = averaged or {name: parameter.detach() for name, parameter in training.model.named_parameters()}
    moments = optimizers.state_tensors(training.model, training.optimizer)
    if training.average is not None:
        moments |= training.average.state_tensors()
    state = {
        "talweg": __version__,
        "step": training.step,
        "tokens": training.tokens,
        "order": ORDER,
        "cursor": training.cursor,
        "evaluated": training.evaluated,
        "val_loss": training.val_loss if training.evaluated == training.step else None,
        "ranks": training.ranks.world,
        "log_bytes": log_bytes,
        "rollbacks": training.rollbacks,
        "rate_factor": training.rate_factor,
        "micro_batch": training.micro_batch,
        "seconds": training.clock.seconds(),
        "reserved_seconds": training.clock.reserved,
        "loss_scale": asdict(training.loss_scale) if training.loss_scale else None,
        "tokenizer_sha256": plan.manifest.tokenizer.sha256,
        "train_tokens": plan.manifest.train.tokens,
        "train_sha256": text_sha256(plan.manifest),
        "parent": None,
        "initial": dict(plan.initial) if plan.initial else None,
        "schedule": asdict(plan.schedule),
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in items(plan.config).items()},
    }
    return checkpoints.Checkpoint(model, moments, state)


def restore(plan: "Plan", training: Training, saved: checkpoints.Checkpoint) -> list[str]:
    """Load the checkpoint into `training`; the notes say what has changed since. All ranks call it.

    saved: the tensors of the first rank's are taken, on every rank.
    """
    state, ranks = saved.state, training.ranks
    changed = ranks.together(lambda: _changes(plan, state))
    if state.get("ranks", 1) != ranks.world:
        changed.append(f"ranks {state.get('ranks', 1)} -> {ranks.world}")
    weights = parallel.handed_out(saved.model, training.model, ranks)
    with torch.no_grad():
        for name, parameter in training.model.named_parameters():
            parameter.copy_(weights[name])
    moments = parallel.handed_out(saved.optimizer, training.model, ranks)
    optimizers.restore(training.model, training.optimizer, moments)
    if training.average is not None:
        training.average.restore(moments)
    for name in ("step", "cursor", "tokens", "evaluated", "log_bytes"):
        setattr(training, name, state[name])
    training.saved = training.step
    training.rollbacks, training.rate_factor = state.get("rollbacks", 0), state.get("rate_factor", 1.0)
    if state["config"].get("batch.micro_batch") == plan.config.batch.micro_batch:  # else a person chose another
        training.micro_batch = state.get("micro_batch") or training.micro_batch
    if training.loss_scale is not None and state.get("loss_scale"):
        training.loss_scale = LossScale(**state["loss_scale"])
    training.val_loss = state.get("val_loss") or math.nan
    note = f"goes on from step {training.step}"
    return [f"{note}, with {', '.join(changed)}" if changed else note]


def _changes(plan: "Plan", state: Mapping[str, Any]) -> list[str]:
    """What has changed since this state was saved; InputError when the run cannot go on from it."""
    now = items(plan.config)
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
    if state.get("train_sha256") != text_sha256(plan.manifest):  # the cursor would mean other windows
        raise InputError(
            f"{plan.folder} was begun on {_other_text(state, plan.manifest)}; give the data it was begun with, "
            "or another run.name"
        )
    return list(changed.values())


def text_sha256(manifest: Manifest) -> str:
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
