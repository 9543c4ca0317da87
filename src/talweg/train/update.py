"""One optimizer update: gradients of the mean loss over all micro-batches, clipped, applied."""

import math
from dataclasses import dataclass

import torch

from talweg.corpus.windows import Windows
from talweg.model.gpt import GPT
from talweg.train import hardware, optimizer
from talweg.train.config import Config


@dataclass(eq=False)
class Training:
    """What training changes."""

    model: GPT
    optimizer: torch.optim.Optimizer
    step: int = 0  # updates done
    cursor: int = 0  # sequences read
    tokens: int = 0  # tokens read
    evaluated: int = -1  # the last step that was evaluated
    saved: int = -1  # the last step that was saved
    log_bytes: int = 0  # length of the log when this state was saved


def accumulate(training: Training, config: Config, windows: Windows) -> float:
    """Gradients of the mean loss over all tokens of the step, in micro-batches; returns that loss in nats."""
    device, precision, micro_batch = config.hardware.device, config.hardware.precision, config.batch.micro_batch
    sequences = config.batch.tokens_per_step // config.model.context
    batch = windows.batch(training.cursor, sequences)
    arrays = (batch.inputs, batch.targets, *([batch.document] if config.model.document_mask else []))
    tensors = [torch.from_numpy(array) for array in arrays]  # (B, S) each
    total = torch.zeros((), device=device)
    for first in range(0, sequences, micro_batch or sequences):
        part = slice(first, first + (micro_batch or sequences))
        with hardware.autocast(device, precision):
            loss = training.model.total_loss(*(tensor[part].to(device, non_blocking=True) for tensor in tensors))
            loss = loss / config.batch.tokens_per_step
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return float(total)


def apply(training: Training, config: Config, rate: float, loss: float) -> float:
    """Clip and take the step; returns the norm of the gradient before clipping.

    With a loss or a gradient that is not finite the weights, and the place in the data, are left as they were.
    """
    limit = config.optimizer.grad_clip or math.inf
    grad_norm = float(torch.nn.utils.clip_grad_norm_(training.model.parameters(), limit))
    if math.isfinite(grad_norm) and math.isfinite(loss):
        optimizer.set_learning_rate(training.optimizer, rate)
        training.optimizer.step()
        training.step += 1
        training.cursor += config.batch.tokens_per_step // config.model.context
        training.tokens += config.batch.tokens_per_step
    training.optimizer.zero_grad(set_to_none=True)
    return grad_norm
