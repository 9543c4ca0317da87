"""Reading a text token by token: the keys and values of what was read are kept, so that each token is computed once.

The logits are those of the whole forward pass, to rounding. Positions are those of the window: when it is full the last
half of it is read again as if the text began there, so that the model always sees between half and all of its context.
Axes: L layers, B texts, S tokens, C context, G heads of keys and values, K width of one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from talweg.model.gpt import GPT
from talweg.model.shape import Shape


@dataclass(eq=False)
class Cache:
    """Keys and values of the tokens read so far, in room for the whole context."""

    keys: Tensor  # (L, B, G, C, K)
    values: Tensor  # (L, B, G, C, K)
    length: int = 0  # tokens read

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put those of S new tokens, (B, G, S, K), behind the others of this layer; returns all of them."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def empty_cache(shape: Shape, texts: int, device: torch.device, dtype: torch.dtype) -> Cache:
    size = (shape.layers, texts, shape.groups, shape.context, shape.head_width)
    return Cache(torch.zeros(size, device=device, dtype=dtype), torch.zeros(size, device=device, dtype=dtype))


class Reader:
    """Reads on and on, and says what may follow. For a model in evaluation mode, without autocast."""

    def __init__(self, model: GPT, texts: int = 1) -> None:
        self.model = model
        weight = model.embedding.weight
        self.cache = empty_cache(model.shape, texts, weight.device, weight.dtype)
        self.window = torch.zeros((texts, 0), dtype=torch.int64, device=weight.device)  # tokens in the cache

    @torch.inference_mode()
    def read(self, tokens: Tensor) -> Tensor:
        """tokens (B, S), at least one -> the logits of what follows the last, (B, V) in fp32.

        Of more tokens than the context holds only the last are read.
        """
        context = self.model.shape.context
        window = torch.cat([self.window, tokens.to(self.window.device)], dim=1)
        if window.shape[1] > context:
            kept = context if tokens.shape[1] >= context else max(context // 2, tokens.shape[1])
            tokens = window = window[:, -kept:]
            self.cache.length = 0
        features = self.model.features(tokens.to(window.device), cache=self.cache)
        self.cache.length += tokens.shape[1]
        self.window = window
        return self.model.logits(features[:, -1]).float()
