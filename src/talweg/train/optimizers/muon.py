"""Muon: the momentum of each hidden matrix made orthogonal before it is applied; AdamW for everything else.

    B <- mu B + (1 - mu) G                      momentum of the gradient
    N  = (1 - mu) G + mu B                      Nesterov: one look ahead
    O  = polar factor of N, nearly              U V^T of N = U S V^T, by Newton-Schulz iterations
    W <- (1 - rate decay) W - rate 0.2 sqrt(max(fan_out, fan_in)) O

(Jordan et al. 2024; the scale and the decay: Liu et al. 2025, Muon is Scalable for LLM Training). An orthogonal O of
m x n has the root mean square 1 / sqrt(max(m, n)), and AdamW's updates have about 0.2: with that factor one learning
rate serves both, and a weight decay that suits AdamW suits Muon.

torch.optim.Muon is not used: it takes one matrix at a time, in bf16 whatever the machine, and a fused matrix of
queries, keys and values as one. Here matrices of one shape make one batched product (half the time at a width of 128 on
a CPU), in bf16 where bf16 pays, and the queries, keys and values of each head are matrices of their own.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# One quintic after another, each the minimax approximation of 1 on the image of those before, as Amsel et al. 2025 (The
# Polar Express) choose them: singular values of 0.01 to 1 end within 0.73 and 1.27, 0.001 at 0.08. The classic five
# (Jordan et al. 2024) cost 5/3 of it and train no better (notes/optimizers.md). bench/optimizers.py computes them.
COEFFICIENTS = ((7.7110, -22.1138, 16.2487), (3.7872, -3.0659, 0.6533), (2.6684, -1.9829, 0.4533))
CUSHION = 1.01  # of the norm: beyond 1 the first quintic is steep, and bf16 rounds
ADAMW_RMS = 0.2  # of AdamW's updates (Liu et al. 2025, section 2.2)
SMALLEST = 1e-7  # added to a norm: a gradient of zeros stays one


class Muon(torch.optim.Optimizer):
    """Groups with method "muon" hold matrices; those with method "adamw" are left to the given AdamW.

    rows: by parameter, how many rows make one matrix, where a parameter holds several, one below the other.
    """

    def __init__(
        self,
        matrices: Sequence[dict[str, Any]],  # each with params, name, lr_factor, weight_decay
        rest: torch.optim.AdamW,
        *,
        lr: float,
        momentum: float,
        dtype: torch.dtype,  # of the Newton-Schulz products
        rows: Mapping[Tensor, int] | None = None,
    ) -> None:
        own = [{**group, "method": "muon", "momentum": momentum} for group in matrices]
        super().__init__([*own, *rest.param_groups], {"lr": lr})
        self._rest, self._dtype, self._rows = rest, dtype, rows or {}
        rest.param_groups = [group for group in self.param_groups if group["method"] != "muon"]
        rest.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            if group["method"] == "muon":
                self._update(group)
        self._rest.step()

    def _update(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        for p in parameters:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        gradients, momenta = [p.grad for p in parameters], [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        updates = [block for p, value in zip(parameters, ahead, strict=True) for block in self._blocks(p, value)]
        weights = [block for p in parameters for block in self._blocks(p, p)]
        for weight, update in zip(weights, orthogonal(updates, self._dtype), strict=True):
            weight.add_(update, alpha=-group["lr"] * ADAMW_RMS * math.sqrt(max(weight.shape)))

    def _blocks(self, parameter: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """The matrices that a value of the parameter's shape holds, as views."""
        rows = self._rows.get(parameter)
        return (value,) if rows is None else torch.split(value, rows)


def orthogonal(matrices: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Each matrix (m, n) nearly made orthogonal; those of one shape, or of its transpose, in one batch."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, matrix in enumerate(matrices):
        by_shape.setdefault(tuple(sorted(matrix.shape)), []).append(index)
    done = list(matrices)
    for shape, members in by_shape.items():
        stack = torch.empty(len(members), *shape, dtype=dtype, device=matrices[members[0]].device)
        for slot, index in zip(stack, members, strict=True):
            slot.copy_(_wide(matrices[index]))
        for result, index in zip(newton_schulz(stack), members, strict=True):
            done[index] = result if matrices[index].shape == result.shape else result.t()
    return done


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()


def newton_schulz(stack: Tensor) -> Tensor:
    """(k, m, n), m <= n -> the same with its singular values near 1: X <- a X + b (X X^T) X + c (X X^T)^2 X, repeated.

    Singular values must be at most 1. Dividing by the Frobenius norm would do; the products of the first iteration
    give a bound that is nearer and costs nothing, the Schatten norm (sum of s^8)^(1/8) = ||(X X^T)^2||_F^(1/4).
    """
    norm = torch.linalg.vector_norm(stack, dim=(1, 2), keepdim=True, dtype=torch.float32)
    x: Tensor = (stack / (norm + SMALLEST)).to(stack.dtype)  # first, so that no eighth power leaves the range
    gram = x @ x.transpose(1, 2)
    square = gram @ gram
    bound = CUSHION * torch.linalg.vector_norm(square, dim=(1, 2), keepdim=True, dtype=torch.float32) ** 0.25 + SMALLEST
    a, b, c = COEFFICIENTS[0]
    factor = (gram * (b / bound**3)).add_(square * (c / bound**5))
    x = torch.baddbmm((x * (a / bound)).to(stack.dtype), factor.to(stack.dtype), x)
    for a, b, c in COEFFICIENTS[1:]:
        gram = x @ x.transpose(1, 2)
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, factor, x, beta=a)
    return x
