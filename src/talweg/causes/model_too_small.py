"""Model too small: the tokens could feed a much larger model, and the run stands where the laws put one of this size.

Physics: of L = E + A / N^alpha + B / D^beta the second term is what N parameters cannot hold. Against the size that
D tokens could feed (20 tokens a parameter) it costs

    cost = L(N, D) - L(D / 20, D)        nats per token

    N: parameters   D: tokens at the end of the plan

It is the limit only where the run is as good as its size allows: at the expected level, not above it.

Refuted by: a wider model on the same tokens, annealed alike, ends no lower.
Known problems: the laws were fitted above 10 M parameters. Being small may be the point of the model: then this is the
price of it and no fault.
References: Hoffmann et al. 2022, arXiv 2203.15556; Besiroglu et al. 2024, arXiv 2404.10102.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.laws import size
from talweg.run import Facts, Run

GROUP = "capacity"
NEEDS = ("parameters", "tokens_per_step", "val_loss")
RATIO = 5 * size.TOKENS_PER_PARAMETER  # tokens a parameter. Our choice: five times the compute-optimal ratio
MATERIAL = 0.02  # nats. Our choice: ten times a seed's effect
WIDER = (4 / 3, 2.0)  # of the width: two sizes to choose from


def examine(run: Run) -> Finding:
    f, end, judged = run.facts, evidence.horizon(run) or run.last_step, evidence.judged(run)
    absent = tuple(n for n in ("parameters", "tokens_per_step") if getattr(f, n) is None)
    if absent or f.parameters is None or f.tokens_per_step is None:
        return missing(*absent)
    if judged is None or not end:
        return missing(
            "val_loss", because="needs a loss curve: a run that is not at its level is limited by other things"
        )
    n, d = f.parameters, f.tokens_per_step * end
    ratio = f"{d / n:,.0f} tokens a parameter at the end of the plan"
    if d / n < RATIO:
        return Finding("absent", f"{ratio}: below {RATIO:.0f}")
    if reason := size.in_range(n, d):
        return missing("a trial of a wider model", because=f"{ratio}, but {reason}")
    cost = size.capacity_cost(n, d)
    if (now := evidence.val_level(run) or evidence.train_level(run)) is None:
        return missing("val_loss", because="the loss curve is too short to tell its level")
    if (expected := evidence.expected(run)) is None:
        why = "no expected loss is known to compare the curve with"
        return missing("vocabulary_size", because=f"{ratio}; {why}", would_narrow_nats=cost.value)
    if now.low > expected.loss.high:
        above = f"the loss {now.value:.3f} lies above the expected {expected.loss.value:.2f}"
        because = f"{ratio}, but {above} (up to {expected.loss.high:.2f}): something else comes first"
        return missing("checkpoint", because=because, would_narrow_nats=cost.value)
    if cost.value < MATERIAL or cost.low <= 0:
        return Finding("absent", f"{ratio}; a larger model would win {cost.value:.3f} nats", nats=cost)
    because = f"{ratio}; the run stands where this size should ({now.value:.2f}, expected {expected.loss.value:.2f})"
    return Finding("present", because, nats=cost, remedies=_remedies(f, n, d))


def _remedies(f: Facts, n: float, d: float) -> tuple[Remedy, ...]:
    """Wider models at the same head size, with the gain at the same tokens and the factor in compute."""
    if f.width is None:
        return ()
    remedies = []
    for factor in WIDER:
        heads = None if f.heads is None else round(f.heads * factor)
        head_size = 64 if f.heads is None else f.width // f.heads
        width = head_size * (heads or round(f.width * factor / head_size))
        larger = _parameters(f, n, width)
        if larger <= n:
            continue
        change = f"width {f.width} -> {width} on the same tokens"
        config: dict[str, object] = {"model.width": width}
        if heads is not None:
            config["model.heads"] = heads
        gain = size.difference(n, d, larger, d)
        remedies.append(Remedy(f"width_{width}", change, config, gain, 0.0, compute_factor=larger / n))
    return tuple(remedies)


def _parameters(f: Facts, n: float, width: int) -> float:
    """Parameters at another width: 12 layers width^2 in the blocks, vocabulary x width in the embedding."""
    assert f.width is not None
    if f.layers is None or f.vocabulary_size is None:
        return n * (width / f.width) ** 2
    blocks = 12 * f.layers * (width**2 - f.width**2)
    return float(n + blocks + f.vocabulary_size * (width - f.width))


def example(rng: np.random.Generator) -> Run:
    """20 M parameters fed with 400 tokens each."""
    return simulated.healthy(rng, parameters=20e6, tokens_per_parameter=400, layers=6, heads=6, width=384)
