"""Tokenizer mismatch: the stored ids were not made by the tokenizer that is said to have made them.

Physics: a tokenizer that merges pairs leaves few neighbours whose bytes together are one of its tokens, for it would
have joined them. With another tokenizer's file the neighbours are as joinable as strangers are:

    r = P(two neighbours are joinable) / P(two tokens drawn at random are)        no unit

r near 0: made by it. r near 1: the ids mean something else. Ids that it does not have, or characters that are no UTF-8,
say the same. A model trained from scratch on such ids loses nothing, since names do not matter; but a pretrained one
starts near ln V, samples are no text, and bits per byte are wrong.

Refuted by: the decoded text, encoded again, gives the stored ids.
Known problems: two versions of one tokenizer that differ in a few tokens cannot be told. A vocabulary of characters or
bytes joins nothing: there only ids and characters speak.
References: none; measured in notes/data_causes.md.
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "data"
NEEDS = ("largest_token_id", "tokenizer_vocabulary", "joinable_ratio")
# Measured (notes/data_causes.md): made by it .000 to .005 on nine kinds of text, by another .11 and above. Our choice.
MADE_BY_ANOTHER = 0.05
# Share of tokens that are none of its: our choice. The padding of a vocabulary to 50,304 is never stored.
OUTSIDE = 1e-3
UNDECODABLE = 0.05  # share of characters. Our choice: damaged web pages stay under 1 %


def examine(run: Run) -> Finding:
    f = run.facts
    if f.largest_token_id is None:
        return missing("data", because="the stored token ids were not looked at: give --data and --tokenizer")
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    size = f.vocabulary_size
    beyond = size is not None and f.largest_token_id >= size
    if f.tokenizer_vocabulary is None and f.largest_storable_id is None and not beyond:  # of talweg prepare
        return Finding("absent", f"the largest id is {f.largest_token_id:,}; the folder holds its tokenizer")
    signs = _signs(run)
    if beyond:
        signs.append(f"the largest id, {f.largest_token_id:,}, is beyond the model's {size:,} tokens")
    if signs:
        # ids renamed cost nothing; ids without a meaning cost all that text teaches
        above = evidence.far_above(run) or 0.0
        change = "encode the text again with the tokenizer that the model is used with"
        remedy = Remedy("encode_again", change, {"data.path": "DATA of talweg prepare"}, None, None)
        return Finding("present", "; ".join(signs), nats=Estimate(0.0, 0.0, above), remedies=(remedy,))
    if f.joinable_ratio is None and f.undecodable_share is None:
        return missing(
            "tokenizer_vocabulary", "data", because="which tokenizer made the ids is not known: give --tokenizer"
        )
    told = "" if f.joinable_ratio is None else f"; neighbours are {f.joinable_ratio:.2f} as joinable as strangers"
    return Finding("absent", f"{f.tokenizer}: {_percent(f.undecodable_share)} of the characters are no text{told}")


def _signs(run: Run) -> list[str]:
    f, signs = run.facts, []
    if f.joinable_ratio is not None and f.joinable_ratio > MADE_BY_ANOTHER:
        signs.append(
            f"{f.tokenizer} would have joined its neighbours: they are {f.joinable_ratio:.2f} as joinable as strangers"
        )
    if f.outside_vocabulary_share is not None and f.outside_vocabulary_share > OUTSIDE:
        signs.append(
            f"{f.outside_vocabulary_share:.2%} of the tokens are none of {f.tokenizer}'s {f.tokenizer_vocabulary:,}"
        )
    if f.undecodable_share is not None and f.undecodable_share > UNDECODABLE:
        signs.append(f"{f.undecodable_share:.1%} of the decoded characters are no text")
    return signs


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None or not math.isfinite(share) else f"{share:.2%}"


def example(rng: np.random.Generator) -> Run:
    """Ids of another tokenizer, read by GPT-2's."""
    return simulated.healthy(
        rng,
        tokenizer="gpt2",
        tokenizer_vocabulary=50_257,
        largest_token_id=49_000,
        largest_storable_id=65_535,
        joinable_ratio=0.9,
        undecodable_share=0.02,
    )
