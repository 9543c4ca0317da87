"""Throughput loss: steps take longer than this run has shown they need, and the time lost would have bought tokens.

Physics: by the plan's steps nothing is lost, for every step does the same. By the clock a share w of it is: with t a
step's time and t_0 the time that a fifth of the log kept up,

    w = 1 - t_0 / mean(t)        in the same hours the run would see D / (1 - w) tokens

and the laws of size say what these would win. w also counts the time that steps wait for data, and stalls of single
steps; not the first steps (compilation), evaluations, checkpoints at regular steps, or another pace after a resume.

Refuted by: the same steps, made again on the same machine with nothing else on it, take as long.
Known problems: batches or attention windows that grow by plan slow the steps down, and nothing is lost. A log of every
hundredth step may miss stalls. A share of peak FLOP/s is only as right as the peak: nanoGPT divides by an A100's on
every card, so its figure is not used.
References: Chowdhery et al. 2022, arXiv 2204.02311, section 4.1 (model FLOPs utilisation).
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talweg import evidence, simulated
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "numerics"
NEEDS = ("seconds_per_step",)
# False alarms: 0 of 1,000 simulated sound runs with these columns, 0 of 93 public logs (notes/causes_numerics.md).
MIN_POINTS = 60  # times that count. Our choice: enough for blocks of eight
BLOCK, MOST_BLOCKS = 8, 24  # times of a block at least; blocks of a stretch at most. Our choice
SUSTAINED = 20  # percentile of the blocks' medians: the pace that a fifth of the log kept up. Our choice
SLOW = 1.1  # times that pace, from which on a block is slow. Our choice: sound public runs keep within 1.03
CLEAR = 4.0  # standard errors of a block's median beyond it
STALL = 2.0  # times its block's median, from which on a single step stalls. Our choice
REGULAR = 50.0  # steps: stalls at multiples of one interval this long are taken for checkpoints. Our choice
LOST = 0.25  # of the time. Our choice: other work on a shared machine takes up to .21 (notes/causes_numerics.md)
WAITING = 0.1  # of the time, for data. Our choice: a loader that keeps up takes a hundredth
COARSE = 0.05  # of the time of a step: printed less finely, a drift of a tenth is not seen
STARTING = 0.01  # of the steps after a start: compilation, caches
FAR, REACHED, WIDE = 0.1, 0.3, 512  # of peak FLOP/s: too low, usual; width from which on it is. Our choice
MATERIAL = 0.003  # nats: twice the seeds' sd


@dataclass(frozen=True)
class Lost:
    """A share of the time, where it went, and the steps at which."""

    share: float
    least: float  # share from which on it is called a loss
    because: str
    steps: tuple[float, float] | None = None


def examine(run: Run) -> Finding:
    seconds = _seconds(run)
    stretches = [s for s in _stretches(run, seconds) if len(s) >= MIN_POINTS]
    if not stretches:
        num = len(_usual(run, seconds))
        return missing("seconds_per_step", because=f"needs {MIN_POINTS} times of steps without evaluation; has {num}")
    middle = float(np.median(np.concatenate([s.value for s in stretches])))
    if seconds.resolution > COARSE * middle or np.unique(stretches[-1].value).size < BLOCK:
        return missing("seconds_per_step", because="the times are printed too coarsely to tell a drift of a tenth")
    found = [lost for s in stretches if (lost := _slow(s)) is not None]
    found += [lost for lost in (_waiting(run, seconds), _far_below_peak(run)) if lost is not None]
    worst = max(found, key=lambda lost: lost.share / lost.least, default=None)
    if worst is None or worst.share < worst.least:
        told = f"; {worst.because}: {worst.share:.0%} of the time is lost" if worst is not None else " throughout"
        return Finding("absent", f"a step takes {middle:.3g} s{told}")
    cost = evidence.more_tokens(run, 1 / (1 - worst.share))
    because = f"{worst.because}: {worst.share:.0%} of the time is lost"
    if cost is None:
        return missing("val_loss", because=f"{because}; needs a loss, to tell what its tokens would win")
    if cost.value < MATERIAL:
        return Finding("absent", f"{because}, whose tokens would win {cost.value:.4f} nats", nats=cost)
    remedy = Remedy(
        "free_the_machine",
        "stop other work on the machine, look at heat, disk and memory, and go on from the newest checkpoint",
        {"hardware.threads": None},
        cost,
        0.0,
    )
    because = f"{because}; its tokens, in the same hours, would win this"
    return Finding("present", because, nats=cost, remedies=(remedy,), steps=worst.steps)


def _seconds(run: Run) -> Series:
    """Seconds of a step; from the tokens a second where there is no other. The unit does not matter to shares."""
    series = run.seconds_per_step.finite
    if not series and (rate := run.tokens_per_second.finite):
        value = (run.facts.tokens_per_step or 1.0) / np.where(rate.value > 0, rate.value, np.nan)
        relative = rate.resolution / max(float(np.median(rate.value)), 1e-300)
        series = replace(rate, value=value, resolution=relative * float(np.nanmedian(value)), name=rate.name).finite
    keep = series.value > 0
    return replace(series, step=series.step[keep], value=series.value[keep])


def _usual(run: Run, seconds: Series) -> Series:
    """The times without those of starts and of steps that evaluate."""
    if not seconds:
        return seconds
    starts = [float(seconds.step[0]), *(run.facts.resumed_at or ())]
    reach = STARTING * (seconds.step[-1] - seconds.step[0])
    drop = np.isin(seconds.step, np.concatenate([run.val_loss.step, run.train_eval_loss.step]))
    for start in starts:
        drop |= (seconds.step >= start) & (seconds.step <= start + reach)
    return replace(seconds, step=seconds.step[~drop], value=seconds.value[~drop])


def _stretches(run: Run, seconds: Series) -> list[Series]:
    """The usual times, cut at resumes: another machine has another pace."""
    usual = _usual(run, seconds)
    cuts = [0.0, *sorted(run.facts.resumed_at or ()), np.inf]
    return [usual.between(first, np.nextafter(last, 0)) for first, last in pairwise(cuts)]


def _slow(times: Series) -> Lost | None:
    """What slow blocks and stalls cost within one stretch."""
    num = min(MOST_BLOCKS, len(times) // BLOCK)
    places = np.array_split(np.arange(len(times)), num)
    medians = np.array([np.median(times.value[p]) for p in places])
    base = float(np.percentile(medians, SUSTAINED))
    errors = np.array([1.2533 * _spread(times.value[p]) / np.sqrt(p.size) for p in places])
    slow = (medians > SLOW * base) & (medians - base > CLEAR * errors)
    sizes = np.array([p.size for p in places])
    total = float(times.value.sum())
    drift = float((sizes * (medians - base))[slow].sum())
    own = np.concatenate([np.full(p.size, m) for p, m in zip(places, medians, strict=True)])
    stalls = np.flatnonzero(times.value > STALL * own)
    pauses = _regular(times.step[stalls])
    waited = 0.0 if pauses else float((times.value - own)[stalls].sum())
    if not slow.any() and waited == 0:
        return None
    parts = []
    if slow.any():
        factor = float(np.mean(medians[slow])) / base
        parts.append(f"steps take {factor:.2f} times the {base:.3g} s that were kept up, in {slow.mean():.0%} of them")
    if waited > 0:
        parts.append(f"{stalls.size:,} of {len(times):,} steps stall")
    touched = np.concatenate([np.concatenate([places[i] for i in np.flatnonzero(slow)] or [stalls]), stalls])
    steps = (float(times.step[int(touched.min())]), float(times.step[int(touched.max())]))
    return Lost((drift + waited) / total, LOST, " and ".join(parts), steps)


def _spread(value: NDArray[np.float64]) -> float:
    """Robust sd of the times in a block."""
    return 1.4826 * float(np.median(np.abs(value - np.median(value))))


def _regular(steps: NDArray[np.float64]) -> bool:
    """Whether these steps all lie on one interval of at least REGULAR: checkpoints, not stalls."""
    if steps.size < 2:
        return True
    gaps = np.diff(steps)
    least = float(gaps.min())
    return least >= REGULAR and bool(np.all(np.abs(gaps / least - np.round(gaps / least)) * least < 0.5))


def _waiting(run: Run, seconds: Series) -> Lost | None:
    """The share of the time in which steps wait for data, where the log tells it."""
    loader = run.loader_seconds.finite
    at = np.intersect1d(_usual(run, seconds).step, loader.step) if loader and run.seconds_per_step else np.empty(0)
    if at.size < MIN_POINTS:
        return None
    share = float(loader.at(at).sum() / seconds.at(at).sum())
    told = f"steps wait for data for {share:.0%} of their time"
    return Lost(min(share, 0.99), WAITING, told, (float(at[0]), float(at[-1])))


def _far_below_peak(run: Run) -> Lost | None:
    """A use of the device far below what models of this width reach. Not judged from nanoGPT's A100 figure."""
    mfu = run.mfu.finite
    if run.format == "nanogpt" or len(mfu) < MIN_POINTS or (run.facts.width or 0) < WIDE:
        return None
    usual = float(np.median(mfu.value))
    if not 0 < usual < FAR:
        return None
    return Lost(1 - usual / REACHED, LOST, f"{usual:.1%} of the device's peak is in use, where {REACHED:.0%} is usual")


def example(rng: np.random.Generator) -> Run:
    """From a third of the run on a step takes 1.6 times as long: another process has come."""
    run = simulated.healthy(rng)
    slow = np.where(run.seconds_per_step.step < 3300, 1.0, 1.6)
    return replace(
        run,
        seconds_per_step=replace(run.seconds_per_step, value=run.seconds_per_step.value * slow),
        tokens_per_second=replace(run.tokens_per_second, value=run.tokens_per_second.value / slow),
        mfu=replace(run.mfu, value=run.mfu.value / slow),
    )
