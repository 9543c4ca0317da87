"""Diverged: the loss had been low, rose, and stays up near the level of token frequencies.

Physics: an update too large for the curvature throws the weights out of the valley. What survives is the cheapest
thing to know, the frequencies of tokens, so the curve comes to rest near the unigram entropy H1 and lies quiet there:

    r = (L_now - L_best) / (H1 - L_best)        the share of the way back to H1; no unit

Refuted by: the level after the rise, continued at the same rate, falls back to the line it left.
Known problems: a divergence that ends in NaN is visible only up to the last finite value. Where H1 is not known, a
range for the tokenizer's size is used.
References: Chowdhery et al. 2022, arXiv 2204.02311, section 5.1; Wortsman et al. 2023, arXiv 2309.14322.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.curve.level import level
from talweg.curve.minimum import minimum
from talweg.curve.trend import trend
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors
from talweg.run import Run, Series

GROUP = "optimization"
NEEDS = ("val_loss",)
MIN_POINTS = 10  # our choice: fewer cannot show a fall, a rise and a tail
RISE = 0.5  # nats above the best level. Our choice: above every spike that healthy public runs kept for three points
WAY_BACK = 0.35  # of r. Our choice; public divergences end between 0.5 and 1.1
FOR_GOOD = 3  # values at the end: fewer may be one bad batch. Our choice
TAIL_SHARE = 0.2  # of the points: the tail that must be quiet. Our choice


def examine(run: Run) -> Finding:
    judged = evidence.judged(run)
    if judged is None or len(judged.loss) < MIN_POINTS:
        return missing("val_loss", because=f"needs a loss curve of {MIN_POINTS} finite points")
    unseen = evidence.unseen(run)
    loss = judged.loss if unseen.since is None else judged.loss.between(0, unseen.since - 1)
    found = minimum(loss.step, loss.value, evidence.scatter(run, judged))
    now = level(loss.step, loss.value)
    if found is None or now is None:
        return missing("val_loss", because="the loss curve is too short to tell its level")
    rise = now.value - found.value
    best = f"the best level is {found.value:.3f} at step {found.step:,.0f}"
    if rise < RISE and not unseen.known:
        return missing("grad_norm", because=f"{best}; {unseen.because}, so nothing shows that it is finite by now")
    if rise < RISE and (broke := _not_finite_from(run)) is not None:
        told = f"{best}; from step {broke:,.0f} on the loss is not finite, so what it rose to was not logged"
        return missing("val_loss", because=told)
    if rise < RISE:
        return Finding("absent", f"{best}; the last, {now.value:.3f}, is {'at' if rise < 0.05 else 'near'} it")
    way = (now.value - found.value) / max(_unigram(run) - found.value, 1e-9)
    if way < WAY_BACK:
        return missing("val_loss", because=f"{best}; {now.value:.3f} now is a rise, but far from token frequencies")
    if _falling_back(loss, rise):
        return missing("val_loss", because=f"{best}; {now.value:.3f} now, and falling back: wait")
    if _train_went_on(run, found.step):
        return Finding("absent", f"{best}; val rose to {now.value:.3f} while train went on falling")
    back = f"{way:.0%} of the way back to token frequencies" if way < 2 else "far above that of token frequencies"
    because = f"{best}; then it rose to {now.value:.3f}, {back}, and stays"
    cost = Estimate(rise, max(rise - 0.1, 0.0), 1.3 * rise)
    remedies = _remedies(run, found.step, cost)
    return Finding("present", because, nats=cost, remedies=remedies, steps=(found.step, float(loss.step[-1])))


def _not_finite_from(run: Run) -> float | None:
    """The step from which on a loss is NaN or infinite to the end, in at least FOR_GOOD values; None where none is."""
    for series in (run.train_loss, run.val_loss, run.train_eval_loss):
        good = np.flatnonzero(np.isfinite(series.value))
        num = int(good[-1]) + 1 if good.size else 0
        if len(series) - num >= FOR_GOOD:
            return float(series.step[num])
    return None


def _unigram(run: Run) -> float:
    f = run.facts
    if f.unigram_nats is not None:
        return f.unigram_nats
    return anchors.unigram(f.vocabulary_size or 50_257).value


def _falling_back(loss: Series, rise: float) -> bool:
    """Whether the tail loses, over its own length, more than a tenth of the rise."""
    num = max(5, int(TAIL_SHARE * len(loss)))
    step, value = loss.step[-num:], loss.value[-num:]
    slope = trend(step, value)
    if slope is None:
        half = num // 2
        return bool(value[:half].mean() - value[half:].mean() > 0.05 * rise)
    return bool(slope.slope * (step[-1] - step[0]) < -0.1 * rise)


def _train_went_on(run: Run, since: float) -> bool:
    """Whether the training loss ends below where it was at the best of val: then it is no divergence."""
    train = (run.train_eval_loss or run.train_loss).finite
    before, after = train.between(0.8 * since, since), train.between(since, np.inf)
    if len(before) == 0 or len(after) < 4:
        return False
    return bool(np.median(after.value[-max(3, len(after) // 5) :]) < np.median(before.value))


def _remedies(run: Run, best_step: float, cost: Estimate) -> tuple[Remedy, ...]:
    peak, warmup, clip = evidence.peak_rate(run), run.facts.warmup_steps, run.facts.grad_clip
    remedies = []
    if peak:
        lower = float(f"{peak / 3:.2g}")
        change = f"from a checkpoint before step {best_step:,.0f}: peak learning rate {peak:.3g} -> {lower:.3g}"
        remedies.append(Remedy("lower_peak", change, {"optimizer.peak_lr": lower}, cost, None))
    if not clip:
        remedies.append(Remedy("clip_gradients", "clip gradients at norm 1", {"optimizer.grad_clip": 1.0}, None, 0.0))
    if warmup is not None:
        longer = max(3 * warmup, 300)
        change = f"warm-up {warmup:,} -> {longer:,} steps"
        remedies.append(Remedy("longer_warmup", change, {"schedule.warmup_steps": longer}, None, 0.0))
    return tuple(remedies)


def example(rng: np.random.Generator) -> Run:
    """Falls as it should to two fifths of the run, then rises to 7.5 nats within 300 steps and stays."""

    def blown(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        risen = np.clip((step - 4000) / 300, 0, 1)
        quiet = 7.5 + (0.02 if name == "train_loss" else 0.005) * rng.standard_normal(step.size)
        return np.asarray((1 - risen) * value + risen * quiet)

    return simulated.with_losses(simulated.healthy(rng), blown)
