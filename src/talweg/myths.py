"""Claims that are often made about runs of this look, each with what this run's own figures say of it.

A myth is a function of this file that takes a Run and returns its reading, or None where the pattern behind the
claim is not in the run. The claim itself is the function's docstring. `MYTHS` is the order in which a person sees
them.
"""

import inspect
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from talweg import evidence
from talweg.curve.trend import trend
from talweg.finding import Myth
from talweg.laws import evaluation, repetition
from talweg.readings import epoch_staircase
from talweg.run import Run

Array = NDArray[np.float64]

CLOSE = 0.1  # nats between train and val: the number of the claim itself
A100_FLOPS = 312e12  # dense bf16: what nanoGPT's mfu is a share of, whatever the card
RTX_4070_FLOPS = 58.3e12  # dense bf16 with fp32 accumulation, the maker's sheet
STILL_FALLS = 0.01  # nats for a doubling of the steps: less is a stall. Our choice


def myths(run: Run, *, sound: bool = True) -> tuple[Myth, ...]:
    """The claims whose pattern is in this run, corrected with its figures. sound=False: of a curve that broke or
    diverged, of which some of the claims may well be true."""
    found = ((myth, myth(run)) for myth in (MYTHS if sound else OF_ANY_CURVE))
    return tuple(Myth(inspect.getdoc(myth) or "", reading) for myth, reading in found if reading is not None)


def close_losses(run: Run) -> str | None:
    """Train and val are within 0.1 of each other: it overfits."""
    gap = evidence.gap(run)
    if gap is None or abs(gap.value.value) > CLOSE:
        return None
    growth = "" if gap.growth is None else f", changing by {gap.growth.value:+.4f} per 1,000 steps"
    return (
        f"The opposite: overfitting is a gap that grows. Here val - train is {gap.value.value:+.3f}{growth}: "
        "evidence against it."
    )


def val_below_train(run: Run) -> str | None:
    """Val below train is a bug."""
    gap = evidence.gap(run)
    if gap is None or gap.value.high >= 0:
        return None
    below = f"val is {-gap.value.value:.3f} below train"
    if not gap.like_for_like and run.facts.dropout:
        return (
            f"Dropout {run.facts.dropout:g} is on for train and off for val: that alone makes 0.07 to 0.10. "
            f"Here {below}."
        )
    if not gap.like_for_like:
        return f"Train is not measured as val is (while training, over what was just learned from). Here {below}."
    size = "" if run.facts.val_tokens is None else _uncertain(run.facts.val_tokens)
    return (
        f"Both are measured in evaluation mode, so dropout is not the reason; {below}, as two samples of text differ"
        f"{size}. What counts is that the gap does not grow."
    )


def _uncertain(tokens: float) -> str:
    return f" (a file of {tokens / 1e6:.2g} M tokens is off by about {evaluation.level_uncertainty(tokens).value:.3f})"


def val_rose(run: Run) -> str | None:
    """Val rose between two evaluations: unstable, or overfitting."""
    noise, val, slope = evidence.eval_noise(run), run.val_loss.finite, evidence.trend(run)
    if noise is None or slope is None or len(val) < 8 or slope.low > 0:
        return None
    change = np.diff(val.value)
    late = np.flatnonzero(val.step[1:] > 0.25 * val.step[-1])
    rises = [i for i in late if change[i] > 0]
    if not rises or max(change[i] for i in rises) > 4 * math.sqrt(2) * noise.sd:
        return None
    places = ", ".join(f"{val.step[i + 1]:,.0f}" for i in rises[-6:])
    return (
        f"Of the last {late.size} evaluations {len(rises)} lie above the one before (steps {places}). One scatters by "
        f"{noise.sd:.4f} nats, so at this trend a rise has probability {noise.probability_of_rise:.0%} each time: "
        f"about {late.size * noise.probability_of_rise:.0f} were due."
    )


def stalled(run: Run) -> str | None:
    """The loss has stalled."""
    judged, end = evidence.judged(run), run.last_step
    if judged is None or not end:
        return None
    early = judged.loss.between(0, 0.3 * end)
    late = judged.loss.between(end / 2, math.inf)
    found = trend(np.log(late.step), late.value) if len(late) >= 6 and len(early) >= 2 else None
    if found is None or found.slope > -3 * found.standard_error:
        return None
    fell = -found.slope * math.log(2)
    if fell < STILL_FALLS or early.value[0] - early.value[-1] < 5 * fell:
        return None
    return (
        f"A power law looks flat on a linear axis. From step {end / 2:,.0f} to {end:,.0f} the loss fell by {fell:.3f} "
        f"±{found.standard_error * math.log(2):.3f} nats, as much as each doubling of the steps gives at this stage."
    )


def jumps(run: Run) -> str | None:
    """The learning rate is too high, because single-iteration losses jump."""
    scatter, f, train = evidence.batch_noise(run), run.facts, run.train_loss.finite
    if scatter is None or run.train_loss.kind not in ("micro_batch", "batch") or f.context is None or len(train) < 20:
        return None
    windows = f.micro_batch
    if run.train_loss.kind == "batch" and f.tokens_per_step is not None:
        windows = round(f.tokens_per_step / f.context)
    if not windows:
        return None
    implied = evaluation.standard_error(windows, f.context)
    if scatter > 2 * implied.high or scatter < 0.03:
        return None
    late = train.between(train.step[-1] / 3, math.inf)
    top = int(np.argmax(late.value - np.interp(late.step, *_smooth(run))))
    return (
        f"Each is one sample of {windows:,} windows, such as {late.value[top]:.2f} at step "
        f"{late.step[top]:,.0f}; that makes a "
        f"scatter of {implied.value:.3f} at any learning rate ({implied.low:.3f} to {implied.high:.3f}), "
        f"and {scatter:.3f} is measured."
    )


def _smooth(run: Run) -> tuple[Array, Array]:
    """Steps and running median of the training loss."""
    train = run.train_loss.finite
    width = 9
    windows = np.lib.stride_tricks.sliding_window_view(train.value, width)
    return train.step[width // 2 : -(width // 2)], np.median(windows, axis=1)


def decent_mfu(run: Run) -> str | None:
    """An mfu of 10 to 12 % in nanoGPT's log is decent for an RTX 4070."""
    f, seconds = run.facts, run.seconds_per_step.finite
    if run.format != "nanogpt" or not seconds or f.parameters is None or f.tokens_per_step is None:
        return None
    attention = 12 * (f.layers or 0) * (f.width or 0) * (f.context or 0)
    rate = (6 * f.parameters + attention) * f.tokens_per_step / float(np.median(seconds.value))
    if not 0.08 * A100_FLOPS <= rate <= RTX_4070_FLOPS:  # the log shows another figure, or the card is a faster one
        return None
    return (
        f"nanoGPT divides by an A100's 312 TFLOPS whatever the card. This run does {rate / 1e12:.1f} TFLOPS: "
        f"{rate / A100_FLOPS:.0%} of an A100, {rate / RTX_4070_FLOPS:.0%} of an RTX 4070 (58.3)."
    )


def beta2_dampens(run: Run) -> str | None:
    """A beta2 of 0.99 dampens the updates; 0.999 is the standard."""
    b = run.facts.beta2
    if b is None or not 0.97 <= b < 0.999:
        return None
    return (
        f"For language models 0.95 to 0.99 is the standard; {b:g} averages over {1 / (1 - b):,.0f} steps and "
        f"costs nothing here."
    )


def bias_off(run: Run) -> str | None:
    """bias=False over-regularises."""
    if run.facts.bias is not False or run.format != "nanogpt":
        return None
    return "It has no measurable effect on the loss at this size; it saves a little time."


def parquet_tokens(run: Run) -> str | None:
    """One parquet of FineWeb is 50 to 250 M tokens."""
    f = run.facts
    if "fineweb" not in (f.dataset or "").lower() or f.unique_tokens is not None:
        return None
    text = "A full one holds 0.73 B GPT-2 tokens (2.15 GB, 1.04 M documents). Count, do not guess: talweg prepare does."
    end = evidence.horizon(run) or run.last_step
    if f.tokens_per_step is None or not end:
        return text
    seen = f.tokens_per_step * end
    if seen <= repetition.FINEWEB_PARQUET:
        return text
    epochs, cost = (
        seen / repetition.FINEWEB_PARQUET,
        repetition.cost(f.parameters or 1e8, repetition.FINEWEB_PARQUET, seen),
    )
    return f"{text} Of one, this plan would make {epochs:.0f} epochs, at a cost of about {cost.value:.2f} nats."


def perplexity_below_ten(run: Run) -> str | None:
    """A perplexity below 10 is the aim."""
    expected, n = evidence.expected_at_end(run), run.facts.parameters
    if expected is None or n is None or expected.loss.low < math.log(10):
        return None
    return (
        f"That is a loss of 2.30. {n / 1e6:,.1f} M parameters on these tokens end at {expected.loss.value:.2f} "
        f"({expected.loss.low:.2f} to {expected.loss.high:.2f}), a perplexity of {math.exp(expected.loss.value):.0f}: "
        "no schedule gets there."
    )


def frequencies_beat_it(run: Run) -> str | None:
    """The model is too small."""
    now, h1 = evidence.val_level(run) or evidence.train_level(run), run.facts.unigram_nats
    if now is None or h1 is None or now.low <= h1:
        return None
    return f"At {now.value:.2f} a table of token frequencies beats it ({h1:.2f}): capacity cannot be the limit."


def staircase_is_a_bug(run: Run) -> str | None:
    """The staircase of the training loss at epochs is a bug."""
    return None if (found := epoch_staircase(run)) is None else f"{found[0].upper()}{found[1:]}."


def lower_the_rate_against_nan(run: Run) -> str | None:
    """NaN in fp16: lower the learning rate."""
    if run.facts.precision != "fp16" or not run.train_loss.num_not_finite:
        return None
    return "That delays it. The range of fp16 ends at 65,504; bf16 or a loss scale that is let fall cures it."


MYTHS: tuple[Callable[[Run], str | None], ...] = (
    close_losses,
    val_below_train,
    val_rose,
    stalled,
    jumps,
    lower_the_rate_against_nan,
    staircase_is_a_bug,
    frequencies_beat_it,
    decent_mfu,
    beta2_dampens,
    bias_off,
    parquet_tokens,
    perplexity_below_ten,
)
OF_ANY_CURVE = (lower_the_rate_against_nan, frequencies_beat_it, decent_mfu, beta2_dampens, bias_off, parquet_tokens)
