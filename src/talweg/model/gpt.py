"""One decoder-only GPT, in the order of the forward pass: embedding, blocks (attention, feed-forward), norm, head.

Axes: B batch, S position, D width, V vocabulary, H heads of queries, G heads of keys and values, K width of one head
(D / H), F width within the feed-forward.

Options of `Shape` give the classic GPT-2 form (layernorm, learned positions, gelu, bias, dropout), the Llama form
(rmsnorm with a gain, rope, swiglu, shared keys) and a modern one (rmsnorm, rope, qk_norm, relu2). Initial weights:

    gpt2      N(0, 0.02); the projections that write into the residual stream / sqrt(2 layers) (Radford et al. 2019)
    zero_out  embeddings N(0, 0.02), matrices N(0, 1 / sqrt(inputs)), those projections zero, so that every block
              begins as the identity (Zhang et al. 2019)

A learned gain is 1 at first. The learned numbers of a mixture a x + b y begin as (1, 0) where y is the embedding, and
as (1/2, 1/2) where it is the first block's values (Zhou et al. 2024, Value Residual Learning).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from talweg.model import cross_entropy, kernels
from talweg.model.shape import Activation, Shape

if TYPE_CHECKING:
    from talweg.model.inference import Cache

INITIAL_SD = 0.02  # GPT-2


def _norm(shape: Shape) -> nn.Module:
    if shape.norm == "rmsnorm":
        return RMSNorm(shape.width, shape.epsilon, gain=shape.norm_gain)
    return nn.LayerNorm(shape.width, shape.epsilon, bias=shape.bias)


class RMSNorm(nn.Module):
    """Divides by the root mean square. Without a gain the matrix that reads the result can hold it."""

    def __init__(self, width: int, epsilon: float, *, gain: bool) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        return kernels.rms_norm(x, self.weight, self.epsilon)


class Beside:
    """What a block is given beside the residual stream; `values` is left here by the first block.

    No dataclass: FSDP2 hands a block a copy of each dataclass, and what the first one left would be lost.
    """

    def __init__(
        self,
        allowed: Tensor | None = None,  # (B, 1, S, S) which positions (the last axis) each may see; None: all before it
        embedding: Tensor | None = None,  # (B, S, D) for the shortcut
        cache: "Cache | None" = None,  # keys and values of the tokens before these
    ) -> None:
        self.allowed, self.embedding, self.cache = allowed, embedding, cache
        self.values: Tensor | None = None  # (B, S, G, K) of the first block, for the value residual


class GPT(nn.Module):
    """Next-token logits, or the loss of given targets."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width) if shape.positions == "learned" else None
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.norm = _norm(shape)
        self.head = nn.Linear(shape.width, shape.vocabulary_size, bias=False)
        if shape.tied_head:
            self.head.weight = self.embedding.weight
        self.max_logit: Tensor | None = None  # (), where `total_loss` shall keep the largest |logit|; None: nobody asks
        self._initialise()

    def features(self, tokens: Tensor, document: Tensor | None = None, cache: "Cache | None" = None) -> Tensor:
        """tokens (B, S) -> what the head reads (B, S, D).

        document: (B, S) the document of each position's target: a position sees only those of its own, so that the
        separator before a document is its beginning. None: the tokens are one document.
        cache: what was read before these tokens, in place of `document`; whoever gives it counts them afterwards.
        """
        x = self.embedding(tokens)
        if self.positions is not None:
            before = 0 if cache is None else cache.length
            x = x + self.positions.weight[before : before + tokens.shape[1]]
        x = self.dropout(x.to(kernels.compute_dtype(x)))  # the stream: a cast at every norm costs 8 % more
        beside = Beside(None if document is None else kernels.same_document(document), x, cache=cache)
        for block in self.blocks:
            x = block(x, beside)
        return self.norm(x)  # type: ignore[no-any-return]

    def logits(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        return cross_entropy.softcap(self.head(features), self.shape.logit_softcap)

    def forward(self, tokens: Tensor, document: Tensor | None = None) -> Tensor:
        """tokens (B, S) -> logits (B, S, V)."""
        return self.logits(self.features(tokens, document))

    def losses(self, tokens: Tensor, targets: Tensor, document: Tensor | None = None) -> Tensor:
        """tokens, targets (B, S) -> nats of each token (B, S), in fp32; 0 where the target is negative."""
        features = self.features(tokens, document).flatten(0, 1)
        losses = cross_entropy.token_losses(features, self.head.weight, targets.flatten(), self.shape.logit_softcap)
        return losses.view_as(targets)

    def total_loss(self, tokens: Tensor, targets: Tensor, document: Tensor | None = None) -> Tensor:
        """tokens, targets (B, S) -> the sum of the nats of all tokens, for training. Targets are not negative.

        `max_logit`, where it is a tensor, becomes the largest |logit| before the cap, of all passes since it was 0.
        """
        features = self.features(tokens, document).flatten(0, 1)
        return cross_entropy.total_cross_entropy(
            features,
            self.head.weight,
            targets.flatten(),
            self.shape.logit_softcap,
            self.max_logit,
        )

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

    def __init__(self, shape: Shape, layer: int = 0) -> None:
        super().__init__()
        self.x0_mix = None  # the first block's stream is the embedding
        if shape.x0_shortcut and layer > 0:
            self.x0_mix = nn.Parameter(torch.tensor([1.0, 0.0]))
        self.attention_norm = _norm(shape)
        self.attention = Attention(shape, layer)
        self.feed_forward_norm = _norm(shape)
        self.feed_forward = FeedForward(shape)

    def forward(self, x: Tensor, beside: Beside | None = None) -> Tensor:
        beside = beside or Beside(embedding=x)
        if self.x0_mix is not None:
            assert beside.embedding is not None
            x = kernels.mix(x, beside.embedding, self.x0_mix)
        x = x + self.attention(self.attention_norm(x), beside)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Causal self-attention; H / G heads of queries share one of keys and values (Ainslie et al. 2023)."""

    def __init__(self, shape: Shape, layer: int = 0) -> None:
        super().__init__()
        self.shape, self.layer = shape, layer
        rows = (shape.heads + 2 * shape.groups) * shape.head_width  # queries, keys, values
        self.qkv = nn.Linear(shape.width, rows, bias=shape.bias)
        self.out = nn.Linear(shape.width, shape.width, bias=shape.bias)
        self.dropout = nn.Dropout(shape.dropout)
        self.value_mix = None
        if shape.value_residual and layer > 0:
            self.value_mix = nn.Parameter(torch.tensor([0.5, 0.5]))
        if shape.positions == "rope":
            turn = rotation(shape.context, shape.head_width, shape.rope_base)
            self.register_buffer("turn", turn, persistent=False)

    def forward(self, x: Tensor, beside: Beside) -> Tensor:
        B, S, D = x.shape
        H, G, K = self.shape.heads, self.shape.groups, self.shape.head_width
        qk, v = torch.split(self.qkv(x).view(B, S, H + 2 * G, K), [H + G, G], dim=2)
        if self.shape.positions == "rope":
            before = 0 if beside.cache is None else beside.cache.length
            turn: Tensor = self.turn[before : before + S]  # type: ignore[index]
            qk = kernels.normed_rotated(qk, turn, normed=self.shape.qk_norm, epsilon=self.shape.epsilon)
        elif self.shape.qk_norm:
            qk = kernels.rms_norm(qk, epsilon=self.shape.epsilon)
        if self.value_mix is not None and beside.values is not None:
            v = kernels.mix(v, beside.values, self.value_mix)
        elif self.shape.value_residual:
            beside.values = v
        q, k = torch.split(qk.transpose(1, 2), [H, G], dim=1)
        v = v.transpose(1, 2)  # q (B, H, S, K); k, v (B, G, S, K)
        if beside.cache is not None:
            k, v = beside.cache.extend(self.layer, k, v)
            y = kernels.continued_attention(q, k, v)
        else:
            y = kernels.causal_attention(q, k, v, self.shape.dropout if self.training else 0.0, beside.allowed)
        return self.dropout(self.out(y.transpose(1, 2).reshape(B, S, D)))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers, wider between them. swiglu: the first gives gates and what they let through, (D) -> (2 F)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.activation = shape.activation
        rows = 2 * shape.hidden if shape.activation == "swiglu" else shape.hidden
        self.into = nn.Linear(shape.width, rows, bias=shape.bias)
        self.out = nn.Linear(shape.hidden, shape.width, bias=shape.bias)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = ACTIVATIONS[self.activation](self.into(x))
        return self.dropout(self.out(x))  # type: ignore[no-any-return]


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu2": kernels.relu2,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "swiglu": kernels.swiglu,
}


def rotation(context: int, head_width: int, base: float = 10_000.0) -> Tensor:
    """Cosine and sine of the angle of every position and pair, (S, 1, K / 2, 2), to be broadcast over the heads.

    angle = position * base^(-2 j / K), pairs j < K / 2 (Su et al. 2021).
    """
    frequency = base ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle = torch.arange(context, dtype=torch.float64)[:, None] * frequency
    return torch.stack([angle.cos(), angle.sin()], dim=-1).float()[:, None]
