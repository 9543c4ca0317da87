"""Readings: patterns that look like trouble and are none. Each is a result, with its evidence.

A reading is a function of this file that takes a Run and returns a sentence, or None where the pattern is not in
the run or cannot be told; its name is the reading's name. `READINGS` is the order in which a person sees them.
"""

import math
from collections.abc import Callable

import numpy as np

from talweg import evidence
from talweg.curve.trend import trend
from talweg.finding import ReadingOfRun
from talweg.laws import anchors, evaluation
from talweg.run import Run, Series

HIDDEN_PROGRESS = 1.0  # evaluations apart: a fall between neighbours below this many sd is not seen by eye
STANDS_HIGH = 0.1  # of the peak: below, little decay is left. A cosine to a tenth ends here
NOTHING = 0.005  # nats: a gain below this is no news. Our choice: 3 sd of a seed's effect
INITIAL = 0.05  # of ln V; the same tolerance as bad_initialisation
FLAT = 0.01  # nats for each e-fold of the steps: less is no fall worth a word. Our choice
STAIR = 4.0  # standard errors of a step at an epoch's boundary. Our choice
SPREAD = 2.0  # a scatter within this factor of what the batch's size implies is explained by it. Our choice


def readings(run: Run, *, sound: bool = True) -> tuple[ReadingOfRun, ...]:
    """Every pattern of this run that looks like trouble and is none. sound=False: of a curve that broke or diverged,
    where only its beginning can be read so."""
    found = ((reading.__name__, reading(run)) for reading in (READINGS if sound else OF_ANY_CURVE))
    return tuple(ReadingOfRun(name, because) for name, because in found if because is not None)


def as_expected_for_its_size(run: Run) -> str | None:
    expected, now = evidence.expected(run), evidence.val_level(run) or evidence.train_level(run)
    if expected is None or now is None or now.value > expected.loss.high or evidence.far_below(run) is not None:
        return None
    lies = "lies where" if now.value >= expected.loss.low else "lies below where"
    return (
        f"the loss, {now.value:.3f}, {lies} a sound run of this size and these tokens lies: "
        f"{expected.loss.value:.2f} ({expected.loss.low:.2f} to {expected.loss.high:.2f})"
    )


def decay_still_to_come(run: Run) -> str | None:
    share, fit, end = evidence.rate_share(run), evidence.fit(run), evidence.horizon(run)
    if share is None or fit is None or end is None or run.last_step is None or not fit.schedule_known:
        return None
    gain = fit.gain_of_decay_to_end
    if share < STANDS_HIGH or end <= run.last_step or gain.low <= 0 or gain.value < NOTHING:
        return None
    if evidence.still_warming(run) or evidence.at_frequencies(run) is not None:
        return None
    return (
        f"the learning rate stands at {share:.0%} of its peak; the {end - run.last_step:,.0f} steps to "
        f"come bring it down, "
        f"which is worth {gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f}) nats"
    )


def power_law_tail(run: Run) -> str | None:
    """The last half falls on log(step), by less than the scatter from one evaluation to the next."""
    judged = evidence.judged(run)
    if judged is None or run.last_step is None:
        return None
    late = judged.loss.between(max(run.last_step / 2, 1.0), math.inf)
    found = trend(np.log(late.step), late.value) if len(late) >= 6 else None
    scatter = _scatter(run, judged)
    if found is None or scatter is None or found.slope > -max(3 * found.standard_error, FLAT):
        return None
    interval = float(np.median(np.diff(late.step)))
    between = -found.slope * interval / run.last_step
    if between > HIDDEN_PROGRESS * scatter:
        return None
    unit = "evaluation" if judged.name == "val" else "logged value"
    return (
        f"over the last half the loss falls by {-found.slope:.3f} ±{found.standard_error:.3f} nats each "
        f"time the steps grow "
        f"e-fold: {between:.4f} from one {unit} to the next, less than their scatter of {scatter:.4f}. A "
        f"power law, not a stall"
    )


def evaluation_rises(run: Run) -> str | None:
    """Rises of val from one evaluation to the next that the noise explains."""
    noise, trend_now, val = evidence.eval_noise(run), evidence.trend(run), run.val_loss.finite
    if noise is None or trend_now is None or len(val) < 8 or noise.sd <= 0:
        return None
    up = np.flatnonzero(np.diff(val.value) > 0)
    if up.size == 0 or trend_now.low > 0:
        return None
    sizes = np.diff(val.value)[up]
    if sizes.max() > 4 * noise.sd * math.sqrt(2):
        return None
    places = ", ".join(f"{val.step[i + 1]:,.0f} ({size:+.4f})" for i, size in list(zip(up, sizes, strict=True))[-6:])
    more = "the last of them " if up.size > 6 else ""
    return (
        f"val rose {up.size} times between evaluations, {more}at step {places}; an evaluation scatters by "
        f"{noise.sd:.4f}, so at "
        f"this trend each lies above the one before with probability {noise.probability_of_rise:.0%}"
    )


def small_batch_noise(run: Run) -> str | None:
    """The training loss jumps from value to value as much as the size of its batch makes it jump."""
    scatter, f = evidence.batch_noise(run), run.facts
    if scatter is None or run.train_loss.kind not in ("batch", "micro_batch") or f.context is None:
        return None
    windows = f.micro_batch if run.train_loss.kind == "micro_batch" else _windows_per_step(run)
    if not windows:
        return None
    implied = evaluation.standard_error(windows, f.context)
    if not implied.low / SPREAD < scatter < implied.high * SPREAD:
        return None
    what = "one micro-batch" if run.train_loss.kind == "micro_batch" else "one batch"
    values = run.train_loss.finite.value
    widest = float(np.abs(np.diff(values[values.size // 2 :])).max(initial=0.0))
    return (
        f"single training losses scatter by {scatter:.3f} and jump by up to {widest:.2f}: each is {what} "
        f"of {windows:,.0f} "
        f"windows, which alone makes {implied.value:.3f} ({implied.low:.3f} to {implied.high:.3f})"
    )


def epoch_staircase(run: Run) -> str | None:
    """The training loss steps down at the starts of epochs and is flat between: memorisation."""
    f, train = run.facts, run.train_loss.finite
    if f.unique_tokens is None or f.tokens_per_step is None or run.last_step is None:
        return None
    length = f.unique_tokens / f.tokens_per_step
    drops = [
        d for k in range(1, int(run.last_step / length) + 1) if (d := _drop(train, k * length, length)) is not None
    ]
    if not drops:
        return None
    size = float(np.mean([d[0] for d in drops]))
    error = float(np.sqrt(np.sum([d[1] ** 2 for d in drops]))) / len(drops)
    if size < STAIR * error or size < 0.01:
        return None
    return (
        f"train steps down by {size:.3f} ±{error:.3f} nats at the start of each of {len(drops)} epochs of "
        f"{length:,.0f} steps: "
        "memorisation of what was seen. Judge by val"
    )


def val_below_train_by_dropout(run: Run) -> str | None:
    gap, p = evidence.gap(run), run.facts.dropout
    if gap is None or gap.like_for_like or gap.value.high >= 0 or not p:
        return None
    return (
        f"val lies {-gap.value.value:.3f} below train because dropout {p:g} is on in training and off in evaluation; "
        "dropout 0.1 alone makes 0.07 to 0.10"
    )


def running_mean_train_loss(run: Run) -> str | None:
    kinds = {"running_mean": "a running mean", "interval_mean": "a mean over the logging interval"}
    what = kinds.get(run.train_loss.kind)
    if what is None or not run.val_loss:
        return None
    return f"the logged training loss is {what}: it lags behind a falling loss, which puts val below it"


def initial_loss_is_ln_vocab(run: Run) -> str | None:
    vocabulary = run.facts.vocabulary_size
    if vocabulary is None or run.facts.step_unit is not None:
        return None
    for series in (run.val_loss, run.train_eval_loss, run.train_loss):
        first = series.finite.between(0, 1)
        if first:
            ratio = float(first.value[0]) / anchors.uniform(vocabulary)
            if abs(ratio - 1) > INITIAL:
                return None
            return (
                f"the first loss, {float(first.value[0]):.3f}, is that of a fresh model: "
                f"ln {vocabulary:,} = {anchors.uniform(vocabulary):.3f} ({ratio - 1:+.1%})"
            )
    return None


def _scatter(run: Run, judged: evidence.Judged) -> float | None:
    noise = evidence.eval_noise(run)
    return noise.sd if judged.name == "val" and noise is not None else evidence.batch_noise(run)


def _windows_per_step(run: Run) -> float | None:
    f = run.facts
    return None if f.tokens_per_step is None or f.context is None else f.tokens_per_step / f.context


def _drop(train: Series, boundary: float, length: float) -> tuple[float, float] | None:
    """Fall of the mean across a boundary beyond the fall just before it, over tenths of an epoch; standard error."""
    reach = 0.1 * length
    before, after = train.between(boundary - reach, boundary - 1e-9), train.between(boundary, boundary + reach)
    early = train.between(boundary - 2 * reach, boundary - reach - 1e-9)
    if min(len(before), len(after), len(early)) < 5:
        return None
    usual = float(early.value.mean() - before.value.mean())
    error = math.sqrt(sum(k * float(s.value.var(ddof=1)) / len(s) for k, s in ((4, before), (1, after), (1, early))))
    return float(before.value.mean() - after.value.mean()) - usual, error


READINGS: tuple[Callable[[Run], str | None], ...] = (
    as_expected_for_its_size,
    decay_still_to_come,
    power_law_tail,
    evaluation_rises,
    small_batch_noise,
    epoch_staircase,
    val_below_train_by_dropout,
    running_mean_train_loss,
    initial_loss_is_ln_vocab,
)
OF_ANY_CURVE = (initial_loss_is_ln_vocab,)
