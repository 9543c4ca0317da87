"""The way from settings to facts: each value in the type of its fact, each with where it came from.

stating = Stating("run.yaml")
stating.state("layers", 12)                                            source: run.yaml
stating.derive("tokens_per_step", 8192.0, "batch_size 8 x seq_len 1024")   source: that (run.yaml)
"""

from dataclasses import dataclass, field
from typing import Any

from talweg.run import Facts
from talweg.settings.documents import number
from talweg.settings.yaml_lines import scalar

TEXTS = {"optimizer", "dataset", "tokenizer", "initialised_from"}
WHOLE = {"layers", "heads", "width", "context", "vocabulary_size", "micro_batch", "accumulation", "planned_steps"}
WHOLE |= {"warmup_steps", "decay_start_step", "decay_end_step", "seed", "ranks", "eval_windows"}
POSITIVE = {"layers", "heads", "width", "context", "vocabulary_size", "micro_batch", "accumulation", "planned_steps"}
POSITIVE |= {"peak_learning_rate", "tokens_per_step", "ranks", "decay_end_step"}  # 0 means "not set"
SCHEDULES = {
    **dict.fromkeys(("cosine", "cosine_with_min_lr", "cosine_decay", "warmup_cosine", "cosine_with_warmup"), "cosine"),
    **dict.fromkeys(("cosineannealinglr", "cosineannealing", "warmupcosinelr", "linear_warmup_cosine"), "cosine"),
    **dict.fromkeys(("linear", "linear_decay", "linear_with_warmup", "warmup_linear", "warmupdecaylr"), "linear"),
    **dict.fromkeys(("constant", "constant_with_warmup", "warmuplr", "constantlr"), "constant"),
    **dict.fromkeys(("wsd", "warmup_stable_decay", "trapezoidal", "trapezoid", "trapeze"), "wsd"),
}
PRECISIONS = {"bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16", "16-mixed": "fp16"}
PRECISIONS |= {"fp32": "fp32", "float32": "fp32", "32": "fp32"}
MOST_SEQUENCES = 65_536  # a larger batch is more likely counted in tokens, so what it counts is unknown (our choice)

Named = tuple[str, float]  # a setting's name, and its value


@dataclass
class Stating:
    """The facts of one file, as they are found. What is stated first stays."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def state(self, fact: str, value: object, source: str = "") -> None:
        """A fact that the file says in so many words; nothing where the value cannot be that fact."""
        if (found := as_fact(fact, value)) is not None and fact not in self.values:
            self.values[fact], self.sources[fact] = found, source or self.source

    def derive(self, fact: str, value: object, told: str) -> None:
        """A fact that follows from what `told` names."""
        self.state(fact, value, f"{told} ({self.source})")

    def get(self, fact: str) -> Any:
        return self.values.get(fact)

    def facts(self) -> Facts:
        return Facts(**self.values, sources=self.sources)


def as_fact(fact: str, value: object) -> object:
    """The value in the type that the fact has; None when it cannot be that."""
    if value is None:
        return None
    if fact == "schedule":
        return SCHEDULES.get(str(value).lower())
    if fact == "precision":
        return precision_of(value)
    if fact in ("bias", "tied_embeddings", "eval_is_fixed"):
        return value if isinstance(value, bool) else None
    if fact in TEXTS or fact == "decay_shape":
        text = value.strip() if isinstance(value, str) else ""
        text = text.lower() if fact == "optimizer" else text
        return text if text and text.lower() not in ("none", "null") else None
    value = scalar(value.strip()) if isinstance(value, str) else value
    found = number(value)
    if found is None or found < 0 or found == float("inf"):
        return None  # a trainer's -1 means "not set"
    if fact in POSITIVE and found == 0:
        return None
    return round(found) if fact in WHOLE else found


def precision_of(value: object) -> str | None:
    """fp32, bf16 or fp16, by what a setting of precision says."""
    said = str(value).lower()
    return next((precision for part, precision in PRECISIONS.items() if part in said), None)


def told(*settings: Named) -> str:
    """E.g. "batch_size 16 x seq_len 1024"."""
    return " x ".join(f"{name} {value:g}" if value < 1e6 else f"{name} {value:.0f}" for name, value in settings)


def batch(
    stating: Stating,
    *,
    micro: Named | None = None,  # sequences in one forward pass on one rank
    steps: Named | None = None,  # micro-batches per update on one rank; None: not stated
    ranks: Named | None = None,  # that share the work of an update; None: unknown
    context: Named | None = None,
    whole: Named | None = None,  # sequences per update
) -> None:
    """Micro-batch, accumulation over all ranks and tokens per update, as far as they follow without a doubt.

    A batch per device says nothing about the update unless the number of devices is known.
    """
    if micro:
        stating.state("micro_batch", micro[1])
    if whole and whole[1] > MOST_SEQUENCES:
        whole = None
    if whole and micro and micro[1] and whole[1] % micro[1] == 0:
        stating.derive("accumulation", whole[1] / micro[1], f"{whole[0]} {whole[1]:g} / {micro[0]} {micro[1]:g}")
    elif steps and ranks:
        stating.derive("accumulation", steps[1] * ranks[1], told(steps, ranks))
    if whole and context:
        stating.derive("tokens_per_step", whole[1] * context[1], told(whole, context))
    elif micro and steps and ranks and context:
        parts = (micro, steps, ranks, context)
        product = micro[1] * steps[1] * ranks[1] * context[1]
        stating.derive("tokens_per_step", product, told(*parts))
