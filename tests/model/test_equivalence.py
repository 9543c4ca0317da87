"""The model's forms against plain ones, written here from the formulas of their papers: logits, loss and gradients.

Weights are taken by name from the model and put to the plain formulas one head at a time; K width of one head.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from talweg.model.gpt import GPT
from talweg.model.shape import PRESETS, Shape
from talweg.train import config as configs
from talweg.train.start import shape as shape_of

Weights = dict[str, Tensor]
V, S, D, H, LAYERS = 48, 12, 24, 4, 3


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def spread(shape: Shape) -> GPT:
    """A model in which nothing is small or zero, learned numbers included."""
    model = GPT(shape)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.25)
    return model


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    y = (x - mean) / torch.sqrt(variance + 1e-5) * w[f"{name}.weight"]
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def rms(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + epsilon)


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head, one text: (S, K) each."""
    rows = []
    for s in range(len(q)):
        score = k[: s + 1] @ q[s] / math.sqrt(q.shape[1])
        weight = score.exp() / score.exp().sum()
        rows.append(weight @ v[: s + 1])
    return torch.stack(rows)


def head(matrix: Tensor, index: int, first: int = 0) -> Tensor:
    """(S, ...) -> (S, K): the columns of one head, where the heads of this kind begin with `first`."""
    K = D // H
    return matrix[:, (first + index) * K : (first + index + 1) * K]


def gpt2(w: Weights, tokens: Tensor, gelu: Callable[[Tensor], Tensor]) -> Tensor:
    """Radford et al. 2019: pre-norm blocks, learned positions, tied head. tokens (S,) -> logits (S, V)."""
    x = torch.stack([w["embedding.weight"][token] + w["positions.weight"][s] for s, token in enumerate(tokens)])
    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        qkv = linear(w, f"{block}.attention.qkv", layer_norm(w, f"{block}.attention_norm", x))
        heads = [attended(head(qkv, h), head(qkv, h, H), head(qkv, h, 2 * H)) for h in range(H)]
        x = x + linear(w, f"{block}.attention.out", torch.cat(heads, dim=1))
        inner = gelu(linear(w, f"{block}.feed_forward.into", layer_norm(w, f"{block}.feed_forward_norm", x)))
        x = x + linear(w, f"{block}.feed_forward.out", inner)
    return layer_norm(w, "norm", x) @ w["embedding.weight"].T


def turned(x: Tensor, base: float) -> Tensor:
    """Rotation in the convention of Llama's files: (S, K), number j is a pair with number j + K / 2."""
    half = x.shape[1] // 2
    angle = torch.tensor([[s * base ** (-j / half) for j in range(half)] for s in range(len(x))])
    one, other = x[:, :half], x[:, half:]
    return torch.cat([one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos()], dim=1)


def in_halves(x: Tensor) -> Tensor:
    """(S, K) of pairs (0, 1), (2, 3), ... to the convention of `turned`."""
    return torch.cat([x[:, 0::2], x[:, 1::2]], dim=1)


def llama(w: Weights, tokens: Tensor, groups: int, base: float, epsilon: float) -> Tensor:
    """Touvron et al. 2023: rmsnorm with a gain, rotated queries and keys, shared keys, gated feed-forward."""
    x = torch.stack([w["embedding.weight"][token] for token in tokens])
    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        qkv = linear(w, f"{block}.attention.qkv", rms(x, epsilon) * w[f"{block}.attention_norm.weight"])
        heads = []
        for h in range(H):
            g = h // (H // groups)
            q, k = (turned(in_halves(each), base) for each in (head(qkv, h), head(qkv, g, H)))
            heads.append(attended(q, k, head(qkv, g, H + groups)))
        x = x + linear(w, f"{block}.attention.out", torch.cat(heads, dim=1))
        both = linear(w, f"{block}.feed_forward.into", rms(x, epsilon) * w[f"{block}.feed_forward_norm.weight"])
        gate, up = both.chunk(2, dim=1)
        x = x + linear(w, f"{block}.feed_forward.out", gate / (1 + torch.exp(-gate)) * up)
    return rms(x, epsilon) * w["norm.weight"] @ w["head.weight"].T


def modern(w: Weights, tokens: Tensor, cap: float) -> Tensor:
    """Queries and keys normed, then rotated; values and stream mixed with the first ones; squared relu; capped."""
    x = embedding = torch.stack([w["embedding.weight"][token] for token in tokens])
    first = [torch.zeros(())] * H
    for layer in range(LAYERS):
        block, heads = f"blocks.{layer}", []
        if layer:
            x = w[f"{block}.x0_mix"][0] * x + w[f"{block}.x0_mix"][1] * embedding
        qkv = linear(w, f"{block}.attention.qkv", rms(x))
        for h in range(H):
            q, k = (turned(in_halves(rms(each)), 10_000.0) for each in (head(qkv, h), head(qkv, h, H)))
            v = head(qkv, h, 2 * H)
            if layer == 0:
                first[h] = v
            else:
                v = w[f"{block}.attention.value_mix"][0] * v + w[f"{block}.attention.value_mix"][1] * first[h]
            heads.append(attended(q, k, v))
        x = x + linear(w, f"{block}.attention.out", torch.cat(heads, dim=1))
        x = x + linear(w, f"{block}.feed_forward.out", linear(w, f"{block}.feed_forward.into", rms(x)).relu() ** 2)
    return cap * torch.tanh(rms(x) @ w["embedding.weight"].T / cap)


def exact_gelu(x: Tensor) -> Tensor:
    return x / 2 * (1 + torch.erf(x / math.sqrt(2)))


def tanh_gelu(x: Tensor) -> Tensor:
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


NANOGPT = Shape(LAYERS, H, D, S, V, **PRESETS["nanogpt"])
LLAMA = Shape(LAYERS, H, D, S, V, activation="swiglu", qk_norm=False, tied_head=False, norm_gain=True, rope_base=500.0)
LLAMA = replace(LLAMA, norm_epsilon=1e-3, feed_forward_width=40)
MODERN = Shape(LAYERS, H, D, S, V, value_residual=True, x0_shortcut=True, logit_softcap=4.0)
FORMS = {
    "nanogpt": (NANOGPT, lambda w, t: gpt2(w, t, exact_gelu)),
    "nanogpt with bias": (replace(NANOGPT, bias=True), lambda w, t: gpt2(w, t, exact_gelu)),
    "GPT-2": (replace(NANOGPT, bias=True, activation="gelu_tanh"), lambda w, t: gpt2(w, t, tanh_gelu)),
    "llama": (LLAMA, lambda w, t: llama(w, t, H, 500.0, 1e-3)),
    "llama with shared keys": (replace(LLAMA, kv_heads=2), lambda w, t: llama(w, t, 2, 500.0, 1e-3)),
    "llama with one head of keys": (replace(LLAMA, kv_heads=1), lambda w, t: llama(w, t, 1, 500.0, 1e-3)),
    "modern": (MODERN, lambda w, t: modern(w, t, 4.0)),
}


@pytest.mark.parametrize(("shape", "plain"), FORMS.values(), ids=FORMS.keys())
def test_logits_loss_and_gradients_are_those_of_the_plain_form(
    shape: Shape, plain: Callable[[Weights, Tensor], Tensor]
) -> None:
    model, texts = spread(shape), torch.randint(0, V, (2, S + 1))
    inputs, targets = texts[:, :-1], texts[:, 1:]
    weights = dict(model.named_parameters())
    logits = torch.stack([plain(weights, text) for text in inputs])
    torch.testing.assert_close(model(inputs), logits, rtol=1e-4, atol=1e-4)
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    mine = model.total_loss(inputs, targets)
    assert mine.item() == pytest.approx(loss.item(), rel=1e-5)
    found = torch.autograd.grad(mine, list(weights.values()))
    for name, one, other in zip(weights, found, torch.autograd.grad(loss, list(weights.values())), strict=True):
        assert ((one - other).norm() / other.norm()).item() < 1e-4, name


def test_the_preset_begins_as_nanogpt_does() -> None:
    """N(0, 0.02), into the residual stream 0.02 / sqrt(2 layers); gains 1, biases 0; the head is the embedding."""
    values = {"run.steps": 1, "model.preset": "nanogpt", "model.bias": True, "model.vocabulary_size": 512}
    config = configs.build({**values, "model.layers": 8, "model.width": 256})
    model = GPT(shape_of(config))
    assert model.head.weight is model.embedding.weight
    for name, p in model.named_parameters():
        if name.endswith("norm.weight"):
            assert torch.equal(p, torch.ones_like(p))
        elif name.endswith("bias"):
            assert torch.equal(p, torch.zeros_like(p))
        else:
            sd = 0.02 / 4 if name.endswith("out.weight") else 0.02
            assert p.std().item() == pytest.approx(sd, rel=0.03), name
            assert p.mean().item() == pytest.approx(0, abs=sd / 30)
    assert sum(name.endswith("bias") for name, _ in model.named_parameters()) == 8 * 6 + 1


def test_the_learned_numbers_begin_neutral_and_the_first_block_has_none() -> None:
    model = GPT(replace(MODERN, norm_gain=True))
    names = dict(model.named_parameters())
    assert [name for name in names if name.endswith("mix")] == [
        "blocks.1.x0_mix",
        "blocks.1.attention.value_mix",
        "blocks.2.x0_mix",
        "blocks.2.attention.value_mix",
    ]
    assert names["blocks.1.x0_mix"].tolist() == [1, 0]
    assert names["blocks.2.attention.value_mix"].tolist() == [0.5, 0.5]
    assert names["blocks.1.attention_norm.weight"].tolist() == [1] * D


def test_parameters_by_hand() -> None:
    K, F = D // H, 64  # 8 / 3 x 24 is 64
    shared = Shape(LAYERS, H, D, S, V, activation="swiglu", kv_heads=1, norm_gain=True)
    block = D * (D + 2 * K) + D * D + 3 * D * F + 2 * D
    assert GPT(shared).num_parameters() == V * D + LAYERS * block + D
    assert GPT(replace(shared, feed_forward_width=10)).num_parameters() == V * D + D + LAYERS * (
        block - 3 * D * (F - 10)
    )
    assert GPT(MODERN).num_parameters() == V * D + LAYERS * 12 * D * D + (LAYERS - 1) * 4


@pytest.mark.parametrize("name", ["nanogpt", "llama with shared keys", "modern"])
def test_in_bf16_with_and_without_dropout_it_learns_a_text(name: str) -> None:
    shape = replace(FORMS[name][0], dropout=0.0, initialisation="gpt2")
    for dropout in (0.0, 0.05):
        torch.manual_seed(1)
        model = GPT(replace(shape, dropout=dropout))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        tokens = torch.arange(S + 1).repeat(2, 1) * 3 % V
        for _ in range(40):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model.total_loss(tokens[:, :-1], tokens[:, 1:]) / (2 * S)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
            optimizer.step()
        assert loss.item() < 0.5 * math.log(V)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", FORMS)
def test_on_a_gpu_it_is_the_model_of_the_cpu(name: str) -> None:
    model, tokens = spread(FORMS[name][0]), torch.randint(0, V, (2, S))
    expected = model(tokens)
    on_gpu = model.to("cuda")(tokens.to("cuda"))
    torch.testing.assert_close(on_gpu.cpu(), expected, rtol=1e-3, atol=1e-3)
