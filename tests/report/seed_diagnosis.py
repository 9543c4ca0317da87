"""A diagnosis made by hand: a 40.6 M model at step 14,500 of 20,000, with every kind of answer in it."""

import math

import numpy as np

from talweg.diagnosis import Band, Cause, Diagnosis, Event, Expected, Forecast, Now
from talweg.estimate import Estimate
from talweg.finding import Finding, Myth, ReadingOfRun, Remedy, missing
from talweg.run import Facts, Reading, Run, Series

PAGE = """Model too small: the size of the model sets the floor that the loss has reached.

Physics: at D tokens the loss of a model of N parameters is

    L(N, D) = E + A / N^a + B / D^b        nats per token

and the cost is L(N, D) - L(D / 20, D): what a model of the size that these tokens could feed would win.

Refuted by: a wider model, trained on the same tokens, ends no lower.
Known problems: the laws are fitted on runs with a tuned learning rate.
References: Hoffmann et al. 2022, arXiv 2203.15556.
"""


def curve(step: np.ndarray) -> np.ndarray:
    """The level at a step: falls from ln 50,304 to 3.57 at 14,500."""
    return 3.31 + 7.5 * (1 + step / 110.0) ** -0.69


def run(source: str = "curves/seed_run/train.log") -> Run:
    rng = np.random.default_rng(14500)
    every, often = np.arange(0.0, 14501, 500), np.arange(0.0, 14401, 200)
    stated = {
        "parameters": 40_560_000.0,
        "layers": 12,
        "heads": 12,
        "width": 384,
        "context": 1024,
        "vocabulary_size": 50304,
        "dropout": 0.1,
        "bias": False,
        "tokens_per_step": 524288.0,
        "micro_batch": 16,
        "accumulation": 32,
        "planned_steps": 20000,
        "schedule": "cosine",
        "peak_learning_rate": 1e-3,
        "min_learning_rate": 1e-4,
        "warmup_steps": 500,
        "decay_end_step": 20000,
        "beta2": 0.99,
        "weight_decay": 0.1,
        "precision": "fp16",
        "eval_windows": 3200,
        "eval_is_fixed": False,
        "dataset": "fineweb",
    }
    facts = Facts.stated("train_fineweb.config.txt", **stated)
    facts = facts.over(Facts.stated('the log\'s "Overriding" lines', min_learning_rate=6e-5))
    return Run(
        source=source,
        format="nanogpt",
        train_loss=Series.of(
            often, curve(often) + 0.1 + rng.normal(0, 0.1, often.size), kind="micro_batch", name="loss"
        ),
        train_eval_loss=Series.of(every, curve(every) + 0.06 + rng.normal(0, 0.008, every.size), kind="evaluation"),
        val_loss=Series.of(every, curve(every) + rng.normal(0, 0.008, every.size), kind="evaluation", name="val loss"),
        facts=facts,
        reading=Reading(132, 2, ("the last line is cut off and was left out",)),
    )


def band(now: float = 14500.0, end: float = 20000.0) -> Band:
    step = np.linspace(now, end, 23)
    share = (step - now) / (end - now)
    value = 3.571 - 0.055 * np.sin(share * math.pi / 2)
    half = 0.004 + 0.018 * share
    columns = (tuple(float(x) for x in column) for column in (step, value, value - half, value + half))
    return Band(*columns)


def present() -> tuple[Cause, ...]:
    wider = Remedy("wider", "width 384 -> 512", {"model.width": 512}, Estimate(0.11, 0.08, 0.14), 3.4e9)
    to_zero = Remedy("decay_to_zero", "min_lr 0.0001 -> 0", {"schedule.min_lr": 0.0}, Estimate(0.012, 0.006, 0.019), 0)
    no_dropout = Remedy("dropout_off", "dropout 0.1 -> 0", {"model.dropout": 0.0}, Estimate(0.03, 0.0, 0.06), 0)
    return (
        Cause(
            "model_too_small",
            "capacity",
            "The size of the model sets the floor that the loss has reached.",
            "a wider model, trained on the same tokens, ends no lower",
            Finding(
                "present",
                "187 tokens a parameter is 9 times what fits this size, and train lies 0.069 above val",
                Estimate(0.302, 0.241, 0.363),
                (wider,),
            ),
            PAGE,
        ),
        Cause(
            "learning_rate_not_decayed",
            "schedule",
            "The learning rate is still high, and its decay will win what it hides.",
            "a short decay to zero from this checkpoint wins less than 0.02",
            Finding(
                "present",
                "the rate is 0.00026, 26 % of its peak, and 5,500 steps of the cosine are still to come",
                Estimate(0.081, 0.061, 0.101),
                (Remedy("wait", "wait: 5,500 steps", {}, Estimate(0.055, 0.037, 0.073), 0), to_zero),
                steps=(10000.0, 14500.0),
            ),
            PAGE,
        ),
        Cause(
            "dropout_too_strong",
            "capacity",
            "Dropout in a run that does not overfit.",
            "a branch without dropout is no better after 500 steps",
            Finding(
                "present",
                "dropout 0.1 in a run that shows no sign of overfitting",
                Estimate(0.03, 0.0, 0.06),
                (no_dropout,),
            ),
            PAGE,
        ),
    )


def beside() -> tuple[Cause, ...]:
    unique = missing("unique_tokens", because="the number of unique tokens is not known", would_narrow_nats=0.12)
    small = missing("val_tokens", because="the size of the validation file is not known", would_narrow_nats=0.02)
    causes = [
        Cause("repeated_data", "data", "The text is seen too often.", "a count of the unique tokens", unique, PAGE),
        Cause("evaluation_set_too_small", "measurement", "The val file is small.", "more val text", small, PAGE),
    ]
    ruled_out = {
        "diverged": "no rise: the lowest smoothed val is the last one",
        "learning_rate_too_high": "the peak, 0.001, lies within a factor 2 of the optimum for this size",
        "learning_rate_decayed_too_early": "the rate reaches its end at step 20,000, where the plan ends",
        "too_few_tokens": "187 tokens a parameter, more than 20",
        "overfitting": "val lies 0.069 below train and the gap does not grow; val has no minimum",
        "evaluation_noise": "an evaluation of 3,200 windows has a standard error of 0.009",
        "context_ignored": "val 3.570 lies 4 nats below the unigram entropy",
        "bad_initialisation": "step 0: 10.873, within 0.5 % of ln V = 10.826",
    }
    for name, because in ruled_out.items():
        causes.append(Cause(name, "optimization", name, "refuted by nothing", Finding("absent", because), PAGE))
    return tuple(causes)


def diagnosis(source: str = "curves/seed_run/train.log") -> Diagnosis:
    return Diagnosis(
        run=run(source),
        state="falling",
        headline="Falling, not stalled. Nothing is broken: the loss lies where a model of this size lies after 7.60 B "
        "tokens, and the learning rate has yet to come down.",
        now=Now(
            14500.0,
            Estimate.normal(3.643, 0.004),
            Estimate.normal(3.5712, 0.005),
            Estimate.normal(-0.0121, 0.0016),
            0.36,
        ),
        expected=Expected(
            Estimate(3.581, 3.451, 3.711), "the laws of size, anchored at 124 M, plus 0.055 of decay to come"
        ),
        forecast=Forecast(20000.0, Estimate(3.516, 3.494, 3.538), "the annealing law fitted to 29 evaluations", band()),
        causes=(*present(), *beside()),
        readings=(
            ReadingOfRun("power_law_tail", "the tail is straight on log(step): it falls 0.012 per 1,000 steps"),
            ReadingOfRun("small_batch_noise", "one iteration's loss is one micro-batch of 16 x 1,024 tokens: sd 0.10"),
            ReadingOfRun("initial_loss_is_ln_vocab", "step 0: 10.873 against ln 50,304 = 10.826"),
        ),
        myths=(
            Myth(
                "train and val are within 0.1, so it overfits",
                "the gap is -0.07 and does not grow: evidence against it",
            ),
            Myth(
                "val rose three times, so it is unstable",
                "at this pace and noise 36 % of evaluations lie above the one before",
            ),
            Myth("single iterations jump to 4.11: the rate is too high", "they are single micro-batches with sd 0.10"),
        ),
        events=(Event("spike", "train_loss", 10000.0, 10200.0, 0.412, "one micro-batch, 4.1 sd above its neighbours"),),
    )


def bare() -> Diagnosis:
    """What is left when nothing could be read but a name."""
    causes = tuple(Cause(c.name, c.group, c.summary, c.refuted_by, missing("loss"), c.page) for c in present())
    return Diagnosis(Run(source="empty.log"), "too_short", "No loss was read.", None, None, None, causes, (), (), ())
