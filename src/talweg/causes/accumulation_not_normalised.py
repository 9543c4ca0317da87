"""Accumulation not normalised: the losses of the micro-batches are added up where their mean was meant.

Physics: with A micro-batches a step, loss and gradient come out A times too large. At the first step that shows:

    L_logged(0) = A ln V        and L_logged = A L at every later step

What it does to the weights depends on the optimizer. Adam divides the gradient by its own size, so A cancels but for
the clip: clipping at c then means clipping at c / A. Plain SGD takes steps A times as long.

Refuted by: the same step with one micro-batch of the same tokens logs the same loss.
Known problems: where only the printed loss is a sum and the gradient a mean, nothing is lost but the sight of it: a
log cannot tell the two apart, so the cost begins at 0. A sum over ranks looks the same.
References: Kingma & Ba 2015, arXiv 1412.6980, section 2.1 (invariance to the scale of the gradient).
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors, learning_rate
from talweg.run import Run, Series

GROUP = "implementation"
NEEDS = ("train_loss", "accumulation")
# False alarms: 0 of 1,000 simulated sound runs with these columns, 0 of 93 public logs (notes/causes_numerics.md).
MIN_POINTS = 8  # losses. Our choice
TOLERANCE = 0.05  # of A: as of ln V in bad_initialisation
WHOLE = 12  # up to here a ratio within TOLERANCE of a whole number is evidence by itself; above, any ratio is near one
CONSTANT = 0.1  # of the ratio: how far it may wander between the thirds of the log. Dropout and gaps stay below
# Nats under Adam, with a clip or without: 8 micro-batches added up cost nothing that three seeds could show, nor did
# a clip 3 to 130 times as tight (notes/causes_numerics.md). Widened to twice their scatter.
UNDER_ADAM = Estimate(0.0, 0.0, 0.02)
SCALED = ("sgd",)  # optimizers whose steps grow with the gradient


def examine(run: Run) -> Finding:
    train, planned = run.train_loss.finite, run.facts.accumulation
    if len(train) < MIN_POINTS:
        return missing("train_loss", because=f"needs {MIN_POINTS} training losses")
    ratio = _ratio_to_evaluation(run, train)
    first = _first_in_uniform(run, train)
    if ratio is not None:
        return _by_evaluation(run, ratio, first, planned)
    if planned is not None and planned < 2:
        return Finding("absent", "one micro-batch a step: there is nothing to add up")
    if first is None or planned is None:
        return missing("accumulation", "vocabulary_size", because="needs an evaluated loss, or A and the first loss")
    told = f"the first loss is {first:.3g} ln V at {planned:,} micro-batches a step"
    if abs(first / planned - 1) > TOLERANCE:
        return Finding("absent", told)
    law, level = evidence.expected(run), float(np.median(train.value[-max(3, len(train) // 10) :]))
    if law is None or abs(math.log(level / planned / law.loss.value)) > abs(math.log(level / law.loss.value)):
        return missing("val_loss", because=f"{told}; an evaluated loss tells a sum from a bad initialisation")
    return _present(run, f"{told}, and the last is {level / law.loss.value:.3g} times what the laws expect", planned)


def _by_evaluation(run: Run, ratio: tuple[float, float], first: float | None, planned: int | None) -> Finding:
    """The verdict from the ratio of logged to evaluated loss, in the first and the last third of the log."""
    middle = math.sqrt(ratio[0] * ratio[1])
    told = f"the training loss is {ratio[0]:.3g} to {ratio[1]:.3g} times the evaluated one"
    if middle < 2 * (1 - TOLERANCE) or abs(math.log(ratio[1] / ratio[0])) > CONSTANT:
        return Finding("absent", told)
    whole = max(2, round(middle))
    if first is not None and abs(first / whole - 1) > CONSTANT:
        return missing("val_loss", because=f"{told}, but it began at {first:.3g} ln V: is the evaluation right?")
    if planned is not None and abs(middle / planned - 1) <= CONSTANT:
        return _present(run, f"{told}, at {planned:,} micro-batches a step", planned)
    known = f"{told}; the configuration says {planned:,} micro-batches" if planned is not None else told
    if planned is not None or whole > WHOLE or abs(middle / whole - 1) > TOLERANCE:
        return missing("accumulation", because=f"{known}: a sum of something, but not of what is known")
    if first is None:
        return missing("accumulation", "vocabulary_size", because=f"{told}; needs the micro-batches of a step")
    return _present(run, f"{told}, from the first on ({first:.3g} ln V)", whole)


def _ratio_to_evaluation(run: Run, train: Series) -> tuple[float, float] | None:
    """Median of logged over evaluated loss, in the first and the last third of the common stretch; None without."""
    evaluated = (run.train_eval_loss if len(run.train_eval_loss.finite) >= 3 else run.val_loss).finite
    at = evaluated.step[(evaluated.step >= train.step[0]) & (evaluated.step <= train.step[-1])]
    if at.size < 3 or not (evaluated.value > 0).all():
        return None
    ratios = train.at(at) / evaluated.at(at)
    third = max(1, at.size // 3)
    first, last = float(np.median(ratios[:third])), float(np.median(ratios[-third:]))
    return (first, last) if first > 0 and last > 0 else None


def _first_in_uniform(run: Run, train: Series) -> float | None:
    """The first training loss in units of ln V; None where the log begins later or V is not known."""
    if run.facts.vocabulary_size is None or train.step[0] > 1 or run.facts.step_unit is not None:
        return None
    return float(train.value[0]) / anchors.uniform(run.facts.vocabulary_size)


def _present(run: Run, because: str, times: int) -> Finding:
    optimizer, clip = (run.facts.optimizer or "adam").lower(), run.facts.grad_clip
    if any(name in optimizer for name in SCALED):
        table = learning_rate.cost_of_peak(float(times))
        cost = Estimate(table.value, 0.0 if clip else table.low, table.high)  # a clip keeps the steps as they were
        told = f"SGD's steps are {times:,} times as long"
    else:
        early = f"; the clip of {clip:g} bites {times:,} times as early" if clip else ""
        cost, told = UNDER_ADAM, f"Adam takes the size out again{early}"
    change = f"divide the loss of each micro-batch by {times:,} before its backward pass"
    remedy = Remedy("mean_of_micro_batches", change, {"batch.micro_batch": None}, cost, 0.0)
    return Finding("present", f"{because}: a sum, not a mean; {told}", nats=cost, remedies=(remedy,))


def example(rng: np.random.Generator) -> Run:
    """Eight micro-batches a step, their losses and gradients added up; evaluations are means, as they should be."""
    run = simulated.healthy(rng, accumulation=8)
    added = simulated.with_losses(run, lambda step, value, name: value * (8 if name == "train_loss" else 1))
    norm = 8 * run.grad_norm.value
    clipped = replace(run.clip_scale, value=np.minimum(1.0, simulated.CLIP / norm))
    return replace(added, grad_norm=replace(run.grad_norm, value=norm), clip_scale=clipped)
