"""Too few tokens: the plan ends while the curve still falls as a power law, with under 20 tokens a parameter.

Physics: of L = E + A / N^alpha + B / D^beta the third term is what D tokens have not taught yet. Against 20 tokens for
each parameter, the ratio that makes the most of compute, it costs

    cost = L(N, D) - L(N, 20 N)        nats per token

    N: parameters   D: tokens at the end of the plan

Refuted by: the same model on more tokens of the same text, annealed alike, ends no lower.
Known problems: the laws were fitted above 10 M parameters; below, the verdict is unknown. Where the text is
repeated, more steps buy less than this says.
References: Hoffmann et al. 2022, arXiv 2203.15556; Besiroglu et al. 2024, arXiv 2404.10102.
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.laws import annealing, size, undertrained
from talweg.run import Run

GROUP = "capacity"
NEEDS = ("parameters", "tokens_per_step", "val_loss")
MATERIAL = 0.02  # nats. Our choice: ten times a seed's effect
SIGNIFICANT = 2.0  # standard errors of the fall. Our choice
TAIL = 0.5  # of the steps: the stretch that must still fall. Our choice


def examine(run: Run) -> Finding:
    f, end, judged = run.facts, evidence.horizon(run) or run.last_step, evidence.judged(run)
    absent = tuple(n for n in ("parameters", "tokens_per_step") if getattr(f, n) is None)
    if absent or f.parameters is None or f.tokens_per_step is None:
        return missing(*absent)
    if judged is None or not end:
        return missing("val_loss", because="needs a loss curve, to see whether it still falls")
    n, d = f.parameters, f.tokens_per_step * end
    ratio = f"{d / n:,.3g} tokens a parameter at the end of the plan"
    if d / n >= size.TOKENS_PER_PARAMETER:
        return Finding("absent", f"{ratio}: {size.TOKENS_PER_PARAMETER:.0f} or more")
    if reason := size.in_range(n, d):
        hidden = _of_twice_the_steps(run, n, d) or None  # a curve that rises says nothing of it
        return missing("a trial of twice the steps", because=f"{ratio}, but {reason}", would_narrow_nats=hidden)
    fall = _fall(run, judged)
    if fall is None:
        return missing("val_loss", because=f"{ratio}; the loss curve is too short to tell whether it still falls")
    if fall[0] < SIGNIFICANT * fall[1]:
        return missing("val_loss", because=f"{ratio}, but the curve does not fall any more: something else comes first")
    cost = size.token_cost(n, d)
    if cost.value < MATERIAL or cost.low <= 0:
        return Finding("absent", f"{ratio}; more would win {cost.value:.3f} nats", nats=cost)
    because = f"{ratio}, and the curve still falls: by {fall[0]:.3f} ±{fall[1]:.3f} nats over the last third"
    steps = math.ceil(size.TOKENS_PER_PARAMETER * n / f.tokens_per_step)
    extra = steps * f.tokens_per_step - d
    remedy = Remedy("train_longer", f"{steps:,} steps instead of {end:,.0f}", {"run.steps": steps}, cost, extra)
    return Finding("present", because, nats=cost, remedies=(remedy,))


def _fall(run: Run, judged: evidence.Judged) -> tuple[float, float] | None:
    """How far the loss falls from the first to the last third of the last half; with its standard error."""
    late = judged.loss.between(TAIL * float(judged.loss.step[-1]), math.inf)
    third = len(late) // 3
    noise = evidence.eval_noise(run)
    sd = noise.sd if noise is not None and judged.name == "val" else evidence.batch_noise(run)
    if third < 2 or sd is None:
        return None
    return float(late.value[:third].mean() - late.value[-third:].mean()), sd * math.sqrt(2 / third)


def _of_twice_the_steps(run: Run, n: float, d: float) -> float | None:
    """What twice the steps would give, where no size law reaches. Nats."""
    fit = evidence.fit(run)
    if fit is None or not fit.schedule_known:
        return None
    if d / n < undertrained.POWER_LAW_FROM:
        return undertrained.fall(float(fit.loss_at(fit.end)[0]), 2.0, d / n, run.facts.bytes_per_token).value
    twice = annealing.Path(2 * fit.path.step, 2 * fit.path.area, fit.path.decayed)
    mean, _ = fit.law.difference(fit.path, fit.end, twice, 2 * fit.end)
    return max(0.0, mean)


def example(rng: np.random.Generator) -> Run:
    """124 M parameters and six tokens for each."""
    return simulated.healthy(rng, tokens_per_parameter=6.0)
