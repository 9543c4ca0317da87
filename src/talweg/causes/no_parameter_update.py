"""No parameter update: gradients are there and the learning rate is not zero, but the weights do not move.

Physics: Adam moves each weight by about the learning rate in a step, so after the steps so far by up to

    S = sum of eta        compare with 0.02, the usual spread of fresh weights

A loss that stands at its first value although S is a multiple of that is no slow start: the optimizer was built with
other tensors than the model's (before it was moved or wrapped), its step is never called or never reached, or the
weights are reset. Where the log has it, |update| / |weight| of exactly 0 says so directly.

Refuted by: the checksum of the weights differs between two steps.
Known problems: a learning rate of 0 is another cause. A run that starts from trained weights may be flat and sound;
without the size of the updates it is not judged. Plain SGD moves weights less than S.
References: Kingma & Ba 2015, arXiv 1412.6980, section 2.1 (a step is at most about eta).
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors
from talweg.run import Run, Series

GROUP = "implementation"
NEEDS = ("train_loss", "learning_rate")
# False alarms: 0 of 1,000 simulated sound runs with these columns, 0 of 93 public logs (notes/causes_numerics.md).
MIN_POINTS = 20  # records, of the size of updates or of the loss. Our choice
MOVED = 0.05  # S. Twice the spread of fresh weights; sound runs had lost 0.5 nats by 0.01 (notes/causes_numerics.md)
FRESH = 0.05  # of ln V: the same tolerance as bad_initialisation
FALL = 0.05  # nats. Our choice: a sound run at S = MOVED has lost ten times that
SIGNIFICANT = 3.0  # standard errors of a fall that counts as one
ZERO = 0.99  # of the records with a size of exactly 0. Our choice: one record may stand before the first step
OTHER_SCALES = ("sgd",)  # optimizers whose step is not about eta


def examine(run: Run) -> Finding:
    loss, ratio = _loss(run), run.update_ratio.finite
    if len(loss) < MIN_POINTS:
        return missing("train_loss", because=f"needs {MIN_POINTS} finite losses")
    gathered = _gathered(run)
    if gathered is None:
        return missing("learning_rate", because="neither the log nor a configuration tells the learning rate")
    if gathered == 0:
        return Finding("absent", "the learning rate is 0 throughout: that is why no weight moves, and another cause")
    skipped = run.skipped_steps.finite
    if skipped and skipped.value[-1] - skipped.value[0] > 0.5 * (skipped.step[-1] - skipped.step[0]):
        return Finding("absent", f"{skipped.value[-1]:,.0f} updates were skipped: the optimizer is called, and refuses")
    if len(ratio) >= MIN_POINTS:
        return _by_size(run, ratio)
    return _by_loss(run, loss, gathered)


def _loss(run: Run) -> Series:
    return max((run.train_loss.finite, run.val_loss.finite), key=len)


def _gathered(run: Run) -> float | None:
    """S, the sum of the learning rate over the steps done; None where no rate is known."""
    steps = np.linspace(0.0, run.last_step or 0.0, 1000)
    rate = evidence.rate_at(run, steps)
    return None if rate is None else float(np.mean(rate) * steps[-1])


def _by_size(run: Run, ratio: Series) -> Finding:
    """The verdict where the log tells |update| / |weight|."""
    rate = evidence.rate_at(run, ratio.step)
    paid = ratio.value if rate is None else ratio.value[rate > 0]
    still = float(np.mean(paid == 0)) if paid.size else 0.0
    if still < ZERO:
        return Finding("absent", f"an update moves the weights by {np.median(paid):.1e} of their size")
    return _present(run, f"the size of the updates is exactly 0 in {still:.0%} of the records")


def _by_loss(run: Run, loss: Series, gathered: float) -> Finding:
    """The verdict where only the losses tell."""
    fifth = len(loss) // 5
    first, last = loss.value[:fifth], loss.value[-fifth:]
    fell = float(np.mean(first) - np.mean(last))
    error = math.hypot(first.std(ddof=1), last.std(ddof=1)) / math.sqrt(fifth)
    told = f"from its first to its last fifth the loss fell by {fell:.4f} ±{error:.4f} nats"
    if abs(fell) > max(SIGNIFICANT * error, loss.resolution) or abs(fell) > FALL:
        return Finding("absent", told)
    vocabulary = run.facts.vocabulary_size
    if vocabulary is None:
        return missing("vocabulary_size", because=f"{told}; needs ln V, to tell an untrained model from a plateau")
    uniform = anchors.uniform(vocabulary)
    if abs(float(np.median(first)) / uniform - 1) > FRESH:
        return missing("update_ratio", because=f"{told}, but it is not at ln V = {uniform:.2f}: it has learnt before")
    if run.facts.step_unit is not None:
        return missing("update_ratio", because=f"{told}; the log counts no updates ({run.facts.step_unit}): how many?")
    if gathered < MOVED or any(name in (run.facts.optimizer or "").lower() for name in OTHER_SCALES):
        return missing("update_ratio", because=f"{told}; the learning rates add up to {gathered:.2g} so far: wait")
    norm = run.grad_norm.finite
    if norm and not norm.value.any():
        return missing("checkpoint", because=f"{told}, but the gradient is exactly 0: nothing reaches the weights")
    there = f" at a gradient of norm {np.median(norm.value):.2g}" if norm else ""
    return _present(run, f"{told}{there}, while the learning rates add up to {gathered:.2g}")


def _present(run: Run, because: str) -> Finding:
    remedy = Remedy(
        "update_the_weights",
        "give the optimizer the parameters of the model that runs, and call its step after each backward pass",
        {"optimizer.name": "adamw"},
        cost := evidence.never_trained(run),
        None,
    )
    return Finding("present", because, nats=cost, remedies=(remedy,), steps=(0.0, run.last_step or 0.0))


def example(rng: np.random.Generator) -> Run:
    """The loss of the fresh model to the end, at the scatter of its batches; a gradient that nobody uses."""
    run = simulated.healthy(rng)

    def fresh(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        scatter = 0.02 if name == "train_loss" else 0.0005
        return math.log(simulated.VOCABULARY) + scatter * rng.standard_normal(step.size)

    norm = replace(run.grad_norm, value=8.0 * rng.lognormal(0.0, 0.1, len(run.grad_norm)))
    return replace(simulated.with_losses(run, fresh), grad_norm=norm, update_ratio=Series())
