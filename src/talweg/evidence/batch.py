"""The batch of a run against the best one for its tokens, and what the difference costs at the end of the plan."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from talweg.estimate import Estimate
from talweg.evidence.levels import judged, train_level, val_level
from talweg.evidence.norm import expected
from talweg.evidence.plan import horizon
from talweg.laws import batch as law
from talweg.run import Run

LATE = 8  # values of the loss whose median is the level reached
ADAMS = ("adam", "muon", "schedule_free", "schedulefree")  # optimizers of which the law was measured, or tried


@dataclass(frozen=True)
class OffBatch:
    """How far the tokens of a step lie off the best batch, and what that costs."""

    ratio: float  # tokens per step over the best batch
    best: Estimate  # tokens
    tokens: float  # of the plan
    cost: Estimate | None  # nats at equal tokens; None where no law reaches and no level is known
    refuted: bool  # the curve lies too low for the least that it would cost


@lru_cache(maxsize=32)
def off_batch(run: Run) -> OffBatch | None:
    """None without the tokens per step or the length of the run."""
    f, end = run.facts, horizon(run) or run.last_step
    if not f.tokens_per_step or not end or f.step_unit is not None:
        return None
    tokens = f.tokens_per_step * end
    best = law.optimum(tokens)
    ratio = f.tokens_per_step / best.value
    cost = law.cost(ratio, f.parameters, tokens, loss=late_level(run), bytes_per_token=f.bytes_per_token)
    return OffBatch(ratio, best, tokens, cost, cost is not None and _too_low(run, cost))


def adam_like(optimizer: str | None) -> bool:
    """Whether the laws of batch and memory, found with AdamW, speak of this optimizer. Unstated: AdamW."""
    return optimizer is None or any(name in optimizer.lower() for name in ADAMS)


def _too_low(run: Run, cost: Estimate) -> bool:
    """Whether the run stands so low that it cannot have lost this: no sound run would stand so low without the loss."""
    sound, now = expected(run), val_level(run) or train_level(run)
    return sound is not None and now is not None and now.high < sound.loss.low + cost.low


def batch_told(run: Run, off: OffBatch) -> str:
    """The batch and the best one, in words."""
    times = f"{off.ratio:.2g} times" if off.ratio >= 1 else f"1/{1 / off.ratio:.2g} of"
    best, tokens = float(f"{off.best.value:.2g}"), off.tokens / 1e6
    return (
        f"{run.facts.tokens_per_step or 0:,.0f} tokens a step are {times} the law's best batch, "
        f"{best:,.0f} for {tokens:,.0f} M tokens"
    )


def in_windows(run: Run, tokens: float) -> int:
    """So many tokens in whole windows of the context, one at least."""
    context = run.facts.context or 1
    return max(round(tokens / context), 1) * context


def late_level(run: Run) -> float | None:
    """The median of the last judged losses; None without a curve."""
    loss = judged(run)
    return None if loss is None else float(np.median(loss.loss.value[-LATE:]))
