"""Unshuffled data: the text changes along the file and is read in that order, so the loss moves with the place in it.

Physics: where the frequencies of tokens drift along the stored text, a trainer that reads it in order meets one part at
a time. The drift is the Jensen-Shannon divergence of sixteen stretches beyond that of pieces dealt at random, in nats.
In the log it shows as waves that return with each pass: with r the residual of the loss about its trend and S the steps
of one pass,

    c = correlation of r(t) with r(t + S)        against the same at other shifts; no unit

The last part that was read weighs most in the final weights.

Refuted by: a run on the same text in random order has no waves, and ends no lower.
Known problems: waves that repeat within a pass at equal distances are told from no others: their shifted copies return
too. What the waves cost at the end is not known: from nothing to their size. One pass shows no return. A
drift of a part of the text that differs in matter but not in frequencies is not seen.
References: Lin 1991 (Jensen-Shannon divergence); comparison with shifted copies of the series as its own null.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "data"
NEEDS = ("order_drift_nats", "train_loss", "reads_in_order")
# nats. Our choice: manuals in random order give under .0001, the same sorted by length .008, by source .036
# (notes/data_causes.md)
DRIFT = 0.01
DRAWS_AT_RANDOM = ("nanogpt", "talweg")  # these take windows drawn at random, or documents dealt anew for each pass
BINS = 60  # per pass, of the residual. Our choice: waves are slow
FEWEST = 240  # logged losses in two passes
SURE = 3.0  # sd of the correlations at other shifts. Our choice: the largest of 176 healthy runs in passes has 2.7
WAVE = 0.01  # nats, sd of what returns: 5 sd of a seed's effect on the final loss


def examine(run: Run) -> Finding:
    f = run.facts
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: eight finite values")
    returns = _returns(run)
    drift = f.order_drift_nats
    told = "" if drift is None else f"token frequencies drift by {drift:.4f} nats along the stored text"
    at_random = f.reads_in_order is False or (f.reads_in_order is None and run.format in DRAWS_AT_RANDOM)
    if returns is not None and returns[1] > SURE and returns[2] > WAVE and not at_random:
        correlation, sigma, wave = returns
        waves = f"waves of {wave:.3f} nats return with each pass over the text (r = {correlation:.2f}, {sigma:.0f} sd)"
        return _present("; ".join(part for part in (waves, told) if part), wave)
    if at_random and (drift is not None or f.reads_in_order is not None):
        return Finding("absent", "; ".join(part for part in (told, "this trainer draws its windows at random") if part))
    if drift is None:
        if returns is not None:
            return Finding("absent", f"no wave returns with the next pass: r = {returns[0]:.2f}, {returns[1]:.1f} sd")
        if at_random:
            return Finding("absent", "this trainer draws its windows at random")
        return missing(
            "data", because="the order of the stored text is not known, nor are two passes logged: give --data"
        )
    if drift < DRIFT:
        return Finding("absent", told)
    if f.reads_in_order:
        return _present(f"{told}, and the trainer reads it in that order", drift)
    return missing("reads_in_order", because=f"{told}; whether the trainer reads it in that order is not known")


def _present(because: str, size: float) -> Finding:
    nats = Estimate(size / 4, 0.0, size)
    change = "shuffle the documents before they are stored, or draw windows at random"
    remedy = Remedy("shuffle", change, {"data.path": "DATA in random order"}, nats, 0.0)
    return Finding("present", because, nats=nats, remedies=(remedy,))


def _returns(run: Run) -> tuple[float, float, float] | None:
    """Correlation of the residual with itself one pass later, its distance from those at other shifts in their sd, and
    the sd of what returns (nats). None where two passes are not logged or their length is not known."""
    f, loss = run.facts, run.train_loss.finite
    size = f.train_tokens or f.unique_tokens
    if not size or not f.tokens_per_step or len(loss) < FEWEST:
        return None
    period = size / f.tokens_per_step
    late = loss.between(max(f.warmup_steps or 0, 0.05 * loss.step[-1], loss.step[-1] - 8 * period), math.inf)
    if len(late) < FEWEST or late.step[-1] - late.step[0] < 1.9 * period:
        return None
    # whole passes only, each from its own beginning: the steps of a staircase then fall between them
    place = np.floor(late.step / period * BINS + 1e-6).astype(np.int64)
    place -= -(-int(place[0]) // BINS) * BINS
    late, place = late.between(late.step[place >= 0].min(initial=math.inf), math.inf), place[place >= 0]
    passes = int((place[-1] + 1) // BINS) if place.size else 0
    if passes < 2:
        return None
    means = np.full(passes * BINS, np.nan)
    inside = place < passes * BINS
    sums = np.bincount(place[inside], weights=late.value[inside], minlength=passes * BINS)
    nums = np.bincount(place[inside], minlength=passes * BINS)
    means[nums > 0] = sums[nums > 0] / nums[nums > 0]
    if np.isnan(means).mean() > 0.2:
        return None
    seen = np.flatnonzero(~np.isnan(means))
    table = np.interp(np.arange(means.size), seen, means[seen]).reshape(passes, BINS)
    waves = _without_trend(table)
    return _compared(waves[:-1], waves[1:])


def _without_trend(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """(passes, BINS) less a cubic in each pass: it takes the fall, and all of memorised text's staircase, which
    steps down at each new pass and is flat between."""
    powers = np.polynomial.legendre.legvander(np.linspace(-1, 1, BINS), 3)  # (BINS, 4)
    fitted = np.linalg.lstsq(powers, table.T, rcond=None)[0]
    return np.asarray(table - (powers @ fitted).T)


def _compared(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """At no shift within the pass, against all shifts that are not near it."""
    scale = math.sqrt(float((one**2).sum() * (other**2).sum()))
    if scale == 0.0:
        return None
    products = np.array([float((one * np.roll(other, shift, axis=1)).sum()) for shift in range(BINS)])
    far = products[BINS // 10 : -BINS // 10] / scale
    found = products[0] / scale
    spread = float(np.sqrt(np.mean((far - far.mean()) ** 2)))
    wave = math.sqrt(max(float(products[0]), 0.0) / one.size)
    return found, (found - float(far.mean())) / max(spread, 1e-9), wave


def example(rng: np.random.Generator) -> Run:
    """A text sorted by source, read in order, in five passes."""
    tokens = simulated.PARAMETERS * simulated.TOKENS_PER_PARAMETER
    run = simulated.healthy(rng, train_tokens=tokens / 4, unique_tokens=tokens / 4, log_every=5, order_drift_nats=0.15)
    parts = np.repeat(rng.normal(0.0, 0.12, 20), 5)
    place = (run.train_loss.step / 2500 * parts.size).astype(np.int64) % parts.size
    waves = replace(run.train_loss, value=run.train_loss.value + parts[place] * (run.train_loss.step > 250))
    return replace(run, train_loss=waves, facts=replace(run.facts, reads_in_order=True))
