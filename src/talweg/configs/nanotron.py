"""nanotron's YAML: tokens, parallelism, optimizer with its learning_rate_scheduler, model.model_config."""

from pathlib import Path

from talweg.run import Facts
from talweg.settings.documents import Document, Settings, head_of, nested, number, section
from talweg.settings.stating import Stating, batch
from talweg.textfile import HEAD, read_text

NAME = "nanotron"
STYLES = {"linear": "linear", "1-sqrt": "sqrt"}  # of a decay after a flat part


def sniff(path: Path, head: str) -> float:
    document = nested(head_of(head, HEAD))
    own = {"sequence_length", "micro_batch_size", "batch_accumulation_per_replica"} <= set(section(document, "tokens"))
    return 0.97 if own and "parallelism" in document else 0.0


def read(path: Path) -> Facts:
    document = nested(read_text(path).text)
    stating = Stating(Path(path).name)
    tokens, optimizer = section(document, "tokens"), section(document, "optimizer")
    factory, model = section(optimizer, "optimizer_factory"), section(document, "model")
    shape = section(model, "model_config")
    stated = {
        "context": tokens.get("sequence_length"),
        "planned_steps": tokens.get("train_steps"),
        "grad_clip": optimizer.get("clip_grad"),
        "weight_decay": optimizer.get("weight_decay"),
        "optimizer": factory.get("name"),
        "beta1": factory.get("adam_beta1"),
        "beta2": factory.get("adam_beta2"),
        "precision": model.get("dtype"),
        "layers": shape.get("num_hidden_layers"),
        "heads": shape.get("num_attention_heads"),
        "width": shape.get("hidden_size"),
        "vocabulary_size": shape.get("vocab_size"),
        "tied_embeddings": shape.get("tie_word_embeddings"),
        "seed": section(document, "general").get("seed"),
        "tokenizer": section(document, "tokenizer").get("tokenizer_name_or_path"),
    }
    for fact, value in stated.items():
        stating.state(fact, value)
    _batch(document, stating)
    _schedule(section(optimizer, "learning_rate_scheduler"), stating)
    return stating.facts()


def _batch(document: Document, stating: Stating) -> None:
    tokens, parallel = Settings.of(section(document, "tokens")), Settings.of(section(document, "parallelism"))
    context, replicas = stating.get("context"), parallel.number("dp")
    batch(
        stating,
        micro=tokens.number("micro_batch_size"),
        steps=tokens.number("batch_accumulation_per_replica"),
        ranks=replicas,
        context=("sequence_length", float(context)) if context else None,
    )
    split = [parallel.number(name) for name in ("tp", "pp")]
    if replicas and all(split):
        ranks = replicas[1] * split[0][1] * split[1][1]  # type: ignore[index]
        stating.derive("ranks", ranks, "dp x tp x pp")


def _schedule(part: Document, stating: Stating) -> None:
    """After the warm-up a flat part, where the decay is said to begin later; then lr_decay_steps of decay."""
    stating.state("peak_learning_rate", part.get("learning_rate"))
    stating.state("min_learning_rate", part.get("min_decay_lr"))
    if not part:
        return
    warmup = number(part.get("lr_warmup_steps")) or 0.0
    stating.state("warmup_steps", warmup)
    style, steps = part.get("lr_decay_style"), stating.get("planned_steps")
    if style is None or steps is None:
        return
    start = number(part.get("lr_decay_starting_step"))
    start = warmup if start is None else start
    decay = number(part.get("lr_decay_steps"))
    end = start + (steps - start if decay is None else decay)
    if start > warmup or style == "1-sqrt":
        if style in STYLES:
            stating.state("schedule", "wsd")
            stating.state("decay_shape", STYLES[style])
            stating.state("decay_start_step", start)
    elif style in ("linear", "cosine"):
        stating.state("schedule", style)
    if stating.get("schedule"):
        stating.derive("decay_end_step", end, f"the decay begins at {start:g} and takes {end - start:g} steps")
