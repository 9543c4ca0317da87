"""Evaluation set too small: the validation file holds so little text that its level is uncertain.

Physics: the tokens of a document share an offset, so a file of V tokens puts the level of the loss off by about

    u = (0.5 to 1) / sqrt(V / 1024)        nats per token, one standard deviation

which is the same for every evaluation: no number of windows drawn from the file cures it, and no scatter shows it.

Refuted by: the same checkpoint on another file of the same size gives the same loss to within half of u.
Known problems: differences between runs on one file are surer than its level. Where the trainer states a standard
error by documents for the whole file, that is used.
References: standard error of a mean over clustered samples; window and document scatter measured on FineWeb and
OpenWebText.
"""

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import evaluation
from talweg.run import Run

GROUP = "measurement"
NEEDS = ("val_tokens", "val_loss")
NOTHING = Estimate(0.0, 0.0, 0.0)  # nats: a surer sight of the loss does not lower it
WHOLE = 0.9  # of the file: the last window and the ends of documents may be left out. Our choice
TOO_UNCERTAIN = 0.03  # nats. Our choice: the size of the remedies that a person weighs; 0.56 M tokens reach it


def examine(run: Run) -> Finding:
    tokens = run.facts.val_tokens
    if tokens is None:
        because = "how many tokens the validation file holds is not known: give --data"
        return missing("val_tokens", "data", because=because)
    judged = evidence.judged(run)
    if judged is None or judged.name != "val":
        return missing("val_loss", because="needs a validation curve")
    by_law = evaluation.level_uncertainty(tokens)
    stated = run.val_standard_error.finite
    whole = run.facts.eval_is_fixed and len(stated) > 0
    off = float(np.median(stated.value)) if whole else by_law.value
    source = "stated by documents" if whole else f"{by_law.low:.3f} to {by_law.high:.3f}"
    because = (
        f"the validation file holds {tokens / 1e6:,.3g} M tokens: its level is uncertain by {off:.3f} nats ({source})"
    )
    if off <= TOO_UNCERTAIN:
        return Finding("absent", because)
    read = min(_evaluated(run), tokens) if whole else tokens
    if read < WHOLE * tokens and off * (read / tokens) ** 0.5 <= TOO_UNCERTAIN:
        told = f"evaluations read {read:,.0f} of the file's {tokens:,.0f} tokens: uncertain by {off:.3f} nats"
        return Finding("absent", f"{told}; talweg eval reads all of it")
    wanted = int(read * (off / (TOO_UNCERTAIN / 2)) ** 2)
    change = f"validate on {wanted / 1e6:,.2g} M tokens (a larger share in talweg prepare)"
    remedy = Remedy("larger_val", change, {"data.path": "DATA with a larger val", "evaluation.tokens": None}, NOTHING)
    return Finding("present", because, nats=NOTHING, remedies=(remedy,))


def _evaluated(run: Run) -> float:
    """Tokens of one evaluation; infinite where nobody says."""
    windows, context = run.facts.eval_windows, run.facts.context
    return float("inf") if windows is None or context is None else float(windows * context)


def example(rng: np.random.Generator) -> Run:
    """A validation file of 50,000 tokens."""
    return simulated.healthy(rng, val_tokens=50_000.0)
