"""Train loss is not the training loss: what is logged is not what val is compared with, and makes or hides the gap.

Physics: val is the loss of the weights as they are, in evaluation mode. A logged training loss may be older and
harder than that, so that between train and val there stands, besides the gap proper,

    artefact = age x (-dL/ds) + offset(p)        nats per token

    age:     of what is averaged: (w - 1) / 2 updates for a mean over w, d / (1 - d) for a running mean of decay d
    dL/ds:   slope of the logged loss per update
    offset:  of dropout p, which is on in training and off in evaluation: about 0.85 p (0.6 p to 1.15 p)

or whatever is measured, where training text was evaluated too. It is present where it makes half of the gap or
more: what looks like val below train, or like no gap, is then a matter of logging. Where the log has like beside
like, it is absent. A loss that is NaN and logged as another number is no training loss either. It costs nothing.

Refuted by: evaluating training text without dropout, with the weights of one checkpoint, gives the logged loss.
Known problems: a loss of one rank or one micro-batch scatters more, and has no offset: that is no artefact of the
gap. Label smoothing, auxiliary losses or another mask in the logged loss are seen only against train_eval_loss. The
offset of dropout is that of nanoGPT's form (see talweg.laws.logged_loss).
References: none; measured in notes/causes_measurement.md.
"""

from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.run import Run, Series

GROUP = "measurement"
NEEDS = ("train_loss", "val_loss")
# False alarms: 0 of 1,000 simulated sound runs logged in four ways, 0 of 93 public logs (notes/causes_measurement.md).
MIN_POINTS = 16  # training losses. Our choice: the slope and the level of fewer are not known
MATERIAL = 0.02  # nats: the gap that `overfitting` counts
SHARE = 0.5  # of the gap. Our choice: below, its sign and its size say what they seem to say
COMMON = 0.75  # of the log: as far as pairs of evaluated losses must reach to stand for its end. Our choice
NOT_OF_THIS_KIND = 0.4  # of val's level: a gap so wide is one of units, or a sum. Our choice


def examine(run: Run) -> Finding:
    run = evidence.in_nats(run)
    train, val = run.train_loss.finite, run.val_loss.finite
    if len(train) < MIN_POINTS:
        return missing("train_loss", because=f"needs {MIN_POINTS} finite training losses; the log has {len(train)}")
    if (unseen := evidence.unseen(run)).since is not None:
        return _present(run, unseen.because, (unseen.since, max(unseen.since, float(train.step[-1]))))
    if len(val) < 3:
        lacking = "bytes_per_token" if run.val_bits_per_byte else "val_loss"
        return missing(lacking, because=f"needs three values of val in nats to see a gap; {lacking} is missing")
    if (alike := _like_for_like(run)) is not None:
        return alike
    gap, artefact = evidence.gap_as_logged(run), evidence.artefact(run)
    if gap is None:
        return missing("train_loss", because="train and val were not logged over the same steps")
    told = f"val - train is {gap.value:+.3f} ±{gap.high - gap.value:.3f}"
    if abs(gap.value) > NOT_OF_THIS_KIND * float(np.median(val.value[-3:])):
        return missing("train_eval_loss", because=f"{told}: no way of logging makes so much; are the units alike?")
    if artefact.size is None:
        return missing(*artefact.missing, because=f"{told}; of train_loss, {artefact.because}")
    parts = f"{told}; of train_loss, {artefact.because}{_scatter(run)}"
    least, most = _sizes(artefact.size)
    error = gap.high - gap.value
    counts = max(MATERIAL, error, SHARE * abs(gap.value))
    if most < counts:
        return _absent(run, parts)
    if least < counts:
        because = f"{parts}: {least:.3f} to {most:.3f} of the gap may be the logging's; it takes {counts:.3f} to matter"
        return missing("train_eval_loss", because=because)
    like = gap.value + artefact.size.value
    return _present(run, f"{parts}: like for like the gap is about {like:+.3f}", None)


def _like_for_like(run: Run) -> Finding | None:
    """Absent, where val has its like in the log up to the end."""
    gap, logged = evidence.gap(run), evidence.gap_as_logged(run)
    if gap is None or not gap.like_for_like:
        return None
    common = np.intersect1d(run.val_loss.finite.step, run.train_eval_loss.finite.step)
    if common[-1] < COMMON * run.val_loss.finite.step[-1]:
        return None
    told = f"training text was evaluated as val was: val - train is {gap.value.value:+.3f}, like for like"
    artefact = evidence.artefact(run).size
    if logged is None or artefact is None:
        return _absent(run, told)
    part = f"train_loss lies {artefact.value:+.3f} ±{artefact.high - artefact.value:.3f} from that"
    return _absent(run, f"{told}; {part}, so against it the gap would be {logged.value:+.3f}{_scatter(run)}")


def _absent(run: Run, because: str) -> Finding:
    """That the gap is none of logging; unknown where the log would not show that the loss is NaN."""
    unseen = evidence.unseen(run)
    return Finding("absent", because) if unseen.known else missing("grad_norm", because=f"{because}; {unseen.because}")


def _sizes(artefact: Estimate) -> tuple[float, float]:
    """The least and the most that it may be in size, whatever its sign."""
    ends = abs(artefact.low), abs(artefact.high)
    return 0.0 if artefact.low <= 0 <= artefact.high else min(ends), max(ends)


def _scatter(run: Run) -> str:
    scatter = evidence.batch_noise(run)
    whose = " of one rank" if run.facts.train_loss_ranks == "one" and (run.facts.ranks or 0) > 1 else ""
    return "" if scatter is None else f"; one value{whose} scatters by {scatter:.3f}"


def _present(run: Run, because: str, steps: tuple[float, float] | None) -> Finding:
    change = "compare val with training text evaluated as val is: without dropout, the same weights"
    if run.train_eval_loss.finite:
        change = "compare val with train_eval_loss, not with train_loss"
    if steps is not None:
        change = "log the loss as it is, NaN too"
    every = {} if run.facts.step_unit is not None else {"evaluation.every": _every(run)}
    remedy = Remedy("like_for_like", change, {**every, "evaluation.tokens": None}, Estimate(0.0, 0.0, 0.0), 0.0)
    return Finding("present", because, Estimate(0.0, 0.0, 0.0), (remedy,), steps=steps)


def _every(run: Run) -> int | None:
    """The steps between evaluations as they are."""
    val = run.val_loss.finite
    return max(1, round(float(np.median(np.diff(val.step))))) if len(val) > 1 else None


def example(rng: np.random.Generator) -> Run:
    """Three epochs with dropout 0.1, one micro-batch logged: train lies 0.085 above val, which is dropout's doing."""
    run = simulated.healthy(rng, dropout=0.1)
    tokens = run.facts.train_tokens or 0.0
    thrice = replace(run.facts, unique_tokens=tokens / 3, near_unique_tokens=tokens / 3, train_tokens=tokens / 3)
    lifted = replace(run.train_loss, value=run.train_loss.value + 0.085, kind="micro_batch")
    return replace(run, train_loss=lifted, train_eval_loss=Series(), facts=thrice)
