"""Which token comes next: the probabilities of a temperature, cut down by top-k, top-p and min-p, and one drawn.

The order is temperature, top-k, top-p, min-p; what one of them leaves has the sum 1 before the next looks at it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from talweg.errors import InputError


@dataclass(frozen=True)
class Choice:
    """How a token is chosen. Raises InputError for a value out of range."""

    temperature: float = 0.8  # 0: the most probable token
    top_k: int | None = None  # among this many of the most probable
    top_p: float | None = None  # among the fewest of the most probable that have this probability together
    min_p: float | None = None  # among those with at least this share of the largest probability

    def __post_init__(self) -> None:
        for name, right, needed in (
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("min_p", self.min_p is None or 0 <= self.min_p <= 1, "a share from 0 to 1"),
        ):
            if not right:
                raise InputError(f"sampling with {name} = {getattr(self, name)}: needed {needed}")


def probabilities(logits: Tensor, choice: Choice) -> Tensor:
    """(V,) logits -> (V,) probabilities. Ties with the last of the k are kept too."""
    if choice.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), logits.numel()).to(logits.dtype)
    if choice.top_k is not None and choice.top_k < logits.numel():
        logits = logits.masked_fill(logits < logits.topk(choice.top_k).values[-1], float("-inf"))
    p = torch.softmax((logits - logits.max()) / choice.temperature, dim=0)
    if choice.top_p is not None and choice.top_p < 1:
        ordered, index = p.sort(descending=True, stable=True)
        before = ordered.cumsum(0) - ordered  # what the more probable ones have together
        p = p.index_fill(0, index[before >= choice.top_p], 0.0)
    if choice.min_p:
        p = p.masked_fill(p < choice.min_p * p.max(), 0.0)
    return p / p.sum()


def choose(logits: Tensor, choice: Choice, generator: torch.Generator) -> int:
    """One token from (V,) logits on the CPU."""
    if choice.temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(probabilities(logits, choice), 1, generator=generator))
