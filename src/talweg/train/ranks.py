"""The processes that train one model together, as torchrun starts them; one process alone is a group of one.

Each rank reads its own part of every global batch, so that the batches are those of one process, and gradients are
summed at the last micro-batch of an update only. Whatever ends one rank ends all, and one of them says why.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

from talweg.errors import InputError

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # how long one rank waits for another, which may be writing a checkpoint


class ToldElsewhereError(InputError):
    """Ends this rank; what there is to say is said by another."""


class OfThisRankError(InputError):
    """What this rank alone met."""


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

    def told(self, value: T) -> list[T]:
        """The value of each rank, on every rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def together(self, work: Callable[[], T]) -> T:
        """Work that any rank may fail at: an InputError of one is raised on all, and the first rank tells it.

        Within the work no rank may wait for another.
        """
        if self.world == 1:
            return work()
        result, failure = None, None
        try:
            result = work()
        except InputError as error:
            failure = str(error)
        failures = self.told(failure)
        for rank, text in enumerate(failures):
            if text is not None:
                own = text == failures[0]
                raise InputError(text if own else f"rank {rank}: {text}") if self.first else ToldElsewhereError(text)
        return result  # type: ignore[return-value]


def join(device: str) -> Ranks:
    """Meet the others that torchrun started; alone where it did not. device: cpu, cuda, mps."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks(device=device)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    if device == "mps":
        raise InputError(f"torchrun started {world} ranks, which need CPUs or NVIDIA GPUs; give hardware.device = cpu")
    if device == "cuda" and torch.cuda.device_count() < beside:
        raise InputError(
            f"torchrun started {beside} ranks on a machine with {torch.cuda.device_count()} GPUs; "
            "give it --nproc-per-node with as many as there are"
        )
    local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    if device == "cuda":
        torch.cuda.set_device(local)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    return Ranks(distributed.get_rank(), world, local)


@contextmanager
def group() -> Iterator[None]:
    """Around all that ranks do together; at the end they part. What ends one of them becomes one line of one rank."""
    try:
        yield
    except InputError as error:
        if not _met() or distributed.get_rank() == 0 or isinstance(error, ToldElsewhereError):
            raise
        raise OfThisRankError(f"rank {distributed.get_rank()}: {error}") from None
    except RuntimeError as error:
        if not _met() or not _of_communication(error):
            raise
        if distributed.get_rank() == 0:
            raise InputError(
                "another rank ended, which ends this one; its own lines say why. Started again, with as many ranks or "
                "others, the run goes on from its newest checkpoint"
            ) from None
        raise ToldElsewhereError("another rank ended") from None
    finally:
        if _met():
            gc.collect()  # fsdp's own holds on the group: what outlives it may abort the process as it ends
            distributed.destroy_process_group()


def _met() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _of_communication(error: RuntimeError) -> bool:
    """Whether torch says that the others cannot be reached: gloo has no type of its own for it."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()


def tells_itself(error: InputError) -> bool:
    """Whether this process, one that torchrun started, has to print the error: what befalls all is said once."""
    if isinstance(error, OfThisRankError):
        return True
    return not isinstance(error, ToldElsewhereError) and os.environ.get("LOCAL_RANK", "0") == "0"  # before they met


def same_on_all(values: Mapping[str, Any], ranks: Ranks) -> None:
    """Raise InputError on every rank when these values by name are not the same on all."""
    everyone = ranks.told(dict(values))

    def compare() -> None:
        for rank, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs.get(name) != value:
                    raise InputError(
                        f"rank {rank} was started with {name} = {theirs.get(name)}, rank 0 with {value}; "
                        "start all of them with the same configuration and data"
                    )

    ranks.together(compare)


def draw_anew(seed: int, step: int, ranks: Ranks) -> None:
    """Start the random numbers of an update (dropout) from what names it, so that none has to be saved.

    A rank of another has other numbers, and so has a run that goes on with another number of ranks.
    """
    key = int(np.random.SeedSequence((seed, step, ranks.rank)).generate_state(1)[0])
    if ranks.device == "cpu":
        torch.default_generator.manual_seed(key)  # 1 us, where torch.manual_seed looks for other devices for 95
    else:
        torch.manual_seed(key)


def weight_spread(weights: Iterable[Tensor], ranks: Ranks) -> float:
    """(largest - smallest) / mean, over the ranks, of the norm of all weights: 0 where they hold the same model."""
    squares = [weight.detach().double().square().sum() for weight in weights]
    norms = ranks.gathered(torch.stack(squares).sum().sqrt())
    return float((norms.max() - norms.min()) / norms.mean())
