"""Data shared across ranks: every rank reads the same batch, so N ranks learn what one would.

Physics: the mean of N gradients of one batch is the gradient of that batch. Only 1/N of the tokens paid for count, and
their noise is that of a batch of B / N. The same steps are then worth the share

    w = (B + B_c) / (B + N B_c)          B: tokens per step   B_c: critical batch   N: ranks; no unit

of themselves, 1/N far below the critical batch, 1 far above it. Batches of their own have losses that differ:

    q = median(max - min of the ranks' losses) / (d_N sqrt(N) sd)      about 1; 0 when the batch is the same

    d_N: range of N normal values   sd: scatter of the logged mean loss

Refuted by: the first token ids of each rank's batch, printed, differ.
Known problems: a trainer that averages the losses before it logs them by rank shows the same. The critical batch is
known to a factor 4, which makes the interval wide. Few logs hold a loss for each rank.
References: McCandlish et al. 2018, arXiv 1812.06162 (steps against batch).
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.curve.spread import relative_spread
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "data"
NEEDS = ("rank_loss_spread", "ranks", "tokens_per_step")
FEWEST = 20  # values of the spread. Our choice
# of q. With batches of their own q is 0.55 to 1.2 on 2 to 64 ranks, one batch under dropout has 0.01 to 0.02
SAME = 0.05  # notes/causes_resume.md
MANY = 16  # ranks from which on it falls as 1 / sqrt(ranks), as q does where the loss logged is that of one rank alone


def examine(run: Run) -> Finding:
    f = run.facts
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: eight finite values")
    if f.ranks == 1:
        return Finding("absent", "one rank trains alone")
    spread = run.rank_loss_spread.finite
    if f.ranks is None or len(spread) < FEWEST:
        lacking = [name for name in ("ranks", "rank_loss_spread") if not run.has(name)]
        few = f"needs {FEWEST} values of the losses of single ranks"
        cost = evidence.cost_of_single_rank(run)
        hidden = None if cost is None else cost.value
        return missing(
            *(lacking or ["rank_loss_spread"]),
            because=few if f.ranks else f"{few}, and the number of ranks",
            would_narrow_nats=hidden,
        )
    late = spread.value[spread.value.size // 2 :]
    noise = evidence.batch_noise(run)
    zero = not late.any()
    if not zero and not noise:
        return missing("train_loss", because="the training loss is too short to tell its scatter")
    q = 0.0 if zero else relative_spread(late, f.ranks, noise or math.inf)
    if q >= SAME * math.sqrt(MANY / max(f.ranks, MANY)):
        because = f"the losses of {f.ranks} ranks lie {np.median(late):.4f} nats apart, {q:.0%} of what batches of"
        return Finding("absent", f"{because} their own would give")
    same = "identical" if zero else f"{q:.1%} as far apart as batches of their own would put them"
    because = f"the losses of {f.ranks} ranks are {same} at {late.size:,} logged steps: all read one batch"
    cost = evidence.cost_of_single_rank(run)
    if cost is None:
        return missing("tokens_per_step", because=f"{because}; the cost needs the tokens per step")
    config = {"batch.tokens_per_step": round(f.tokens_per_step or 0)}
    change = f"give each of the {f.ranks} ranks its own {1 / f.ranks:.3g} of the batch"
    return Finding("present", because, nats=cost, remedies=(Remedy("shard_the_data", change, config, cost, 0.0),))


def example(rng: np.random.Generator) -> Run:
    """Eight ranks that all read the same batch."""
    run = simulated.healthy(rng, ranks=8, batch_sd=0.05 * math.sqrt(8))
    step = run.train_loss.step
    return replace(run, rank_loss_spread=Series.of(step, np.zeros(step.size)))
