"""Unbalanced shape: the parameters stand where they help least: in depth, in width, or in a table of many tokens.

Physics: at equal parameters the loss is nearly level between 10 and 300 units of width a layer, and rises slowly
beyond. A token costs compute N_b + V d, so a table of many tokens is paid at each of them:

    cost = rate x octaves of d / layers outside of 10 to 300   nats per token
    cost = what g times the text would win at the same compute,
           g = (N_b + V d) / (N_b + V' d) x c(V') / c(V)       no unit

    d: width   N_b = 12 layers d^2: parameters outside of the embedding   V: tokens of the vocabulary, V' its best size
    for N_b: 0.128e9 (N_b / 2.87e9)^0.83 / d   c: characters a token

Refuted by: a model of the same parameters, or compute, in the proportions of the remedy ends no lower.
Known problems: the level band was measured from 50 M parameters on; below 10 M one size in a short run was, where flat
models led further. The law of the vocabulary was fitted from 33 M parameters outside of it on and is carried below; its
cost counts compute, so at equal tokens nothing of it is seen, and losses with two tokenizers are compared in bits per
byte. The size of a head is shown and not judged: 16 heads of 4 units in place of 2 of 32 ended .14 lower and .07
higher in two forms of a small model.
References: Kaplan et al. 2020, arXiv 2001.08361, figure 5; Tao et al. 2024, arXiv 2407.13623.
"""

from dataclasses import dataclass

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import shape
from talweg.run import Run

GROUP = "capacity"
NEEDS = ("layers", "width", "val_loss")
MATERIAL = 0.02  # nats of one part. Our choice: ten times a seed's effect
# Of the parameters, in the embedding. Our choice: GPT-2 has .31, a sound 30 M model with its tokenizer .65.
VOCABULARY_SHARE = 0.8
HEAD = 64  # units: the usual size, given to the heads of the remedy
# False alarms: 0 of 500 simulated sound runs with shapes of public models (notes/causes_batch.md).


@dataclass(frozen=True)
class Part:
    """One proportion that is off, what it costs and what mends it. remedy None: nothing that is known here."""

    told: str
    cost: Estimate
    remedy: Remedy | None


DEEP = 6  # layers from which a model can be too deep. Our choice: what is measured is of 16 and 48


def examine(run: Run) -> Finding:
    f = run.facts
    if f.layers is None or f.width is None or f.layers < 1 or f.width < 1:
        names = tuple(name for name in ("layers", "width") if not run.has(name)) or ("layers", "width")
        return missing(*names, because=f"the shape cannot be judged without {' and '.join(names)}")
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: without one nothing is known to train")
    shown = f"{f.layers} layers of {f.width}, {f.width / f.layers:.3g} units a layer"
    if f.heads:
        shown += f", heads of {f.width / f.heads:.3g}"
    parts = [part for part in (_aspect(f.layers, f.width), _vocabulary(run)) if part is not None]
    if not parts:
        return Finding("absent", f"{shown}: within what is level")
    because = f"{shown}: {'; '.join(part.told for part in parts)}"
    total = Estimate(*(sum(getattr(part.cost, end) for part in parts) for end in ("value", "low", "high")))
    return Finding("present", because, nats=total, remedies=tuple(p.remedy for p in parts if p.remedy is not None))


def _aspect(layers: int, width: int) -> Part | None:
    cost = shape.aspect_cost(layers, width)
    if cost.value < MATERIAL:
        return None
    thin = width / layers < shape.ASPECT[0]
    if thin and layers < DEEP:
        return None
    head = HEAD if width >= HEAD else 16
    depth, wide = shape.balanced(layers, width, head)
    config: dict[str, object] = {"model.layers": depth, "model.width": wide, "model.heads": max(wide // HEAD, 1)}
    change = f"{layers} layers of {width} -> {depth} of {wide}, about as many parameters"
    told = f"{'too deep for its width' if thin else 'too wide for its depth'}, outside of {shape.ASPECT[0]:g} to "
    told += f"{shape.ASPECT[1]:g} units a layer"
    return Part(told, cost, Remedy("balance_depth", change, config, cost, None))


def _vocabulary(run: Run) -> Part | None:
    """A table that outweighs the model, where the tokens of the plan were too dear for it."""
    f = run.facts
    if f.vocabulary_size is None or f.layers is None or f.width is None:
        return None
    table, rest = float(f.vocabulary_size) * f.width, shape.blocks(f.layers, f.width)
    share, best = table / (table + rest), shape.best_vocabulary(f.layers, f.width)
    smaller = min(max(round(best / 64) * 64, 256), f.vocabulary_size)
    if share < VOCABULARY_SHARE or smaller >= f.vocabulary_size:
        return None
    ratio = shape.text_gain(f.layers, f.width, f.vocabulary_size, smaller)
    won = evidence.more_tokens(run, ratio) if ratio > 1 else None
    if won is None or won.value < 2 * MATERIAL:
        return None
    cost = Estimate(won.value / 2, 0.0, won.high)  # our choice: the law is carried below its sizes, so from nothing on
    told = (
        f"{share:.0%} of the parameters are the table of {f.vocabulary_size:,} tokens, where about {smaller:,} would do"
    )
    change = (
        f"a tokenizer of {smaller:,} tokens, not {f.vocabulary_size:,}: {ratio:.2g} times the text at equal compute"
    )
    return Part(told, cost, Remedy("smaller_vocabulary", change, {"model.vocabulary_size": smaller}, cost, None))


def example(rng: np.random.Generator) -> Run:
    """96 layers of 192: two units of width a layer."""
    return simulated.healthy(
        rng,
        parameters=52e6,
        layers=96,
        heads=3,
        width=192,
        above=0.05,
        trainable_parameters=52e6,
        tokens_per_parameter=40,
    )
