"""One parameter of ours, and what it is in another program's file: its names there, and how each becomes the other.

A format is a list of pairs, read in both directions, so that what goes out is what comes in.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from talweg.errors import InputError
from talweg.model.gpt import GPT
from talweg.model.shape import Shape
from talweg.train.exchange.weights import Weights


@dataclass(frozen=True)
class Pair:
    """ours: the name of one parameter of `GPT`; theirs: the names that it is made of."""

    ours: str
    theirs: tuple[str, ...]
    inward: Callable[[Sequence[Tensor]], Tensor]
    outward: Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True, eq=False)
class Found:
    """A model as a file has it. weights: by the names of `GPT`, in fp32; facts: what else the file says."""

    shape: Shape
    weights: Mapping[str, Tensor]
    kind: str  # the program or the architecture: "nanoGPT", "HF gpt2", "Talweg"
    where: Path
    facts: Mapping[str, Any]


def same(ours: str, theirs: str) -> Pair:
    return Pair(ours, (theirs,), lambda parts: parts[0], lambda tensor: (tensor,))


def transposed(ours: str, theirs: str) -> Pair:
    """A matrix that is kept as inputs x outputs there, as GPT-2's are."""
    return Pair(ours, (theirs,), lambda parts: parts[0].t(), lambda tensor: (tensor.t(),))


def bring_in(pairs: Iterable[Pair], weights: Weights, shape: Shape) -> dict[str, Tensor]:
    """The parameters of `shape`. Raises InputError where one is missing, has another shape, or something is left."""
    expected = sizes(shape)
    taken: dict[str, Tensor] = {}
    for pair in pairs:
        tensors = [weights.take(name) for name in pair.theirs]
        wanted = [tuple(part.shape) for part in pair.outward(torch.empty(expected[pair.ours], device="meta"))]
        for name, tensor, size in zip(pair.theirs, tensors, wanted, strict=True):
            if tuple(tensor.shape) != size:
                raise InputError(
                    f"{weights.where}: {name} is {_by(tuple(tensor.shape))}, and its configuration makes it {_by(size)}"
                )
        taken[pair.ours] = pair.inward(tensors).contiguous()
    weights.finish()
    assert taken.keys() == expected.keys(), "a format names every parameter"
    return taken


def take_out(pairs: Iterable[Pair], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the other program's file holds for these parameters; each tensor has memory of its own."""
    given: dict[str, Tensor] = {}
    for pair in pairs:
        for name, tensor in zip(pair.theirs, pair.outward(parameters[pair.ours]), strict=True):
            given[name] = tensor.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
    return given


class _Unfilled(GPT):
    """A model without first weights, which a second of imports and random numbers would be spent on."""

    def _initialise(self) -> None: ...


def sizes(shape: Shape) -> dict[str, torch.Size]:
    """The parameters of a model of this shape, without making them. A tied head is not among them."""
    with torch.device("meta"):
        model = _Unfilled(replace(shape, context=1) if shape.positions == "rope" else shape)  # a table is no parameter
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def build(found: Found) -> GPT:
    """The model, in evaluation mode on the CPU."""
    model = _Unfilled(found.shape)
    fill(model, found.weights)
    return model.eval()


def fill(model: GPT, weights: Mapping[str, Tensor]) -> None:
    """Copy these weights into a model of their shape."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size)) or "a single number"
