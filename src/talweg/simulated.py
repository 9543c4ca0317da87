"""Simulated runs: the healthy one that each example of a cause departs from, and the crowd to count false alarms on.

The level at the end is the one that the size laws give for the parameters and tokens stated, so that nothing about a
healthy run has to be explained; whoever wants a faulty one changes its schedule, columns or facts.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talweg.laws import annealing, gain, size, small, synthetic
from talweg.run import Facts, Run, Series
from talweg.schedule import Schedule

Array = NDArray[np.float64]
Change = Callable[[Array, Array, str], Array]  # steps, losses, name of the column -> losses

PARAMETERS = 124e6
TOKENS_PER_PARAMETER = 40.0
VOCABULARY = 50_257
UNIGRAM, BIGRAM = 7.6, 5.6  # nats, web text under GPT-2's tokenizer
# A quarter of the steps then costs 0.25 nats, as between public runs of 190 M parameters at 10 and 40 tokens each.
AMPLITUDE, EXPONENT = 0.8, 0.506
GRAD_NORM, CLIP, UPDATE = 0.3, 1.0, 2e-3  # late in the run; of the norm; |update| / |weight| at the peak rate
SECONDS, MFU = 0.5, 0.4  # of a step; share of the device's peak


def healthy(
    rng: np.random.Generator,
    *,
    steps: int = 10_000,
    schedule: Schedule | None = None,
    parameters: float = PARAMETERS,
    tokens_per_parameter: float = TOKENS_PER_PARAMETER,
    above: float = 0.0,
    stop_at: int | None = None,
    start: float | None = None,
    log_every: int = 20,
    eval_every: int | None = None,
    eval_sd: float = 0.009,
    batch_sd: float = 0.05,
    **facts: object,
) -> Run:
    """A run that follows the laws, `above` nats over their level, logged up to `stop_at`. `facts` replace or add facts.

    The schedule is a cosine to a hundredth of the peak where none is given; another one ends where its own area and
    decay lead from the same law. Losses in nats per token.
    """
    usual = Schedule("cosine", 6e-4, 6e-6, steps // 40, steps)
    schedule = schedule or usual
    tokens = parameters * tokens_per_parameter
    decay_gain = gain.prior(parameters, schedule.peak_lr, tokens / steps)[0]
    curve = synthetic.curve(
        rng,
        steps=stop_at or steps,
        planned_steps=steps,
        schedule=schedule,
        floor=_level(parameters, tokens) + above - AMPLITUDE * 10**-EXPONENT + decay_gain * _decayed(usual, steps),
        amplitude=AMPLITUDE * (_area(usual, steps) / _area(schedule, steps)) ** EXPONENT,
        exponent=EXPONENT,
        decay_gain=decay_gain,
        start=start if start is not None else math.log(VOCABULARY),
        log_every=log_every,
        eval_every=eval_every,
        eval_sd=eval_sd,
        batch_sd=batch_sd,
    )
    text = facts.get("unique_tokens", tokens)
    stated = _facts(schedule, steps, parameters, tokens, eval_sd) | _text(text if isinstance(text, float) else None)
    return Run(
        source="simulated",
        format="simulated",
        train_loss=Series.of(curve.step, curve.train, kind="batch", resolution=1e-4, name="train_loss"),
        train_eval_loss=Series.of(curve.eval_step, curve.train_eval, kind="evaluation", resolution=1e-4),
        val_loss=Series.of(curve.eval_step, curve.val, kind="evaluation", resolution=1e-4),
        learning_rate=Series.of(curve.step, curve.rate),
        **_machine(rng.spawn(1)[0], curve.step, curve.rate / schedule.peak_lr, tokens / steps, steps),  # type: ignore[arg-type]
        facts=Facts.stated("simulated", **{**stated, **facts}),
    )


def _level(parameters: float, tokens: float) -> float:
    """The loss at the end, by the published laws; below 10 M parameters by the law of small models."""
    if parameters >= size.PARAMETERS_RANGE[0] or not small.in_range(parameters, tokens):
        return size.anchored_loss(parameters, tokens).value
    weights = small.body(parameters, VOCABULARY, None, None)
    return min(small.per_byte(weights, 4.5 * tokens, tuned=False).value * 4.5, (UNIGRAM + BIGRAM) / 2)


def _machine(rng: np.random.Generator, step: Array, share: Array, tokens: float, steps: int) -> dict[str, Series]:
    """Gradient norm, size of updates and speed, as sound public runs show them; `share` of the peak rate. (T,) each

    The norm falls from about 10 to 0.3, as in GPT-2 124 M; a step takes half a second and the first one compiles.
    """
    norm = GRAD_NORM * (1 + (0.02 * steps / (step + 1)) ** 0.7) * rng.lognormal(0.0, 0.12, step.size)
    seconds = SECONDS * rng.lognormal(0.0, 0.01, step.size) + np.where(step == 0, 20 * SECONDS, 0.0)
    columns = {
        "grad_norm": norm,
        "clip_scale": np.minimum(1.0, CLIP / norm),
        "update_ratio": UPDATE * share * rng.lognormal(0.0, 0.05, step.size),
        "seconds_per_step": seconds,
        "loader_seconds": 0.01 * SECONDS * rng.lognormal(0.0, 0.3, step.size),
        "tokens_per_second": tokens / seconds,
        "mfu": MFU * SECONDS / seconds,
    }
    return {name: Series.of(step, value, name=name) for name, value in columns.items()}


def _area(schedule: Schedule, steps: int) -> float:
    """Sum of eta / eta_peak over the plan, in steps."""
    return float(schedule.at(np.arange(steps)).sum()) / schedule.peak_lr


def _decayed(schedule: Schedule, steps: int) -> float:
    """The share of a whole decay's gain that this schedule has at its end."""
    grid = annealing.grid(steps)
    rate = schedule.at(grid)
    return float(annealing.path(grid, rate, annealing.complete(grid, rate)).decayed[-1])


def _facts(schedule: Schedule, steps: int, parameters: float, tokens: float, eval_sd: float) -> dict[str, object]:
    """What a configuration of the healthy run states."""
    return {
        "parameters": parameters,
        "layers": 12,
        "heads": 12,
        "width": 768,
        "context": 1024,
        "vocabulary_size": VOCABULARY,
        "dropout": 0.0,
        "tokens_per_step": tokens / steps,
        "micro_batch": 16,
        "planned_steps": steps,
        "schedule": schedule.kind,
        "peak_learning_rate": schedule.peak_lr,
        "min_learning_rate": schedule.min_lr,
        "warmup_steps": schedule.warmup_steps,
        "decay_end_step": schedule.end_step,
        "decay_start_step": schedule.decay_start or None,
        "decay_shape": schedule.decay_shape if schedule.kind == "wsd" else None,
        "accumulation": max(1, round(tokens / steps / (16 * 1024))),
        "grad_clip": CLIP,
        "beta1": 0.9,
        "beta2": 0.95,
        "weight_decay": 0.1,
        "precision": "bf16",
        "ranks": 1,
        "resumed_at": (),
        "trainable_parameters": parameters,
        "unmoved_groups": (),
        "eval_windows": max(1, round((0.45 / max(eval_sd, 1e-6)) ** 2)),
        "val_tokens": 10e6,
        "unique_tokens": tokens,
        "unigram_nats": UNIGRAM,
        "bigram_nats": BIGRAM,
    }


def _text(tokens: float | None) -> dict[str, object]:
    """What was measured of the healthy run's text: web pages, one pass, split by group, in random order."""
    return {
        "train_tokens": tokens,
        "near_unique_tokens": tokens,
        "largest_token_id": VOCABULARY - 1,
        # token-weighted, of documents of 700 tokens on average
        "tokens_by_length": (*[0.0] * 5, 0.005, 0.03, 0.08, 0.16, 0.22, 0.2, 0.13, 0.085, 0.05, 0.04),
        "val_overlap_share": 0.004,
        "noisy_share": 0.02,
        "order_drift_nats": 0.0002,
    }


def with_losses(run: Run, change: Change) -> Run:
    """The run with `change(step, value, column)` in place of each loss value."""
    return replace(
        run,
        train_loss=_changed(run.train_loss, change, "train_loss"),
        train_eval_loss=_changed(run.train_eval_loss, change, "train_eval_loss"),
        val_loss=_changed(run.val_loss, change, "val_loss"),
    )


def _changed(series: Series, change: Change, name: str) -> Series:
    return replace(series, value=change(series.step, series.value, name))
