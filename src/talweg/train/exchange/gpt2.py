"""HF's gpt2: layernorm, learned positions, biases everywhere, one of HF's activations, the head tied or not.

A model without biases gets biases of zero, which is the same function; one whose biases are all zero comes back without
them. gelu_new is the tanh form (gelu_tanh here), gelu the exact one, relu2 is relu2.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from talweg.model.shape import Shape
from talweg.train.exchange import classic
from talweg.train.exchange.pairs import Pair
from talweg.train.exchange.settings import Settings
from talweg.train.exchange.weights import Weights

MODEL_TYPE, ARCHITECTURE = "gpt2", "GPT2LMHeadModel"
ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "relu2": "relu2",
}
WRITTEN = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu2": "relu2"}
MUST_BE = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
MASKS = classic.MASKS


def shape_of(settings: Settings, weights: Weights) -> Shape:
    """What config.json describes; the biases are looked at in the weights."""
    settings.must_be(MUST_BE)
    if "wte.weight" in weights:  # written from the bare GPT2Model
        weights.put_under("transformer.")
    width = settings.whole("n_embd")
    return Shape(
        layers=settings.whole("n_layer"),
        heads=settings.whole("n_head"),
        width=width,
        context=settings.whole("n_positions"),
        vocabulary_size=settings.whole("vocab_size"),
        norm="layernorm",
        positions="learned",
        activation=settings.one_of("activation_function", ACTIVATIONS, "gelu_new"),  # type: ignore[arg-type]
        qk_norm=False,
        initialisation="gpt2",
        tied_head=settings.flag("tie_word_embeddings", True),
        bias=any(bool(weights.peek(name).any()) for name in weights.names() if name.endswith(".bias")),
        feed_forward_width=settings.whole("n_inner", 4 * width),
        norm_epsilon=settings.number("layer_norm_epsilon", 1e-5),
    )


def pairs(shape: Shape) -> Iterator[Pair]:
    return classic.pairs(shape, transpose=True)


def neutral(shape: Shape) -> dict[str, Tensor]:
    """The biases of zero that HF wants where the model has none."""
    if shape.bias:
        return {}
    outputs = {"ln_1": shape.width, "attn.c_attn": 3 * shape.width, "attn.c_proj": shape.width}
    outputs |= {"ln_2": shape.width, "mlp.c_fc": shape.hidden, "mlp.c_proj": shape.width}
    biases = {
        f"transformer.h.{layer}.{name}.bias": torch.zeros(size)
        for layer in range(shape.layers)
        for name, size in outputs.items()
    }
    return {**biases, "transformer.ln_f.bias": torch.zeros(shape.width)}


def settings_for(shape: Shape) -> dict[str, Any]:
    """config.json. Raises InputError that names every option without a place."""
    classic.refuse(classic.without_place(shape, tuple(WRITTEN)), "HF's gpt2")
    return {
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_embd": shape.width,
        "n_positions": shape.context,
        "n_ctx": shape.context,
        "n_inner": shape.hidden,
        "vocab_size": shape.vocabulary_size,
        "activation_function": WRITTEN[shape.activation],
        "layer_norm_epsilon": shape.epsilon,
        "tie_word_embeddings": shape.tied_head,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), shape.dropout),
    }
