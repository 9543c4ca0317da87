"""`talweg export` of a model: any checkpoint that can be opened, written for nanoGPT or for HF transformers."""

from dataclasses import dataclass
from pathlib import Path

from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.exchange.staging import filling
from talweg.errors import InputError
from talweg.train.exchange import huggingface, nanogpt
from talweg.train.exchange.opening import describe, find, tokenizer_beside

FORMATS = ("hf", "nanogpt")


@dataclass(frozen=True)
class ExportedModel:
    """files: by name; form: what they are, e.g. "HF llama"; notes: what a person should know of them."""

    files: tuple[str, ...]
    form: str
    source: str
    notes: tuple[str, ...]


def export_model(
    path: Path, out: Path, *, to: str, tokenizer: str | None = None, average: bool = False
) -> ExportedModel:
    """Write the model at `path` into the folder `out`, as a whole or not at all.

    to: one of FORMATS. tokenizer: gpt2, bytes or a tokenizer.json, where the checkpoint has none beside it. average:
    the moving average of the weights in place of the weights. Raises InputError that names every option of the model
    which the format has no place for.
    """
    path, out = Path(path), Path(out)
    if to not in FORMATS:
        raise InputError(f"{path} is a model, which is not written as {to}; give --to {' or --to '.join(FORMATS)}")
    found = find(path, average=average)
    words = tokenizers.given(tokenizer) if tokenizer is not None else tokenizer_beside(found)
    with filling(out) as stage:
        if to == "hf":
            kind, notes = huggingface.write(found.shape, found.weights, words, stage)
            form = f"HF {kind}"
        else:
            notes = nanogpt.write(found.shape, found.weights, found.facts, stage)
            form = "nanoGPT"
            if words is not None:
                words.save(stage)
        files = tuple(sorted(each.name for each in stage.iterdir()))
    return ExportedModel(files, form, describe(found), notes)
