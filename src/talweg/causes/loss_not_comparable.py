"""Loss not comparable: the numbers are no nats per token, or not of one kind throughout, so that comparing misleads.

Physics: a fresh model gives every token the same probability, so what is logged first tells the unit,

    L(0) = c ln V        c = 1: nats per token;  1 / ln 2: bits;  1 / B: nats per byte;  1 / (B ln 2): bits per byte;
                         n: a sum over n tokens;  exp(L(0)) in place of L(0): perplexity        B: bytes of a token

and what changes at a resume, in train and val alike, at once and for good, while both go on falling in parallel, is no
learning: another tokenizer, mask or unit from there on. Val in a constant ratio of that kind to train is in another
unit than train; a train that lies above val by just what a column of its own holds has that term (experts' balance,
z-loss) added in. Between tokenizers only this can be compared:

    bits per byte = nats per token / (B ln 2)

It costs no loss, only what is concluded from it.

Refuted by: the loss of one batch, computed by hand as the mean of -ln p over all its tokens, is the number logged.
Known problems: what was masked, smoothed or added to a loss from the first step on does not show in its own curve:
against train_eval_loss it does (train_loss_is_not_the_training_loss). Weights that begin trained tell no unit. A bad
initialisation can begin at ln V / ln 2: so the laws must agree, where the constant is no large one. Weights damaged
at a resume that take a third of the run to mend look like a change that stays.
References: Shannon 1951, Prediction and Entropy of Printed English (entropy of other units of the same text).
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg import evidence, simulated
from talweg.curve.offset import Offset, offset
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import anchors
from talweg.run import Run, Series

GROUP = "measurement"
NEEDS = ("val_loss", "vocabulary_size")
# False alarms: 0 of 1,000 simulated sound runs logged in four ways, 0 of 93 public logs (notes/causes_measurement.md).
FRESH = 0.05  # of ln V: the same tolerance as bad_initialisation
UNIT = 0.02  # of the constant: the same as evidence.other_unit; sound public runs begin within 1.3 % of ln V
SUMMED = 16.0  # constants from here on need no law: no initialisation begins so high. Our choice: public runs reach 2.2
CONSTANT = 0.01  # of the ratio of val to train between the thirds of a log. Our choice: a gap that grows moves more
ALIKE = 0.015  # of a ratio, within which it is that of two units. Our choice: sound gaps are under 0.1
JUMP = 0.1  # nats: a change of level that is looked at. Our choice: resumes of sound runs stay below
SURE = 5.0  # standard errors of that change, in train and in val
TOGETHER = 0.25  # by which the two changes may differ, of train's, beyond twice their error. Our choice
MIN_POINTS = 8  # losses. Our choice
# Columns that trainers add into the loss they log: of experts' balance, of the size of logits. By their usual names
TERMS = re.compile(r"aux|z[-_ ]?loss|balanc|router.*loss|moe.*loss")
STEEP = 0.15  # of the log: the first fall, in which neighbouring training losses are no measure. Our choice
TERM, SAME_TERM = 0.02, 0.2  # nats of such a term that count; share by which the difference may miss it. Our choice


@dataclass(frozen=True)
class _Unit:
    name: str
    factor: float  # one nat per token is so much of it


def examine(run: Run) -> Finding:
    run = evidence.in_nats(run)
    train, val = run.train_loss.finite, run.val_loss.finite
    if max(len(train), len(val), len(run.train_eval_loss.finite)) < MIN_POINTS:
        if len(run.val_bits_per_byte.finite) >= MIN_POINTS and run.facts.bytes_per_token is None:
            told = (
                "val is in bits per byte, fair between tokenizers; in nats per token it is ln 2 x bytes_per_token times"
            )
            return missing("bytes_per_token", because=f"{told} that")
        return missing("val_loss", because=f"needs a loss curve of {MIN_POINTS} finite points")
    answers = (_changed_on_the_way(run), _two_units(run, train, val), _added_term(run), _by_first_loss(run))
    for found in answers:
        if found is not None:
            return found
    raise AssertionError("the first loss always has an answer")


# ---------------------------------------------------------------- a change on the way


def _changed_on_the_way(run: Run) -> Finding | None:
    """Present where train and val change their level alike at a resume."""
    for place in evidence.resumes(run) or ():
        seam = evidence.rate_seam(run, place)
        if seam is not None and not seam.continuous:
            continue  # another rate moves the level by itself
        of_train, of_val = (
            offset(s.step, s.value, place.step, until=place.until) for s in (run.train_loss.finite, run.val_loss.finite)
        )
        if of_train is None or of_val is None or not (_clear(of_train) and _clear(of_val)):
            continue
        apart = abs(of_train.size - of_val.size)
        if apart > TOGETHER * abs(of_train.size) + 2 * math.hypot(of_train.error, of_val.error):
            continue
        because = (
            f"{place.because}, train changes by {of_train.size:+.3f} ±{1.28 * of_train.error:.3f} nats and val by "
            f"{of_val.size:+.3f} ±{1.28 * of_val.error:.3f}, at once and for good, and both go on as before: another "
            f"tokenizer, mask or unit from there on{_per_byte(run)}"
        )
        return _present(because, (place.step, place.step))
    return None


def _clear(found: Offset) -> bool:
    return found.steady and abs(found.size) > max(JUMP, SURE * found.error)


# ---------------------------------------------------------------- two units in one log


def _two_units(run: Run, train: Series, val: Series) -> Finding | None:
    """Present where val is the same multiple of train from first to last, and that of two units."""
    at = val.step[(val.step >= train.step[0]) & (val.step <= train.step[-1])] if train else np.empty(0)
    if at.size < MIN_POINTS or (train.value <= 0).any():
        return None
    ratio = np.interp(at, val.step, val.value) / train.at(at)
    first, middle, last = (float(np.median(part)) for part in np.array_split(ratio, 3))
    if min(first, middle, last) <= 0 or max(first, middle, last) / min(first, middle, last) > 1 + CONSTANT:
        return None
    units = [u for u in _units(run) if u.factor < SUMMED]
    for unit in units:
        for times, which, other in ((unit.factor, "val", "train"), (1 / unit.factor, "train", "val")):
            if abs(middle / times - 1) < ALIKE:
                because = (
                    f"val is {first:.3f} to {last:.3f} times train from first to last: {which} in {unit.name} beside "
                    f"{other} in nats would be {times:.3f}"
                )
                return _present(because, None)
    return None


# ---------------------------------------------------------------- what was added to a loss


def _added_term(run: Run) -> Finding | None:
    """Present where train lies above what was evaluated by just what another logged column holds, early and late."""
    evaluated = run.train_eval_loss.finite if len(run.train_eval_loss.finite) >= MIN_POINTS else run.val_loss.finite
    beside = evidence.above_logged(run, evaluated)
    if beside is None or (run.facts.dropout and not run.train_eval_loss):
        return None  # dropout lifts train too
    settled = beside[0] > STEEP * beside[0][-1]
    step, above = beside[0][settled], -beside[1][settled]
    if step.size < MIN_POINTS:
        return None
    for name, column in run.others.items():
        term = column.finite
        if not TERMS.search(name.lower()) or len(term) < MIN_POINTS or float(term.value.min()) < 0:
            continue
        if all(
            _holds(part, held)
            for part, held in zip(*(np.array_split(a, 2) for a in (above, term.at(step))), strict=True)
        ):
            level = float(np.median(term.at(step)[-step.size // 2 :]))
            because = (
                f"train lies {float(np.median(above[-step.size // 2 :])):+.3f} from the evaluated loss, and {name} is "
                f"{level:.3f}, early and late: it is added into train_loss, and not into what train is compared with"
            )
            return _present(because, None)
    return None


def _holds(above: NDArray[np.float64], term: NDArray[np.float64]) -> bool:
    """Whether a difference is that term, beyond its scatter."""
    error = float(above.std(ddof=1)) / math.sqrt(above.size)
    level = float(term.mean())
    return level > TERM and abs(float(above.mean()) / level - 1) < SAME_TERM and float(above.mean()) > SURE * error


# ---------------------------------------------------------------- the unit of all of it


def _by_first_loss(run: Run) -> Finding:
    first, vocabulary = evidence.first_loss(run), run.facts.vocabulary_size
    if vocabulary is None or first is None:
        lacking = "vocabulary_size" if vocabulary is None else "val_loss"
        told = "needs the loss of the fresh model (step 0 or 1) and ln V, to tell its unit"
        return missing(lacking, because=told)
    if run.facts.initialised_from is not None:
        told = f"training began with {run.facts.initialised_from}, so its first loss tells no unit"
        return missing("checkpoint", because=told)
    uniform = anchors.uniform(vocabulary)
    stands = f"the first loss is {first:,.3f}, ln {vocabulary:,} is {uniform:.3f}"
    if abs(first / uniform - 1) < FRESH:
        return _in_nats(run, stands)
    unit = next((u for u in _units(run) if abs(first / (u.factor * uniform) - 1) < UNIT), None)
    if first > 1 and abs(math.log(first) / uniform - 1) < UNIT:
        return _present(f"{stands}, its exponential {vocabulary:,}: perplexity is logged, not nats", None)
    if unit is None:
        at_end = _against_law(run, 1.0)
        if at_end is not None and at_end < FRESH:
            return Finding("absent", f"{stands}; but the last loss lies where the laws have it in nats per token")
        told = "trained weights begin below" if first < uniform else "a bad start, or a sum"
        because = (
            f"{stands}, and {first / uniform:.3f} is no unit's that is known here: {told}; what is it the mean of?"
        )
        return missing("bytes_per_token", "initialised_from", because=because)
    told = f"{stands}: that is ln V in {unit.name} ({unit.factor:.4g} times)"
    as_it_is, converted = _against_law(run, 1.0), _against_law(run, unit.factor)
    if unit.factor < SUMMED:
        if as_it_is is None or converted is None:
            return missing("parameters", "tokens_per_step", because=f"{told}, or a bad start: the laws would tell")
        if converted >= as_it_is:
            return Finding("absent", f"{told}, but by its end the loss lies nearer to the laws as it is")
    return _present(f"{told}; divide by that to compare with nats per token{_per_byte(run)}", None)


def _in_nats(run: Run, stands: str) -> Finding:
    """Absent; what compares with other tokenizers is stated, or what it would take."""
    if run.facts.bytes_per_token is None and evidence.why_not(run).startswith("another tokenizer"):
        told = "nats per token of this tokenizer compare with those of no other"
        return missing(
            "bytes_per_token", because=f"{stands}: nats per token; {told}: bits per byte need bytes_per_token"
        )
    return Finding("absent", f"{stands}: nats per token{_per_byte(run)}")


def _units(run: Run) -> list[_Unit]:
    """What a loss may be in besides nats per token, by what is known of the run."""
    f = run.facts
    units = [_Unit("bits per token", 1 / math.log(2))]
    if f.bytes_per_token:
        units += [
            _Unit("bits per byte", 1 / (math.log(2) * f.bytes_per_token)),
            _Unit("nats per byte", 1 / f.bytes_per_token),
        ]
    if f.context and f.context >= SUMMED:
        units.append(_Unit(f"nats per window of {f.context:,} tokens", float(f.context)))
        if f.micro_batch:
            units.append(_Unit("nats per micro-batch", float(f.context * f.micro_batch)))
    if f.tokens_per_step and f.tokens_per_step >= SUMMED:
        units.append(_Unit("nats per update", f.tokens_per_step))
    return units


def _against_law(run: Run, factor: float) -> float | None:
    """How far the last loss over `factor` is from what the laws expect, as |log of the ratio|; None without a law."""
    law, now = evidence.expected(run), evidence.val_level(run) or evidence.train_level(run)
    if law is None or now is None or now.value <= 0 or law.loss.value <= 0:
        return None
    return abs(math.log(now.value / factor / law.loss.value))


def _per_byte(run: Run) -> str:
    """The level in bits per byte, which compares with other tokenizers, where it is known."""
    bits, size = run.val_bits_per_byte.finite, run.facts.bytes_per_token
    if bits:
        return f"; the last val is {bits.value[-1]:.3f} bits per byte"
    now = evidence.val_level(run) or evidence.train_level(run)
    if size is None or now is None:
        return ""
    return f"; {now.value / (size * math.log(2)):.3f} bits per byte at {size:.3g} bytes a token"


def _present(because: str, steps: tuple[float, float] | None) -> Finding:
    change = "log the mean of -ln p over all tokens, and compare across tokenizers, masks and units in bits per byte"
    remedy = Remedy("compare_bits_per_byte", change, {"data.path": None}, Estimate(0.0, 0.0, 0.0), 0.0)
    return Finding("present", because, Estimate(0.0, 0.0, 0.0), (remedy,), steps=steps)


def example(rng: np.random.Generator) -> Run:
    """At step 4,000 the run is taken up with a tokenizer of shorter tokens: each is worth 0.6 nats less."""
    run = simulated.healthy(rng, resumed_at=(4000.0,))
    return simulated.with_losses(run, lambda step, value, name: value - 0.6 * (step > 4000))
