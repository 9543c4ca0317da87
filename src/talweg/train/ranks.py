"""The processes that train one model together, as torchrun starts them; one process alone is a group of one.

Each rank reads its own part of every global batch, so that the batches are those of one process, and gradients are
summed at the last micro-batch of an update only.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # how long one rank waits for another, which may be writing a checkpoint


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"  # where tensors must lie that are exchanged, e.g. cuda:1

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes: the log, checkpoints, what a person sees."""
        return self.rank == 0

    def added(self, values: Tensor) -> Tensor:
        """The sum over all ranks, on every one of them; bit for bit the same on each. `values` is overwritten."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def gathered(self, values: Tensor) -> Tensor:
        """(...) on each rank -> (world, ...) on every one, in the order of the ranks."""
        if self.world == 1:
            return values[None]
        parts = [torch.empty_like(values) for _ in range(self.world)]
        distributed.all_gather(parts, values.contiguous())
        return torch.stack(parts)

    def agreed(self, value: T) -> T:
        """The value of the first rank, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


def join(device: str) -> Ranks:
    """Meet the others that torchrun started; alone where it did not. device: cpu, cuda, mps."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks(device=device)
    local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    if device == "cuda":
        torch.cuda.set_device(local)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    return Ranks(distributed.get_rank(), world, local)


def leave(ranks: Ranks) -> None:
    """The end of the group; nothing where there was none."""
    if ranks.world > 1 and distributed.is_initialized():
        distributed.destroy_process_group()
