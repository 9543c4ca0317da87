"""Noisy data: a large part of the text is of a kind that teaches little: noise, lists, boilerplate, broken encoding.

Physics: of D tokens the share s stands in documents that measures of quality reject. If these taught nothing, the run
would have seen D (1 - s) tokens of text; by the size laws that costs

    L(N, D (1 - s)) - L(N, D)        nats per token

and noise in the validation text raises the floor besides: bits per byte of noise do not fall.

Refuted by: a run on as many tokens of the text without what was rejected has no lower loss on clean text.
Known problems: the published rules were made for prose of the web. Code, tables and verse fail them and may be just
what is wanted. What a rejected document teaches is not nothing, and how it weighs on the floor is not known: the
interval spans from no cost to twice the law's. Of token files only the bytes a token are looked at.
References: Rae et al. 2021, arXiv 2112.11446 (Gopher); Raffel et al. 2020, arXiv 1910.10683 (C4); Penedo et al. 2024,
arXiv 2406.17557 (FineWeb).
"""

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import size
from talweg.run import Run

GROUP = "data"
NEEDS = ("noisy_share", "parameters", "tokens_per_step")
# Share of the text. Our choice: of clean manuals, which these rules were not made for, less is rejected by all measures
# of token files (0 %); the rules of talweg prepare are stricter, and are told apart by their names in its report.
NOISY = 0.30


def examine(run: Run) -> Finding:
    f, end = run.facts, evidence.horizon(run) or run.last_step
    if f.noisy_share is None:
        return missing("data", because="the quality of the text was not measured: give --data")
    if evidence.judged(run) is None or not end:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    figures = f"{f.noisy_share:.1%} of the text stands in documents that measures of quality reject"
    if f.noisy_share < NOISY:
        return Finding("absent", figures)
    if f.parameters is None or f.tokens_per_step is None:
        return missing("parameters", "tokens_per_step", because=f"{figures}; what that costs needs the size of the run")
    seen = f.tokens_per_step * end
    left = max(1.0 - f.noisy_share, 0.01)
    law = size.difference(f.parameters, left * seen, f.parameters, seen).at_least(0.0)
    cost = Estimate(law.value, 0.0, 2 * law.high)
    change = "filter the text: talweg prepare counts what each rule drops"
    remedy = Remedy("filter", change, {"data.path": "DATA of talweg prepare with filters"}, cost, 0.0)
    return Finding("present", figures, nats=cost, remedies=(remedy,))


def example(rng: np.random.Generator) -> Run:
    """Six tenths of the text are noise."""
    return simulated.healthy(rng, noisy_share=0.6)
