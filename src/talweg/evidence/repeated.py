"""What repeating the text will add to the loss from here on, beyond what the curve so far can have told."""

import numpy as np
from numpy.typing import NDArray

from talweg.laws import repetition, size
from talweg.run import Run

Array = NDArray[np.float64]


def text_size(run: Run) -> float | None:
    """The distinct tokens of the training text as counted; uncounted FineWeb may be as little as one of its files."""
    counted = [n for n in (run.facts.unique_tokens, run.facts.near_unique_tokens) if n is not None]
    if counted:
        return min(counted)
    if run.facts.train_tokens is not None:
        return run.facts.train_tokens
    fineweb = "fineweb" in (run.facts.dataset or "").lower()
    return repetition.FINEWEB_PARQUET if fineweb else None


def repetition_ahead(run: Run, step: Array) -> tuple[Array, Array]:
    """Mean and sd of what repetition adds between the end of the log and each of these steps, in nats. (T,), (T,)

    The repetition law gives the growth of the cost. How much of that growth a law fitted to the curve has already taken
    into its shape is not known, nor, where nobody counted, whether the text is as small as it may be: so it is uniform
    between nothing and all of it. Zeros where nothing is known of the text, and where the size laws do
    not reach: carried on, they charge a small model that passes once more.
    """
    f, text = run.facts, text_size(run)
    if text is None or f.parameters is None or f.tokens_per_step is None or run.tokens_seen is None:
        return np.zeros(step.size), np.zeros(step.size)
    if size.in_range(f.parameters, run.tokens_seen):  # it would charge a small model that passes once more
        return np.zeros(step.size), np.zeros(step.size)
    so_far = repetition.cost(f.parameters, text, run.tokens_seen).value
    costs = np.array([repetition.cost(f.parameters, text, s * f.tokens_per_step).value for s in step])
    growth = np.maximum(costs - so_far, 0.0)
    return growth / 2, growth / np.sqrt(12)
