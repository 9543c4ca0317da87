"""Ranks not synchronised: each rank follows its own gradient, and what is saved is one of them.

Physics: N ranks that average their gradients hold the same weights, bit for bit. Without the averaging each one learns
from its own 1/N of the batch alone, and the weights part. N ranks are then no better than one: their steps are worth

    w = (B + B_c) / (B + N B_c)          B: tokens per step   B_c: critical batch   N: ranks; no unit

of themselves, 1/N far below the critical batch, 1 far above it. The losses of the ranks do not show it: they differ as
those of different batches do, whether the weights are the same or not.

Refuted by: the weights of two ranks, compared after an update, are equal.
Known problems: a trainer that holds a few weights apart on purpose (running statistics) shows the same and loses
nothing. The critical batch is known to a factor 4, which makes the interval wide. Few logs compare the weights.
References: McCandlish et al. 2018, arXiv 1812.06162 (steps against batch); Li et al. 2020, arXiv 2006.15704 (DDP).
"""

from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "implementation"
NEEDS = ("rank_weight_spread", "ranks", "tokens_per_step")
FEWEST = 2  # values of the difference: it is no statistic, equal weights stay equal
# Weights are of the order of 0.01 to 1, and fp32 keeps seven digits of each. Two ranks that average differ by exactly
# 0, two that do not by 0.25 to 1.5 of their norm (a table of pairs, 60 updates; notes/causes_resume.md). Our choice
APART = 1e-6


def examine(run: Run) -> Finding:
    f = run.facts
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: eight finite values")
    if f.ranks == 1:
        return Finding("absent", "one rank trains alone")
    apart, losses = run.rank_weight_spread.finite, run.rank_loss_spread.finite
    cost = evidence.cost_of_single_rank(run)
    if f.ranks is not None and len(apart) < FEWEST and len(losses) >= FEWEST and not losses.value.any():
        return Finding("absent", f"the losses of all {f.ranks} ranks are identical, so their weights are")
    if f.ranks is None or len(apart) < FEWEST:
        lacking = [name for name in ("ranks", "rank_weight_spread") if not run.has(name)] or ["rank_weight_spread"]
        because = "the weights of the ranks are not compared in this log, and losses cannot tell"
        if f.ranks is None:
            because = "neither the number of ranks nor a comparison of their weights is known"
        return missing(*lacking, because=because, would_narrow_nats=None if cost is None else cost.value)
    largest = float(apart.value.max())
    if largest <= APART:
        equal = "equal" if largest == 0 else f"equal to {largest:.0e}"
        return Finding("absent", f"the weights of {f.ranks} ranks are {equal} wherever they were compared")
    last = float(apart.value[-1])
    because = f"the weights of {f.ranks} ranks are {last:.2g} apart at step {apart.step[-1]:,.0f}"
    if last <= APART:
        because = f"the weights of {f.ranks} ranks were {largest:.2g} apart and are equal now"
        return missing("checkpoint", because=because, would_narrow_nats=None if cost is None else cost.value)
    if last > 2 * apart.value[0] > 0:
        because += f", after {apart.value[0]:.2g} at step {apart.step[0]:,.0f}"
    if cost is None:
        return missing("tokens_per_step", because=f"{because}; the cost needs the tokens per step")
    config = {"batch.tokens_per_step": round(f.tokens_per_step or 0)}
    remedy = Remedy("average_gradients", "average the gradients over all ranks before each update", config, cost, 0.0)
    return Finding("present", f"{because}: each learns alone", nats=cost, remedies=(remedy,))


def example(rng: np.random.Generator) -> Run:
    """Four ranks whose weights part as a random walk does."""
    run = simulated.healthy(rng, ranks=4)
    step = run.train_loss.step
    losses = 0.2 * np.abs(rng.standard_normal(step.size)) + 0.05
    compared = step[::10]
    weights = 1e-3 * np.sqrt(compared + 1) * rng.uniform(0.9, 1.1, compared.size)
    return replace(run, rank_loss_spread=Series.of(step, losses), rank_weight_spread=Series.of(compared, weights))
