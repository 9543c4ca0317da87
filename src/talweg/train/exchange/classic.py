"""The names that GPT-2's weights have, in nanoGPT's checkpoints and in HF folders alike.

wte and wpe are the two embeddings, h.N the blocks, ln_1 and ln_2 the norms before attention and feed-forward, c_attn
queries, keys and values in one matrix, c_proj the way back into the stream, ln_f the last norm. HF keeps the four
matrices of a block transposed (inputs x outputs), nanoGPT does not.
"""

import re
from collections.abc import Iterator

from talweg.errors import InputError
from talweg.model.shape import Shape
from talweg.train.exchange.pairs import Pair, same, transposed

NORMS = {"attention_norm": "ln_1", "feed_forward_norm": "ln_2"}
MATRICES = {
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "feed_forward.into": "mlp.c_fc",
    "feed_forward.out": "mlp.c_proj",
}
MASKS = re.compile(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)")  # what is visible, kept as a buffer


def pairs(shape: Shape, *, transpose: bool) -> Iterator[Pair]:
    """Every parameter of a model with layernorm and learned positions."""
    matrix = transposed if transpose else same
    yield same("embedding.weight", "transformer.wte.weight")
    yield same("positions.weight", "transformer.wpe.weight")
    for layer in range(shape.layers):
        ours, theirs = f"blocks.{layer}.", f"transformer.h.{layer}."
        for mine, name in NORMS.items():
            yield same(f"{ours}{mine}.weight", f"{theirs}{name}.weight")
        for mine, name in MATRICES.items():
            yield matrix(f"{ours}{mine}.weight", f"{theirs}{name}.weight")
        for mine, name in (NORMS | MATRICES).items() if shape.bias else ():
            yield same(f"{ours}{mine}.bias", f"{theirs}{name}.bias")
    yield same("norm.weight", "transformer.ln_f.weight")
    if shape.bias:
        yield same("norm.bias", "transformer.ln_f.bias")
    if not shape.tied_head:
        yield same("head.weight", "lm_head.weight")


def without_place(shape: Shape, activations: tuple[str, ...]) -> list[str]:
    """The options of this shape that the classic form does not have, as "model.key = value"."""
    wanted = {
        "norm": ("layernorm",),
        "positions": ("learned",),
        "activation": activations,
        "qk_norm": (False,),
        "value_residual": (False,),
        "x0_shortcut": (False,),
        "logit_softcap": (0.0,),
    }
    odd = [
        f"model.{key} = {_written(getattr(shape, key))}" for key, of in wanted.items() if getattr(shape, key) not in of
    ]
    if shape.groups != shape.heads:
        odd.append(f"model.kv_heads = {shape.groups}")
    return odd


def refuse(odd: list[str], form: str) -> None:
    """Raises InputError that names every option without a place."""
    if odd:
        raise InputError(f"{form} has no place for {', '.join(odd)}; nothing was written")


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
