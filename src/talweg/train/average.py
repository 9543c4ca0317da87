"""Averages of the weights: a moving one over the steps, and how any set of weights takes the model's place for a while.

    a <- a + s (w - a)      s = (1 - decay) / (1 - decay^t) at the t-th update

which is the mean of all weights so far, each weighted with decay^(its age): the usual moving average, without the
initial weights that it would have to forget (the bias correction of Adam, Kingma and Ba 2015). The first update is a
copy. The average is evaluated beside the model and never trained.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from talweg.errors import InputError

PREFIX = "average/"  # of the names in a saved state
COUNT = "average_updates"


class Average:
    """The moving average of a model's parameters; as much memory as they take."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """After a step."""
        self.updates += 1
        share = (1 - self.decay) / (1 - self.decay**self.updates)
        now = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(list(self.weights.values()), now, share)

    def state_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {COUNT: torch.tensor(self.updates)} | {PREFIX + name: w for name, w in self.weights.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put a saved average back; one that was not kept begins with the next update. InputError: another model's."""
        if COUNT not in tensors:
            self.updates = 0
            return
        for name, weight in self.weights.items():
            saved = tensors.get(PREFIX + name)
            if saved is None or saved.shape != weight.shape:
                raise InputError(f"the checkpoint's average of the weights has no {name} of this model's shape")
            weight.copy_(saved)
        self.updates = int(tensors[COUNT])


@contextmanager
def swapped_in(model: nn.Module, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Within, the model has these weights, by the names of its parameters; None: its own.

    Nothing is copied, so that afterwards the model is what it was, bit for bit.
    """
    own = {name: p.data for name, p in model.named_parameters()} if weights is not None else {}
    try:
        for name, parameter in model.named_parameters():
            if weights is not None:
                parameter.data = weights[name]
        yield
    finally:
        for name, parameter in model.named_parameters():
            if name in own:
                parameter.data = own[name]
