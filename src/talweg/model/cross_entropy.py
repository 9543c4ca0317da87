"""The loss of the head, computed over a part of the tokens at a time: the logits of all of them are never held.

With V = 50,304 words the logits of 16,384 tokens are 1.6 GB in bf16 and 3.3 GB in fp32, more than a small model and its
optimizer. Where gradients are wanted they are computed in the forward pass, part by part, while the logits are there:

    d total / d features = (softmax(logits) - one-hot) weight        d total / d weight = (...)^T features

and the backward pass only multiplies them by the gradient that it is given (Hsu et al. 2024, Liger Kernel; Wijmans et
al. 2024, Cut Your Losses). The value is that of the plain formula for any size of the parts, to rounding.
Axes: T tokens, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from talweg.model.kernels import compute_dtype, precise
from talweg.model.limits import rows_at_a_time

CACHED = 2**19  # logits turned into probabilities at a time on a CPU: 2 MB, the second-level cache of one core
SMALLEST = 1e-30  # probability whose logarithm in fp32 is still exact


def total_cross_entropy(
    features: Tensor, weight: Tensor, targets: Tensor, cap: float = 0.0, largest: Tensor | None = None
) -> Tensor:
    """Sum over tokens of -log softmax(logits)[target], logits = softcap(features @ weight^T, cap).

    features (T, D), weight (V, D), targets (T,), not negative -> (), in fp32. Products are those of autocast, or else
    of the dtype of the features; probabilities and the sum over the parts are in fp32.

    largest: a number that is raised to the largest |logit| before the cap, if that is larger.
    """
    dtype = compute_dtype(features)
    gradients = torch.is_grad_enabled() and (features.requires_grad or weight.requires_grad)
    return _TotalCrossEntropy.apply(features.to(dtype), weight, targets, cap, largest, gradients)  # type: ignore[no-any-return, no-untyped-call]


def token_losses(features: Tensor, weight: Tensor, targets: Tensor, cap: float = 0.0) -> Tensor:
    """-log softmax(logits)[target] of each token, (T,) in fp32; 0 where the target is negative."""
    rows = rows_at_a_time(weight.shape[0], features.device.type)
    losses = [
        functional.cross_entropy(
            softcap(functional.linear(part, weight).float(), cap), target, ignore_index=-1, reduction="none"
        )
        for part, target in zip(torch.split(features, rows), torch.split(targets, rows), strict=True)
    ]
    return torch.cat(losses)


def softcap(logits: Tensor, cap: float) -> Tensor:
    """cap tanh(logits / cap), so that none is larger than the cap (Gemma team 2024); 0 leaves them as they are."""
    return cap * torch.tanh(logits / cap) if cap else logits


class _TotalCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        targets: Tensor,
        cap: float,
        largest: Tensor | None,
        gradients: bool,
    ) -> Tensor:
        matrix = weight.to(features.dtype)
        rows = rows_at_a_time(weight.shape[0], features.device.type)
        room = features.new_empty(min(rows, len(features)), weight.shape[0])
        total = torch.zeros((), device=features.device, dtype=precise(features))
        d_features = torch.empty_like(features) if gradients else None
        d_weight: Tensor | None = None
        for first in range(0, len(features), rows):
            part, target = features[first : first + rows], targets[first : first + rows, None]
            logits = torch.mm(part, matrix.t(), out=room[: len(part)])
            if largest is not None:
                torch.maximum(largest, torch.stack(torch.aminmax(logits)).abs().amax().to(largest.dtype), out=largest)
            total += _losses_leaving_gradients(logits, target, cap)
            if d_features is not None:
                torch.mm(logits, matrix, out=d_features[first : first + rows])
                product = logits.t() @ part
                d_weight = product.to(weight.dtype) if d_weight is None else d_weight.add_(product)
                del product  # before the next one is made: it is as large as the head
        ctx.save_for_backward(d_features, d_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        d_features, d_weight = ctx.saved_tensors
        return d_features * gradients[0], d_weight * gradients[0], None, None, None, None


def _losses_leaving_gradients(logits: Tensor, target: Tensor, cap: float) -> Tensor:
    """The sum of the nats; in the place of the logits (T, V) are left its derivatives by them. target: (T, 1)."""
    if logits.device.type != "cpu" or torch.compiler.is_compiling():  # a compiler makes its own loops over rows
        return _derive(logits, target, cap)
    rows = max(CACHED // logits.shape[1], 1)
    total = torch.zeros((), dtype=precise(logits))
    for part, right in zip(torch.split(logits, rows), torch.split(target, rows), strict=True):
        total += _derive_cached(part, right, cap)
    return total


def _derive(logits: Tensor, target: Tensor, cap: float) -> Tensor:
    """On a device that works while Python goes on, or in a compiled graph: nothing here asks for a result."""
    share = _share(logits, cap)
    capped = logits if share is None else share * (2 * cap)
    log_probability = torch.log_softmax(capped, dim=-1, dtype=precise(logits))
    total = -log_probability.gather(1, target).sum()
    gradient = log_probability.exp_()
    gradient.scatter_add_(1, target, torch.full_like(target, -1, dtype=gradient.dtype))
    logits.copy_(gradient if share is None else torch.ops.aten.sigmoid_backward(gradient.mul_(4), share))
    return total


def _derive_cached(logits: Tensor, target: Tensor, cap: float) -> Tensor:
    """On a CPU: log_softmax and exp would compute the exponentials twice."""
    share = _share(logits, cap)
    capped = logits if share is None else share * (2 * cap)
    probability = torch.softmax(capped, dim=-1, dtype=precise(logits))
    right = probability.gather(1, target)
    if float(right.min()) > SMALLEST:
        total = -right.log().sum()
    else:  # too small for fp32 to hold: only its logarithm can be computed
        total = -torch.log_softmax(capped, dim=-1, dtype=precise(logits)).gather(1, target).sum()
    gradient = probability.scatter_(1, target, right - 1)
    logits.copy_(gradient if share is None else torch.ops.aten.sigmoid_backward(gradient.mul_(4), share))
    return total


def _share(logits: Tensor, cap: float) -> Tensor | None:
    """s = 1 / (1 + e^(-2 logits / cap)): cap tanh(logits / cap) = 2 cap s - cap, and its derivative is 4 s (1 - s).

    The softmax does not see the - cap; on a CPU s takes a sixth of the time of tanh.
    """
    return torch.sigmoid_(logits.to(precise(logits)) * (2 / cap)) if cap else None
