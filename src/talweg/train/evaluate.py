"""Evaluation: every token of a fixed text, in evaluation mode, with the standard error of the mean.

Axes: B windows in a forward pass, S positions of a window, T tokens evaluated.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from talweg.corpus.shards import Split
from talweg.corpus.windows import rank_slice
from talweg.model.gpt import GPT
from talweg.train.parallel import cut_again, in_parts
from talweg.train.ranks import Ranks

LOGITS = 2**24  # at a time: 64 MB in fp32. Not the training's micro-batch, so that the value never depends on it


@dataclass(frozen=True, eq=False)
class Text:
    """A fixed text in windows: each token but the first is predicted once, from what stands before it in its window."""

    inputs: NDArray[np.int64]  # (W, S)
    targets: NDArray[np.int64]  # (W, S); -1 beyond the end of the text
    document: NDArray[np.int64]  # (W, S) the document that the target belongs to
    clean: NDArray[np.bool_] | None = None  # (W, S) that document has no hit in train; None: unknown, or all the same

    @property
    def num_tokens(self) -> int:
        return int((self.targets >= 0).sum())

    @property
    def clean_share(self) -> float | None:
        """The share of the evaluated tokens whose document has no hit in train; None as `clean`."""
        return None if self.clean is None else float(self.clean[self.targets >= 0].mean())


@dataclass(frozen=True)
class Loss:
    """Nats per token, with the standard error over documents; the same of the documents without a hit in train."""

    value: float
    standard_error: float
    clean: "Loss | None" = None


def text(split: Split, context: int, num_tokens: int) -> Text:
    """The whole split, or where it is longer, windows of it at equal distances that hold `num_tokens` in all."""
    total = len(split.tokens)
    starts = np.arange(0, max(total - 1, 1), context)
    wanted = max(math.ceil(min(num_tokens, total) / context), 1)
    if wanted < starts.size:
        starts = starts[: max((total - 1) // context, 1)]  # full windows only
        starts = starts[np.linspace(0, starts.size - 1, min(wanted, starts.size)).round().astype(np.int64)]
    position = starts[:, None] + np.arange(context + 1)  # (W, S + 1)
    inside = position < total
    position = np.minimum(position, total - 1)
    tokens = np.stack([np.asarray(split.tokens[row[0] : row[-1] + 1])[row - row[0]] for row in position]).astype(
        np.int64
    )
    document = np.searchsorted(np.asarray(split.document_ends), position[:, 1:], side="right")
    clean = None
    if split.overlap is not None:
        clean = ~(split.overlap > 0)[document]  # NaN, a document too short to have a 13-gram, is no hit
        if np.unique(clean[inside[:, 1:]]).size < 2:  # without a hit or without a clean document nothing is compared
            clean = None
    return Text(tokens[:, :-1], np.where(inside[:, 1:], tokens[:, 1:], -1), document, clean)


def evaluate(model: GPT, text: Text, ranks: Ranks, precision: Callable[[], AbstractContextManager[object]]) -> Loss:
    """Mean loss over all tokens of the text, and where it is known which documents are clean, over theirs."""
    return mean_loss(token_losses(model, text, ranks, precision), text)


def mean_loss(loss: NDArray[np.float64], text: Text) -> Loss:
    """The mean of (W, S) token losses of the text, and of those of its clean documents, with their standard errors."""
    counted = text.targets >= 0
    whole = clustered_mean(loss[counted], text.document[counted])
    if text.clean is None:
        return whole
    counted = counted & text.clean
    return replace(whole, clean=clustered_mean(loss[counted], text.document[counted]))


def token_losses(
    model: GPT, text: Text, ranks: Ranks, precision: Callable[[], AbstractContextManager[object]]
) -> NDArray[np.float64]:
    """(W, S) nats of every target, 0 beyond the end of the text; each rank computes its share of the windows.

    Draws no random numbers, and leaves the model in training mode.
    """
    arrays = (text.inputs, text.targets, *([text.document] if model.shape.document_mask else []))
    first, count = rank_slice(0, len(text.inputs), ranks.rank, ranks.world)
    batch = max(LOGITS // (text.inputs.shape[1] * model.shape.vocabulary_size), 1)
    passes = math.ceil(math.ceil(len(text.inputs) / ranks.world) / batch)  # as many on every rank, which fsdp needs
    losses = np.zeros(text.inputs.shape)
    model.eval()
    quiet = torch.no_grad() if in_parts(model) else torch.inference_mode()  # the weights that fsdp puts together stay
    with quiet, precision():
        for begin in range(first, first + passes * batch, batch):
            own = begin < first + count
            rows = slice(begin, min(begin + batch, first + count)) if own else slice(0, 1)
            tensors = (torch.from_numpy(array[rows]).to(ranks.device, non_blocking=True) for array in arrays)
            found = model.losses(*tensors)
            if own:
                losses[rows] = found.double().cpu().numpy()
    model.train()
    cut_again(model)
    if ranks.world == 1:
        return losses
    return ranks.added(torch.from_numpy(losses).to(ranks.device)).cpu().numpy()  # the windows of others are 0 here


def clustered_mean(loss: NDArray[np.float64], document: NDArray[np.int64]) -> Loss:
    """Mean of the (T,) token losses, and its standard error when tokens of one document are correlated.

    The cluster-robust variance of a mean (Liang and Zeger 1986), e_i = loss_i - mean, G documents:

        var = G / (G - 1)  sum over documents of (sum of e_i in the document)^2 / T^2

    With a single document nothing is known of the scatter between documents: the error is NaN.
    """
    mean = float(loss.mean())
    _, cluster = np.unique(document, return_inverse=True)
    sums = np.bincount(cluster, weights=loss - mean)
    if sums.size < 2:
        return Loss(mean, math.nan)
    variance = sums.size / (sums.size - 1) * float(np.square(sums).sum()) / loss.size**2
    return Loss(mean, math.sqrt(variance))


def bits_per_byte(loss_nats: float, tokens: int, num_bytes: int) -> float:
    """Nats per token to bits per byte, for a text of so many tokens and bytes."""
    return loss_nats * tokens / (math.log(2) * num_bytes)
