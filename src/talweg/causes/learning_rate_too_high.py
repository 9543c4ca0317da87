"""Learning rate too high: the peak rate lies far above what this size wants, and the curve shows that it hurts.

Physics: the best peak rate of AdamW falls with the parameters N and depends weakly on the tokens D,

    eta_best = geometric mean of 1.79 N^-0.713 D^0.307 and 0.3118 (6 N D)^-0.125

known to a factor 4; Muon's is up to twice that, more where its updates may not be scaled to AdamW's. At twice the best
rate the final loss is 0.019 nats higher, at four times 0.097, then it diverges. So the configuration alone convicts
nobody: the curve must agree, by lying above the level that the laws expect, or by turning upwards while the rate was
still rising in the warm-up.

Refuted by: a branch from the same checkpoint at a third of the rate is no better after the two have annealed.
Known problems: both laws were fitted above 10 M parameters and to AdamW; Lion or muP rates are on other scales. Muon's
best rate was measured at one size, 1.3 M parameters.
References: Li et al. 2025 (StepLaw), arXiv 2503.04715; DeepSeek 2024, arXiv 2401.02954.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import learning_rate as law
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "optimization"
NEEDS = ("peak_learning_rate", "parameters", "tokens_per_step", "val_loss")
SUSPECT = 2.0  # times the law's optimum: from here on a wrong rate costs .02 nats and more (laws/learning_rate.py)
# Nats within the warm-up. Our choice: 3 to 6 sd of a 65k-token batch, and no sound public run has it.
EARLY_RISE = 0.3


def examine(run: Run) -> Finding:
    peak, judged = evidence.peak_rate(run), evidence.judged(run)
    f, end = run.facts, evidence.horizon(run) or run.last_step
    if judged is None or not end:
        return missing("val_loss", because="needs a loss curve")
    if not peak:
        return missing("peak_learning_rate", because="neither the log nor a configuration tells the learning rate")
    early = _rise_in_warmup(run)
    if f.parameters is None or f.tokens_per_step is None:
        names = tuple(n for n in ("parameters", "tokens_per_step") if getattr(f, n) is None)
        return missing(*names, because=f"a peak of {peak:.3g} cannot be judged without {' and '.join(names)}")
    best = evidence.best_peak(run, end)
    if best is None:
        return missing("optimizer", because=f"no law for the learning rate of {f.optimizer} is known here")
    ratio = peak / best.value
    config = (
        f"the peak {peak:.3g} is {_times(ratio)} times the law's {best.value:.2g} ({best.low:.1g} to {best.high:.1g})"
    )
    if peak <= best.high:
        return _within_the_law(run, config, ratio, early)
    above = _above_expected(run)
    if above is None and early is None:
        return missing("val_loss", because=f"{config}, but no expected loss is known to compare the curve with")
    if early is None and (above is None or above.low <= 0):
        return Finding("absent", f"{config}, yet the curve does not lie above the level that the laws expect")
    cost = _cost(law.cost_of_peak(ratio), above)
    signs = [f"the loss turned up by {early:.2f} nats within the warm-up"] if early is not None else []
    if above is not None and above.low > 0:
        signs.append(f"the loss lies {above.value:.2f} nats above what the laws expect")
    lower = best.high if best.high < peak / 3 else peak / 3
    change = f"peak learning rate {peak:.3g} -> {lower:.2g}"
    remedy = Remedy("lower_peak", change, {"optimizer.peak_lr": float(f"{lower:.2g}")}, cost, end * f.tokens_per_step)
    return Finding("present", f"{config}; {' and '.join(signs)}", nats=cost, remedies=(remedy,))


def _within_the_law(run: Run, config: str, ratio: float, early: float | None) -> Finding:
    """Absent, unless the rate is on the high side and the curve is in trouble: then only a trial can tell."""
    above = evidence.far_above(run)
    if ratio < SUSPECT or (early is None and above is None):
        return Finding("absent", f"{config}, within what the law can tell")
    sign = f"the loss turned up by {early:.2f} nats within the warm-up" if early is not None else ""
    sign = sign or f"the loss lies {above:.2f} nats above what the laws expect"
    because = f"{config}, which the law cannot tell from the best, and {sign}"
    hidden = law.cost_of_peak(ratio).high
    return missing("a trial at a third of the rate", because=because, would_narrow_nats=hidden)


def _cost(table: Estimate, above: Estimate | None) -> Estimate:
    """What the table says for this ratio, at most what the run loses against the laws."""
    if above is None or above.low <= 0:
        return table
    return Estimate(above.value, min(table.low, above.low), above.high)


def _above_expected(run: Run) -> Estimate | None:
    """How far the level lies above the expected one, nats."""
    expected, now = evidence.expected(run), evidence.val_level(run) or evidence.train_level(run)
    if expected is None or now is None:
        return None
    return Estimate.normal(now.value - expected.loss.value, float(np.hypot(now.sd, expected.loss.sd)))


def _rise_in_warmup(run: Run) -> float | None:
    """How far the training loss rose above its lowest level while the rate was still rising; None if it did not."""
    warmup, series = run.facts.warmup_steps, run.train_loss.finite
    if warmup is None or len(part := series.between(0, warmup)) < 12:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(part.value, 5)
    smooth = np.median(windows, axis=1)
    rise = float((smooth - np.minimum.accumulate(smooth)).max())
    return rise if rise > EARLY_RISE else None


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def example(rng: np.random.Generator) -> Run:
    """Thirty times the law's rate: rough, and more than a nat above the laws."""
    schedule = Schedule("cosine", 0.04, 4e-4, 250, 10_000)
    return simulated.healthy(rng, schedule=schedule, above=1.2, batch_sd=0.15, optimizer="adamw")
