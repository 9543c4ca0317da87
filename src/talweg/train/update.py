"""One optimizer update: gradients of the mean loss over all micro-batches and ranks, clipped, applied."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from talweg.corpus.windows import Batch, rank_slice
from talweg.model.gpt import GPT
from talweg.train import hardware, optimizers, parallel
from talweg.train.average import Average
from talweg.train.checkpoint import Pace
from talweg.train.clock import Clock
from talweg.train.config import Config
from talweg.train.loss_scale import LossScale
from talweg.train.ranks import Ranks, draw_anew

ROUNDING = 1e-6  # added to a norm that is divided by, as torch does


class Batches(Protocol):
    """What training asks of a text, as `corpus.windows.Windows` answers it."""

    def batch(self, first: int, count: int) -> Batch: ...


@dataclass(eq=False)
class Training:
    """What training changes."""

    model: GPT
    optimizer: torch.optim.Optimizer
    # (inputs, targets[, document]) (B, S) -> the sum of their nats; its backward pass fills the gradients of `model`.
    # The model's own, or that compiled or made parallel
    objective: Callable[..., Tensor]
    ranks: Ranks = field(default_factory=Ranks)
    loss_scale: LossScale | None = None  # fp16 only
    average: Average | None = None  # of the weights, evaluated beside them
    clock: Clock = field(default_factory=lambda: Clock(None))
    step: int = 0  # updates done
    cursor: int = 0  # sequences read
    tokens: int = 0  # tokens read
    evaluated: int = -1  # the last step that was evaluated
    val_loss: float = math.nan  # of that step
    saved: int = -1  # the last step that was saved
    pace: Pace = field(default_factory=Pace)  # of saving
    log_bytes: int = 0  # length of the log when this state was saved
    rollbacks: int = 0  # to an earlier checkpoint, after a divergence
    rate_factor: float = 1.0  # of the scheduled learning rate, after rollbacks
    micro_batch: int | None = None  # in place of the configuration's, once that did not fit into memory
    skipped_in_a_row: int = 0  # batches whose gradient was not finite


@dataclass(frozen=True)
class Gradients:
    """What the forward and backward passes of an update measured. The gradients themselves lie in the parameters."""

    loss: float  # mean over all tokens of the update, all ranks, in nats
    rank_losses: tuple[float, ...]  # of each rank's own tokens
    micro_batch_grad_norms: tuple[float, ...]  # of the mean gradient of each of this rank's micro-batches but the last
    #                                            that ranks have to share; () where there is one micro-batch
    loader_seconds: float  # waited for the data
    max_logit: float | None = None  # the largest |logit| of this rank's tokens, before a cap


@dataclass(frozen=True)
class Update:
    """What taking the step measured."""

    grad_norm: float  # of all parameters together, before clipping
    clip_scale: float  # the gradient was multiplied by this; 1: not clipped
    update_ratio: Mapping[str, float]  # by group: |update| / |weight|
    taken: bool  # False: a number was not finite; weights and place in the data are as they were


def accumulate(training: Training, config: Config, windows: Batches) -> Gradients:
    """Gradients of the mean loss over all tokens of the update, in micro-batches, each rank its share of them."""
    ranks, total = training.ranks, config.tokens_per_step
    first, count = rank_slice(training.cursor, config.sequences_per_step, ranks.rank, ranks.world)
    began = time.perf_counter()
    batch = windows.batch(first, count)
    loader_seconds = time.perf_counter() - began
    draw_anew(config.run.seed, training.step, ranks)
    arrays = (batch.inputs, batch.targets, *([batch.document] if config.model.document_mask else []))
    size = config.batch.micro_batch or count
    parts = [slice(at, at + size) for at in range(0, count, size)]
    nats = torch.zeros((), device=ranks.device)
    norms = _Norms(training, total)
    if (largest := training.model.max_logit) is not None:
        largest.zero_()
    for part in parts:
        last = part is parts[-1]
        tensors = [to_device(array[part], ranks.device) for array in arrays]  # (B, S) each
        norms.before(last)
        exchange = parallel.exchange(training.model, training.objective, last)
        with exchange, hardware.autocast(config.hardware.device, config.hardware.precision):
            loss = training.objective(*tensors) / total
        factor = ranks.world * _scale(training)  # ranks exchange the mean of their gradients
        (loss * factor).backward()  # type: ignore[no-untyped-call]
        nats += loss.detach()
        norms.after(last, tensors[0].numel())
    own, tokens = nats.double() * total, count * config.model.context
    rest = (norms.values(), loader_seconds, None if largest is None else float(largest))
    if ranks.world == 1:
        return Gradients(float(nats), (float(own) / tokens,), *rest)
    sums = ranks.gathered(torch.stack([own, torch.tensor(tokens, device=own.device).double()]))
    return Gradients(float(sums[:, 0].sum()) / total, tuple((sums[:, 0] / sums[:, 1]).tolist()), *rest)


def apply(training: Training, config: Config, rate: float, gradients: Gradients) -> Update:
    """Clip and take the step.

    With a loss or a gradient that is not finite the weights, and the place in the data, are left as they were.
    """
    limit = config.optimizer.grad_clip or math.inf
    scale = _scale(training)
    parameters = [p for p in training.model.parameters() if p.grad is not None]
    grads = [p.grad for p in parameters if p.grad is not None]
    grad_norm = float(parallel.whole(nn.utils.get_total_norm(grads))) / scale
    clip_scale = min(limit / (grad_norm + ROUNDING), 1.0) if math.isfinite(grad_norm) else math.nan
    taken = math.isfinite(grad_norm) and math.isfinite(gradients.loss)
    ratio: dict[str, float] = {}
    if taken:
        if clip_scale != scale:
            torch._foreach_mul_(grads, clip_scale / scale)
        optimizers.set_learning_rate(training.optimizer, rate)
        ratio = optimizers.measured_step(training.optimizer)
        if training.average is not None:
            training.average.update(training.model)
        training.step += 1
        training.skipped_in_a_row = 0
        training.cursor += config.sequences_per_step
        training.tokens += config.tokens_per_step
        if training.loss_scale is not None:
            training.loss_scale.succeeded()
    training.optimizer.zero_grad(set_to_none=True)
    return Update(grad_norm, clip_scale, ratio, taken)


def to_device(array: Any, device: str) -> Tensor:
    """A numpy array as a tensor; to a GPU from pinned memory, so that the copy does not wait for what runs there."""
    tensor = torch.from_numpy(array)
    if device.startswith("cuda"):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class _Norms:
    """The gradient norm of each micro-batch: its gradient is made apart from the sum of those before it.

    Costs one pass over the gradients a micro-batch, and memory for one more set of them. The two sets take turns, so
    that the sum is the one that backward itself would have made. Where ranks exchange gradients in the last backward
    pass, that one adds to the sum of the ones before, and its own norm is not known.
    """

    def __init__(self, training: Training, tokens_per_step: int) -> None:
        self._parameters = [p for p in training.model.parameters() if p.requires_grad]
        self._alone = training.ranks.world == 1
        self._off = parallel.in_parts(training.model)  # torch keeps the gradients to itself until the last
        self._tokens, self._scale = tokens_per_step, _scale(training) * training.ranks.world
        self._sum: list[Tensor | None] = []
        self._norms: list[tuple[Tensor, float]] = []
        self._passes = 0

    def before(self, last: bool) -> None:
        if last and not self._alone and self._sum:
            for parameter, gradient in zip(self._parameters, self._sum, strict=True):
                parameter.grad = gradient

    def after(self, last: bool, tokens: int) -> None:
        """tokens: of this micro-batch."""
        self._passes += 1
        if self._off or (last and (self._passes == 1 or not self._alone)):
            return
        own = [p.grad for p in self._parameters]
        made = [g for g in own if g is not None]
        self._norms.append((nn.utils.get_total_norm(made), self._tokens / (tokens * self._scale)))
        if self._sum:
            pairs = [(s, g) for s, g in zip(self._sum, own, strict=True) if s is not None and g is not None]
            torch._foreach_add_([s for s, _ in pairs], [g for _, g in pairs])
        else:
            self._sum = own
        for parameter, gradient in zip(self._parameters, self._sum, strict=True):
            parameter.grad = gradient if last else None

    def values(self) -> tuple[float, ...]:
        return tuple(float(norm) * factor for norm, factor in self._norms)


def _scale(training: Training) -> float:
    return 1.0 if training.loss_scale is None else training.loss_scale.value
