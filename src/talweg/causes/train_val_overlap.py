"""Train val overlap: validation text stands in the training text, so its loss is lower than on text that is new.

Physics: s is the share of validation's 13-grams (13 tokens in a row, within one document) that the training text holds
too. What was seen is predicted better, so the logged val is lower than on fresh text by

    b = val on documents without a shared 13-gram - val on all        nats per token

This costs no loss: it hides some, and makes memorising look like learning.

Refuted by: validation documents without a shared 13-gram have the same loss as all of them.
Known problems: quotations, licences and templates are shared honestly: a few per cent say nothing. Documents without
a shared 13-gram may be easier or harder for another reason. Tokens of a byte or two are not judged: 13 of them are no
passage. Without their loss b is only bounded by s times val.
References: Brown et al. 2020, arXiv 2005.14165, appendix C (13-grams); Lee et al. 2022, arXiv 2107.06499.
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "data"
NEEDS = ("val_overlap_share", "val_loss")
# Share of 13-grams. Our choice: 3.5 % is what a random split of manuals has (notes/data_causes.md); that split is
# told to a person who prepares text, but moves val by less than its own error.
PRESENT = 0.10
# Bytes that shared passages stand for at least. Our choice: GPT-2's have 50 and more. Of single bytes 57 % of
# validation's runs of 13 stand in the training text where 12 % of a BPE's do, on the same split of 100 programs.
SHORTEST = 26.0
FEW = 8  # as many finite values as a curve is judged by
LAST = 5  # evaluations whose median difference is taken


def examine(run: Run) -> Finding:
    share = run.facts.val_overlap_share
    if share is None:
        return missing("data", because="whether the training text holds the validation text is not known: give --data")
    level = evidence.val_level(run)
    if level is None or len(run.val_loss.finite) < FEW:
        return missing("val_loss", because="needs eight finite validation losses")
    bias = _measured(run)
    tokens = run.facts.val_overlap_ngram or 13
    figures = f"{share:.1%} of validation's {tokens}-grams stand in the training text"
    if bias is not None:
        figures += f"; documents without any have a loss {bias.value:+.3f} from that of all"
    if share < PRESENT:
        return Finding("absent", figures)
    length = tokens * (run.facts.bytes_per_token or math.inf)
    if length < SHORTEST:
        short = f"{tokens} tokens are {length:.0f} bytes here, which texts share by chance"
        return missing("data", because=f"{short}: give the same text prepared with a BPE")
    hides = bias.at_least(0.0) if bias is not None else Estimate(0.0, 0.0, min(share, 1.0) * level.value)
    because = f"{figures}: val looks up to {hides.high:.2g} nats better than it is; this hides loss and costs none"
    change = "split by group: talweg prepare keeps documents of one source on one side"
    remedy = Remedy("split_by_group", change, {"data.path": "DATA of talweg prepare"}, Estimate(0.0, 0.0, 0.0), 0.0)
    return Finding("present", because, nats=hides, remedies=(remedy,))


def _measured(run: Run) -> Estimate | None:
    """Clean minus all, over the last evaluations that have both. Its error: the scatter, and val's own standard error
    (the two share most of their text, so that is an upper bound)."""
    clean, val, stated = run.val_loss_clean.finite, run.val_loss.finite, run.val_standard_error.finite
    common = np.intersect1d(clean.step, val.step)[-LAST:]
    if common.size == 0:
        return None
    difference = clean.at(common) - val.at(common)
    scatter = float(difference.std(ddof=1)) / math.sqrt(common.size) if common.size > 1 else 0.0
    error = float(stated.value[-1]) if stated else 0.0
    return Estimate.normal(float(np.median(difference)), math.hypot(scatter, error))


def example(rng: np.random.Generator) -> Run:
    """Forty per cent of val is in train, and what is not has a loss 0.08 higher."""
    run = simulated.healthy(rng, val_overlap_share=0.4)
    val = run.val_loss
    clean = Series.of(val.step, val.value + 0.08 * (val.step > 0), kind="evaluation")
    return replace(run, val_loss_clean=clean)
