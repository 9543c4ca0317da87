"""fairseq's config.yaml, as hydra writes it: optimization, lr_scheduler, optimizer, task, distributed_training.

A batch that is limited in tokens (max_tokens) has no fixed size; one that is stated in sentences has.
"""

from pathlib import Path

from talweg.run import Facts
from talweg.settings.documents import Document, Settings, head_of, nested, section
from talweg.settings.stating import Stating, batch
from talweg.textfile import HEAD, read_text

NAME = "fairseq"
TAKES_KNOWN = True
OWN = {"optimization", "lr_scheduler", "task", "common", "distributed_training", "dataset", "criterion", "optimizer"}


def sniff(path: Path, head: str) -> float:
    document = nested(head_of(head, HEAD))
    named = any("_name" in section(document, name) for name in ("task", "criterion", "optimizer", "lr_scheduler"))
    return 0.96 if len(OWN & set(document)) >= 4 and ("optimization" in document) and named else 0.0


def read(path: Path, known: Facts | None = None) -> Facts:
    document, known = nested(read_text(path).text), known or Facts()
    stating = Stating(Path(path).name)
    plan, optimizer = Settings.of(section(document, "optimization")), Settings.of(section(document, "optimizer"))
    common, task = Settings.of(section(document, "common")), Settings.of(section(document, "task"))
    stating.state("planned_steps", plan.get("max_update"))
    stating.state("grad_clip", plan.get("clip_norm"))
    stating.state("optimizer", section(document, "optimizer").get("_name"))
    stating.state("weight_decay", optimizer.get("weight_decay"))
    stating.state("seed", common.get("seed"))
    stating.state("context", task.get("tokens_per_sample"))
    for name in ("bf16", "fp16"):
        if common.get(name) is True:
            stating.state("precision", name)
    stating.state("dropout", Settings.of(section(document, "model")).get("dropout"))
    betas = optimizer.get("adam_betas")
    if isinstance(betas, str):
        betas = betas.strip("()[] ").split(",")
    if isinstance(betas, list) and len(betas) == 2:
        stating.state("beta1", betas[0])
        stating.state("beta2", betas[1])
    _schedule(document, plan, stating)
    _batch(document, plan, stating, known)
    return stating.facts()


def _schedule(document: Document, plan: Settings, stating: Stating) -> None:
    part = section(document, "lr_scheduler")
    settings, name = Settings.of(part), part.get("_name")
    if peak := plan.number("lr") or settings.number("lr"):
        stating.state("peak_learning_rate", peak[1])
    stating.state("warmup_steps", settings.get("warmup_updates"))
    if name == "cosine" and not settings.get("max_lr") and (settings.number("t_mult") or ("", 1.0))[1] == 1:
        period = settings.number("lr_period_updates")
        stating.state("schedule", "cosine")
        stating.state("min_learning_rate", settings.get("min_lr"))
        warmup = stating.get("warmup_steps") or 0
        if period and period[1]:
            stating.derive("decay_end_step", warmup + period[1], f"warm-up {warmup} + lr_period_updates {period[1]:g}")
    power = settings.number("power")
    if name == "polynomial_decay" and (power is None or power[1] == 1):
        stating.state("schedule", "linear")
        stating.state("min_learning_rate", settings.get("end_learning_rate"))
        stating.state("decay_end_step", settings.get("total_num_update"))


def _batch(document: Document, plan: Settings, stating: Stating, known: Facts) -> None:
    data, devices = Settings.of(section(document, "dataset")), Settings.of(section(document, "distributed_training"))
    ranks = devices.number("distributed_world_size")
    stating.state("ranks", ranks and ranks[1])
    ranks = ranks or (("ranks", float(known.ranks)) if known.ranks else None)
    context = stating.get("context")
    batch(
        stating,
        micro=None if data.number("max_tokens") else data.number("batch_size"),
        steps=plan.number("update_freq"),
        ranks=ranks,
        context=("tokens_per_sample", float(context)) if context else None,
    )
