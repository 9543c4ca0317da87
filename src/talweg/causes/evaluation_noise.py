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
from talweg.run import Run, Series

GROUP = "measurement"
NEEDS = ("val_loss", "eval_windows")
HIDDEN = 0.40  # P(rise) from which on neighbours do not show the trend. Our choice
MATERIAL = 0.02  # nats, sd of one evaluation. Our choice: below, ten evaluations tell 0.01 nats
# Measured scatter over the one computed from the windows: within this, sampling explains it. Our choice.
RATIO = (0.5, 2.0)
CLEAR = 3.0  # standard errors from which on the fall is plain in spite of the scatter. Our choice
MIN_POINTS = 12  # our choice: the trend of fewer is not known to be hidden
WANTED = 0.005  # nats: the scatter that the remedy aims at. Our choice: the gain of a small remedy


def examine(run: Run) -> Finding:
    noise, val = evidence.eval_noise(run), run.val_loss.finite
    if noise is None or len(val) < MIN_POINTS:
        return missing("val_loss", because=f"needs {MIN_POINTS} finite validation losses")
    fall, error = _fall(val, max(noise.sd, noise.sampling_sd or 0.0))
    rises = f"lies above the one before with probability {noise.probability_of_rise:.0%}"
    chance = f"an evaluation scatters by {noise.sd:.4f} and {rises}"
    seen = f"over the last half they fell by {fall:.3f} ±{error:.3f}"
    if noise.sd < MATERIAL or noise.probability_of_rise < HIDDEN or abs(fall) > CLEAR * error:
        return Finding("absent", f"{chance}; {seen}")
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
    because = f"{chance}; {made}; {seen}, which cannot be told from nothing"
    return Finding("present", because, Estimate(0.0, 0.0, 0.0), (remedy,))


def _fall(val: Series, sd: float) -> tuple[float, float]:
    """How far val falls from the first to the last third of the last half of its points; with its standard error."""
    late = val.value[len(val) // 2 :]
    third = late.size // 3
    return float(late[:third].mean() - late[-third:].mean()), sd * math.sqrt(2 / third)


def example(rng: np.random.Generator) -> Run:
    """Sixteen windows an evaluation, in a log that begins with a resume at step 8,000."""
    run = simulated.healthy(rng, eval_sd=0.11, eval_every=25)
    columns = ("train_loss", "train_eval_loss", "val_loss", "learning_rate")
    return replace(run, **{name: getattr(run, name).between(8000, 10_000) for name in columns})
