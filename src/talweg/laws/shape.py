"""What a transformer's proportions cost: width against depth, and the share of its vocabulary.

Depth and width: at equal parameters the loss hardly varies between 10 and 300 units of width a layer (Kaplan et al.
2020, arXiv 2001.08361, figure 5: 6 layers of 4,288, which is 715, lie within 3 % of 48 layers of 1,600).

Vocabulary: at equal compute the best share of the embedding follows

    N_v = 0.128e9 (N_b / 2.87e9)^0.83          parameters; N_b: outside of the embedding

(Tao et al. 2024, arXiv 2407.13623: 33 M to 1.1 B parameters outside of it, 4 k to 96 k tokens; carried below). A token
costs compute N_b + V d, so a smaller vocabulary reads more tokens in the same time, but each is shorter:

    gain in text = (N_b + V d) / (N_b + V' d) x (bytes a token at V') / (bytes a token at V)

Known limit: both were fitted far above the models that it is asked about, so their costs begin at nothing.
"""

import math

import numpy as np

from talweg.estimate import Estimate

ASPECT = (10.0, 300.0)  # width over layers between which nothing is lost
# Nats for each octave outside of it. Kaplan: at most 3 % in the 1.3 octaves from 300 to 715. The upper end and SMALL:
# 0.33 M parameters, 0.26 M tokens, 16 layers of 32 (2 a layer) .26 to .31 above 4 of 64 (16 a layer), of 1.25 times the
# parameters (notes/causes_batch.md); widened, since that is one size in a short run.
ASPECT_COST = Estimate(0.03, 0.008, 0.08)
SMALL_ASPECT_COST, SMALL = Estimate(0.08, 0.02, 0.15), 1e7
FITTED_BLOCKS, FITTED_EMBEDDING, VOCABULARY_POWER = 2.87e9, 0.128e9, 0.83
# Characters in as many tokens, by size of the vocabulary: of the runs of Tao et al. (their repository's exp_data.csv)
VOCABULARIES = (4096, 6144, 8192, 10240, 16384, 24576, 32768, 48128, 64512, 96256)
LENGTHS = (180.8, 192.4, 200.7, 207.1, 220.3, 231.1, 238.3, 246.8, 252.4, 258.5)  # relative


def blocks(layers: int, width: int) -> float:
    """Parameters outside of the embedding: 12 layers width^2."""
    return 12.0 * layers * width**2


def aspect_cost(layers: int, width: int) -> Estimate:
    """Nats lost by width / layers outside of ASPECT; 0 within it."""
    aspect = width / layers
    octaves = max(math.log2(ASPECT[0] / aspect), math.log2(aspect / ASPECT[1]), 0.0)
    rate = SMALL_ASPECT_COST if blocks(layers, width) < SMALL else ASPECT_COST
    return Estimate(octaves * rate.value, octaves * rate.low, octaves * rate.high)


def best_vocabulary(layers: int, width: int) -> float:
    """Tokens of the best vocabulary at equal compute."""
    n = blocks(layers, width)
    return float(FITTED_EMBEDDING * (n / FITTED_BLOCKS) ** VOCABULARY_POWER / width)


def token_length(vocabulary: float) -> float:
    """Length of a token of a vocabulary of this size, relative; along log V, carried on at the ends."""
    x = [math.log(v) for v in VOCABULARIES]
    at = math.log(vocabulary)
    slope = (LENGTHS[1] - LENGTHS[0]) / (x[1] - x[0])
    return max(float(np.interp(at, x, LENGTHS)) + slope * min(at - x[0], 0.0), 1.0)


def text_gain(layers: int, width: int, vocabulary: float, smaller: float) -> float:
    """How many times as much text the same compute reads with the smaller vocabulary."""
    n = blocks(layers, width)
    compute = (n + vocabulary * width) / (n + smaller * width)
    return compute * token_length(smaller) / token_length(vocabulary)


def balanced(layers: int, width: int, head: int) -> tuple[int, int]:
    """(layers, width) of about as many parameters with width / layers nearest to ASPECT's inside, in whole heads."""
    n = blocks(layers, width)
    aspect = min(max(width / layers, 2 * ASPECT[0]), ASPECT[1] / 2)
    depth = max(1, round((n / 12 / aspect**2) ** (1 / 3)))
    return depth, max(head, round(math.sqrt(n / 12 / depth) / head) * head)
