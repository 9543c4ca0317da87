"""Operations whose gradient is written out, because composed ones spend most of a small model's step on the CPU.

Each equals the plain formula in its docstring (tests/model/test_kernels.py); what they save is passes over memory.
Axes: T tokens, D width, V vocabulary, B batch, S position, H heads, K width of one head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-6  # under the root of a mean square
LONGEST_PLAIN = 512  # positions up to which plain attention in bf16 is the faster one on a CPU with matrix units
SMALLEST = 1e-30  # probability whose logarithm in fp32 is still exact
CHUNK = 2**19  # logits that are turned into probabilities at a time: 2 MB, the second-level cache of one core


def rms_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) over the last axis (Zhang and Sennrich 2019), without a gain.

    A gain would be redundant: the matrix that reads the result can hold it.
    """
    return _RmsNorm.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)^2 (So et al. 2021)."""
    return _Relu2.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def total_cross_entropy(features: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum over tokens of -log softmax(features @ weight^T)[target]: (T, D), (V, D), (T,) -> ().

    The probabilities are computed in fp32, and kept for the gradient in the dtype of the products.
    """
    if features.device.type != "cpu":  # with its own fused kernels; the loop below would wait for every part
        return functional.cross_entropy(functional.linear(features, weight).float(), targets, reduction="sum")
    dtype = compute_dtype(features)
    return _TotalCrossEntropy.apply(features.to(dtype), weight.to(dtype), targets)  # type: ignore[no-any-return, no-untyped-call]


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products now: autocast's where it is on, else that of x."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _RmsNorm(torch.autograd.Function):
    """y = r x with r = 1 / sqrt(mean(x^2) + epsilon);  dx = r (g - y mean(g y))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        r = inverse_rms(x).to(x.dtype)
        y = x * r
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (g,), (y, r) = gradients, ctx.saved_tensors
        across = torch.addcmul(g, y, (g * y).mean(-1, keepdim=True), value=-1)
        return torch.mul(across, r)


def inverse_rms(x: Tensor) -> Tensor:
    """1 / sqrt(mean(x^2) + epsilon) over the last axis, kept as an axis, in fp32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(EPSILON))


class _Relu2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = torch.clamp_min(x, 0)
        ctx.save_for_backward(positive)
        return torch.square(positive)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        positive: Tensor = ctx.saved_tensors[0]
        return (gradients[0] * positive).mul_(2)


class _TotalCrossEntropy(torch.autograd.Function):
    """d loss / d logits = softmax - one-hot; it takes the place of the logits, so they are held once."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        logits = features @ weight.t()  # (T, V)
        total = torch.zeros((), device=features.device)
        rows = max(CHUNK // weight.shape[0], 1)
        for part, target in zip(torch.split(logits, rows), torch.split(targets[:, None], rows), strict=True):
            probability = torch.softmax(part, dim=-1, dtype=torch.float32)
            right = probability.gather(1, target)
            if float(right.min()) > SMALLEST:
                total -= right.log().sum()
            else:  # too small for fp32 to hold: only its logarithm can be computed
                total -= torch.log_softmax(part, dim=-1, dtype=torch.float32).gather(1, target).sum()
            part.copy_(probability.scatter_(1, target, right - 1))
        ctx.save_for_backward(features, weight, logits)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        features, weight, gradient = ctx.saved_tensors
        scale = gradients[0]
        return (gradient @ weight).mul_(scale), (gradient.t() @ features).mul_(scale), None


class _NormedRotated(torch.autograd.Function):
    """One head's queries or keys: y = R r x, R the rotation by position, r as in _RmsNorm.

    Rotation keeps lengths, so dx = r R^T (g - y mean(g y)).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, turn: Tensor, normed: bool) -> Tensor:
        y = x.float()
        r = inverse_rms(y) if normed else None
        y = y * r if r is not None else y.clone() if y is x else y
        _as_pairs(y).mul_(turn)
        y = y.to(x.dtype)
        ctx.save_for_backward(y, r, turn)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (g,), (y, r, turn) = gradients, ctx.saved_tensors
        dtype, g = g.dtype, g.float().contiguous()
        if r is not None:
            along = (g * y).mean(-1, keepdim=True)
            g = torch.addcmul(g, y.float(), along, value=-1)
        elif dtype == torch.float32:
            g = g.clone()
        _as_pairs(g).mul_(turn.conj())
        return (g.mul_(r) if r is not None else g).to(dtype), None, None


def _as_pairs(x: Tensor) -> Tensor:
    """(..., K) real -> (..., K / 2) complex, the same memory."""
    return torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))


def normed_rotated(x: Tensor, turn: Tensor, *, normed: bool) -> Tensor:
    """Queries or keys (B, S, ..., H, K): RMS norm of each head if `normed`, then rotation of each pair by its position.

    turn: complex (S, ..., K / 2), e^(i angle), broadcast against x as pairs.
    """
    return _NormedRotated.apply(x, turn, normed)  # type: ignore[no-any-return, no-untyped-call]


def same_document(document: Tensor) -> Tensor:
    """(B, S) -> (B, 1, S, S), true where the position of the third axis may see that of the last: it comes no later and
    stands in the same document."""
    same = document[:, None, :, None] == document[:, None, None, :]
    return same.tril_()


def causal_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float, allowed: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(K), causal) v; all (B, H, S, K). allowed: as `same_document` gives it, in place of causal.

    torch's fused kernel, except where it is the slower: on the CPU its gradient in bf16 takes 2.3 times as long at 256
    positions as that of the plain formula on matrix units (1.2 at 512, 0.9 at 1,024), and with dropout it is not fused
    at all.
    """
    training = torch.is_grad_enabled() and q.requires_grad
    short = q.dtype == torch.bfloat16 and q.shape[2] <= LONGEST_PLAIN
    if q.device.type == "cpu" and training and (dropout > 0 or short):
        B, H, S, K = q.shape
        mask = torch.full((S, S), float("-inf"), dtype=q.dtype).triu_(1)
        if allowed is not None:
            mask = torch.zeros(allowed.shape, dtype=q.dtype).masked_fill_(~allowed, float("-inf"))
            mask = mask.expand(B, H, S, S).reshape(B * H, S, S)
        q, k, v = (x.reshape(B * H, S, K) for x in (q, k, v))
        weights = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2), alpha=K**-0.5), dim=-1)
        return (functional.dropout(weights, dropout) @ v).view(B, H, S, K)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=allowed, is_causal=allowed is None, dropout_p=dropout
    )
