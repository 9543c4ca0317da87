"""What a run has lost with steps that did nothing or were never made, and whether its loss rose before they began."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from talweg.estimate import Estimate
from talweg.evidence.fitted import fit
from talweg.evidence.levels import train_level, val_level
from talweg.evidence.norm import at_frequencies, expected_at_end
from talweg.evidence.plan import horizon
from talweg.evidence.updates import by_step
from talweg.laws import size, undertrained
from talweg.run import Run

LOSSES = ("train_loss", "train_eval_loss", "val_loss")
FEWEST = 10  # values before a break: fewer do not show whether the loss rose. Our choice
WINDOW = 5  # values whose median is a level. Our choice: a spike lasts for one or two
EARLY = 0.1  # of the plan: before, a fit of the curve says too little of its end. Our choice
UNKNOWN = Estimate(0.5, 0.0, 2.0)  # nats, where neither a law nor the curve tells. Our choice, wide on purpose


@lru_cache(maxsize=32)
def until(run: Run, step: float) -> Run:
    """The run as its log stood at `step`; the plan stays as it was, in the unit of the log's steps."""
    end = horizon(run) or run.last_step or step
    facts = replace(by_step(run).facts, planned_steps=round(end), step_unit=None)
    return replace(run, facts=facts, **{name: getattr(run, name).between(0, step) for name in LOSSES})


def risen_before(run: Run, step: float) -> float | None:
    """How far the loss had risen above its best level when it came to `step`, nats; None for too short a curve."""
    series = max((getattr(run, name).finite.between(0, step) for name in LOSSES), key=len)
    if len(series) < FEWEST:
        return None
    levels = np.median(np.lib.stride_tricks.sliding_window_view(series.value, WINDOW), axis=1)
    return float(levels[-1] - levels.min())


def rest_of_plan(run: Run, step: float) -> Estimate:
    """What the steps after `step` would have brought, had they been made as planned. Nats.

    The curve's own law where it is long enough, else the size laws, else what steps bring while they are few.
    """
    before, end = until(run, step), horizon(run) or run.last_step or step
    now = val_level(before) or train_level(before)
    if now is None or step <= 0:
        return UNKNOWN
    found = fit(before) if step >= EARLY * end and at_frequencies(before) is None else None
    if found is not None and found.schedule_known:
        return found.gain_to_end.at_least(0.0)
    law = expected_at_end(run)
    if law is not None:
        return Estimate.normal(now.value - law.loss.value, math.hypot(now.sd, law.loss.sd)).at_least(0.0)
    return undertrained.fall(now.value, max(end / step, 1.0), _per_parameter(run, step), run.facts.bytes_per_token)


def more_tokens(run: Run, ratio: float) -> Estimate | None:
    """What `ratio` times the planned tokens would win at the end. Nats; None where no level is known."""
    now, end, f = val_level(run) or train_level(run), horizon(run) or run.last_step, run.facts
    if now is None or not end:
        return None
    if f.parameters is not None and f.tokens_per_step is not None:
        tokens = end * f.tokens_per_step
        if not size.in_range(f.parameters, tokens) and not size.in_range(f.parameters, ratio * tokens):
            return size.difference(f.parameters, tokens, f.parameters, ratio * tokens).at_least(0.0)
    return undertrained.fall(now.value, ratio, _per_parameter(run, end), f.bytes_per_token)


def never_trained(run: Run) -> Estimate:
    """What the plan would have brought weights that never moved: the law's level, else that of pairs of tokens."""
    now, law = train_level(run) or val_level(run), expected_at_end(run)
    if now is None:
        return Estimate(0.0, 0.0, 0.0)
    if law is not None:
        return Estimate.normal(now.value - law.loss.value, math.hypot(now.sd, law.loss.sd)).at_least(0.0)
    pairs = run.facts.bigram_nats or 0.6 * now.value
    return Estimate(now.value - pairs, 0.0, now.value).at_least(0.0) if pairs < now.value else Estimate(0.0, 0.0, 0.0)


def _per_parameter(run: Run, step: float) -> float | None:
    f = run.facts
    return None if f.parameters is None or f.tokens_per_step is None else step * f.tokens_per_step / f.parameters
