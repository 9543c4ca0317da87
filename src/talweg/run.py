"""`Run`: what is known of one training run, whichever program trained it.

Three kinds of things: columns (a `Series` each, against the optimizer step), facts (configuration and sizes, each
with the place it was read from) and how the log was read. A column that the log does not have is an empty `Series`, a
fact that nobody stated is None: never 0, so that what is missing can be told from what is nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.schedule import Kind, Schedule

# What one logged value of a loss is. It decides how much of its scatter is noise of a small sample.
LossKind = Literal["batch", "micro_batch", "interval_mean", "running_mean", "evaluation", "unknown"]


@dataclass(frozen=True, eq=False)
class Series:
    """One logged quantity against the number of optimizer steps done. Steps ascend; no step occurs twice."""

    step: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # (T,) optimizer steps
    value: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # (T,) NaN and inf as they were logged
    kind: LossKind = "unknown"
    resolution: float = 0.0  # smallest difference that the printed digits can show, in the unit of `value`
    name: str = ""  # the name of this column in the log

    @classmethod
    def of(
        cls, step: ArrayLike, value: ArrayLike, *, kind: LossKind = "unknown", resolution: float = 0.0, name: str = ""
    ) -> "Series":
        """A series from any order: sorted by step; of several values at one step the last one logged is kept."""
        steps, values = np.asarray(step, dtype=np.float64), np.asarray(value, dtype=np.float64)
        if steps.size and bool(np.isfinite(steps[[0, -1]]).all() and (steps[1:] > steps[:-1]).all()):
            return cls(steps, values, kind, resolution, name)  # a million points: most logs are in order
        keep = np.isfinite(steps)
        steps, values = steps[keep], values[keep]
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(steps[1:] != steps[:-1], True) if steps.size else np.empty(0, dtype=bool)
        return cls(steps[last], values[last], kind, resolution, name)

    def __len__(self) -> int:
        return int(self.step.size)

    def __bool__(self) -> bool:
        return self.step.size > 0

    @property
    def finite(self) -> "Series":
        """The same series without the points whose value is NaN or infinite."""
        keep = np.isfinite(self.value)
        return self if keep.all() else replace(self, step=self.step[keep], value=self.value[keep])

    @property
    def num_not_finite(self) -> int:
        return int(self.value.size - np.isfinite(self.value).sum())

    def between(self, first: float, last: float) -> "Series":
        """The points with first <= step <= last."""
        begin, end = int(np.searchsorted(self.step, first)), int(np.searchsorted(self.step, last, side="right"))
        return replace(self, step=self.step[begin:end], value=self.value[begin:end])

    def at(self, step: ArrayLike) -> NDArray[np.float64]:
        """Linear interpolation; the first and last value are held outside the logged range. Needs one point."""
        return np.interp(np.asarray(step, dtype=np.float64), self.step, self.value)


@dataclass(frozen=True)
class Facts:
    """Configuration and sizes of a run. None: nobody said. `sources` says, by fact, where each value came from."""

    # model
    parameters: float | None = None  # all weights, a tied head once, without position embeddings
    trainable_parameters: float | None = None  # weights that the optimizer holds, position embeddings too
    unmoved_groups: tuple[str, ...] | None = None  # of matrices, embedding, head, vectors: never updated; (): all were
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    context: int | None = None  # tokens
    vocabulary_size: int | None = None
    tied_embeddings: bool | None = None  # the head is the token embedding
    dropout: float | None = None
    bias: bool | None = None
    # batch and length
    tokens_per_step: float | None = None  # tokens per optimizer update, over all micro-batches and ranks
    micro_batch: int | None = None  # sequences in one forward pass on one rank
    accumulation: int | None = None  # micro-batches per update, over all ranks
    planned_steps: int | None = None
    # optimizer and schedule
    optimizer: str | None = None
    schedule: str | None = None  # one of schedule.KINDS
    peak_learning_rate: float | None = None
    min_learning_rate: float | None = None
    warmup_steps: int | None = None
    decay_end_step: int | None = None  # where the decay reaches min_learning_rate
    decay_start_step: int | None = None  # wsd only
    decay_shape: str | None = None  # wsd only; one of schedule.DECAY_SHAPES
    beta1: float | None = None
    beta2: float | None = None
    weight_decay: float | None = None
    grad_clip: float | None = None
    precision: str | None = None  # fp32, bf16, fp16
    seed: int | None = None
    ranks: int | None = None  # processes that train together
    resumed_at: tuple[float, ...] | None = None  # steps at which a checkpoint was taken up again; (): at none
    initialised_from: str | None = None  # the weights that training began with, where they were not random
    # what one logged value is
    step_unit: str | None = None  # what the steps of the columns count, where it is no optimizer update: "epoch", ...
    train_loss_window: int | None = None  # updates that a training loss of kind interval_mean is the mean of
    train_loss_decay: float | None = None  # of a running mean: the weight of the one before in the next, per update
    train_loss_ranks: str | None = None  # whose loss it is: "mean" of all ranks, or "one"
    nan_logged_as: str | None = None  # where a loss that is NaN does not stand there as NaN: what stands in its place
    # evaluation
    eval_windows: int | None = None  # context-long windows in one evaluation
    eval_is_fixed: bool | None = None  # the same windows every time
    # text
    dataset: str | None = None
    tokenizer: str | None = None
    bytes_per_token: float | None = None
    unique_tokens: float | None = None  # training tokens without repetition
    val_tokens: float | None = None  # tokens that the validation file holds
    val_documents: int | None = None
    train_tokens: float | None = None  # tokens that the training text holds, repetitions counted
    near_unique_tokens: float | None = None  # training tokens without near-duplicates
    largest_token_id: int | None = None  # of the training text
    tokens_by_length: tuple[float, ...] | None = None  # share of tokens in documents of 2^k to 2^(k+1) - 1 tokens
    val_overlap_share: float | None = None  # of validation's n-grams, those that the training text holds too
    val_overlap_ngram: int | None = None  # tokens of such an n-gram
    noisy_share: float | None = None  # of the text, in documents that measures of quality reject
    train_documents: int | None = None  # 0: no separator was found, documents run into each other
    tokenizer_vocabulary: int | None = None  # tokens of the tokenizer that the data are said to be made with
    largest_storable_id: int | None = None  # of the type in which the data are stored
    outside_vocabulary_share: float | None = None  # of the training tokens: negative, or no token of that tokenizer
    undecodable_share: float | None = None  # of their characters: no UTF-8, or control characters
    joinable_ratio: float | None = None  # neighbours that the tokenizer would have joined, against strangers'
    context_kept: float | None = None  # excess of recurring rare tokens across borders, over that within; 0: destroyed
    context_kept_error: float | None = None  # its standard error
    context_border: str | None = None  # which border that is: line or paragraph
    border_tokens: float | None = None  # from one such border to the next, on average
    order_drift_nats: float | None = None  # of token frequencies along the stored text, beyond pieces in any order
    reads_in_order: bool | None = None  # the trainer takes the text as it is stored, not windows at random
    unigram_nats: float | None = None  # entropy of the training tokens
    bigram_nats: float | None = None  # entropy of a training token given the one before
    # where each came from, and what else was said
    sources: Mapping[str, str] = field(default_factory=dict)
    # by fact: the value that was not used, and its source; of several such values all, one after another
    conflicts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def stated(cls, source: str, **values: object) -> "Facts":
        """Facts that all come from one place; values of None are left unknown."""
        known = {name: value for name, value in values.items() if value is not None}
        return cls(**known, sources=dict.fromkeys(known, source))  # type: ignore[arg-type]

    def over(self, other: "Facts") -> "Facts":
        """These facts, completed by `other`. Where both speak and differ, these win and the difference is kept."""
        values: dict[str, object] = {}
        conflicts = dict(self.conflicts)
        for name in FACT_NAMES:
            mine, theirs = getattr(self, name), getattr(other, name)
            values[name] = theirs if mine is None else mine
            if mine is not None and theirs is not None and mine != theirs:
                text = f"{theirs} ({other.sources.get(name, 'unknown source')})"
                conflicts[name] = "; ".join(dict.fromkeys([*filter(None, [conflicts.get(name)]), text]))
            if name in other.conflicts and other.conflicts[name] not in conflicts.get(name, ""):
                conflicts[name] = "; ".join([*filter(None, [conflicts.get(name)]), other.conflicts[name]])
        return Facts(**values, sources={**other.sources, **self.sources}, conflicts=conflicts)  # type: ignore[arg-type]


FACT_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Facts) if f.name not in ("sources", "conflicts"))


@dataclass(frozen=True)
class Reading:
    """How the log was read: what was understood, and what was not."""

    lines: int = 0
    lines_not_understood: int = 0
    notes: tuple[str, ...] = ()  # what a person should know, e.g. "the last line is cut off and was left out"
    unknown: tuple[tuple[int, str], ...] = ()  # some lines that were not understood: number from 1, text
    runs: tuple[str, ...] = ()  # the runs that were found there, where there are several
    run_starts: tuple[int, ...] = ()  # of several in one text: the line with which each begins
    configurations: tuple[str, ...] = ()  # files beside the log that were read


@dataclass(frozen=True, eq=False)  # eq=False: a Run is hashed by identity, so what is derived from it can be cached
class Run:
    """One training run. Losses in nats per token; steps count optimizer updates."""

    source: str = ""  # the path, as the person gave it
    format: str = ""  # name of the reader, e.g. "nanogpt"
    train_loss: Series = field(default_factory=Series)  # as logged while training; `kind` says what one value is
    train_eval_loss: Series = field(default_factory=Series)  # training text, in evaluation mode
    val_loss: Series = field(default_factory=Series)
    val_loss_clean: Series = field(default_factory=Series)  # of documents without a 13-gram that train holds
    val_standard_error: Series = field(default_factory=Series)  # of each value of val_loss, where the trainer gave it
    learning_rate: Series = field(default_factory=Series)
    grad_norm: Series = field(default_factory=Series)  # before clipping
    clip_scale: Series = field(default_factory=Series)  # factor that clipping put on the gradient; 1: not clipped
    update_ratio: Series = field(default_factory=Series)  # |update| / |weight| of one step, over all weights
    max_logit: Series = field(default_factory=Series)  # largest output logit of a batch
    loss_scale: Series = field(default_factory=Series)  # of an fp16 scaler
    skipped_steps: Series = field(default_factory=Series)  # updates left out so far, for gradients not finite
    seconds_per_step: Series = field(default_factory=Series)
    loader_seconds: Series = field(default_factory=Series)  # of a step, spent waiting for data
    tokens_per_second: Series = field(default_factory=Series)
    mfu: Series = field(default_factory=Series)  # share of the device's peak FLOP/s in use, 0 to 1
    rank_loss_spread: Series = field(default_factory=Series)  # highest minus lowest training loss of the ranks, nats
    rank_weight_spread: Series = field(default_factory=Series)  # difference of weights between ranks; 0: none
    val_bits_per_byte: Series = field(default_factory=Series)  # where validation is logged so; free of the tokenizer
    wall_time: Series = field(default_factory=Series)  # seconds since 1970 at which a step was logged
    others: Mapping[str, Series] = field(
        default_factory=dict
    )  # columns that nothing asks for, by their name in the log
    # by column: points that a later start of the run overtook, a Series for each piece
    superseded: Mapping[str, tuple[Series, ...]] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    reading: Reading = field(default_factory=Reading)

    @property
    def last_step(self) -> float | None:
        """The highest step of any loss column; None when no loss was read."""
        ends = [s.step[-1] for s in (self.train_loss, self.train_eval_loss, self.val_loss) if s]
        return float(max(ends)) if ends else None

    @property
    def tokens_seen(self) -> float | None:
        """None too where the steps of the log are no updates, for then nobody has counted these."""
        if self.facts.tokens_per_step is None or self.last_step is None or self.facts.step_unit is not None:
            return None
        return self.facts.tokens_per_step * self.last_step

    @property
    def planned_schedule(self) -> Schedule | None:
        """The schedule that the configuration states; None when it does not say enough to rebuild it, or counts updates
        where the log counts something else."""
        f = self.facts
        end = f.decay_end_step if f.decay_end_step is not None else f.planned_steps
        if f.schedule is None or f.peak_learning_rate is None or end is None or f.step_unit is not None:
            return None
        kind: Kind = f.schedule  # type: ignore[assignment]  # readers only state members of schedule.KINDS
        return Schedule(
            kind=kind,
            peak_lr=f.peak_learning_rate,
            min_lr=f.min_learning_rate or 0.0,
            warmup_steps=f.warmup_steps or 0,
            end_step=end,
            decay_start=f.decay_start_step or 0,
            decay_shape="sqrt" if f.decay_shape == "sqrt" else "linear",
        )

    def has(self, name: str) -> bool:
        """Whether the column or fact of this name is there. `name` is a field of Run or of Facts."""
        if name in FACT_NAMES:
            return getattr(self.facts, name) is not None
        return bool(getattr(self, name))


# Facts that count updates: of no use beside columns whose steps count something else.
PER_UPDATE = (
    "tokens_per_step",
    "planned_steps",
    "warmup_steps",
    "decay_end_step",
    "decay_start_step",
    "train_loss_window",
    "train_loss_decay",
)
COLUMN_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Run) if f.default_factory is Series)
