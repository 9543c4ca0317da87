"""Operations whose gradient is written out, because composed ones spend most of a small model's step on the CPU.

Each equals the plain formula in its docstring (tests/model/test_kernels.py); what they save is passes over memory.
Axes: D width, F width within the feed-forward, B batch, S position, H heads of queries, G of keys and values,
K width of one head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from talweg.model.limits import LONGEST_PLAIN

EPSILON = 1e-6  # under the root of a mean square


def rms_norm(x: Tensor, gain: Tensor | None = None, epsilon: float = EPSILON) -> Tensor:
    """gain * x / sqrt(mean(x^2) + epsilon) over the last axis (Zhang and Sennrich 2019)."""
    if gain is not None:
        return _RmsNormGain.apply(x, gain, epsilon)  # type: ignore[no-any-return, no-untyped-call]
    return _RmsNorm.apply(x, epsilon)  # type: ignore[no-any-return, no-untyped-call]


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)^2 (So et al. 2021)."""
    return _Relu2.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def swiglu(x: Tensor) -> Tensor:
    """(..., 2 F) -> (..., F): silu(first half) * second half, silu(g) = g / (1 + e^-g) (Shazeer 2020)."""
    return _SwiGlu.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def mix(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """weights[0] x + weights[1] y: the two numbers are learned."""
    return _Mix.apply(x, y, weights)  # type: ignore[no-any-return, no-untyped-call]


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products now: autocast's where it is on, else that of x."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def precise(x: Tensor) -> torch.dtype:
    """The dtype of sums over many numbers: fp32, or fp64 where all is in fp64, as in the check of a gradient."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class _RmsNorm(torch.autograd.Function):
    """y = r x with r = 1 / sqrt(mean(x^2) + epsilon);  dx = r (g - y mean(g y))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        r = inverse_rms(x, epsilon).to(x.dtype)
        y = x * r
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (g,), (y, r) = gradients, ctx.saved_tensors
        across = torch.addcmul(g, y, (g * y).mean(-1, keepdim=True), value=-1)
        return torch.mul(across, r), None


class _RmsNormGain(torch.autograd.Function):
    """z = w y, y and r as above;  dx = r (w g - y mean(w g y)), dw = sum over rows of g y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
        r = inverse_rms(x, epsilon).to(x.dtype)
        y = x * r
        ctx.save_for_backward(y, r, gain)
        return y * gain.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (g,), (y, r, gain) = gradients, ctx.saved_tensors
        w, gy = gain.to(y.dtype), g * y
        dw = gy.flatten(0, -2).sum(0, dtype=gain.dtype)
        along = (gy @ w).div_(y.shape[-1])[..., None]
        return torch.addcmul(g * w, y, along, value=-1).mul_(r), dw, None


def inverse_rms(x: Tensor, epsilon: float = EPSILON) -> Tensor:
    """1 / sqrt(mean(x^2) + epsilon) over the last axis, kept as an axis, at least in fp32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=precise(x))
    return torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(epsilon))


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


class _SwiGlu(torch.autograd.Function):
    """y = g s u, s = 1 / (1 + e^-g);  dg = (s + g s (1 - s)) u dy, du = g s dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate, up = x.chunk(2, dim=-1)
        ctx.save_for_backward(x)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (g,), (x,) = gradients, ctx.saved_tensors
        gate, up = x.chunk(2, dim=-1)
        d = torch.empty_like(x)
        d_gate, d_up = d.chunk(2, dim=-1)
        torch.mul(functional.silu(gate), g, out=d_up)
        d_gate.copy_(torch.ops.aten.silu_backward(g * up, gate))
        return d


class _Mix(torch.autograd.Function):
    """z = a x + b y;  dx = a g, dy = b g, da = g . x, db = g . y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, weights)
        a, b = weights.unbind()
        return (x * a).add_(y * b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (g,), (x, y, weights) = gradients, ctx.saved_tensors
        a, b = weights.unbind()
        products = [(g * each).sum(dtype=weights.dtype) for each in (x, y)]
        return g * a, g * b, torch.stack(products)


class _NormedRotated(torch.autograd.Function):
    """One head's queries or keys: y = R r x, R the rotation by position, r as in _RmsNorm.

    Rotation keeps lengths, so dx = r R^T (g - y mean(g y)).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, turn: Tensor, normed: bool, epsilon: float) -> Tensor:
        y = x.to(precise(x))
        r = inverse_rms(y, epsilon) if normed else None
        y = y * r if r is not None else y.clone() if y is x else y
        _as_pairs(y).mul_(turn)
        y = y.to(x.dtype)
        ctx.save_for_backward(y, r, turn)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (g,), (y, r, turn) = gradients, ctx.saved_tensors
        dtype, g = g.dtype, g.to(precise(g)).contiguous()
        if r is not None:
            along = (g * y).mean(-1, keepdim=True)
            g = torch.addcmul(g, y.to(g.dtype), along, value=-1)
        elif dtype == g.dtype:
            g = g.clone()
        _as_pairs(g).mul_(turn.conj())
        return (g.mul_(r) if r is not None else g).to(dtype), None, None, None


def _as_pairs(x: Tensor) -> Tensor:
    """(..., K) real -> (..., K / 2) complex, the same memory."""
    return torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))


def normed_rotated(x: Tensor, turn: Tensor, *, normed: bool, epsilon: float = EPSILON) -> Tensor:
    """Queries or keys (B, S, ..., H, K): RMS norm of each head if `normed`, then rotation of each pair by its position.

    turn: (S, ..., K / 2, 2), cosine and sine, broadcast against x as pairs.
    """
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _NormedRotated.apply(x, torch.view_as_complex(turn), normed, epsilon)  # type: ignore[no-any-return, no-untyped-call]
    y = x.to(precise(x))  # for compilers, which know no complex numbers
    y = rms_norm(y, epsilon=epsilon) if normed else y
    (even, odd), (cosine, sine) = torch.unflatten(y, -1, (-1, 2)).unbind(-1), turn.unbind(-1)
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2).to(x.dtype)


def same_document(document: Tensor) -> Tensor:
    """(B, S) -> (B, 1, S, S), true where the position of the third axis may see that of the last: it comes no later and
    stands in the same document."""
    same = document[:, None, :, None] == document[:, None, None, :]
    return same.tril_()


def causal_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float, allowed: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(K), causal) v; q (B, H, S, K), k and v (B, G, S, K), head h of q reading head h G / H.

    allowed: as `same_document` gives it, in place of causal.

    torch's fused kernel, except where it is the slower: on the CPU its gradient in bf16 takes 2.3 times as long at 256
    positions as that of the plain formula on matrix units (1.2 at 512, 0.9 at 1,024), and with dropout it is not fused
    at all.
    """
    training = torch.is_grad_enabled() and q.requires_grad
    short = q.dtype == torch.bfloat16 and q.shape[2] <= LONGEST_PLAIN
    if q.device.type == "cpu" and training and (dropout > 0 or short):
        return _plain_attention(q, k, v, dropout, allowed)
    return functional.scaled_dot_product_attention(
        q, k, v, allowed, dropout, is_causal=allowed is None, enable_gqa=k.shape[1] != q.shape[1]
    )


def continued_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As above for the last S of N positions: q (B, H, S, K), k and v (B, G, N, K). Without gradients or dropout."""
    S, N = q.shape[2], k.shape[2]
    mask = None if S in (1, N) else torch.ones(S, N, dtype=torch.bool, device=q.device).tril_(N - S)
    return functional.scaled_dot_product_attention(
        q, k, v, mask, is_causal=1 < S == N, enable_gqa=k.shape[1] != q.shape[1]
    )


def _plain_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float, allowed: Tensor | None) -> Tensor:
    """The formula as three products; the queries that share a head of keys stand below each other in one matrix."""
    (B, H, S, K), G = q.shape, k.shape[1]
    mask = torch.full((S, S), float("-inf"), dtype=q.dtype).triu_(1).repeat(H // G, 1)
    if allowed is not None:
        mask = torch.zeros(allowed.shape, dtype=q.dtype).masked_fill_(~allowed, float("-inf"))
        mask = mask[:, :, None].expand(B, G, H // G, S, S).reshape(B * G, H // G * S, S)
    q = q.reshape(B * G, H // G * S, K)
    k, v = (x.reshape(B * G, S, K) for x in (k, v))
    weights = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2), alpha=K**-0.5), dim=-1)
    return (functional.dropout(weights, dropout) @ v).view(B, H, S, K)
