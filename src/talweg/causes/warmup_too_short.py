"""Warmup too short: the rate was up before the model could bear it, the loss jumped back, and steps were lost.

Physics: in the first updates the curvature is high and Adam's second moment is an average over few gradients; a rate
that rises faster than both calm down throws the loss up. A long run forgets it, a short one pays for the steps

    cost = (L - E) (1 - ((S1 + lost) / S1)^-beta)        nats per token

    S1: sum of eta / eta_peak over the plan; lost: the part of it from the bump's foot until the loss is back there
    L: level at the end     E = 1.8 nats     beta: 0.06 to 0.12

What the bump leaves behind is not in it: in runs of 800 updates a longer warm-up won 0.17 nats (peak 3e-3) and 0.56
(6e-3) without any bump being needed to see it, so in short runs the interval reaches that far. Without a bump a long
run is absent and a short one unknown.

Refuted by: the same first steps with three times the warm-up show the same bump, or end no lower.
Known problems: a peak far above the law's best is `learning_rate_too_high`. A log of one line in hundreds of steps does
not show the first ones. A modern form (RMS norm, QK norm, blocks that begin as the identity) needs hardly any warm-up.
References: Gilmer et al. 2021, arXiv 2110.04369 (what a warm-up does to the curvature); Liu et al. 2019, arXiv
1908.03265 (Adam's variance in the first steps).
"""

import math
from dataclasses import dataclass

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import annealing
from talweg.laws import schedule as law
from talweg.run import Run, Series
from talweg.schedule import Schedule

GROUP = "schedule"
NEEDS = ("warmup_steps", "train_loss", "learning_rate", "planned_steps")
WITHIN = 5.0  # warm-ups: what the warm-up unsettles shows by then (public cases; the catalogue's own figure)
RISE = 0.3  # nats, as learning_rate_too_high has it: 3 to 6 sd of a 65k-token batch, and no sound public run has it
SIGNIFICANT = 5.0  # sd of one logged loss, for logs that are noisier than that. A median of WINDOW scatters by 0.56
WINDOW = 5  # values whose median is a level: a spike of a step or two is none
FEWEST = 12  # values in the first steps. Our choice
QUIET = 0.5  # of the bump: a later rise of more says that the trouble is no matter of the first steps. Our choice
MATERIAL = 0.01  # nats: 5 sd of a seed's effect on the final loss (0.0014 to 0.0019 at 124 M)
# False alarms: 0 of 241 simulated sound runs, none of the public ones that could be judged (notes/causes_schedule.md)


@dataclass(frozen=True)
class _Bump:
    foot: float  # the step of the lowest level before
    top: float
    back: float | None  # the step at which the loss is down again; None: not within the log
    size: float  # nats


def examine(run: Run) -> Finding:
    f, end, train = run.facts, evidence.horizon(run), run.train_loss.finite
    if f.step_unit is not None or end is None:
        return missing("planned_steps", because="how long the plan is, is not known")
    warm = _warmup(run, end)
    if warm is None:
        return missing("warmup_steps", because="neither the log nor a configuration tells the warm-up")
    if len(train) < FEWEST:
        return missing("train_loss", because=f"needs {FEWEST} finite training losses of the first steps")
    usual, told = law.usual_warmup(end), f"the warm-up takes {warm:,.0f} of {end:,.0f} updates"
    if warm >= usual:
        return Finding("absent", told)
    if run.facts.initialised_from is not None:
        return Finding("absent", f"{told}; the weights were trained before")
    first = max(WITHIN * warm, usual)
    if len(train.between(0, first)) < FEWEST or train.step[-1] < first:
        return missing("train_loss", because=f"{told}; needs {FEWEST} training losses within the first {first:,.0f}")
    bump = _bump(run, train, first)
    if bump is None:
        return _without(run, told, end, first)
    return _judged(run, bump, told, usual, end)


def _warmup(run: Run, end: float) -> float | None:
    """As stated, else where the logged rate comes to its peak."""
    if run.facts.warmup_steps is not None:
        return float(run.facts.warmup_steps)
    rate = run.learning_rate.finite
    if not rate or float(rate.value.max()) <= 0 or evidence.still_warming(run):
        return None
    steps = annealing.grid(end)
    rates = evidence.rate_at(run, steps)
    return None if rates is None else law.peak_at(steps, rates)


def _smooth(series: Series) -> Series:
    if len(series) < WINDOW:
        return Series()
    level = np.median(np.lib.stride_tricks.sliding_window_view(series.value, WINDOW), axis=1)
    return Series(series.step[WINDOW // 2 : WINDOW // 2 + level.size], level)


def _bump(run: Run, train: Series, first: float) -> _Bump | None:
    """The largest rise above the lowest level before it, within the first steps."""
    level = _smooth(train)
    part = level.between(0, first)
    rise = part.value - np.minimum.accumulate(part.value)
    top = int(np.argmax(rise))
    noise = evidence.batch_noise(run) or 0.0
    if rise[top] < max(RISE, SIGNIFICANT * noise):
        return None
    foot = int(np.argmin(part.value[: top + 1]))
    after = level.between(float(part.step[top]), math.inf)
    down = np.flatnonzero(after.value <= part.value[foot])
    back = float(after.step[down[0]]) if down.size else None
    return _Bump(float(part.step[foot]), float(part.step[top]), back, float(rise[top]))


def _without(run: Run, told: str, end: float, first: float) -> Finding:
    """No bump: absent, unless the run is so short and its rate so high that the measured cost may be there unseen."""
    quiet = f"{told}, and the loss never turns up within the first {first:,.0f}"
    peak, lowest = evidence.peak_rate(run), evidence.lowest_best_peak(run, end)
    if end >= law.SHORT_RUN or (peak is not None and lowest is not None and peak < lowest):
        return Finding("absent", quiet)
    most = law.LONGER_WON.high
    why = f"{quiet}; yet in runs so short a warm-up of 30 % has won up to {most:.2f} nats: only a trial tells"
    return missing("checkpoint", because=why, would_narrow_nats=most)


def _judged(run: Run, bump: _Bump, told: str, usual: float, end: float) -> Finding:
    seen = f"{told}; the loss turned up by {bump.size:.2f} nats at step {bump.top:,.0f}"
    best, peak = evidence.best_peak(run, end), evidence.peak_rate(run)
    if bump.back is None:
        return missing("train_loss", because=f"{seen} and has not come back: more than the warm-up is wrong")
    if best is not None and peak is not None and peak > best.high:
        return Finding("absent", f"{seen}; but the peak {peak:.3g} is beyond the law's {best.high:.1g}: another cause")
    if _rises_later(run, bump):
        return Finding("absent", f"{seen}, and it does so later too: no matter of the first steps")
    if best is None:
        lacking = [n for n in ("parameters", "tokens_per_step") if getattr(run.facts, n) is None] or ["optimizer"]
        return missing(*lacking, because=f"{seen}: by a short warm-up or by a high peak? Its best value is not known")
    cost = _cost(run, bump, end)
    if cost is None:
        return missing("learning_rate", because=f"{seen}; needs the rate and a level to tell the cost")
    seen += f" and was back at step {bump.back:,.0f}{_norm(run, bump)}"
    if cost.value < MATERIAL:
        return Finding("absent", f"{seen}, which costs {cost.value:.3f} nats by the end", nats=cost)
    longer = round(usual if end >= law.SHORT_RUN else 3 * usual)
    change = f"warm-up of {longer:,} updates, from the start"
    config = {"schedule.warmup_steps": longer, **evidence.length(run, end)}
    per_step = run.facts.tokens_per_step
    remedy = Remedy("longer_warmup", change, config, cost, None if per_step is None else per_step * end)
    return Finding("present", seen, nats=cost, remedies=(remedy,), steps=(0.0, bump.back))


def _rises_later(run: Run, bump: _Bump) -> bool:
    """Whether the level rises again, after it was back, by a good part of the bump."""
    later = _smooth(run.train_loss.finite.between(bump.back or 0.0, math.inf))
    if not later:
        return False
    return float((later.value - np.minimum.accumulate(later.value)).max()) > QUIET * bump.size


def _norm(run: Run, bump: _Bump) -> str:
    """What the gradient's norm did meanwhile."""
    norm = run.grad_norm.finite
    there, later = norm.between(bump.foot, bump.back or bump.top), norm.between(bump.back or bump.top, math.inf)
    if not there or not later:
        return ""
    return f"; the gradient's norm went up to {there.value.max():.2g}, {np.median(later.value):.2g} later"


def _cost(run: Run, bump: _Bump, end: float) -> Estimate | None:
    """What the same path would have brought with the lost stretch besides."""
    now = evidence.val_level(run) or evidence.train_level(run)
    steps = annealing.grid(end)
    rate = evidence.rate_at(run, steps)
    if now is None or rate is None or float(rate.max()) <= 0 or bump.back is None:
        return None
    path = law.path(steps, rate)
    (foot, back), _ = path.at([bump.foot, bump.back])
    whole = annealing.Path(path.step, path.area + float(back - foot), path.decayed)
    f = run.facts
    per = f.tokens_per_step * end / f.parameters if f.tokens_per_step and f.parameters else None
    found = law.cost(
        now.value, path, whole, gain=(0.0, 0.0), tokens_per_parameter=per, bytes_per_token=f.bytes_per_token
    ).at_least(0.0)
    most = law.LONGER_WON.high if end < law.SHORT_RUN else 3 * found.value
    return Estimate(found.value, found.low, max(found.high, most))


def example(rng: np.random.Generator) -> Run:
    """Twenty updates of warm-up; then the loss leaps by 2.5 nats, and takes an eighth of the run to come back."""
    schedule = Schedule("cosine", 1e-3, 1e-5, 20, 2500)
    run = simulated.healthy(
        rng, steps=2500, schedule=schedule, log_every=5, above=0.03, parameters=60e6, tokens_per_parameter=20
    )

    def thrown(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        bump = 2.5 * np.clip((step - 60) / 20, 0, 1) * np.exp(-np.maximum(step - 80, 0) / 300)
        return np.asarray(value + bump)

    return simulated.with_losses(run, thrown)
