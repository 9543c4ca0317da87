"""What the names and shapes of its tensors say of a model: parameters, width, layers, a tied head."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from talweg.run import Facts

POSITIONS = re.compile(
    r"(?:^|\.)(?:wpe|(?:embed_)?positions?|position_embeddings?|pos_emb(?:ed(?:ding)?)?)(?:\.weight)?$"
)
# buffers that are no weights: causal masks, rotary frequencies, counts
BUFFERS = re.compile(r"(?:\.attn\.bias|masked_bias|inv_freq|causal_mask|num_batches_tracked|running_(?:mean|var))$")
EMBEDDING = re.compile(
    r"(?:^|\.)(?:wte|embed_tokens|tok_embeddings|word_embeddings|token_embedding(?:s|_table)?)\.weight$"
)
HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output)\.weight$")
LAYER = re.compile(r"(?:^|\.)(?:h|layers|blocks)\.([0-9]+)\.")
WHOLE = ("I", "U", "B", "Int", "Long", "Short", "Char", "Byte", "Bool")  # types of elements that are no weights


@dataclass(frozen=True)
class Tensor:
    """storage: what two tensors have alike that are one."""

    shape: tuple[int, ...]
    dtype: str = ""
    storage: object = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def facts_of(tensors: Mapping[str, Tensor], source: str) -> Facts:
    """Counted over tensors of a model; () of none."""
    weights = {name: tensor for name, tensor in tensors.items() if _is_weight(name, tensor)}
    if not weights:
        return Facts()
    distinct: dict[object, int] = {}
    for name, tensor in weights.items():
        if not POSITIONS.search(name):
            distinct[name if tensor.storage is None else tensor.storage] = tensor.size
    embedding, head = _only(weights, EMBEDDING), _only(weights, HEAD)
    vocabulary, width = embedding.shape if embedding is not None and len(embedding.shape) == 2 else (None, None)
    tied = None
    if embedding is not None and head is not None and embedding.storage is not None:
        tied = embedding.storage == head.storage
    positions = _only(weights, re.compile(r"(?:^|\.)wpe\.weight$"))
    layers = {int(match[1]) for name in weights if (match := LAYER.search(name))}
    return Facts.stated(
        f"the tensors of {source}",
        parameters=float(sum(distinct.values())),
        vocabulary_size=vocabulary,
        width=width,
        tied_embeddings=tied,
        context=positions.shape[0] if positions is not None and len(positions.shape) == 2 else None,
        layers=len(layers) if layers == set(range(len(layers))) and layers else None,
    )


def _is_weight(name: str, tensor: Tensor) -> bool:
    if BUFFERS.search(name) and (not name.endswith(".attn.bias") or len(tensor.shape) == 4):
        return False
    return not tensor.dtype.startswith(WHOLE)


def _only(weights: Mapping[str, Tensor], pattern: re.Pattern[str]) -> Tensor | None:
    found: Sequence[Tensor] = [tensor for name, tensor in weights.items() if pattern.search(name)]
    return found[0] if len(found) == 1 else None
