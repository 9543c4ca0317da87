"""How many sequences go through the model at once: what fits, and how a run goes on when it did not fit after all.

The micro-batch never changes the mathematics: gradients are those of the mean over all tokens of the update.

On a CPU it is chosen by rule, not by a stopwatch, so that two runs of one configuration are the same bit for bit. From
2,048 tokens a forward pass on the pace is level to 2 % for 1 M to 16 M parameters; with 256 tokens it is a third lower
(notes/machine.md). On a GPU the largest that the memory model allows is tried, and halved where it does not fit.
"""

import math
from collections.abc import Callable
from typing import TypeVar

from talweg.errors import InputError
from talweg.train.config import Config, with_values
from talweg.train.memory import Memory, predict

T = TypeVar("T")
LEVEL = 4096  # tokens of a forward pass above which a CPU gets no faster
SHARE = {"cpu": 0.8, "cuda": 0.9, "mps": 0.7}  # of the available memory that a run may take: our choice
GIB = 2**30


def choose(config: Config, available: int | None, fits: Callable[[Config], bool] | None = None) -> tuple[int, str]:
    """The micro-batch in sequences, and why.

    config: resolved but for the micro-batch. available: bytes that the device has free; None: not known.
    fits: runs one forward and backward pass of this configuration and says whether the memory was enough; it is asked
    where the device is no CPU, from the largest candidate downwards.
    """
    device, context = config.hardware.device, config.model.context
    room = math.inf if available is None else SHARE[device] * available
    candidates = equal_parts(config.sequences_per_step)
    if device == "cpu":
        level = max(LEVEL // context, 1)
        candidates = [size for size in candidates if size <= level]
    allowed = [size for size in candidates if predict(config, size).total <= room]
    if not allowed:
        return 1, f"{_words(predict(config, 1), available)}: not even one sequence fits by the memory model"
    for size in allowed:
        if device == "cpu" or fits is None or fits(with_values(config, {"batch.micro_batch": size})):
            break
    reason = _words(predict(config, size), available)
    if size != allowed[0]:
        reason += f"; {allowed[0]} did not fit when tried"
    elif device == "cpu" and size < config.sequences_per_step and size == candidates[0]:
        reason += f"; more than {LEVEL:,} tokens a forward pass make a CPU no faster"
    return size, reason


def equal_parts(sequences: int) -> list[int]:
    """The sizes that cut so many sequences into parts of one size, but for a smaller last one; largest first."""
    return sorted({math.ceil(sequences / parts) for parts in range(1, sequences + 1)}, reverse=True)


def backed_off(config: Config) -> Config:
    """The same run with half the micro-batch, rounded up. Raises InputError where it is one sequence already."""
    now = config.batch.micro_batch or config.sequences_per_step
    if now == 1:
        raise InputError(
            f"the memory of the {config.hardware.device} is too small for one sequence of {config.model.context} "
            f"tokens (predicted: {predict(config).total / GIB:.1f} GiB); lower model.context, width or layers"
        )
    return with_values(config, {"batch.micro_batch": math.ceil(now / 2)})


def with_back_off(step: Callable[[Config], T], clear: Callable[[], None], config: Config) -> tuple[T, Config]:
    """What `step` returns, and the configuration that it fitted with: halved until it does.

    step: does its work from the beginning at each call, and leaves nothing behind that a second call would see but
    what `clear` removes (gradients, blocks that the allocator keeps).
    Raises InputError where even one sequence is too much; every other error passes.
    """
    while True:
        try:
            return step(config), config
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        clear()  # here, where the traceback no longer holds the tensors of the failed pass
        config = backed_off(config)


def out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python or torch says so, on a GPU (torch.OutOfMemoryError) or a CPU."""
    words = str(error).lower()
    known = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(each in words for each in known)


def _words(memory: Memory, available: int | None) -> str:
    needed = f"needs {memory.total / GIB:.2f} GiB by the memory model"
    return needed if available is None else f"{needed}, {available / GIB:.1f} GiB are free"
