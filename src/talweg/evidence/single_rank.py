"""What a run loses when each of its ranks learns from, or sees, no more than one rank's part of the batch."""

import numpy as np

from talweg.estimate import Estimate
from talweg.evidence.levels import judged
from talweg.evidence.plan import horizon
from talweg.laws import ranks
from talweg.run import Run

LATE = 8  # values of the loss whose median is the level reached


def cost_of_single_rank(run: Run) -> Estimate | None:
    """Nats at the end of the plan. None without the tokens per step, the number of ranks, or a law that reaches."""
    f, end, loss = run.facts, horizon(run) or run.last_step, judged(run)
    if f.tokens_per_step is None or not f.ranks or not end:
        return None
    return ranks.cost(
        f.ranks,
        f.tokens_per_step,
        f.tokens_per_step * end,
        parameters=f.parameters,
        loss=None if loss is None else float(np.median(loss.loss.value[-LATE:])),
        bytes_per_token=f.bytes_per_token,
    )
