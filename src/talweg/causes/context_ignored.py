"""Context ignored: the loss comes to rest where token frequencies alone would put it, and never was lower.

Physics: a model that cannot use its context is bounded below by the unigram entropy H1; the first thing that
context buys is the bigram entropy H2. The share of that step taken is

    u = (H1 - L) / (H1 - H2)        L: level of the tail; all in nats per token, so u has no unit

u = 0: only frequencies are learned. u = 1: as good as a table of pairs.

Refuted by: shuffling the context of held-out text raises its loss.
Known problems: H2 counted on few tokens is too low, which pulls u towards 0. Without a count of the text, a range
for the tokenizer's size stands in, and a weak model that stands within it cannot be told apart: unknown, unless by
its size and tokens the run should be past pairs of tokens long since.
References: Shannon 1951, Prediction and Entropy of Printed English (F_1 and F_2).
"""

import numpy as np

from talweg import evidence, simulated
from talweg.curve.level import level
from talweg.curve.trend import trend
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors
from talweg.run import Run

GROUP = "implementation"
NEEDS = ("val_loss", "unigram_nats")
BAND = 0.1  # of u, either way. Our choice: none of 200 runs that only fall through H1 is called (notes/calibration.md)
MIN_POINTS = 12  # our choice
TAIL_SHARE = 0.5  # of the steps: how long it must have stood there
FEWEST_A_TOKEN = 100  # tokens seen for each of the vocabulary. Our choice: sound runs were u = 9 % at 7, 41 % at 40
STILL_FALLING = 0.1  # of H1 - H2: a tail that falls by more than this over its length only passes through


def examine(run: Run) -> Finding:
    judged = evidence.judged(run)
    if judged is None or len(judged.loss) < MIN_POINTS:
        return missing("val_loss", because=f"needs a loss curve of {MIN_POINTS} finite points")
    h1, h2 = _entropies(run)
    if h1 is None or h2 is None:
        return missing(
            "unigram_nats", because="needs the entropy of the text's tokens: give --data, or the vocabulary size"
        )
    loss = judged.loss
    tail = loss.between(TAIL_SHARE * float(loss.step[-1]), float(loss.step[-1]))
    now = level(tail.step, tail.value)
    if now is None:
        return missing("val_loss", because="the loss curve is too short to tell its level")
    step = h1.value - h2.value
    u = (h1.value - now.value) / step
    stands = (
        f"the tail, {now.value:.3f}, is {u:.0%} of the way from unigram ({h1.value:.2f}) to bigram entropy "
        f"({h2.value:.2f})"
    )
    if now.value < h1.low - BAND * step:
        return Finding("absent", stands)
    if now.value > h1.high + BAND * step:
        return missing(
            "val_loss", because=f"{stands}: not even token frequencies are learned; something else comes first"
        )
    if np.median(np.sort(loss.value)[: max(3, len(loss) // 10)]) < h1.low - BAND * step:
        return Finding("absent", f"{stands}, but it has been lower: {float(loss.value.min()):.3f}")
    slope = trend(tail.step, tail.value)
    fall = 0.0 if slope is None else -slope.slope * (tail.step[-1] - tail.step[0])
    if slope is None or abs(fall) > STILL_FALLING * step or tail.value[0] > h1.high + 2 * BAND * step:
        return missing("val_loss", because=f"{stands}, and still moving ({-fall:+.2f} over the last half): wait")
    if (seen := _seen(run)) is not None and seen < FEWEST_A_TOKEN:
        because = f"{stands}; {seen:,.0f} tokens for each of the vocabulary are too few to learn what follows what"
        return missing("val_loss", because=because)
    if run.facts.unigram_nats is None and not _far_from_expected(run, h2):
        because = f"{stands}; that entropy is a range for this vocabulary: give --data"
        return missing("unigram_nats", because=because, would_narrow_nats=_cost(run, now.value, h2).value)
    cost = _cost(run, now.value, h2)
    return Finding("present", f"{stands}, and it does not move", nats=cost, remedies=_remedies(run, cost))


def _seen(run: Run) -> float | None:
    """Training tokens so far for each token of the vocabulary; None where the batch or the vocabulary is not known."""
    f = run.facts
    if f.tokens_per_step is None or not f.vocabulary_size or run.last_step is None:
        return None
    return run.last_step * f.tokens_per_step / f.vocabulary_size


def _entropies(run: Run) -> tuple[Estimate | None, Estimate | None]:
    """H1 and H2: counted on the text where somebody did, else the range for the vocabulary's size."""
    f = run.facts
    by_size = f.vocabulary_size
    h1 = None if by_size is None else anchors.unigram(by_size)
    h2 = None if by_size is None else anchors.bigram(by_size)
    if f.unigram_nats is not None:
        h1 = Estimate(f.unigram_nats, f.unigram_nats, f.unigram_nats)
        h2 = h2 or Estimate(0.7 * f.unigram_nats, 0.6 * f.unigram_nats, 0.8 * f.unigram_nats)
    if f.bigram_nats is not None:
        h2 = Estimate(f.bigram_nats, f.bigram_nats, f.bigram_nats)
    return (h1, h2) if h1 is None or h2 is None or h2.value < h1.value - 0.1 else (None, None)


def _far_from_expected(run: Run, h2: Estimate) -> bool:
    """Whether even a weak recipe of this size would be past pairs of tokens by now: then the range is narrow enough."""
    expected = evidence.expected(run)
    return expected is not None and evidence.far_above(run) is not None and expected.loss.high < h2.value


def _cost(run: Run, now: float, h2: Estimate) -> Estimate:
    """Down to what the laws expect; without them, at least down to pairs of tokens."""
    expected = evidence.expected_at_end(run)
    least = max(0.0, now - h2.high)
    if expected is None:
        return Estimate(max(least, now - h2.value), least, max(now - 0.5 * h2.low, least))
    value = max(now - expected.loss.value, least)
    return Estimate(value, min(value, max(least, now - expected.loss.high)), max(value, now - expected.loss.low))


def _remedies(run: Run, cost: Estimate) -> tuple[Remedy, ...]:
    peak = evidence.peak_rate(run)
    warmup = max(300, 3 * (run.facts.warmup_steps or 0))
    remedies = [
        Remedy("longer_warmup", f"warm-up of {warmup:,} steps", {"schedule.warmup_steps": warmup}),
        Remedy("known_attention", "train with Talweg's own attention and positions", {"model.positions": "rope"}, cost),
    ]
    if peak:
        lower = float(f"{peak / 3:.2g}")
        remedies.insert(
            0, Remedy("lower_peak", f"peak learning rate {peak:.3g} -> {lower:.3g}", {"optimizer.peak_lr": lower})
        )
    return tuple(remedies)


def example(rng: np.random.Generator) -> Run:
    """It falls to the entropy of single tokens and stays."""

    def stuck(step: simulated.Array, value: simulated.Array, name: str) -> simulated.Array:
        noise = 0.05 if name == "train_loss" else 0.009
        fresh = np.exp(-step / 300)
        return np.asarray(
            simulated.UNIGRAM + fresh * (10.8 - simulated.UNIGRAM) + noise * rng.standard_normal(step.size)
        )

    return simulated.with_losses(simulated.healthy(rng), stuck)
