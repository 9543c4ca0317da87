"""One decoder-only GPT, in the order of the forward pass: embedding, blocks (attention, feed-forward), norm, head.

Axes: B batch, S position, D width, V vocabulary, H heads, K width of one head (D / H).

Options of `Shape` give the classic GPT-2 form (layernorm, learned positions, gelu, bias, dropout) and a modern one
(rmsnorm, rope, qk_norm, relu2). Initial weights:

    gpt2      N(0, 0.02); the projections that write into the residual stream / sqrt(2 layers) (Radford et al. 2019)
    zero_out  embeddings N(0, 0.02), matrices N(0, 1 / sqrt(inputs)), those projections zero, so that every block
              begins as the identity (Zhang et al. 2019)
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from talweg.model import kernels

INITIAL_SD = 0.02  # GPT-2
ROPE_BASE = 10_000.0  # Su et al. 2021


@dataclass(frozen=True)
class Shape:
    """What the model is made of."""

    layers: int
    heads: int
    width: int
    context: int
    vocabulary_size: int
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    positions: Literal["rope", "learned"] = "rope"
    activation: Literal["relu2", "gelu"] = "relu2"
    qk_norm: bool = True
    initialisation: Literal["zero_out", "gpt2"] = "zero_out"
    tied_head: bool = True
    bias: bool = False
    dropout: float = 0.0
    document_mask: bool = False  # whoever calls the model gives it the documents of the targets


def _norm(shape: Shape) -> nn.Module:
    if shape.norm == "rmsnorm":
        return RMSNorm()
    return nn.LayerNorm(shape.width, bias=shape.bias)


class RMSNorm(nn.Module):
    """Divides by the root mean square. No gain: the matrix that reads the result can hold it."""

    def forward(self, x: Tensor) -> Tensor:
        return kernels.rms_norm(x)


class GPT(nn.Module):
    """Next-token logits, or the loss of given targets."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width) if shape.positions == "learned" else None
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = _norm(shape)
        self.head = nn.Linear(shape.width, shape.vocabulary_size, bias=False)
        if shape.tied_head:
            self.head.weight = self.embedding.weight
        self._initialise()

    def features(self, tokens: Tensor, document: Tensor | None = None) -> Tensor:
        """tokens (B, S) -> what the head reads (B, S, D).

        document: (B, S) the document of each position's target: a position sees only those of its own, so that the
        separator before a document is its beginning. None: the tokens are one document.
        """
        allowed = None if document is None else kernels.same_document(document)
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens.shape[1]]
        x = self.dropout(x.to(kernels.compute_dtype(x)))  # the residual stream: a cast at every norm costs 8 % more
        for block in self.blocks:
            x = block(x, allowed)
        return self.norm(x)  # type: ignore[no-any-return]

    def forward(self, tokens: Tensor, document: Tensor | None = None) -> Tensor:
        """tokens (B, S) -> logits (B, S, V)."""
        return self.head(self.features(tokens, document))  # type: ignore[no-any-return]

    def losses(self, tokens: Tensor, targets: Tensor, document: Tensor | None = None) -> Tensor:
        """tokens, targets (B, S) -> nats of each token (B, S), in fp32; 0 where the target is negative."""
        logits = self(tokens, document).float()
        flat = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none")
        return flat.view_as(targets)

    def total_loss(self, tokens: Tensor, targets: Tensor, document: Tensor | None = None) -> Tensor:
        """tokens, targets (B, S) -> the sum of the nats of all tokens, for training. Targets are not negative."""
        features = self.features(tokens, document).flatten(0, 1)
        return kernels.total_cross_entropy(features, self.head.weight, targets.flatten())

    def num_parameters(self) -> int:
        """All weights, a tied head once, without position embeddings."""
        positions = 0 if self.positions is None else self.positions.weight.numel()
        return sum(p.numel() for p in self.parameters()) - positions

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=self._initial_sd(name, parameter))

    def _initial_sd(self, name: str, parameter: Tensor) -> float:
        into_residual = name.endswith(("attention.out.weight", "feed_forward.out.weight"))
        if self.shape.initialisation == "gpt2":
            return INITIAL_SD / math.sqrt(2 * self.shape.layers) if into_residual else INITIAL_SD
        if into_residual:
            return 0.0
        return 1 / math.sqrt(parameter.shape[1]) if name.startswith("blocks.") else INITIAL_SD


class Block(nn.Module):
    """Attention and feed-forward, each reading a norm of the residual stream and adding to it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = _norm(shape)
        self.attention = Attention(shape)
        self.feed_forward_norm = _norm(shape)
        self.feed_forward = FeedForward(shape)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), allowed)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=shape.bias)
        self.out = nn.Linear(shape.width, shape.width, bias=shape.bias)
        self.dropout = nn.Dropout(shape.dropout)
        if shape.positions == "rope":
            self.register_buffer("turn", rotation(shape.context, shape.width // shape.heads), persistent=False)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        """allowed: (B, 1, S, S) which positions (the last axis) each may see; None: all that came before."""
        B, S, D = x.shape
        H = self.shape.heads
        qk, v = torch.split(self.qkv(x).view(B, S, 3 * H, D // H), [2 * H, H], dim=2)
        if self.shape.positions == "rope":
            turn: Tensor = self.turn[:S]  # type: ignore[index]
            qk = kernels.normed_rotated(qk, turn, normed=self.shape.qk_norm)
        elif self.shape.qk_norm:
            qk = kernels.rms_norm(qk)
        q, k = qk.transpose(1, 2).chunk(2, dim=1)
        v = v.transpose(1, 2)  # each B H S K
        y = kernels.causal_attention(q, k, v, self.shape.dropout if self.training else 0.0, allowed)
        return self.dropout(self.out(y.transpose(1, 2).reshape(B, S, D)))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.activation = shape.activation
        self.into = nn.Linear(shape.width, 4 * shape.width, bias=shape.bias)
        self.out = nn.Linear(4 * shape.width, shape.width, bias=shape.bias)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        x = kernels.relu2(x) if self.activation == "relu2" else functional.gelu(x, approximate="tanh")
        return self.dropout(self.out(x))  # type: ignore[no-any-return]


def rotation(context: int, head_width: int) -> Tensor:
    """e^(i angle) for every position and pair, complex (S, 1, K / 2), to be broadcast over the heads.

    angle = position * base^(-2 j / K), pairs j < K / 2 (Su et al. 2021).
    """
    frequency = ROPE_BASE ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle = torch.arange(context, dtype=torch.float64)[:, None] * frequency
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)[:, None]
