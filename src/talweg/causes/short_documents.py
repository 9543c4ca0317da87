"""Short documents: the text gives few positions any context, so the model can learn little of how to use it.

Physics: a token at place t of its document can be predicted from t tokens at most, however long the window is. Two ways
lead there: documents far shorter than the context, and a text cut at its lines or paragraphs and shuffled, where what
follows a border knows nothing of what went before. The second shows in rare words, which recur soon where a text stays
with its matter:

    kept = (lift of recurrence across borders - 1) / (lift within - 1)        at equal distances; no unit

where lift is the number of pairs of equal rare tokens over the number by chance. 1: a border is nothing to the text;
0: context is destroyed. It is one cause because its physics is one: context that ends where the piece ends.

Refuted by: loss by position in the window still falls beyond the length of these pieces.
Known problems: a text of unrelated one-line records looks destroyed where no separator parts them; for the model it is
the same. What context beyond c tokens is worth depends on text and model and is not known here: the interval is wide.
References: Kaplan et al. 2020, arXiv 2001.08361, appendix D.5 (loss falls with the place in the window as a power law);
Church and Gale 1995 (rare words recur). Thresholds are measured in notes/data_causes.md.
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import SD_80, Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run

GROUP = "data"
NEEDS = ("tokens_by_length", "context", "context_kept")
# kept: below, surely, nothing reaches across. Measured: shuffled text of eight kinds -.02 to .02, intact text .45 and
# more, logs of numbers .10 with a wide error (notes/data_causes.md).
DESTROYED = 0.05
SHORT = 8  # times shorter than the context. Our choice: the mean place then has a sixteenth of the window
MOST = 0.5  # of the tokens. The catalogue's word "most"
# Nats: what the context beyond such pieces is worth. Our choice, wide: no law for it is known here.
COST = Estimate(0.3, 0.03, 0.8)


def examine(run: Run) -> Finding:
    f = run.facts
    if f.tokens_by_length is None and f.context_kept is None:
        return missing("data", because="how long the documents are was not measured: give --data")
    if f.context is None:
        return missing("context", because="how long the context is, is not known")
    if evidence.judged(run) is None:
        return missing("val_loss", because="needs a loss curve: eight finite values")
    short, figures = _share_short(f.tokens_by_length, f.context), []
    if short is not None:
        figures.append(f"{short:.0%} of the tokens stand in documents of under {f.context // SHORT:,} tokens")
    elif f.train_documents == 0:
        figures.append("no separator was found: documents run into each other")
    destroyed = _destroyed(run)
    if f.context_kept is not None and f.border_tokens is not None:
        figures.append(
            f"rare words keep {f.context_kept:.1%} of their recurrence across {f.context_border}s "
            f"({f.border_tokens:,.0f} tokens each)"
        )
    because = "; ".join(figures) or "neither lengths nor context could be measured"
    if destroyed:
        because += f": the text was shuffled by {f.context_border}, and no context reaches beyond one"
        pieces = "keep documents whole: encode them again, unshuffled within, with a separator after each"
        remedy = Remedy("whole_documents", pieces, {"data.path": "DATA of talweg prepare"}, COST, 0.0)
        return Finding("present", because, nats=COST, remedies=(remedy,))
    if short is not None and short > MOST:
        shorter = max(16, f.context // SHORT)
        change = f"context {f.context:,} -> {shorter:,}, or text of longer documents"
        remedy = Remedy("shorter_context", change, {"model.context": shorter}, None, 0.0)
        return Finding("present", because, nats=Estimate(0.0, 0.0, COST.high), remedies=(remedy,))
    return Finding("absent", because)


def _share_short(shares: tuple[float, ...] | None, context: int) -> float | None:
    """Of the tokens, those in documents of under context / SHORT; of the class that holds the limit, its lower part."""
    if not shares:
        return None
    limit = math.log2(max(context / SHORT, 1.0))
    parts = [min(max(limit - k, 0.0), 1.0) for k in range(len(shares))]
    return float(np.dot(shares, parts))


def _destroyed(run: Run) -> bool:
    """Whether nothing reaches across the borders, surely, and they lie closer than the context."""
    f = run.facts
    if f.context_kept is None or f.border_tokens is None or f.context is None:
        return False
    error = f.context_kept_error if f.context_kept_error is not None else math.inf
    return f.context_kept + SD_80 * error < DESTROYED and f.border_tokens < f.context


def example(rng: np.random.Generator) -> Run:
    """A text that was shuffled by lines."""
    return simulated.healthy(
        rng,
        tokens_by_length=None,
        train_documents=0,
        context_kept=0.0002,
        context_kept_error=0.0001,
        context_border="line",
        border_tokens=33.0,
    )
