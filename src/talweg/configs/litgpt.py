"""litgpt's hyperparameters.yaml (train:, optimizer:, data:) and model_config.yaml.

global_batch_size counts sequences of all devices of a node; the rate of `pretrain` falls along a cosine.
"""

from pathlib import Path

from talweg.run import Facts
from talweg.settings.documents import Document, Settings, head_of, nested, section
from talweg.settings.stating import Named, Stating, batch
from talweg.textfile import HEAD, read_text

NAME = "litgpt"
TAKES_KNOWN = True
SHAPE = {
    "context": "block_size",
    "layers": "n_layer",
    "heads": "n_head",
    "width": "n_embd",
    "vocabulary_size": "padded_vocab_size",
    "bias": "bias",
}
MODEL = {"block_size", "n_layer", "n_embd", "padded_vocab_size", "hf_config"}
TRAIN = {"global_batch_size", "micro_batch_size", "lr_warmup_steps", "max_tokens", "max_seq_length", "max_norm"}


def sniff(path: Path, head: str) -> float:
    document = nested(head_of(head, HEAD))
    if len(TRAIN & set(section(document, "train"))) >= 4:
        return 0.97
    return 0.95 if len(MODEL & set(document)) >= 4 else 0.0


def read(path: Path, known: Facts | None = None) -> Facts:
    document, known = nested(read_text(path).text), known or Facts()
    stating = Stating(Path(path).name)
    if not section(document, "train"):
        _shape(document, stating)
        return stating.facts()
    train, optimizer = Settings.of(section(document, "train")), document.get("optimizer")
    rates = Settings.of({"optimizer": optimizer})
    if length := train.number("max_seq_length"):
        stating.state("context", length[1])
    _shape(section(document, "model_config"), stating)
    for fact, name in (("grad_clip", "max_norm"), ("min_learning_rate", "min_lr"), ("planned_steps", "max_steps")):
        stating.state(fact, train.get(name))
    for fact, name in (("peak_learning_rate", "lr"), ("weight_decay", "weight_decay"), ("optimizer", "optimizer")):
        stating.state(fact, rates.get(name))
    betas = rates.get("betas")
    if isinstance(betas, list) and len(betas) == 2:
        stating.state("beta1", betas[0])
        stating.state("beta2", betas[1])
    stating.state("precision", document.get("precision"))
    stating.state("seed", document.get("seed"))
    _batch(document, train, stating, known)
    _schedule(document, train, stating, known)
    return stating.facts()


def _shape(model: Document, stating: Stating) -> None:
    for fact, name in SHAPE.items():
        stating.state(fact, model.get(name))


def _batch(document: Document, train: Settings, stating: Stating, known: Facts) -> None:
    nodes = Settings.of(document).number("num_nodes")
    length = stating.get("context") or known.context
    context: Named | None = ("length of a sequence", float(length)) if length else None
    whole = train.number("global_batch_size")
    if nodes and nodes[1] > 1:  # versions differ in whether it is of one node or of all
        whole = None
    batch(stating, micro=train.number("micro_batch_size"), context=context, whole=whole)


def _schedule(document: Document, train: Settings, stating: Stating, known: Facts) -> None:
    tokens, each = train.number("max_tokens"), stating.get("tokens_per_step") or known.tokens_per_step
    if tokens and each:
        stating.derive("planned_steps", tokens[1] // each, f"max_tokens {tokens[1]:g} / {each:g} tokens per step")
    if warmup := train.number("lr_warmup_steps"):
        stating.state("warmup_steps", warmup[1])
    if "initial_checkpoint_dir" not in document and "model_name" not in document:
        return
    stating.state("schedule", "cosine", "litgpt pretrain knows no other")
    if steps := stating.get("planned_steps"):
        stating.derive("decay_end_step", steps, "litgpt pretrain decays to its last step")
