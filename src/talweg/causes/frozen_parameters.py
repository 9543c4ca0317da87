"""Frozen parameters: a part of the weights is never updated, so the model is smaller than it is said to be.

Physics: weights that stay at their random start still pass something on, yet cannot be fitted. A model of N weights of
which N_m move does at best as well as N, at worst as a model of N_m:

    cost = k (L(N_m, D) - L(N, D)),    k between 0 and 1        nats per token

    D: tokens at the end of the plan   k: about 0.4; 0 of frozen attention, 0.9 of a frozen tied embedding, measured

Refuted by: every tensor of two checkpoints of the run differs.
Known problems: the weights of a fine-tune are often frozen on purpose, as under adapters (LoRA): a run whose first loss
is far below ln V is left alone. Weights are counted without position embeddings, the trained ones mostly with them,
so that gains of norms alone are missed where only the counts are known.
References: Hu et al. 2021, arXiv 2106.09685 (LoRA); Hoffmann et al. 2022, arXiv 2203.15556 (the size law).
"""

import math
from dataclasses import dataclass

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors, size, undertrained
from talweg.run import Facts, Run

GROUP = "implementation"
NEEDS = ("trainable_parameters", "parameters", "tokens_per_step")
SHARE = 0.01  # of the weights. Our choice: norm gains and biases, which some count and others do not, are fewer
FRESH = 0.9  # of ln V. Our choice: fresh models start within 5 % of it, trained ones below 0.6
WORTH = (0.0, 0.4, 1.0)  # k: measured 0 to 0.9 (notes/causes_resume.md)
# Gains of norms are 0.1 % of the weights; held at 1 they cost 0.06 nats in a small model (notes/causes_resume.md)
VECTORS = Estimate(0.03, 0.0, 0.1)


@dataclass(frozen=True)
class _Moving:
    weights: float
    because: str


def examine(run: Run) -> Finding:
    f = run.facts
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: eight finite values")
    if f.unmoved_groups == () and (f.trainable_parameters is None or f.parameters is None):
        return Finding("absent", "every group of weights moves")
    moving = _moving(f)
    if f.parameters is None or moving is None:
        lacking = [n for n in ("parameters", "trainable_parameters") if getattr(f, n) is None]
        return missing(*(lacking or ["trainable_parameters"]), because="how many weights are trained is not known")
    still = 1 - moving.weights / f.parameters
    only_vectors = still < SHARE and "vectors" in (f.unmoved_groups or ())
    if still < SHARE and not only_vectors:
        return Finding("absent", moving.because)
    if f.initialised_from is not None:
        return Finding("absent", f"{moving.because}, by design: it began with the weights of {f.initialised_from}")
    first = evidence.first_loss(run)
    if first is None or f.vocabulary_size is None:
        lacking = ["train_loss"] if first is None else ["vocabulary_size"]
        why = "whether the run began with trained weights, which are frozen on purpose, needs its first loss and ln V"
        return missing(*lacking, because=f"{moving.because}; {why}")
    if first < FRESH * anchors.uniform(f.vocabulary_size):
        return Finding("absent", f"{moving.because}, by design: it began with trained weights, at {first:.2f} nats")
    cost = VECTORS if only_vectors else _cost(run, moving.weights)
    if cost is None:
        return missing("tokens_per_step", because=f"{moving.because}; the cost needs the tokens of the plan")
    because = f"{moving.because}: {still:.0%} stay as they were drawn"
    end = evidence.horizon(run) or run.last_step or 0.0
    again = Remedy("train_all", "train all weights, from the start", {"run.steps": round(end)}, cost, _tokens(run))
    return Finding("present", because, nats=cost, remedies=(again,))


def _moving(f: Facts) -> _Moving | None:
    """The weights that are updated, from the groups that never moved or the count that the optimizer holds."""
    if f.parameters is None:
        return None
    held = f.trainable_parameters
    if f.unmoved_groups:
        weights = f.parameters - sum(_size(f, group) for group in f.unmoved_groups)
        which = " and ".join(f.unmoved_groups)
        return _Moving(min(weights, held or weights), f"no update of {which} was ever other than 0")
    if held is None:
        return None
    return _Moving(held, f"{held / 1e6:,.3g} M of {f.parameters / 1e6:,.3g} M weights are trained")


def _size(f: Facts, group: str) -> float:
    """Weights of a group. What is no embedding is in the matrices; vectors are too few to count."""
    n = f.parameters or 0.0
    table = (f.vocabulary_size or 0) * (f.width or 0)
    return {"embedding": float(table), "head": float(table), "matrices": n - table}.get(group, 0.0)


def _tokens(run: Run) -> float | None:
    end, per_step = evidence.horizon(run) or run.last_step, run.facts.tokens_per_step
    return None if end is None or per_step is None else end * per_step


def _cost(run: Run, moving: float) -> Estimate | None:
    """The size laws carried below their reach where they must be: the interval is wide enough for it."""
    tokens, n = _tokens(run), run.facts.parameters
    if tokens is None or n is None or tokens <= 0:
        return None
    least = max(moving, n / 1000)  # what never moved passes something on
    whole = size.difference(least, tokens, n, tokens).at_least(0.0)
    level = evidence.val_level(run) or evidence.train_level(run)
    floor = undertrained.FLOOR * (run.facts.bytes_per_token or undertrained.FLOOR_BYTES) / undertrained.FLOOR_BYTES
    most = math.inf if level is None else max(level.value - floor, 0.0)  # all that could be won at all
    low, value, high = (k * x for k, x in zip(WORTH, (whole.low, whole.value, whole.high), strict=True))
    return Estimate(min(value, most / 2), min(low, most / 2), min(high, most))


def example(rng: np.random.Generator) -> Run:
    """Half of the weights are not in the optimizer."""
    return simulated.healthy(rng, trainable_parameters=simulated.PARAMETERS / 2, above=0.1)
