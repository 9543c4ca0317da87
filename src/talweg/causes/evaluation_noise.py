"""Evaluation noise: so few windows are evaluated that the scatter of validation hides whether the run still improves.

Physics: the mean of n random windows has the standard error sd_window / sqrt(n), with sd_window 0.37 to 0.51 nats
for windows of 1,024 tokens. While the loss falls by b per step, an evaluation dt steps later lies above the one
before with probability

    P(rise) = Phi(-|b| dt / (sd sqrt 2))        sd: of one evaluation, nats

At P near one half the evaluations say nothing to the eye. It costs no loss, only the sight of it.

Refuted by: evaluating one checkpoint twice on other windows gives the same value to within half this scatter.
Known problems: evaluations of a fixed set scatter with the weights, not with the sample: more windows do not help
there.
References: the standard error of a mean; probability of one normal variable above another.
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "measurement"
NEEDS = ("val_loss", "eval_windows")
HIDDEN = 0.40  # P(rise) from which on neighbours do not show the trend. Our choice
MATERIAL = 0.02  # nats, sd of one evaluation. Our choice: below, ten evaluations tell 0.01 nats
# Measured scatter over the one computed from the windows: within this, sampling explains it. Our choice.
RATIO = (0.5, 2.0)
CLEAR = 4.0  # standard errors from which on a trend is plain in spite of the scatter. Our choice
MIN_POINTS = 12  # our choice: the trend of fewer is not known to be hidden
WANTED = 0.005  # nats: the scatter that the remedy aims at. Our choice: the gain of a small remedy


def examine(run: Run) -> Finding:
    noise, trend = evidence.eval_noise(run), evidence.trend(run)
    if noise is None or len(run.val_loss.finite) < MIN_POINTS:
        return missing("val_loss", because=f"needs {MIN_POINTS} finite validation losses")
    if trend is None:
        return missing("val_loss", because="the validation curve is too short to tell a trend")
    chance = (
        f"an evaluation scatters by {noise.sd:.4f} and lies above the one before with probability "
        f"{noise.probability_of_rise:.0%}"
    )
    pace = f"the trend is {trend.value:+.4f} ({trend.low:+.4f} to {trend.high:+.4f}) nats per 1,000 steps"
    if noise.sd < MATERIAL or noise.probability_of_rise < HIDDEN:
        return Finding("absent", f"{chance}; {pace}")
    if abs(trend.value) > CLEAR * trend.sd:
        return Finding("absent", f"{chance}; {pace}, clear all the same")
    if noise.sampling_sd is None:
        return missing("eval_windows", because=f"{chance}; needs the number of windows to tell sampling from unrest")
    ratio = noise.sd / noise.sampling_sd
    made = f"the windows alone give {noise.sampling_sd:.4f}"
    if not RATIO[0] <= ratio <= RATIO[1]:
        return missing("checkpoint", because=f"{chance}, but {made}: not the sampling")
    windows = run.facts.eval_windows or 1
    wanted = math.ceil(windows * (noise.sd / WANTED) ** 2)
    tokens = wanted * (run.facts.context or 1024)
    change = f"{wanted:,} windows instead of {windows:,} for each evaluation"
    remedy = Remedy("more_windows", change, {"evaluation.tokens": tokens}, Estimate(0.0, 0.0, 0.0), 0.0)
    return Finding("present", f"{chance}; {made}; {pace}: it cannot be seen", Estimate(0.0, 0.0, 0.0), (remedy,))


def example(rng: np.random.Generator) -> Run:
    """Sixteen windows an evaluation, in a log that begins with a resume at step 7,000."""
    run = simulated.healthy(rng, eval_sd=0.11, eval_every=25)
    columns = ("train_loss", "train_eval_loss", "val_loss", "learning_rate")
    return replace(run, **{name: getattr(run, name).between(7000, 10_000) for name in columns})
