"""Rows that the Trainer logged: which column of `Run` each name is, and what follows from how they grow."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.logs.assemble import Column
from talweg.run import Facts, LossKind

ROLES: dict[str, tuple[str, LossKind]] = {
    "loss": ("train_loss", "interval_mean"),
    "eval_loss": ("val_loss", "evaluation"),
    "learning_rate": ("learning_rate", "unknown"),
    "grad_norm": ("grad_norm", "unknown"),
    "train_tokens_per_second": ("tokens_per_second", "running_mean"),  # tokens since the start by the seconds since
}
# counts of tokens since the beginning of the run, the surest first: Trainer's own, axolotl's, TRL's
TOKENS = ("num_input_tokens_seen", "tokens/total", "num_tokens")
REWARDS = ("reward", "rewards/chosen", "rewards/accuracies", "objective/kl")  # of training by preference
ALIKE = 0.9  # share of the rows that have one distance, from which on it is taken as the setting. Our choice
STEADY = 1e-6  # tokens of a step differ by less than this share where every window is full


@dataclass(frozen=True, eq=False)
class Field:
    """The values of one name."""

    row: NDArray[np.intp]  # (T,) rows that have it
    value: NDArray[np.float64]  # (T,)
    resolution: float = 0.0


@dataclass(frozen=True, eq=False)
class Rows:
    """What was logged, in its order."""

    step: NDArray[np.float64]  # (N,) NaN: unknown
    place: NDArray[np.int64]  # (N,) where in the log
    fields: Mapping[str, Field] = field(default_factory=dict)

    def columns(self, named: Mapping[str, str]) -> list[Column]:
        """One for each name; `named` says which name is a column of `Run`, where that is not known."""
        if absent := sorted(set(named.values()) - set(self.fields)):
            raise InputError(f"there is no {absent[0]} in the rows of this log; they have {', '.join(self.fields)}")
        roles = {name: role for name, (role, _) in ROLES.items() if role not in named}
        if self._lone_evaluation is not None and "val_loss" not in named:
            roles[self._lone_evaluation] = "val_loss"
        roles |= {name: role for role, name in named.items()}
        found = []
        for name, points in self.fields.items():
            role = roles.get(name)
            kind: LossKind = "evaluation" if role == "val_loss" else ROLES.get(name, ("", "unknown"))[1]
            step, place = self.step[points.row], self.place[points.row]
            found.append(Column(name, step, points.value, role, kind, points.resolution, place))
        return found

    @property
    def evaluations(self) -> list[str]:
        """The losses of several evaluation sets: eval_wiki_loss."""
        return [name for name in self.fields if name.startswith("eval_") and name.endswith("_loss")]

    @property
    def _lone_evaluation(self) -> str | None:
        several = self.evaluations
        return several[0] if len(several) == 1 and "eval_loss" not in self.fields else None

    def notes(self) -> tuple[str, ...]:
        """What a person should know of what these values are."""
        notes: tuple[str, ...] = ()
        if len(several := self.evaluations) > 1 and "eval_loss" not in self.fields:
            told = ", ".join(several[:4])
            notes += (f"there are {len(several)} evaluation sets ({told}); say which one val_loss is (--columns)",)
        if any(name in self.fields for name in REWARDS):
            notes += ("the rows hold rewards: this loss is no cross-entropy in nats per token",)
        return notes


def number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def without_hidden_nan(rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """The loss is NaN where the Trainer logged 0 for it.

    With logging_nan_inf_filter, which is its default, a loss that is NaN is replaced by the mean of the interval so
    far; where every loss of an interval is NaN, that is 0. The norm of the gradient tells: it is not filtered.
    """
    loss, norm = rows.fields.get("loss"), rows.fields.get("grad_norm")
    if loss is None or norm is None:
        return rows, ()
    broken = np.isin(loss.row, norm.row[~np.isfinite(norm.value)]) & (loss.value == 0.0)
    if not broken.any():
        return rows, ()
    value = np.where(broken, np.nan, loss.value)
    told = f"{int(broken.sum())} losses of 0 with a gradient norm that is not finite were NaN, which the Trainer "
    told += "replaces (logging_nan_inf_filter); they are taken as NaN"
    return replace(rows, fields={**rows.fields, "loss": replace(loss, value=value)}), (told,)


# ---------------------------------------------------------------- facts


def window(rows: Rows, logging_steps: int | None, source: str) -> tuple[int | None, str]:
    """Updates that a logged loss is the mean of, and how that is known: the distance of the rows."""
    points = rows.fields.get("loss")
    if points is None or not points.row.size:
        return None, ""
    step = rows.step[points.row]
    apart = np.diff(step)
    apart = apart[apart > 0]
    if not apart.size:
        alone = logging_steps if logging_steps == step[0] else None
        return alone, f"logging_steps ({source})"
    usual = float(np.median(apart))
    if usual != round(usual) or np.mean(apart == usual) < ALIKE - 2 / apart.size:
        return None, ""
    if usual == logging_steps:
        return logging_steps, f"logging_steps ({source})"
    return round(usual), "the distance of the logged rows"


def derived(rows: Rows, logging_steps: int | None, source: str, *, has_epochs: bool) -> Facts:
    """What the growth of step, epoch and tokens says. Only for steps that are updates.

    has_epochs: whether an epoch is one pass over the text; over a stream it is the whole run.
    """
    apart, told = window(rows, logging_steps, source)
    facts = Facts.stated(told, train_loss_window=apart)
    tokens, steady, counted = _tokens_per_step(rows)
    per_epoch = steps_per_epoch(rows)
    if tokens is None:
        return facts
    facts = facts.over(Facts.stated(counted, tokens_per_step=tokens))
    if steady and has_epochs and per_epoch is not None:
        told = f"one epoch: {per_epoch:,.5g} steps of {tokens:,.0f} tokens"
        facts = facts.over(Facts.stated(told, train_tokens=tokens * per_epoch, unique_tokens=tokens * per_epoch))
    return facts


def _tokens_per_step(rows: Rows) -> tuple[float | None, bool, str]:
    """The growth of a count of tokens by that of the steps; whether every step has as many."""
    for name in TOKENS:
        points = rows.fields.get(name)
        if points is None:
            continue
        step, unique = np.unique(rows.step[points.row], return_index=True)
        count = points.value[unique]
        grown = np.diff(count)
        if step.size < 2 or not np.all(np.isfinite(step)) or not np.all(grown > 0):
            continue
        rate = float((count[-1] - count[0]) / (step[-1] - step[0]))
        steady = bool(np.all(np.abs(grown / np.diff(step) / rate - 1) < STEADY))
        return rate, steady, f"the growth of {name}" + ("" if steady else ", on average")
    return None, False, ""


def steps_per_epoch(rows: Rows) -> float | None:
    """By the last row with an epoch. None where none has a step and a part of an epoch."""
    points = rows.fields.get("epoch")
    if points is None:
        return None
    step = rows.step[points.row]
    keep = np.isfinite(step) & (points.value > 0) & (step > 0)
    if not keep.any():
        return None
    best = int(np.argmax(np.where(keep, points.value, -np.inf)))
    if points.resolution > 1e-3 * points.value[best]:  # 0.01 says nothing of an epoch's length
        return None
    rate = float(step[best] / points.value[best])
    off = rate * points.resolution / points.value[best]
    return float(round(rate)) if 0 < abs(rate - round(rate)) <= off else rate


def about_losses(rows: Rows, filtered: bool | None) -> Facts:
    """What the Trainer's losses are, by its source.

    filtered: logging_nan_inf_filter, None where it is not stated. A NaN that was logged says that it is off.
    """
    logged = [rows.fields[name].value for name in ("loss", "eval_loss") if name in rows.fields]
    hides = filtered if filtered is not None else not any(np.isnan(values).any() for values in logged)
    what = "what Hugging Face's Trainer does"
    return Facts.stated(
        what,
        train_loss_ranks="mean" if "loss" in rows.fields else None,
        eval_is_fixed=True if any(name.startswith("eval_") for name in rows.fields) else None,
        nan_logged_as="the mean of the interval so far" if hides and "loss" in rows.fields else None,
    )
