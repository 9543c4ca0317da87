"""Duplicated data: copies within the text leave fewer distinct tokens than it holds.

Physics: of T stored tokens U are distinct, so D tokens seen are D / U passes over what there is to learn, not D / T.
By the repetition law (see `repeated_data`) this costs

    L(N, U, D) - L(N, T, D)        nats per token

which is nothing while D / U stays below about four: copies are harmless while the run is far from the end of its text.

Refuted by: the same steps on the text without its copies end no lower.
Known problems: the law was fitted on whole passes. A few passages that stand there thousands of times cost more
than it says, and are learnt by heart. In a large file that was scanned in part the share of copies is an estimate.
References: Muennighoff et al. 2023, arXiv 2305.16264, equations 5 and 6; Lee et al. 2022, arXiv 2107.06499.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import repetition
from talweg.run import Run

GROUP = "data"
NEEDS = ("train_tokens", "unique_tokens", "tokens_per_step", "parameters")
MATERIAL = 0.01  # nats: 5 sd of a seed's effect on the final loss
HALF = 0.5  # of the text. What could hide in a text that nobody looked at: our choice, more than any public crawl has


def examine(run: Run) -> Finding:
    f, end = run.facts, evidence.horizon(run) or run.last_step
    if f.parameters is None or f.tokens_per_step is None or not end or evidence.judged(run) is None:
        return missing(*NEEDS, because="needs a loss curve, the parameters and the tokens of a step")
    n, seen = f.parameters, f.tokens_per_step * end
    counted = [size for size in (f.unique_tokens, f.near_unique_tokens) if size]
    not_compared = f.near_unique_tokens is None and f.train_documents == 0
    if f.train_tokens is None or not counted or not_compared:
        return _uncounted(run, n, seen)
    total, distinct = f.train_tokens, min(*counted, f.train_tokens)
    kind = "near or exact copies" if f.near_unique_tokens is not None else "exact copies"
    cost = _cost(n, distinct, total, seen)
    figures = (
        f"{1 - distinct / total:.1%} of {total / 1e9:,.3g} B tokens are {kind}; {seen / distinct:.3g} passes over "
        f"what is left instead of {seen / total:.3g}"
    )
    if cost.value < MATERIAL:
        return Finding("absent", f"{figures}: costs {cost.value:.3f} nats", nats=cost)
    if cost.low <= 0:
        return missing("data", because=f"{figures}; the law cannot tell the cost from nothing")
    change = f"leave the copies out and add {(total - distinct) / 1e9:,.2g} B tokens of other text"
    remedy = Remedy("without_copies", change, {"data.path": "DATA of talweg prepare --dedup near"}, cost, 0.0)
    return Finding("present", figures, nats=cost, remedies=(remedy,))


def _cost(n: float, distinct: float, total: float, seen: float) -> Estimate:
    """What the copies add; both sides from one law, so its error counts once."""
    whole = repetition.cost(n, distinct, seen)
    return whole.shifted(-repetition.cost(n, total, seen).value).at_least(0.0)


def _uncounted(run: Run, n: float, seen: float) -> Finding:
    size = run.facts.train_tokens or run.facts.unique_tokens
    worst = None if size is None else _cost(n, HALF * size, size, seen).value
    because = "nobody looked for copies in the text: give --data"
    if run.facts.train_documents == 0:
        because = "documents run into each other, so copies of them cannot be told: encode with a separator after each"
    return missing("data", because=because, would_narrow_nats=worst)


def example(rng: np.random.Generator) -> Run:
    """Two passes over a text of which all but a twentieth are copies."""
    tokens = simulated.PARAMETERS * simulated.TOKENS_PER_PARAMETER
    return simulated.healthy(rng, train_tokens=tokens / 2, unique_tokens=tokens / 40, near_unique_tokens=tokens / 40)
