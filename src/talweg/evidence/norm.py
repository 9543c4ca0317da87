"""What a sound run of this size has reached by now, from laws anchored to a measured run.

    expected(step) = (anchored L(N, D) + g (D_anchor - D(step)) - recipe) x bytes per token / 4.5

g and D(step): the gain of a decay and the part of it that is digested, of the law fitted to this run; D_anchor: the
same at the end of a cosine to a tenth, which the anchor had; recipe: 0.11 for trainers that may have a modern recipe,
which lies 0 to 0.22 lower, else 0. The last factor turns nats per GPT-2 token into nats per token of this run; it is 1
for GPT-2's vocabulary. The interval adds the corpus: 0.10 nats on FineWeb, 0.25 on any other text.

Known limit: none is told below 10 M parameters or 0.2 B tokens, or where the bytes per token of another vocabulary
than GPT-2's are not known.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from talweg.estimate import SD_80, Estimate
from talweg.evidence.fitted import fit
from talweg.evidence.levels import train_level, val_level
from talweg.evidence.plan import horizon
from talweg.laws import anchors, size, small
from talweg.laws import forecast as law
from talweg.laws.annealing import complete, grid, path
from talweg.run import Run
from talweg.schedule import Schedule

GPT2_VOCABULARY = (50_000, 50_432)  # GPT-2's 50,257 and its usual paddings
BYTES_PER_GPT2_TOKEN = 4.5  # of English web text: 4.4 to 4.6
# Half widths (80 %), added in squares. FineWeb: validation files of one corpus differ, by 0.07 in a public run whose
# val lies below its train from the start. Another corpus: the public families lie 0.27 below (multi-power-law), 0.40
# above (OLMo ladder, on C4) and 0.08 below (GPT-2 on OpenWebText): rms 0.28, times Student's 1.64 for three families.
CORPUS_HALF_WIDTH = {True: 0.10, False: 0.45}  # True: FineWeb
# A tuned or modern recipe lies 0.11 to 0.22 below the classic one at 10 B tokens; the 27 runs of modded-nanogpt's track
# of optimizers 0.41 at 1.4 to 1.8 B. The middle stays at a half of 0.22, and the lower end reaches to the last.
MODERN_GAIN, MODERN_BEST = 0.22, 0.45
# Relative, of a loss that is carried over by bytes: tokenizers left out of the law of small models were missed by 5 %.
TOKENIZER_HALF_WIDTH = 0.065
FIRST_STEPS = 1.0  # updates done at most when a loss still counts as the first
OTHER_UNITS = {"bits": 1 / math.log(2)}  # a loss in bits stands at this multiple of ln V
UNIT_TOLERANCE = 0.02  # of that multiple
TOO_BAD = 1.645  # sd of the expected loss: one sound run in twenty lies above
TOO_GOOD = 3.0  # sd of the expected loss. Our choice: no public run of this project's data lies so far below


@dataclass(frozen=True)
class Expected:
    """nats per token at `step`, the annealing still to come included."""

    step: float
    loss: Estimate
    because: str


@lru_cache(maxsize=32)
def expected(run: Run) -> Expected | None:
    """The loss that a sound run has at the last logged step. None where the laws do not reach or facts are missing."""
    if run.tokens_seen is None or run.last_step is None:
        return None
    return _expected(run, run.tokens_seen, run.last_step)


@lru_cache(maxsize=32)
def expected_at_end(run: Run) -> Expected | None:
    """The same at the end of the plan."""
    end = horizon(run)
    if end is None or run.facts.tokens_per_step is None:
        return None
    return _expected(run, end * run.facts.tokens_per_step, end)


@lru_cache(maxsize=32)
def why_not(run: Run) -> str:
    """Empty when there is an expected loss; else what is missing."""
    f = run.facts
    absent = [n for n in ("parameters", "tokens_per_step", "vocabulary_size") if getattr(f, n) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    assert f.parameters is not None
    tokens = run.tokens_seen or 0.0
    reach = size.in_range(f.parameters, tokens)
    if reach and not small.in_range(f.parameters, tokens):
        return f"{reach}; the law of small models from 0.1 M to 50 M parameters and 0.1 M to 50 B tokens"
    return "" if _unit_factor(run) else "another tokenizer than GPT-2's, and bytes_per_token is not known"


def _expected(run: Run, tokens: float, step: float) -> Expected | None:
    n = run.facts.parameters
    if why_not(run) or n is None:
        return None
    if size.in_range(n, tokens):
        return _small(run, n, tokens, step) if small.in_range(n, tokens) else None
    base = size.anchored_loss(n, tokens)
    ahead = _annealing_ahead(run, step)
    fineweb = "fineweb" in (run.facts.dataset or "").lower()
    middle, best = _recipe(run)
    half = math.hypot((base.high - base.low) / 2, CORPUS_HALF_WIDTH[fineweb], (ahead.high - ahead.low) / 2)
    scale = _unit_factor(run)
    value = base.value + ahead.value - middle
    carried = 0.0 if scale == 1.0 else TOKENIZER_HALF_WIDTH * value
    up, down = math.hypot(half, carried, middle), math.hypot(half, carried, best - middle)
    because = (
        f"three size laws anchored at 3.273 for 124 M parameters and 10 B FineWeb tokens give {base.value:.2f} for "
        f"{n / 1e6:,.1f} M and {tokens / 1e9:,.2f} B"
    )
    if ahead.value >= 0.005:
        because += f"; {ahead.value:+.2f} for the decay still to come"
    return Expected(step, Estimate(value * scale, (value - down) * scale, (value + up) * scale), because)


def _small(run: Run, n: float, tokens: float, step: float) -> Expected:
    """Where the published laws do not reach: the law of small models, no worse than what token frequencies give."""
    f, ahead = run.facts, _annealing_ahead(run, step)
    ratio = f.bytes_per_token or _unit_factor(run) * BYTES_PER_GPT2_TOKEN
    assert f.vocabulary_size is not None
    weights = small.body(n, f.vocabulary_size, f.layers, f.width)
    tuned = run.format == "talweg" and "muon" in (f.optimizer or "").lower()
    updates = step if f.step_unit is None else small.CLASSIC_UPDATES
    base = small.per_byte(weights, tokens * ratio, tuned, updates)
    half = math.hypot((base.high - base.low) / 2 * ratio, (ahead.high - ahead.low) / 2)
    h1 = floor(run)
    uncapped = base.value * ratio + ahead.value
    value = uncapped if h1 is None else min(uncapped, h1.value)
    because = (
        f"a law of small models gives {base.value:.2f} nats per byte for {weights / 1e6:.2g} M weights in the blocks "
        f"and {tokens * ratio / 1e6:,.3g} MB of text, at {ratio:.2f} bytes a token; the interval is wide because the "
        f"published size laws do not reach here, and texts left out of this one were missed by as much"
    )
    if value < uncapped:
        because += "; no more than token frequencies give"
    return Expected(step, Estimate.normal(value, half / SD_80), because)


def _annealing_ahead(run: Run, step: float) -> Estimate:
    """Nats above the annealed level (rate at a tenth of the peak) at this step."""
    found = fit(run)
    if found is not None and found.schedule_known:
        gain, gain_sd = found.law.gain_moments
    else:
        return Estimate(0.0, -0.02, law.GAIN_PRIOR[0])
    share = _cosine_to_a_tenth(found.end) - float(found.path.at(step)[1])
    return Estimate.normal(gain * share, gain_sd * abs(share))


def _cosine_to_a_tenth(end: float) -> float:
    """D at the end of a cosine to a tenth of the peak: what the anchor had."""
    steps = grid(end)
    rate = Schedule("cosine", 1.0, 0.1, int(0.02 * end), max(int(end), 1)).at(steps)
    return float(path(steps, rate, complete(steps, rate)).decayed[-1])


def _recipe(run: Run) -> tuple[float, float]:
    """How far below the classic recipe this run lies, and may lie at best: not at all for nanoGPT and GPT-2 forms."""
    return (0.0, 0.0) if run.format in ("nanogpt", "llmc") else (MODERN_GAIN / 2, MODERN_BEST)


def _unit_factor(run: Run) -> float:
    """Nats per this run's token for one nat per GPT-2 token; 0 when it is not known."""
    v, ratio = run.facts.vocabulary_size, run.facts.bytes_per_token
    if v is not None and GPT2_VOCABULARY[0] <= v <= GPT2_VOCABULARY[1]:
        return 1.0
    return ratio / BYTES_PER_GPT2_TOKEN if ratio is not None else 0.0


@lru_cache(maxsize=32)
def first_loss(run: Run) -> float | None:
    """The loss of the fresh model, in the unit of the log; None where the log begins later, or where its first step may
    be many updates."""
    if run.facts.step_unit is not None:
        return None
    for series in (run.val_loss, run.train_eval_loss, run.train_loss):
        early = series.finite.between(0, FIRST_STEPS)
        if early:
            return float(early.value[0])
    return None


def other_unit(run: Run) -> str | None:
    """The unit in which the first loss is that of a fresh model, ln V, where that is not nats."""
    first, vocabulary = first_loss(run), run.facts.vocabulary_size
    if first is None or vocabulary is None:
        return None
    ratio = first / anchors.uniform(vocabulary)
    return next((unit for unit, factor in OTHER_UNITS.items() if abs(ratio / factor - 1) < UNIT_TOLERANCE), None)


@lru_cache(maxsize=32)
def far_below(run: Run) -> float | None:
    """How many nats the loss lies below what a sound run could reach by the laws; None where it does not.

    No recipe is known to be that good: either the facts stated are not of this run, or it sees what it should predict.
    """
    now, law = val_level(run) or train_level(run), expected(run)
    if now is None or law is None or now.high > law.loss.value - TOO_GOOD * law.loss.sd:
        return None
    return law.loss.value - now.value


@lru_cache(maxsize=32)
def far_above(run: Run) -> float | None:
    """How many nats the loss lies above the expected level, where that is beyond TOO_BAD of its sd; else None."""
    now, law = val_level(run) or train_level(run), expected(run)
    if now is None or law is None or now.low < law.loss.value + TOO_BAD * law.loss.sd:
        return None
    return now.value - law.loss.value


@lru_cache(maxsize=32)
def at_frequencies(run: Run) -> str | None:
    """That the loss is still no better than token frequencies alone, in words; None where it is, or cannot be told.

    The annealing law and its priors are of runs that have learnt more than that: they say nothing of others.
    """
    now, h1 = val_level(run) or train_level(run), floor(run)
    if now is None or h1 is None or now.value < h1.low:
        return None
    interval = "" if h1.low == h1.high else f", {h1.low:.2f} to {h1.high:.2f}"
    return f"the loss, {now.value:.2f}, is no better than token frequencies ({h1.value:.2f}{interval})"


def floor(run: Run) -> Estimate | None:
    """Token frequencies alone, nats: counted on this text, else the range for a tokenizer of this size."""
    f = run.facts
    if f.unigram_nats is not None:
        return Estimate(f.unigram_nats, f.unigram_nats, f.unigram_nats)
    return None if f.vocabulary_size is None else anchors.unigram(f.vocabulary_size)
