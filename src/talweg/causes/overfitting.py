"""Overfitting: validation loss has passed its minimum and rises while training loss goes on falling.

Physics: with the text seen again and again, the model buys training loss with what holds for those documents alone:

    cost = L_val(now) - min L_val,   with  d(L_val - L_train)/ds > 0  and  d(L_train)/ds < 0        nats per token

A gap near zero, or val below train, is evidence against it: the gap is what overfitting consists of.

Refuted by: validation loss on other held-out text of the same kind has no minimum there.
Known problems: a val set of other text than the training set can rise from the first evaluations on (that is another
cause); a rise within the evaluation's scatter is none. Decay of the learning rate can hide a rise for a while.
References: Muennighoff et al. 2023, arXiv 2305.16264; Lovelace et al. 2026, arXiv 2605.01640 (weight decay 1.0 cuts the
penalty of repetition by about 70 %).
"""

import numpy as np

from talweg import evidence, simulated
from talweg.curve.minimum import Minimum, minimum
from talweg.estimate import SD_80, Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "capacity"
NEEDS = ("val_loss", "train_eval_loss")
MIN_POINTS = 8  # our choice: a minimum with a rise on it needs both sides
MATERIAL = 0.02  # nats of rise. Our choice; an evaluation of 200 x 12 windows scatters by 0.0075
SIGNIFICANT = 3.0  # standard errors of the rise. Our choice: 0 of 200 simulated healthy runs (notes/calibration.md)


def examine(run: Run) -> Finding:
    val = run.val_loss.finite
    if len(val) < MIN_POINTS:
        return missing("val_loss", because=f"needs {MIN_POINTS} finite validation losses; the log has {len(val)}")
    noise, gap = evidence.eval_noise(run), evidence.gap(run)
    found = minimum(val.step, val.value, noise.sd if noise is not None else 0.0)
    if found is None or noise is None:
        return missing("val_loss", because="the validation curve is too short to tell a minimum")
    figures = _gap_figures(gap)
    risen = found.rise_since > max(MATERIAL, SIGNIFICANT * found.rise_standard_error)
    if not risen:
        against = f"; {figures}" if figures else ""
        return Finding("absent", f"{_no_minimum(found, val.step[-1])}{against}")
    if gap is None:
        return missing("train_eval_loss", because=f"val rose by {found.rise_since:.3f}; no training loss to compare")
    rise = f"val rose by {found.rise_since:.3f} nats since its minimum, {found.value:.3f} at step {found.step:,.0f}"
    fell = _train_fell(run, found.step)
    if fell is None:
        return missing("train_loss", because=f"{rise}; the training loss since then is too short to tell its way")
    if fell <= 0:
        return Finding("absent", f"{rise}, but train rose as well (by {-fell:.3f})")
    if _one_pass(run):
        return missing("data", because=f"{rise}, within one pass of the text: is val of another kind than train?")
    cost = _cost(run, found, float(val.step[-1]))
    because = f"{rise}, while train fell by {fell:.3f}; {figures}"
    return Finding(
        "present", because, nats=cost, remedies=_remedies(run, found, cost), steps=(found.step, val.step[-1])
    )


def _no_minimum(found: Minimum, last: float) -> str:
    error = found.rise_standard_error
    if found.step >= last or found.rise_since <= 0.5 * error:
        return f"val is at its lowest, {found.value:.3f}"
    return f"val has no significant minimum: {found.rise_since:+.3f} ±{error:.3f} since step {found.step:,.0f}"


def _gap_figures(gap: "evidence.Gap | None") -> str:
    if gap is None:
        return ""
    text = f"val - train is {gap.value.value:+.3f}"
    if gap.growth is None:
        return text
    grows = gap.growth.low > 0
    return f"{text}, {'growing' if grows else 'not growing'} ({gap.growth.value:+.4f} per 1,000 steps)"


def _train_fell(run: Run, since: float) -> float | None:
    """How far the training loss fell since this step, by medians; None with too few values on either side."""
    train = (run.train_eval_loss if len(run.train_eval_loss) >= MIN_POINTS else run.train_loss).finite
    reach = 0.15 * (train.step[-1] - train.step[0]) if train else 0.0
    before, after = train.between(since - reach, since + 1), train.between(since + 1, np.inf)
    if len(before) < 2 or len(after) < 2:
        return None
    late = after.value[-max(2, len(after) // 4) :]
    return float(np.median(before.value) - np.median(late))


def _one_pass(run: Run) -> bool:
    unique, seen = run.facts.unique_tokens, run.tokens_seen
    return unique is not None and seen is not None and seen <= unique


def _cost(run: Run, found: Minimum, last: float) -> Estimate:
    """The rise now; the upper end lets it go on at its pace to the end of the plan."""
    end = evidence.horizon(run) or last
    onward = found.rise_since * (end - last) / max(last - found.step, 1.0)
    error = SD_80 * found.rise_standard_error
    low, value = found.rise_since - error, found.rise_since + 0.5 * onward
    return Estimate(value, low, value + 0.5 * onward + error).at_least(0.0)


def _remedies(run: Run, found: Minimum, cost: Estimate) -> tuple[Remedy, ...]:
    there = evidence.length(run, found.step)
    stop = Remedy("stop_at_minimum", f"stop at step {found.step:,.0f}", there, cost, 0.0)
    return (
        *((stop,) if there else ()),
        Remedy("more_weight_decay", "weight decay -> 1.0", {"optimizer.weight_decay": 1.0}),
        Remedy("dropout", "dropout -> 0.2", {"model.dropout": 0.2}),
    )


def example(rng: np.random.Generator) -> Run:
    """Small text, many passes: val turns at step 4,000 and climbs by 0.3 nats while train falls away."""

    def memorised(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        late = np.clip((step - 3000) / 7000, 0, 1)
        return np.asarray(value + (0.9 * late**1.5 if name == "val_loss" else -0.8 * late))

    return simulated.with_losses(simulated.healthy(rng, unique_tokens=None), memorised)
