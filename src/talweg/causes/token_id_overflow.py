"""Token id overflow: ids were stored in a type too small for the vocabulary, and wrapped to other tokens.

Physics: an id i >= 2^16 stored as uint16 becomes i mod 2^16, so a rare token reads as a frequent one and the text says
something else at every such place. With a vocabulary of V tokens stored in a type that ends at M,

    V - 1 > M    means that ids from M + 1 to V - 1 cannot be there, whatever the text held

and a signed type ends at half of that: what lies beyond reads as negative. The wrapped tokens are noise as inputs and
as targets.

Refuted by: the text decoded from the stored ids is the text that was encoded.
Known problems: which ids were wrapped cannot be told from the file; a text that truly uses none of the upper tokens
is accused too. The cost is an interval: a few per cent of the tokens are noise, each worth up to ln V.
References: numpy's astype wraps without a warning; nanoGPT's prepare.py notes that 50,256 is below 2^16.
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "data"
NEEDS = ("largest_token_id", "largest_storable_id")
# Share of tokens with ids beyond 2^16 in a vocabulary of 100,000 to 250,000: our choice, by the rank law
# p(r) ~ 1 / r, under which ln(V / 2^16) / ln V of them are: 4 to 11 %; merges of rare words are rarer than that.
WRAPPED = (0.005, 0.11)


def examine(run: Run) -> Finding:
    f = run.facts
    largest, room, size = f.largest_token_id, f.largest_storable_id, f.tokenizer_vocabulary or f.vocabulary_size
    if largest is None:
        return missing("data", because="the stored token ids were not looked at: give --data")
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    if room is None:  # shards of talweg prepare: their type is chosen by the vocabulary, and checked when written
        return Finding("absent", f"the largest id is {largest:,}, in a type that was chosen by the vocabulary")
    if size is None:
        return missing("tokenizer_vocabulary", "vocabulary_size", because="how many tokens there are is not known")
    figures = (
        f"the type holds ids up to {room:,}, the largest stored is {largest:,}, the vocabulary has {size:,} tokens"
    )
    if size - 1 <= room:
        return Finding("absent", figures)
    lost = Estimate(0.03, *WRAPPED) if size < 4 * room else Estimate(0.05, *WRAPPED)
    nats = Estimate(lost.value * math.log(size), 0.0, lost.high * math.log(size))
    change = f"store the ids as uint32: encode the text again ({size - 1 - room:,} ids have no room)"
    remedy = Remedy("wider_type", change, {"data.path": "DATA of talweg prepare"}, nats, 0.0)
    return Finding("present", f"{figures}: those above were wrapped", nats=nats, remedies=(remedy,))


def example(rng: np.random.Generator) -> Run:
    """A vocabulary of 100,277 stored as uint16."""
    return simulated.healthy(
        rng,
        vocabulary_size=100_277,
        tokenizer_vocabulary=100_277,
        largest_token_id=65_535,
        largest_storable_id=65_535,
        joinable_ratio=0.05,
    )
