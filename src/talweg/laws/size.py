"""Loss against parameters N and tokens D: three published laws, used as differences and anchored to a measured run.

    L(N, D) = E + A / N^alpha + B / D^beta                                 nats per token
    anchored L(N, D) = 3.273 + mean over the laws of L(N, D) - L(123.6e6, 10.25e9)

N: all weights, a tied head once, without position embeddings. D: tokens trained on, each fresh. Their absolute level
depends on corpus, tokenizer and context; their differences agree far better, so only differences are used, and one
measured run gives the level. The interval is the spread of the three laws with a tenth of the difference.

Known limits: the laws are of web text, in its tokenizers, trained at a good rate that came down. Nothing is said below
10 M parameters or 0.2 B tokens. They know of no repetition (`repetition`) and no schedule (`annealing`).
"""

import math
from dataclasses import dataclass

from talweg.estimate import Estimate

TOKENS_PER_PARAMETER = 20.0  # compute-optimal ratio, Hoffmann et al. 2022


@dataclass(frozen=True)
class Law:
    """E + A / N^alpha + B / D^beta. N counts a tied head once, without position embeddings."""

    source: str
    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def capacity(self, n: float) -> float:
        return float(self.a / n**self.alpha)

    def data(self, d: float) -> float:
        return float(self.b / d**self.beta)

    def loss(self, n: float, d: float) -> float:
        return self.e + self.capacity(n) + self.data(d)


HOFFMANN = Law("Hoffmann et al. 2022, arXiv 2203.15556", 1.69, 406.4, 0.34, 410.7, 0.28)
BESIROGLU = Law("Besiroglu et al. 2024, arXiv 2404.10102", 1.8172, 482.01, 0.3478, 2085.43, 0.3658)
MUENNIGHOFF = Law("Muennighoff et al. 2023, arXiv 2305.16264", 1.869, 520.8, 0.35266, 1487.7, 0.35266)
LAWS = (HOFFMANN, BESIROGLU, MUENNIGHOFF)

# Where the laws were fitted, and a little beyond: about 10 M to 16 B parameters, 0.2 B to 1 T tokens.
PARAMETERS_RANGE = (1e7, 2e10)
TOKENS_RANGE = (2e8, 2e12)

# A classic GPT-2 recipe on FineWeb with GPT-2's tokenizer: 123.6 M parameters, 10.25 B tokens, cosine to a tenth.
# Measured: 3.2722 (a public llm.c log).
ANCHOR_PARAMETERS, ANCHOR_TOKENS, ANCHOR_LOSS = 123.6e6, 10.25e9, 3.273
# A sane run within a factor 4 of the anchor lies within +-0.05 of the law: spread of laws .02, residual .035, seeds
# .0014.
ANCHOR_HALF_WIDTH, ANCHOR_FACTOR = 0.05, 4.0
LAW_ERROR = 0.1  # relative sd of a difference beyond the spread of the laws. Our choice


def in_range(n: float, d: float) -> str:
    """Empty where the laws reach; else one sentence why they do not."""
    if not PARAMETERS_RANGE[0] <= n <= PARAMETERS_RANGE[1]:
        return f"the size laws reach from 10 M to 20 B parameters; this model has {n / 1e6:,.3g} M"
    if not TOKENS_RANGE[0] <= d <= TOKENS_RANGE[1]:
        return f"the size laws reach from 0.2 B to 2,000 B tokens; this run has {d / 1e9:,.3g} B"
    return ""


def difference(n1: float, d1: float, n2: float, d2: float) -> Estimate:
    """L(n1, d1) - L(n2, d2) in nats per token: mean of the laws, with their spread and LAW_ERROR as the interval."""
    return _combine([law.loss(n1, d1) - law.loss(n2, d2) for law in LAWS])


def capacity_cost(n: float, d: float) -> Estimate:
    """What N parameters lose at D tokens against the D / 20 that these tokens could feed; 0 where N >= D / 20."""
    return difference(n, d, max(n, d / TOKENS_PER_PARAMETER), d).at_least(0.0)


def token_cost(n: float, d: float) -> Estimate:
    """What D tokens lose, for this size, against 20 tokens a parameter; 0 if D >= 20 N."""
    return difference(n, d, n, max(d, TOKENS_PER_PARAMETER * n)).at_least(0.0)


def anchored_loss(n: float, d: float) -> Estimate:
    """The final loss of a classic recipe on FineWeb with GPT-2's tokenizer, learning rate decayed to a tenth."""
    step = difference(n, d, ANCHOR_PARAMETERS, ANCHOR_TOKENS)
    distance = max(abs(math.log(n / ANCHOR_PARAMETERS)), abs(math.log(d / ANCHOR_TOKENS))) / math.log(ANCHOR_FACTOR)
    half = max(ANCHOR_HALF_WIDTH * max(1.0, distance), (step.high - step.low) / 2)
    middle = ANCHOR_LOSS + step.value
    return Estimate(middle, middle - half, middle + half)


def _combine(values: list[float]) -> Estimate:
    mean = sum(values) / len(values)
    spread = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return Estimate.normal(mean, math.sqrt(spread + (LAW_ERROR * mean) ** 2))
