"""Half precision overflow: a number left the range of fp16, and from there on the loss is NaN for good.

Physics: fp16 ends at 65,504 and loses all digits below 6e-8; bf16 and fp32 reach 3e38. An activation or a gradient
beyond 65,504 becomes infinite, inf - inf becomes NaN, and one NaN in the weights makes every later loss NaN. A scaler
halves its loss scale at each gradient that is not finite; against NaN in the weights or in the forward pass that is no
help. The loss does not rise before: nothing was wrong with the direction of the updates.

    lost = L(break) - L(end of the plan)        what the steps never made would have brought; nats per token

Refuted by: the same steps from the last good checkpoint in bf16 or fp32 are not finite either.
Known problems: a lower learning rate delays it, for it slows the growth of the activations; the range is the cause. A
divergence between two logged steps looks the same. Where a trainer prints NaN as another number, the gradient's
norm, rows without a loss or a finite validation tell; where none does, the verdict is unknown.
References: Micikevicius et al. 2018, arXiv 1710.03740; Kalamkar et al. 2019, arXiv 1905.12322 (range of bf16).
"""

from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "numerics"
NEEDS = ("train_loss", "precision")
# False alarms: 0 of 1,000 simulated sound runs with these columns, 0 of 93 public logs (notes/causes_numerics.md).
MIN_BEFORE = 10  # finite values before the break: without them it may be the data or the model. Our choice
FOR_GOOD = 3  # values at the end. Our choice: a scaler passes over one bad batch, and the next loss is finite
STOPS = ("talweg",)  # trainers that stop at the first loss that is not finite: there is no second to wait for
RISE = 0.5  # nats: the same rise from which on `diverged` speaks
WIDE = ("bf16", "fp32", "tf32", "fp64")  # precisions with the range of fp32 or more
SCALER = 256.0  # a loss scale that was ever this high is that of fp16. Our choice: bf16 logs show 1, one set shows 12


def examine(run: Run) -> Finding:
    name, series = ("train_loss", run.train_loss) if run.train_loss else ("val_loss", run.val_loss)
    unseen = evidence.unseen(run)
    bad = _bad(run, series) | (series.step >= (np.inf if unseen.since is None else unseen.since))
    num_before, num_after = _around(bad)
    if num_before < MIN_BEFORE:
        return missing(name, because=f"needs {MIN_BEFORE} finite losses before a break; there are {num_before}")
    if num_after == 0 and not unseen.known:
        if run.facts.precision in WIDE:
            return Finding("absent", f"{unseen.because}, but {run.facts.precision} does not end at 65,504")
        return missing("grad_norm", because=f"{unseen.because}: a loss that is a number proves nothing")
    if num_after == 0 and unseen.since is None:
        passing = f"; {bad.sum():,} values before it are not" if bad.any() else ""
        return Finding("absent", f"the last {name}, {series.value[-1]:.3f}, is a sound number{passing}")
    last = float(series.step[num_before - 1])
    first = float(series.step[num_before]) if unseen.since is None else unseen.since
    broke = unseen.because or f"{name} is {_words(series.value[num_before:])} from step {first:,.0f} on"
    precision = run.facts.precision
    if precision in WIDE:
        return Finding("absent", f"{broke}, but {precision} does not end at 65,504: the range is not the cause")
    cost = evidence.rest_of_plan(run, last)
    scale = _scale(run, first)
    if precision is None and (scale is None or scale[0] < SCALER):
        return missing("precision", because=f"{broke}; was it fp16?", would_narrow_nats=cost.value)
    rise = evidence.risen_before(run, last)
    if rise is None or rise > RISE:
        told = "too few values before it" if rise is None else f"it had risen by {rise:.2f} nats before: it diverged"
        return Finding("absent", f"{broke}; {told}")
    halved = scale is not None and scale[1] <= scale[0] / 4
    if num_after < FOR_GOOD and unseen.since is None and not halved and run.format not in STOPS:
        told = f"{broke}, its last {num_after} values alone: a batch that is passed over looks like it; wait"
        return missing(name, because=told, would_narrow_nats=cost.value)
    fell = f"; the loss scale fell from {scale[0]:,.0f} to {scale[1]:g} on the way" if halved and scale else ""
    because = f"in fp16 {broke}; it broke at a loss that had not risen{fell}"
    return Finding(
        "present", because, nats=cost, remedies=_remedies(last, cost), steps=(first, max(first, float(series.step[-1])))
    )


def _bad(run: Run, series: Series) -> np.ndarray:
    """Which values are no loss: not finite, or printed as exactly 0 where the gradient's norm is not finite. (T,)"""
    bad = ~np.isfinite(series.value)
    norm = run.grad_norm
    if norm and (series.value == 0).any():
        nearest = np.clip(np.searchsorted(norm.step, series.step), 0, len(norm) - 1)
        bad |= (series.value == 0) & ~np.isfinite(norm.value[nearest])
    return bad


def _around(bad: np.ndarray) -> tuple[int, int]:
    """How many values stand before the stretch of bad ones that reaches the end, and how many in it."""
    good = np.flatnonzero(~bad)
    num = int(good[-1]) + 1 if good.size else 0
    return num, bad.size - num


def _words(values: np.ndarray) -> str:
    return "NaN" if np.isnan(values).all() else "0 with a gradient of NaN" if (values == 0).all() else "not finite"


def _scale(run: Run, step: float) -> tuple[float, float] | None:
    """The highest loss scale up to the break, and the lowest after it was reached."""
    before = run.loss_scale.finite
    if not before:
        return None
    upto = before.between(0, step) or before
    return float(upto.value.max()), float(before.value[int(np.argmax(upto.value)) :].min())


def _remedies(last: float, cost: Estimate) -> tuple[Remedy, ...]:
    back = f"from a checkpoint before step {last:,.0f}"
    return (
        Remedy("bf16", f"{back}: precision fp16 -> bf16", {"hardware.precision": "bf16"}, cost, None),
        Remedy("fp32", f"{back}, where the card has no bf16: fp32", {"hardware.precision": "fp32"}, cost, None, 2.0),
    )


def example(rng: np.random.Generator) -> Run:
    """Breaks at three fifths; the scaler had halved its scale four times in the last hundred steps."""
    run = simulated.healthy(rng, precision="fp16")
    broken = simulated.with_losses(run, lambda step, value, name: np.where(step < 6000, value, np.nan))
    step = run.train_loss.step
    scale = 65536.0 / 2 ** np.clip((step - 5900) // 25, 0, 24)
    norm = replace(run.grad_norm, value=np.where(step < 6000, run.grad_norm.value, np.nan))
    return replace(broken, grad_norm=norm, loss_scale=Series.of(step, scale))
