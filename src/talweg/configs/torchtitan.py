"""torchtitan's TOML: [model], [optimizer], [lr_scheduler], [training], [parallelism].

Its schedule is warm-up, then flat as far as a decay_ratio leaves room, then the decay, complete at the last step.
"""

from pathlib import Path

from talweg.run import Facts
from talweg.settings.documents import Document, Settings, head_of, nested, section
from talweg.settings.stating import Named, Stating, batch
from talweg.textfile import HEAD, read_text

NAME = "torchtitan"
TAKES_KNOWN = True
DEFAULT = "torchtitan's default"
SECTIONS = {
    "job",
    "model",
    "optimizer",
    "lr_scheduler",
    "training",
    "parallelism",
    "checkpoint",
    "metrics",
    "profiling",
}
SECTIONS |= {"activation_checkpoint", "compile", "float8", "experimental", "comm", "validation", "debug", "quantize"}
# of the models that it brings: layers, heads, width
FLAVORS = {("llama3", "8B"): (32, 32, 4096), ("llama3", "70B"): (80, 64, 8192), ("llama3", "405B"): (126, 128, 16384)}


def sniff(path: Path, head: str) -> float:
    document = nested(head_of(head, HEAD))
    training = section(document, "training")
    own = "seq_len" in training and "steps" in training and ("flavor" in section(document, "model"))
    return 0.97 if own and len(SECTIONS & set(document)) >= 4 else 0.0


def read(path: Path, known: Facts | None = None) -> Facts:
    document = nested(read_text(path).text)
    known = known or Facts()
    stating = Stating(Path(path).name)
    training, optimizer = (Settings.of(section(document, name)) for name in ("training", "optimizer"))
    for fact, name in (("context", "seq_len"), ("planned_steps", "steps"), ("grad_clip", "max_norm")):
        stating.state(fact, training.get(name))
    for fact, name in (("optimizer", "name"), ("peak_learning_rate", "lr"), ("weight_decay", "weight_decay")):
        stating.state(fact, optimizer.get(name))
    stating.state("beta1", optimizer.get("beta1"))
    stating.state("beta2", optimizer.get("beta2"))
    stating.state("dataset", training.get("dataset"))
    stating.state("seed", training.get("seed"))
    stating.state("seed", Settings.of(section(document, "debug")).get("seed"))
    stating.state("precision", training.get("mixed_precision_param"))
    model = section(document, "model")
    shape = FLAVORS.get((str(model.get("name")), str(model.get("flavor"))))
    for fact, size in zip(("layers", "heads", "width"), shape or (), strict=False):
        stating.derive(fact, size, f"{model.get('name')} {model.get('flavor')}")
    _schedule(document, stating)
    _batch(document, training, stating, known)
    return stating.facts()


def _schedule(document: Document, stating: Stating) -> None:
    """Both decays that a Schedule knows; a cosine after a flat part is none of them and stays unknown."""
    part = Settings.of(section(document, "lr_scheduler"))
    warmup = part.number("warmup_steps") or Settings.of(section(document, "training")).number("warmup_steps")
    steps, peak = stating.get("planned_steps"), stating.get("peak_learning_rate")
    if warmup:
        stating.state("warmup_steps", warmup[1])
    if factor := part.number("min_lr_factor", "lr_min"):
        if peak is not None:
            stating.derive("min_learning_rate", peak * factor[1], f"{factor[0]} {factor[1]:g} x lr {peak:g}")
    elif section(document, "lr_scheduler"):
        stating.state("min_learning_rate", 0.0, DEFAULT)
    if not steps or not warmup:
        return
    shape, ratio = part.get("decay_type"), part.number("decay_ratio")
    source = stating.source if shape else DEFAULT
    shape = shape or "linear"
    start = steps - round(steps * ratio[1]) if ratio else warmup[1]
    if start > warmup[1] or shape == "sqrt":
        if shape in ("linear", "sqrt"):
            stating.state("schedule", "wsd", source)
            stating.state("decay_shape", shape, source)
            why = f"steps {steps} - decay_ratio {ratio[1]:g} of them" if ratio else "the end of the warm-up"
            stating.derive("decay_start_step", max(start, warmup[1]), why)
    else:
        stating.state("schedule", shape, source)
    if stating.get("schedule"):
        stating.derive("decay_end_step", steps, f"steps {steps}")


def _batch(document: Document, training: Settings, stating: Stating, known: Facts) -> None:
    """global_batch_size counts sequences; where it is -1, the update is one micro-batch on each data-parallel rank."""
    whole = training.number("global_batch_size")
    context = stating.get("context")
    batch(
        stating,
        micro=training.number("local_batch_size", "batch_size"),
        steps=None if whole else ("micro-batch", 1.0),
        ranks=_replicas(document, known),
        context=("seq_len", float(context)) if context else None,
        whole=whole,
    )


def _replicas(document: Document, known: Facts) -> Named | None:
    """Ranks that have sequences of their own."""
    part = Settings.of({**section(document, "training"), **section(document, "parallelism")})
    replicate = part.number("data_parallel_replicate_degree") or ("data_parallel_replicate_degree", 1.0)
    shard = part.number("data_parallel_shard_degree")
    if shard and shard[1]:
        return "data-parallel ranks", replicate[1] * shard[1]
    if not known.ranks:
        return None
    split = 1.0
    for name in ("tensor_parallel_degree", "pipeline_parallel_degree", "context_parallel_degree"):
        degree = part.number(name)
        split *= degree[1] if degree else 1.0
    ranks = known.ranks / split
    return ("data-parallel ranks", ranks) if ranks >= 1 and ranks == round(ranks) else None
