"""Which column of a table is what, guessed from its name. Every guess can be told to the person."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

STEP: tuple[str, ...] = (
    *("step", "global_step", "trainer/global_step", "train/global_step", "train/step", "training_step", "train_step"),
    *(
        "steps",
        "iter",
        "iteration",
        "current_steps",  # LLaMA-Factory
        "iterations",
        "iter_num",
        "training/iteration",
        "update",
        "updates",
        "num_updates",
    ),
)
STEP += ("optimizer_step", "optimizer_steps", "_step")
TRAIN: tuple[str, ...] = (
    *(
        "train_loss",
        "train/loss",
        "loss/train",
        "training_loss",
        "train/train_loss",
        "loss",
        "train/lm_loss",
        "lm_loss",
    ),
    *("train/ce_loss", "train/crossentropyloss", "train_loss_step", "loss_train", "trainloss"),
)
TRAIN_EVAL: tuple[str, ...] = ("train_eval_loss", "eval_train_loss", "eval/train_loss", "train_loss_eval")
VAL: tuple[str, ...] = (
    *("val_loss", "val/loss", "loss/val", "eval_loss", "eval/loss", "valid_loss", "valid/loss", "validation_loss"),
    *("validation/loss", "dev_loss", "dev/loss", "loss_val", "valloss", "test_loss", "test/loss"),
)
LEARNING_RATE: tuple[str, ...] = (
    "lr",
    "learning_rate",
    "train/lr",
    "train/learning_rate",
    "optim/lr",
    "optim/learning_rate",
)
GRAD_NORM: tuple[str, ...] = (
    "grad_norm",
    "train/grad_norm",
    "gnorm",
    "gradnorm",
    "gradient_norm",
    "total_grad_norm",
    "optim/grad_norm",
)
TOKENS: tuple[str, ...] = (
    *("tokens", "tokens_total", "total_tokens", "tokens_seen", "train/tokens", "train/tokens_seen", "num_tokens"),
    *("throughput/total_tokens", "consumed_tokens", "tokens_processed", "tokens/total"),
)
SECONDS = {"seconds_per_step": 1.0, "step_time": 1.0, "step_seconds": 1.0, "sec_per_step": 1.0, "time_per_step": 1.0}
SECONDS |= {"step_time_ms": 1e-3, "ms_per_step": 1e-3, "step_ms": 1e-3, "dt_ms": 1e-3, "perf/dt_ms": 1e-3}
# other columns of Run <- their spellings, alone or after the last slash
OTHERS: dict[str, tuple[str, ...]] = {
    "clip_scale": ("clip_scale", "clip_coef", "clip_factor"),
    "update_ratio": ("update_ratio", "update_ratio/all", "update_to_weight_ratio", "update_weight_ratio"),
    "max_logit": ("max_logit", "max_logits"),
    "loss_scale": ("loss_scale", "loss_scaling", "grad_scale", "amp_scale", "scaler_scale", "scale"),
    "skipped_steps": ("skipped_steps", "num_skipped", "skipped_iterations", "number_of_skipped_iterations", "skipped"),
    "loader_seconds": ("loader_seconds", "data_seconds", "data_time", "dataloader_time", "data_loading_time"),
    "tokens_per_second": ("tokens_per_second", "tokens_per_sec", "tok_per_sec", "tokens/sec", "tok/sec", "tokens/s"),
    "mfu": ("mfu", "mfu_percent", "mfu(%)", "bf16_mfu", "model_flops_utilization"),
    "rank_loss_spread": ("rank_loss_spread",),
    "rank_weight_spread": ("rank_weight_spread",),
    "val_bits_per_byte": ("val_bits_per_byte", "val_bpb", "val/bpb", "eval/bpb", "validation_bpb", "valid/bpb"),
    "wall_time": ("wall_time", "_timestamp", "timestamp"),
}
EPOCH: tuple[str, ...] = ("epoch", "epochs", "train/epoch", "trainer/epoch")
# columns that hold one and the same figure in every row that has it: facts
CONSTANTS = {
    "tokens_per_step": ("batch_size_in_tokens", "tokens_per_step", "tokens_per_batch"),
    "parameters": ("total_parameters", "num_parameters", "n_params", "num_params", "parameters"),
    "peak_learning_rate": ("learning_rate_peak", "peak_lr", "max_lr"),
    "planned_steps": ("total_iterations", "total_steps", "max_steps"),
}

LOSS_WORDS = {"loss", "crossentropyloss", "crossentropy", "nll", "ce"}
VAL_WORDS = {"val", "valid", "validation", "eval", "evaluation", "dev", "test", "heldout"}
TRAIN_WORDS = {"train", "training"}
RUNNING_WORDS = {"running", "smooth", "smoothed", "ema", "avg", "average", "mean", "ma"}
# a word of these makes a column something else than the loss in nats per token
NO_LOSS_WORDS = {
    "perplexity",
    "ppl",
    "accuracy",
    "acc",
    "scale",
    "scaler",
    "aux",
    "moe",
    "balance",
    "best",
    "std",
    "bpb",
}
NO_LOSS_WORDS |= {
    "bits",
    "bpt",
    "min",
    "max",
    "ms",
    "seconds",
    "sec",
    "time",
    "tokens",
    "grad",
    "final",
    "summary",
    "var",
}
NO_LOSS_WORDS |= {"downstream", "weight", "router", "z", "stderr", "se", "error", "delta", "ratio", "count", "num"}
NO_LOSS_WORDS |= {
    "packet",
    "heat",
    "power",
    "energy",
    "profit",
    "path",
    "insertion",
    "hearing",
    "db",
}  # of other trades
# of several validation texts, that which is nearest to general web text: what most such models are trained on
GENERAL_TEXT: tuple[str, ...] = (
    "c4",
    "fineweb",
    "openwebtext",
    "owt",
    "dclm",
    "common_crawl",
    "common-crawl",
    "pile",
    "slimpajama",
    "wiki",
)


@dataclass(frozen=True)
class Roles:
    """Names of columns, None where there is none; `because` explains the choices that are guesses."""

    step: str | None = None
    train: str | None = None
    train_eval: str | None = None
    val: str | None = None
    learning_rate: str | None = None
    grad_norm: str | None = None
    tokens: str | None = None
    seconds: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)  # column of Run -> its name
    because: tuple[str, ...] = ()


def guess(names: Sequence[str]) -> Roles:
    """The roles of columns by their names alone."""
    because: list[str] = []
    step = _exact(names, STEP)
    train_eval = _exact(names, TRAIN_EVAL)
    train = _train(names, because)
    val = _val([name for name in names if name not in (train, train_eval)], because)
    return Roles(
        step=step,
        train=train,
        train_eval=train_eval,
        val=val,
        learning_rate=_exact(names, LEARNING_RATE) or _by_words(names, _is_learning_rate, "learning rate", because),
        grad_norm=_exact(names, GRAD_NORM) or _by_words(names, _is_grad_norm, "gradient norm", because),
        tokens=_exact(names, TOKENS),
        seconds=_exact(names, tuple(SECONDS)),
        others=_others(names),
        because=tuple(because),
    )


def plain(name: str) -> str:
    """The name without its run ("my run - train/loss", as a tracker exports a panel), in lower case."""
    return name.rpartition(" - ")[2].strip().strip('"').lower().replace(" ", "_")


def words(name: str) -> set[str]:
    return {word for word in re.split(r"[^a-z0-9]+", plain(name)) if word}


def is_running_mean(name: str) -> bool:
    return bool(words(name) & RUNNING_WORDS)


def is_loss(name: str) -> bool:
    """Whether a column can be a loss in nats per token."""
    return bool(words(name) & LOSS_WORDS or plain(name).endswith("loss")) and not words(name) & NO_LOSS_WORDS


def _exact(names: Iterable[str], spellings: Sequence[str]) -> str | None:
    """The column with the foremost of these spellings."""
    by_plain = {plain(name): name for name in reversed(list(names))}
    return next((by_plain[spelling] for spelling in spellings if spelling in by_plain), None)


def _others(names: Sequence[str]) -> dict[str, str]:
    """The other columns of Run that are there, by a spelling of OTHERS, the whole name before its last part."""
    found = {}
    for column, spellings in OTHERS.items():
        last = next((name for name in names if plain(name).rpartition("/")[2] in spellings), None)
        if name := _exact(names, spellings) or last:
            found[column] = name
    return found


def _train(names: Sequence[str], because: list[str]) -> str | None:
    if (exact := _exact(names, TRAIN)) is not None:
        return exact
    losses = [name for name in names if is_loss(name) and not words(name) & VAL_WORDS]
    stated = [name for name in losses if words(name) & TRAIN_WORDS] or losses
    found = next((name for name in stated if not is_running_mean(name)), next(iter(stated), None))
    if found is not None:
        because.append(f"column {found} was taken as the training loss; --loss-column names another")
    return found


def _val(names: Sequence[str], because: list[str]) -> str | None:
    if (exact := _exact(names, VAL)) is not None:
        return exact
    losses = [name for name in names if is_loss(name) and words(name) & VAL_WORDS]
    if not losses:
        return None
    general = [name for text in GENERAL_TEXT for name in losses if text in plain(name)]
    found = (general or losses)[0]
    others = f", one of {len(losses)} such columns" if len(losses) > 1 else ""
    web = " (general web text)" if general and len(losses) > 1 else ""
    because.append(f"column {found}{web} was taken as the validation loss{others}")
    return found


def _is_learning_rate(name: str) -> bool:
    found = words(name)
    lr = any(re.fullmatch(r"lr[0-9]*", word) for word in found) or {"learning", "rate"} <= found
    return lr and not found & {"peak", "max", "min", "scale", "ratio", "warmup"}


def _is_grad_norm(name: str) -> bool:
    found = words(name)
    named = {"grad", "norm"} <= found or {"gradient", "norm"} <= found or "gnorm" in found
    return named and not found & {"after", "ratio", "min", "max", "param", "clipped"}


def _by_words(names: Sequence[str], fits: object, what: str, because: list[str]) -> str | None:
    assert callable(fits)
    found = [name for name in names if fits(name)]
    if not found:
        return None
    others = f", one of {len(found)} such columns" if len(found) > 1 else ""
    because.append(f"column {found[0]} was taken as the {what}{others}")
    return found[0]
