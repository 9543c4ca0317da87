"""axolotl's YAML: settings of Hugging Face's Trainer under names of its own.

micro_batch_size counts sequences of one device; with sample_packing each of them holds sequence_len tokens. A decay
ends with the last step, at 0 where no cosine_min_lr_ratio is stated.
"""

from pathlib import Path

from talweg.run import Facts
from talweg.settings.documents import Settings, head_of, nested
from talweg.settings.spellings import facts as spelled
from talweg.textfile import HEAD, read_text

NAME = "axolotl"
TAKES_KNOWN = True
OWN = {
    "base_model",
    "sequence_len",
    "sample_packing",
    "micro_batch_size",
    "datasets",
    "val_set_size",
    "pad_to_sequence_len",
}
OWN |= {"gradient_accumulation_steps", "dataset_prepared_path", "flash_attention", "adapter"}
OPTIMIZERS = ("adamw", "adafactor", "lion", "muon", "sgd")


def sniff(path: Path, head: str) -> float:
    names = set(nested(head_of(head, HEAD)))
    return 0.96 if "base_model" in names and "micro_batch_size" in names and len(OWN & names) >= 4 else 0.0


def read(path: Path, known: Facts | None = None) -> Facts:
    document, known, source = nested(read_text(path).text), known or Facts(), Path(path).name
    settings = Settings.of(document)
    packed = settings.get("sample_packing") is True or settings.get("pretraining_dataset") is not None
    entries = {name: value for name, value in settings.entries.items() if packed or name != "sequence_len"}
    facts = spelled(Settings(entries), source, known)  # a sequence that is not packed is shorter than sequence_len
    values = {name: getattr(facts, name) for name in facts.sources}
    sources = dict(facts.sources)
    if facts.schedule in ("cosine", "linear"):
        if facts.min_learning_rate is None:
            values["min_learning_rate"], sources["min_learning_rate"] = 0.0, f"a decay to 0 ({source})"
        if facts.planned_steps is not None:
            values["decay_end_step"], sources["decay_end_step"] = facts.planned_steps, f"max_steps ({source})"
    if facts.optimizer:
        values["optimizer"] = next((name for name in OPTIMIZERS if facts.optimizer.startswith(name)), facts.optimizer)
    if isinstance(start := settings.get("base_model"), str) and settings.get("reinit_weights") is not True:
        values["initialised_from"], sources["initialised_from"] = start, source
    return Facts(**values, sources=sources)
