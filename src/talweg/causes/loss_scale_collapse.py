"""Loss scale collapse: every update is skipped, the loss scale halves towards nothing, and the weights stand still.

Physics: an fp16 scaler multiplies the loss by a scale s, and skips an update whose gradient is not finite, halving s:
n skipped updates in a row leave s / 2^n. A gradient that overflows by its size comes back into range after a few; one
that is not finite at any scale (a NaN in one activation, a division by zero) never does. The loss stays finite, for
the weights do not move.

    lost = L(first skipped) - L(end of the plan)        what the skipped updates would have brought; nats per token

Refuted by: from the last checkpoint before the skipped stretch, the same batches give finite gradients in fp32 at the
scale 1, and the run in fp16 still skips them.
Known problems: a log that tells the scale only now and then may miss where it began. A loss that rose before the
first skipped update is a divergence, and the skipping its consequence.
References: Micikevicius et al. 2018, arXiv 1710.03740; PyTorch, torch.amp.GradScaler (halves at each gradient that is
not finite, doubles after 2,000 good updates); Megatron-LM (its scale starts at 2^32).
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "numerics"
NEEDS = ("loss_scale", "skipped_steps")
# False alarms: 0 of 1,000 simulated sound runs with these columns, 0 of 93 public logs (notes/causes_numerics.md).
LONG = 33  # updates skipped in a row: more than it takes from the highest usual start, 2^32, to 1
TINY = 1.0  # loss scale: no gradient that overflows by its size alone needs less
FALL = 2.0**10  # of the scale, from its highest value: a constant scale of 1, as bf16 logs show it, is no collapse
SKIPPED = 0.9  # of the updates between two records, from which on the stretch counts as skipped. Our choice
RISE = 0.5  # nats: the same rise from which on `diverged` speaks
MIN_POINTS = 8  # records of scale or count. Our choice
WIDE = ("bf16", "fp32", "tf32", "fp64")  # precisions that need no scaler


def examine(run: Run) -> Finding:
    precision = run.facts.precision
    scale, skipped = run.loss_scale.finite, run.skipped_steps.finite
    if max(len(scale), len(skipped)) < MIN_POINTS:
        if precision in WIDE:
            return Finding("absent", f"{precision} needs no loss scale, and the log shows none")
        return missing("loss_scale", "skipped_steps", because="the log tells no loss scale and no skipped updates")
    began = _skipping_since(skipped)
    by_scale = _fallen_since(scale)
    told = _told(scale, skipped)
    if began is None and by_scale is None:
        return Finding("absent", told)
    first = min(step for step in (began, by_scale) if step is not None)
    losses = run.train_loss or run.val_loss
    if not losses.finite:
        return missing("train_loss", because=f"{told}; needs losses, to see that none rose before")
    unseen = evidence.unseen(run)
    if not np.isfinite(losses.value[-3:]).any() or unseen.since is not None:
        return Finding("absent", f"{told}, but the loss itself is not finite: it left the range of fp16")
    if not unseen.known:
        return missing("val_loss", because=f"{told}; {unseen.because}: is the loss itself a number?")
    rise = evidence.risen_before(run, first)
    if rise is None:
        return missing(
            "train_loss", because=f"{told}; needs ten losses before step {first:,.0f}, to see that none rose"
        )
    if rise > RISE:
        return Finding("absent", f"{told}, but the loss had risen by {rise:.2f} nats before step {first:,.0f}")
    cost = evidence.rest_of_plan(run, first)
    end = float(max(s.step[-1] for s in (scale, skipped) if s))
    back = f"from a checkpoint before step {first:,.0f}"
    remedies = (
        Remedy("bf16", f"{back}: precision fp16 -> bf16", {"hardware.precision": "bf16"}, cost, None),
        Remedy("fp32", f"{back}, where the card has no bf16: fp32", {"hardware.precision": "fp32"}, cost, None, 2.0),
    )
    because = f"{told}: no update since step {first:,.0f}, at a loss that had not risen"
    return Finding("present", because, nats=cost, remedies=remedies, steps=(first, end))


def _skipping_since(skipped: Series) -> float | None:
    """The step from which on the updates are skipped, to the end, LONG of them at least; None if they are not."""
    if len(skipped) < 2:
        return None
    share = np.diff(skipped.value) / np.diff(skipped.step)
    kept = np.flatnonzero(share < SKIPPED)
    start = int(kept[-1]) + 1 if kept.size else 0
    return float(skipped.step[start]) if skipped.value[-1] - skipped.value[start] >= LONG else None


def _fallen_since(scale: Series) -> float | None:
    """The step from which on the scale falls to the end, FALL times and below TINY; None if it does not."""
    if len(scale) < 2 or scale.value[-1] > TINY or scale.value.max() < FALL * max(scale.value[-1], 1e-300):
        return None
    grown = np.flatnonzero(np.diff(scale.value) > 0)
    after = int(grown[-1]) + 1 if grown.size else 0
    top = np.flatnonzero(scale.value[after:] == scale.value[after])[-1] + after
    return float(scale.step[top]) if scale.value[after] >= FALL * max(scale.value[-1], 1e-300) else None


def _told(scale: Series, skipped: Series) -> str:
    parts = []
    if skipped:
        steps = skipped.step[-1] - skipped.step[0]
        parts.append(f"{skipped.value[-1]:,.0f} of {steps:,.0f} updates were skipped")
    if scale:
        parts.append(f"the loss scale is {scale.value[-1]:.3g}, its highest was {scale.value.max():,.0f}")
    return "; ".join(parts)


def example(rng: np.random.Generator) -> Run:
    """From step 6,000 on every update is skipped; losses stay where they were."""
    run = simulated.healthy(rng, precision="fp16")

    def stands(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        level = float(np.median(value[(step >= 5500) & (step <= 6000)]))
        scatter = 0.05 if name == "train_loss" else 0.003
        return np.where(step <= 6000, value, level + scatter * rng.standard_normal(step.size))

    step = run.train_loss.step
    lost = np.maximum(step - 6000, 0.0)
    scale = 65536.0 * 2.0 ** -np.minimum(lost, 80)
    count = np.floor(step / 2000) + lost
    still = replace(run.update_ratio, value=np.where(lost > 0, 0.0, run.update_ratio.value))
    norm = replace(run.grad_norm, value=np.where(lost > 0, math.inf, run.grad_norm.value))
    run = replace(run, loss_scale=Series.of(step, scale), skipped_steps=Series.of(step, count))
    return replace(simulated.with_losses(run, stands), update_ratio=still, grad_norm=norm)
