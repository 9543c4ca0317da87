"""HF's llama and the two that differ from it in one thing each: qwen3 (QK-norm), arcee (a feed-forward without a gate).

All have rmsnorm with a gain, RoPE, no bias, grouped keys and values, a head that is tied or not.

    llama   swiglu: down(silu(gate x) * up x)
    qwen3   the same, and an rmsnorm with a gain over each head of queries and keys, before RoPE as after it is the same
    arcee   relu2, gelu, gelu_tanh: down(f(up x))

A model whose norms have no gain gets gains of one; where all gains are one it comes back without them. relu2 with
QK-norm is written as qwen3 with hidden_act relu, gate and up the same matrix, since relu(u) * u = relu(u)^2.

HF turns the pair (j, j + K / 2) of a head by the angle of j, we turn neighbours (2 j, 2 j + 1), so the rows of queries
and keys are put in the other order; products of queries with keys are the same.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from talweg.errors import InputError
from talweg.model.shape import Shape
from talweg.train.exchange import classic
from talweg.train.exchange.pairs import Pair, same
from talweg.train.exchange.settings import Settings
from talweg.train.exchange.weights import Weights

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "arcee": "ArceeForCausalLM"}
MASKS = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")  # of older versions
MUST_BE = {"attention_bias": False, "mlp_bias": False, "use_sliding_window": False, "rope_scaling": None}
ACTIVATIONS = {"relu2": "relu2", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
WRITTEN = {"relu2": "relu2", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
GAINS = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
HEAD_GAIN = re.compile(r"model\.layers\.\d+\.self_attn\.[qk]_norm\.weight")
GATE, UP = "gate_proj.weight", "up_proj.weight"
ROPE_BASE = 10_000.0


def shape_of(settings: Settings, weights: Weights) -> Shape:
    """What config.json describes; whether gains and gates are any is looked at in the weights."""
    settings.must_be(MUST_BE)
    _head_gains_are_one(weights)
    layers, heads = settings.whole("num_hidden_layers"), settings.whole("num_attention_heads")
    width = settings.whole("hidden_size")
    kinds = settings.values.get("layer_types")
    full = ["full_attention"] * (len(kinds) if isinstance(kinds, list) else 0)
    settings.must_be({"head_dim": width // heads, "layer_types": full})
    return Shape(
        layers=layers,
        heads=heads,
        width=width,
        context=settings.whole("max_position_embeddings", 2048),
        vocabulary_size=settings.whole("vocab_size"),
        norm="rmsnorm",
        positions="rope",
        activation=_activation(settings, weights),  # type: ignore[arg-type]
        qk_norm=settings.values["model_type"] == "qwen3",
        tied_head=settings.flag("tie_word_embeddings", False),
        kv_heads=settings.whole("num_key_value_heads", heads),
        feed_forward_width=settings.whole("intermediate_size"),
        norm_gain=any(
            bool((weights.peek(name) != 1).any())
            for name in weights.names()
            if name.endswith(("layernorm.weight", "model.norm.weight"))
        ),
        norm_epsilon=settings.number("rms_norm_eps", 1e-5 if settings.values["model_type"] == "arcee" else 1e-6),
        rope_base=_rope_base(settings),
    )


def _activation(settings: Settings, weights: Weights) -> str:
    if settings.values["model_type"] == "arcee":
        return settings.one_of("hidden_act", ACTIVATIONS, "relu2")
    squared = settings.values.get("hidden_act") == "relu" and _gates_are_ups(weights)
    return "relu2" if squared else settings.one_of("hidden_act", {"silu": "swiglu", "swish": "swiglu"}, "silu")


def _gates_are_ups(weights: Weights) -> bool:
    gates = [name for name in weights.names() if name.endswith(GATE)]
    ups = [name.removesuffix(GATE) + UP for name in gates]
    return bool(gates) and all(
        up in weights and torch.equal(weights.peek(up), weights.peek(gate)) for gate, up in zip(gates, ups, strict=True)
    )


def _rope_base(settings: Settings) -> float:
    """rope_theta, where older and where newer versions of transformers write it. A scaled RoPE is refused."""
    inner = settings.values.get("rope_parameters")
    if inner is None:
        return settings.number("rope_theta", ROPE_BASE)
    rope = Settings(inner if isinstance(inner, Mapping) else {}, settings.where)
    rope.must_be({"rope_type": "default", "partial_rotary_factor": 1.0})
    return rope.number("rope_theta", settings.number("rope_theta", ROPE_BASE))


def pairs(shape: Shape) -> Iterator[Pair]:
    """Every parameter of a model with rmsnorm and RoPE."""
    queries, groups = shape.heads, shape.groups
    yield same("embedding.weight", "model.embed_tokens.weight")
    for layer in range(shape.layers):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        yield _queries_keys_values(
            f"{ours}attention.qkv.weight", f"{theirs}self_attn.", queries, groups, shape.head_width
        )
        yield same(f"{ours}attention.out.weight", f"{theirs}self_attn.o_proj.weight")
        yield from _feed_forward(shape, f"{ours}feed_forward.", f"{theirs}mlp.")
        for mine, name in GAINS.items() if shape.norm_gain else ():
            yield same(f"{ours}{mine}.weight", f"{theirs}{name}.weight")
    if shape.norm_gain:
        yield same("norm.weight", "model.norm.weight")
    if not shape.tied_head:
        yield same("head.weight", "lm_head.weight")


def _head_gains_are_one(weights: Weights) -> None:
    """QK-norm has no gain here. One that is not 1 cannot be moved into a matrix, as RoPE stands between."""
    for name in weights.names():
        if HEAD_GAIN.fullmatch(name) and bool((weights.peek(name) != 1).any()):
            raise InputError(
                f"{weights.where}: {name} is not 1 everywhere, and a QK-norm with a learned gain is not known here"
            )


def _queries_keys_values(ours: str, theirs: str, heads: int, groups: int, head_width: int) -> Pair:
    """Rows of queries, then keys, then values, of one matrix; each a matrix of its own there."""
    sizes = [heads * head_width, groups * head_width, groups * head_width]

    def inward(parts: Sequence[Tensor]) -> Tensor:
        query, key, value = parts
        return torch.cat([neighbours(query, head_width), neighbours(key, head_width), value])

    def outward(tensor: Tensor) -> Sequence[Tensor]:
        query, key, value = torch.split(tensor, sizes)
        return halves(query, head_width), halves(key, head_width), value

    return Pair(ours, tuple(f"{theirs}{name}_proj.weight" for name in "qkv"), inward, outward)


def neighbours(rows: Tensor, head_width: int) -> Tensor:
    """(heads K, D): rows j and j + K / 2 of each head become 2 j and 2 j + 1."""
    return rows.view(-1, 2, head_width // 2, rows.shape[-1]).transpose(1, 2).flatten(0, 2)


def halves(rows: Tensor, head_width: int) -> Tensor:
    """(heads K, D): the other way."""
    return rows.view(-1, head_width // 2, 2, rows.shape[-1]).transpose(1, 2).flatten(0, 2)


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(tuple(parts))


def _feed_forward(shape: Shape, ours: str, theirs: str) -> Iterator[Pair]:
    gate_and_up = (f"{theirs}{GATE}", f"{theirs}{UP}")
    if shape.activation == "swiglu":  # one matrix, the gates above
        yield Pair(f"{ours}into.weight", gate_and_up, _stacked, lambda tensor: tensor.chunk(2))
    elif shape.qk_norm:
        yield Pair(f"{ours}into.weight", gate_and_up, lambda parts: parts[0], lambda tensor: (tensor, tensor))
    else:
        yield same(f"{ours}into.weight", f"{theirs}{UP}")
    yield same(f"{ours}out.weight", f"{theirs}down_proj.weight")


def model_type_for(shape: Shape) -> str:
    if shape.qk_norm:
        return "qwen3"
    return "llama" if shape.activation == "swiglu" else "arcee"


def neutral(shape: Shape) -> dict[str, Tensor]:
    """The gains of one that HF wants where the model has none."""
    gains: dict[str, Tensor] = {}
    for layer in range(shape.layers):
        inside = f"model.layers.{layer}."
        if not shape.norm_gain:
            gains |= {f"{inside}{name}.weight": torch.ones(shape.width) for name in GAINS.values()}
        if shape.qk_norm:
            gains |= {f"{inside}self_attn.{part}_norm.weight": torch.ones(shape.head_width) for part in "qk"}
    return gains if shape.norm_gain else {**gains, "model.norm.weight": torch.ones(shape.width)}


def settings_for(shape: Shape) -> dict[str, Any]:
    """config.json. Raises InputError that names every option without a place."""
    _refuse(shape)
    act = "silu" if shape.activation == "swiglu" else "relu" if shape.qk_norm else WRITTEN[shape.activation]
    return {
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.groups,
        "head_dim": shape.head_width,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "max_position_embeddings": shape.context,
        "vocab_size": shape.vocabulary_size,
        "hidden_act": act,
        "rms_norm_eps": shape.epsilon,
        "rope_theta": shape.rope_base,  # where versions before 5 look
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_base},
        "tie_word_embeddings": shape.tied_head,
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


def _refuse(shape: Shape) -> None:
    odd = []
    if shape.norm != "rmsnorm":
        odd.append(f"model.norm = {shape.norm} with model.positions = rope")
    if shape.bias:
        odd.append("model.bias = true")
    if shape.value_residual:
        odd.append("model.value_residual = true")
    if shape.x0_shortcut:
        odd.append("model.x0_shortcut = true")
    if shape.logit_softcap:
        odd.append(f"model.logit_softcap = {shape.logit_softcap:g}")
    if shape.qk_norm and shape.activation in ("gelu", "gelu_tanh"):
        odd.append(f"model.activation = {shape.activation} with model.qk_norm = true")
    classic.refuse(odd, "no architecture of HF transformers that talweg writes (gpt2, llama, qwen3, arcee)")
