"""Clipping always on: nearly every update is shortened by the gradient clip, and the optimizer feels it.

Physics: an update is scaled by min(1, c / |g|), c the clip, |g| the gradient's norm before it. Where |g| > c at almost
every step, c sets the size of all gradients:

    share = mean(|g| > c) after warm-up         r = median(|g|) / c

Plain SGD then takes steps r times shorter than meant: its learning rate is eta / r. Adam divides each gradient by the
size of those before it, so a constant factor cancels, and what is left is that every batch counts alike.

Refuted by: the same run with the clip raised tenfold ends at the same loss.
Known problems: under Adam it costs nothing that could be measured (notes/causes_numerics.md), so it is called absent
there, with that figure. A clip so small that c / sqrt(N) comes near Adam's epsilon would cost. In short runs and small
batches a norm above the usual clip of 1 is normal.
References: Pascanu et al. 2013, arXiv 1211.5063 (clipping by norm); Kingma & Ba 2015, arXiv 1412.6980, section 2.1.
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import learning_rate
from talweg.run import Run, Series

GROUP = "optimization"
NEEDS = ("grad_norm", "grad_clip")
# False alarms: 0 of 1,000 simulated sound runs with these columns, 0 of 93 public logs (notes/causes_numerics.md).
SHARE = 0.9  # of the updates after the warm-up. Our choice: sound runs clip hardly any, or nearly all
MIN_POINTS = 60  # norms after the warm-up. Our choice: the share is then known to four hundredths
EPSILON = 1e-8  # Adam's, where no other is known: torch's default
NEAR_EPSILON = 10.0  # times epsilon: below it, sqrt(v) + epsilon is a tenth epsilon
# Nats at r = 3 to 130 under AdamW: three seeds ended .005 to .022 lower than at a clip that hardly bites, lower still
# than without one (notes/causes_numerics.md). The upper end is our choice, for larger models.
UNDER_ADAM = Estimate(0.0, 0.0, 0.01)
# Nats under SGD: .07 and .30 at r = 6, two rates of one small model (notes/causes_numerics.md); from 0, since a rate
# that was too high is mended by it. The ends are our choice.
UNDER_SGD = Estimate(0.15, 0.0, 0.4)
SCALED = ("sgd",)  # optimizers whose steps grow with the gradient


def examine(run: Run) -> Finding:
    clip = run.facts.grad_clip
    clipped, ratio, told = _clipped(run)
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: without one nothing is known to train")
    if clip == 0:
        return Finding("absent", "the gradient is not clipped")
    if clipped is None:
        names = tuple(name for name in NEEDS if not run.has(name)) or ("grad_norm",)
        return missing(*names, because=f"needs the clip and {MIN_POINTS} gradient norms after the warm-up")
    if clipped < SHARE:
        return Finding("absent", told)
    optimizer, cost = (run.facts.optimizer or "").lower(), UNDER_ADAM
    if any(name in optimizer for name in SCALED):
        cost = UNDER_SGD
        because = f"{told}, so the steps of {optimizer} are {ratio:.3g} times shorter than the learning rate says"
    elif (near := _near_epsilon(run)) is not None:
        cost = learning_rate.cost_of_peak(1 / (1 + 1 / near))
        because = f"{told}, which leaves each weight a gradient of {near:.2g} times Adam's epsilon"
    else:
        which = f"under {optimizer}" if optimizer else "under Adam, if that is the optimizer,"
        return Finding("absent", f"{told}; {which} the factor cancels: it costs under {cost.high:g} nats", nats=cost)
    raised = float(f"{2 * (clip or 1.0) * ratio:.1g}")
    change = f"gradient clip {'' if clip is None else f'{clip:g} '}-> {raised:g}"
    remedy = Remedy("raise_clip", change, {"optimizer.grad_clip": raised}, cost, None)
    return Finding("present", because, nats=cost, remedies=(remedy,))


def _clipped(run: Run) -> tuple[float | None, float, str]:
    """Share of the updates that were clipped after the warm-up, the median factor, and both in words."""
    warm, clip = float(run.facts.warmup_steps or 0), run.facts.grad_clip
    norm = run.grad_norm.finite.between(warm, math.inf)
    if clip and len(norm) >= MIN_POINTS:
        share, ratio = float(np.mean(norm.value > clip)), float(np.median(norm.value)) / clip
        words = f"{share:.0%} of the gradient norms after the warm-up lie above the clip of {clip:g}"
        return share, ratio, f"{words}; their median is {ratio:.3g} times it"
    factor = run.clip_scale.finite.between(warm, math.inf)
    if len(factor) >= MIN_POINTS and (factor.value > 0).all():
        share, ratio = float(np.mean(factor.value < 1)), 1 / float(np.median(factor.value))
        return (
            share,
            ratio,
            f"{share:.0%} of the updates after the warm-up were shortened, the median {ratio:.3g} times",
        )
    return None, 1.0, ""


def _near_epsilon(run: Run) -> float | None:
    """What the clip leaves to one weight, in units of Adam's epsilon, where that is near 1; else None."""
    clip, n = run.facts.grad_clip, run.facts.trainable_parameters or run.facts.parameters
    if not clip or not n:
        return None
    left = clip / math.sqrt(n) / EPSILON
    return left if left < NEAR_EPSILON else None


def example(rng: np.random.Generator) -> Run:
    """SGD under a clip of which its gradients are ten times as long."""
    run = simulated.healthy(rng, optimizer="sgd", grad_clip=0.03, above=0.05)
    factor = np.minimum(1.0, 0.03 / run.grad_norm.value)
    return replace(run, clip_scale=Series.of(run.grad_norm.step, factor))
