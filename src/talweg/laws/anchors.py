"""Absolute levels between which every curve lies: the uniform guess, token frequencies, pairs of tokens.

    uniform = ln V                                a fresh model, and one that learns nothing
    H1 = - sum_a p(a) ln p(a)                     unigram: what token frequencies alone give
    H2 = - sum_ab p(a, b) ln p(b | a)             bigram: what a table of pairs gives

V: tokens of the vocabulary; p: frequencies in the text; nats per token. The two entropies belong to a text and its
tokenizer, so the data manifest's own count is better than anything here. The table serves where there is none: English
under byte-level BPE, V from 256 to 50,257, interpolated in ln V and held beyond.

Known limit: code, poems and other languages lie elsewhere, and H2 is too low for large vocabularies (see the table).
"""

import math

import numpy as np

from talweg.estimate import Estimate

# (vocabulary, unigram nats, bigram nats), counted on 28 MB of English technical prose. The pairs' entropy is low for
# large vocabularies because 28 MB holds few of the pairs.
TABLE = (
    (256, 3.23, 2.58),
    (512, 5.37, 3.66),
    (1024, 6.04, 4.02),
    (2048, 6.50, 4.29),
    (4096, 6.83, 4.47),
    (8192, 7.03, 4.57),
    (16384, 7.14, 4.60),
    (50257, 7.19, 4.49),
)
# With GPT-2's tokenizer web text has 7.2 to 7.9 nats, the technical prose 7.19: so the table is moved up and given the
# width of that range.
WEB_OFFSET, HALF_WIDTH = 0.25, 0.40


def uniform(vocabulary_size: float) -> float:
    """ln V: the loss of a fresh model, and of one that learns nothing."""
    return math.log(vocabulary_size)


def unigram(vocabulary_size: float) -> Estimate:
    """Entropy of single tokens, nats: what token frequencies alone give."""
    return _interpolate(vocabulary_size, 1)


def bigram(vocabulary_size: float) -> Estimate:
    """Entropy of a token given the one before, nats: what a table of pairs gives."""
    return _interpolate(vocabulary_size, 2)


def _interpolate(vocabulary_size: float, column: int) -> Estimate:
    sizes = [math.log(row[0]) for row in TABLE]
    value = float(np.interp(math.log(max(vocabulary_size, 2)), sizes, [row[column] for row in TABLE]))
    middle = value + (WEB_OFFSET if vocabulary_size > 256 else 0.0)
    return Estimate(middle, middle - HALF_WIDTH, middle + HALF_WIDTH)
