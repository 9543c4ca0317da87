"""What a configuration must satisfy, each with the one line that says how to mend it. Imports no torch."""

import math

from talweg.errors import InputError
from talweg.train.config import HORIZONS, Config, items

AT_LEAST_ONE = (
    "run.steps",
    "model.layers",
    "model.heads",
    "model.width",
    "model.context",
    "model.vocabulary_size",
    "model.kv_heads",
    "model.feed_forward_width",
    "batch.tokens_per_step",
    "batch.micro_batch",
    "evaluation.every",
    "evaluation.tokens",
    "checkpoint.every",
    "checkpoint.keep_last",
    "hardware.threads",
)
POSITIVE = (
    *("run.tokens", "run.epochs", "run.minutes", "model.norm_epsilon", "model.rope_base"),
    *("optimizer.peak_lr", "optimizer.epsilon", "schedule.end_share"),
    *("optimizer.embedding_lr_factor", "optimizer.head_lr_factor"),
    *("optimizer.vector_lr_factor", "optimizer.scalar_lr_factor"),
)
NOT_NEGATIVE = (
    "run.seed",
    "model.logit_softcap",
    "optimizer.base_width",
    "schedule.min_lr",
    "schedule.warmup_steps",
    "optimizer.weight_decay",
    "optimizer.grad_clip",
    "checkpoint.keep_every",
)
BELOW_ONE = (
    "model.dropout",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.muon_momentum",
    "optimizer.average_decay",
)
LARGEST = 2**53  # whole numbers beyond it are not exact as floats, and torch takes no seed or size beyond 2^63
MOST_THREADS = 4096
SHARES = ("schedule.decay_share", "schedule.end_share")


def validate(config: Config, where: str = "configuration") -> None:
    """Raise InputError for the first thing that cannot be: a value out of range, or values that contradict."""
    values = items(config)
    for key, value in values.items():
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{where}: {key} = {value} is not a finite number")
        most = MOST_THREADS if key == "hardware.threads" else LARGEST
        if isinstance(value, int | float) and abs(value) > most:
            raise InputError(f"{where}: {key} = {value}: needed at most {most:,}")
        if key in AT_LEAST_ONE and value < 1:
            raise InputError(f"{where}: {key} = {value}: needed at least 1")
        if key in POSITIVE and value <= 0:
            raise InputError(f"{where}: {key} = {value}: needed more than 0")
        if key in NOT_NEGATIVE and value < 0:
            raise InputError(f"{where}: {key} = {value}: needed 0 or more")
        if key in BELOW_ONE and not 0 <= value < 1:
            raise InputError(f"{where}: {key} = {value}: needed 0 or more and less than 1")
        if key in SHARES and not 0 <= value <= 1:
            raise InputError(f"{where}: {key} = {value}: needed a share from 0 to 1")
    _horizon(config, where)
    if config.model.init_from is None:  # else its file says the rest, and `check_model` follows when it is read
        check_model(config, where)
    check_rates(config, where)
    _averages(config, where)
    if config.run.steps is not None:
        check_schedule(config, config.run.steps, where)


def _horizon(config: Config, where: str) -> None:
    given = [name for name in HORIZONS if getattr(config.run, name) is not None]
    names = ", ".join(f"run.{name}" for name in HORIZONS)
    if not given:
        raise InputError(f"{where}: the length of the run is missing; give one of {names}")
    if len(given) > 1:
        found = " and ".join(f"run.{name}" for name in given)
        raise InputError(f"{where}: the length of the run is given more than once ({found}); keep one of {names}")


def check_model(config: Config, where: str = "configuration") -> None:
    """The sizes of the model must go together, and with the batch."""
    model, batch = config.model, config.batch
    if model.width % model.heads:
        raise InputError(f"{where}: model.width = {model.width} is not a multiple of model.heads = {model.heads}")
    if model.kv_heads is not None and model.heads % model.kv_heads:
        raise InputError(
            f"{where}: model.heads = {model.heads} is not a multiple of model.kv_heads = {model.kv_heads}; "
            f"each head of keys serves as many heads of queries"
        )
    if model.positions == "rope" and model.width // model.heads % 2:
        raise InputError(
            f"{where}: rope needs an even width per head; model.width / model.heads = {model.width // model.heads}"
        )
    if batch.tokens_per_step is not None and batch.tokens_per_step % model.context:
        nearest = max(round(batch.tokens_per_step / model.context), 1) * model.context
        raise InputError(
            f"{where}: batch.tokens_per_step = {batch.tokens_per_step} is not a multiple of "
            f"model.context = {model.context}; the nearest is {nearest}"
        )


def check_rates(config: Config, where: str = "configuration") -> None:
    """The lowest learning rate must not lie above the peak, which may still be open."""
    peak = config.optimizer.peak_lr
    if peak is not None and config.schedule.min_lr > peak:
        raise InputError(
            f"{where}: schedule.min_lr = {config.schedule.min_lr} is above optimizer.peak_lr = {peak:.4g}; lower it"
        )


def _averages(config: Config, where: str) -> None:
    """Schedule-free AdamW averages the weights, which stands for a decay and for another average."""
    if config.optimizer.name != "schedule_free":
        return
    if config.schedule.kind != "constant":
        raise InputError(
            f'{where}: optimizer.name = "schedule_free" has no use for schedule.kind = "{config.schedule.kind}"; '
            'give schedule.kind = "constant"'
        )
    if config.optimizer.beta1 == 0:
        raise InputError(f'{where}: optimizer.name = "schedule_free" needs optimizer.beta1 above 0, such as 0.9')
    if config.optimizer.average_decay:
        raise InputError(
            f'{where}: optimizer.name = "schedule_free" evaluates an average of the weights already; '
            "leave out optimizer.average_decay"
        )


def check_schedule(config: Config, steps: int, where: str = "configuration") -> None:
    """Warm-up and decay must fit into the run, which needs its length in steps."""
    warmup, schedule = config.schedule.warmup_steps or 0, config.schedule
    end = round(schedule.end_share * steps)
    decay = round(schedule.decay_share * steps) if schedule.kind == "wsd" else 0
    if schedule.kind != "constant" and end < 1:
        raise InputError(f"{where}: schedule.end_share = {schedule.end_share} of {steps} steps leaves none")
    if warmup + decay > (steps if schedule.kind == "constant" else end):
        parts = f"{warmup} steps of warm-up" + (f" and {decay} of decay" if decay else "")
        raise InputError(
            f"{where}: {parts} do not fit into {end} steps; lower schedule.warmup_steps"
            + (" or schedule.decay_share" if decay else "")
        )
