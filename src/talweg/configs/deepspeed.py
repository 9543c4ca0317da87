"""DeepSpeed's ds_config.json: batch, clipping, optimizer, scheduler, precision; "auto" leaves it to the trainer.

train_batch_size counts sequences per update over all devices.
"""

from pathlib import Path

from talweg.run import Facts
from talweg.settings.documents import Settings, head_of, nested, section
from talweg.settings.stating import SCHEDULES, Stating, batch
from talweg.textfile import HEAD, read_text

NAME = "deepspeed"
TAKES_KNOWN = True
OWN = {"train_micro_batch_size_per_gpu", "zero_optimization", "zero_allow_untested_optimizer", "wall_clock_breakdown"}
OWN |= {"gradient_clipping", "steps_per_print", "train_batch_size", "activation_checkpointing", "fp16", "bf16"}


def sniff(path: Path, head: str) -> float:
    document = nested(head_of(head, HEAD)) if head.lstrip().startswith("{") else {}
    batched = {"train_micro_batch_size_per_gpu", "zero_optimization"} & set(document)
    switches = any("enabled" in section(document, name) for name in ("fp16", "bf16"))
    return 0.96 if len(OWN & set(document)) >= 2 and (batched or switches) else 0.0


def read(path: Path, known: Facts | None = None) -> Facts:
    document, known = nested(read_text(path).text), known or Facts()
    settings, stating = Settings.of(document), Stating(Path(path).name)
    rates = Settings.of(section(document, "optimizer", "params"))
    scheduler = section(document, "scheduler")
    decay = Settings.of(section(scheduler, "params"))
    stating.state("grad_clip", document.get("gradient_clipping"))
    stating.state("optimizer", section(document, "optimizer").get("type"))
    stating.state("peak_learning_rate", decay.get("warmup_max_lr"))
    stating.state("peak_learning_rate", rates.get("lr"))
    stating.state("weight_decay", rates.get("weight_decay"))
    betas = rates.get("betas")
    if isinstance(betas, list) and len(betas) == 2:
        stating.state("beta1", betas[0])
        stating.state("beta2", betas[1])
    kind = str(scheduler.get("type")).lower()
    if kind in ("warmuplr", "warmupdecaylr", "warmupcosinelr"):
        stating.state("schedule", SCHEDULES[kind])
        stating.state("warmup_steps", decay.get("warmup_num_steps"))
        if total := decay.number("total_num_steps"):
            stating.state("planned_steps", total[1])
            stating.state("decay_end_step", total[1])
    for name in ("bf16", "fp16"):
        if section(document, name).get("enabled") is True:
            stating.state("precision", name)
    steps = settings.number("gradient_accumulation_steps")
    ranks = ("ranks", float(known.ranks)) if known.ranks else None
    batch(
        stating,
        micro=settings.number("train_micro_batch_size_per_gpu"),
        steps=steps,
        ranks=ranks,
        context=("context", float(known.context)) if known.context else None,
        whole=settings.number("train_batch_size"),
    )
    return stating.facts()
