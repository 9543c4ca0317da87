"""nanochat's meta_*.json beside a checkpoint: the shape of the model, and what its script was started with.

total_batch_size counts tokens. The rate is flat after the warm-up, and falls linearly over the last warmdown_ratio of
the steps; each group of parameters has a rate of its own, so that there is no one peak.
"""

from pathlib import Path

from talweg.run import Facts
from talweg.settings.documents import Document, Settings, head_of, nested, number, section
from talweg.settings.stating import Stating
from talweg.textfile import HEAD, read_text

NAME = "nanochat"


def sniff(path: Path, head: str) -> float:
    document = nested(head_of(head, HEAD)) if head.lstrip().startswith("{") else {}
    return 0.97 if {"model_config", "user_config", "step"} <= set(document) else 0.0


def read(path: Path) -> Facts:
    document = nested(read_text(path).text)
    user, model = section(document, "user_config"), section(document, "model_config")
    stating = Stating(Path(path).name)
    stated = {
        "layers": model.get("n_layer"),
        "heads": model.get("n_head"),
        "width": model.get("n_embd"),
        "vocabulary_size": model.get("vocab_size"),
        "context": model.get("sequence_len"),
        "micro_batch": document.get("device_batch_size", user.get("device_batch_size")),
        "planned_steps": user.get("num_iterations"),
        "weight_decay": user.get("weight_decay"),
        "dataset": user.get("dataset"),
    }
    for fact, value in stated.items():
        stating.state(fact, value)
    if whole := Settings.of(document).number("total_batch_size"):
        stating.derive("tokens_per_step", whole[1], f"total_batch_size {whole[1]:.0f}, in tokens")
        micro, context = stating.get("micro_batch"), stating.get("context")
        if micro and context and whole[1] % (micro * context) == 0:
            told = f"total_batch_size {whole[1]:.0f} / (device_batch_size {micro} x {context})"
            stating.derive("accumulation", whole[1] / (micro * context), told)
    _schedule(user, stating)
    tokens = Settings.of(user).number("eval_tokens")
    if tokens and stating.get("context"):
        stating.derive("eval_windows", tokens[1] // stating.get("context"), f"eval_tokens {tokens[1]:.0f} / context")
    return stating.facts()


def _schedule(user: Document, stating: Stating) -> None:
    steps, down = stating.get("planned_steps"), number(user.get("warmdown_ratio"))
    warmup, ratio = number(user.get("warmup_steps")), number(user.get("warmup_ratio"))
    if warmup is not None:
        stating.state("warmup_steps", warmup)
    elif steps and ratio is not None:
        stating.derive("warmup_steps", steps * ratio, f"warmup_ratio {ratio:g} x {steps} steps")
    if not steps or down is None:
        return
    stating.derive("schedule", "wsd", "nanochat's own")
    stating.derive("decay_shape", "linear", "nanochat's own")
    stating.derive("decay_start_step", steps - round(down * steps), f"warmdown_ratio {down:g} of {steps} steps")
    stating.derive("decay_end_step", steps, f"num_iterations {steps}")
