"""Any checkpoint, opened: a run of ours, nanoGPT's ckpt.pt, or an HF folder.

What a path is follows from what lies there: MANIFEST.json and state.json (or checkpoints/) is ours, config.json with
model_type an HF folder, a file a ckpt.pt. The tokenizer is the one that lies beside the weights, unless one is given.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.manifest import TOKENIZER_FILE
from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError
from talweg.model.gpt import GPT
from talweg.model.shape import begun_with, from_values
from talweg.train import checkpoint as checkpoints
from talweg.train.exchange import huggingface, nanogpt
from talweg.train.exchange.pairs import Found, build, sizes

Kind = Literal["talweg", "nanogpt", "huggingface"]
INSIDE = (".safetensors", ".bin")  # weights that mean nothing without the files beside them
NEEDED = "needed a run folder or a checkpoint of talweg, nanoGPT's ckpt.pt, or an HF folder with config.json"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """model: in evaluation mode, fp32, on the CPU. tokenizer: None where neither the path nor the caller names one."""

    model: GPT
    tokenizer: Tokenizer | None
    source: str  # for a person: the program, the path, the step
    facts: Mapping[str, Any]  # what the file says of its run: step, val_loss (nats per token), ...
    data: Path | None = None  # the data folder that it was trained on, where it names one

    def words(self) -> Tokenizer:
        """Its tokenizer. Raises InputError where none is known, or it has more tokens than the model."""
        if self.tokenizer is None:
            raise InputError(
                f"{self.source} does not say which tokenizer it was trained with; give --tokenizer gpt2 or the path of "
                "a tokenizer.json"
            )
        if self.tokenizer.vocabulary_size > self.model.shape.vocabulary_size:
            raise InputError(
                f"{self.source} has a vocabulary of {self.model.shape.vocabulary_size:,}, and the tokenizer "
                f"{self.tokenizer.name} has {self.tokenizer.vocabulary_size:,} tokens; give the one it was trained with"
            )
        return self.tokenizer


def open_model(path: Path | str, tokenizer: str | None = None) -> LoadedModel:
    """The model at `path`. tokenizer: gpt2, bytes, or a path of a tokenizer.json, in place of the one that lies there.

    No code in a file is run. Raises InputError, one line, for a path that holds no model that is known here.
    """
    found = find(Path(path))
    model = build(found)
    words = tokenizers.given(tokenizer) if tokenizer is not None else tokenizer_beside(found)
    data = found.facts.get("data")
    return LoadedModel(model, words, describe(found), found.facts, Path(data) if data else None)


def find(path: Path) -> Found:
    """Shape and weights of the model at `path`, of whatever kind."""
    if not path.exists():
        raise InputError(f"{path} is not there; {NEEDED}")
    if path.suffix in INSIDE and path.is_file():
        path = path.parent
    kind = kind_of(path)
    if kind == "talweg":
        return _own(checkpoints.find(path))
    if kind == "huggingface":
        return huggingface.read(path)
    if kind == "nanogpt":
        return nanogpt.read(path / nanogpt.FILE if path.is_dir() else path)
    raise InputError(f"{path} holds no model; {NEEDED}")


def kind_of(path: Path) -> Kind | None:
    """What lies at `path`, by the names of its files; None for anything that is no model."""
    if path.is_file() and path.name in checkpoints.POINTERS:
        return "talweg"
    if path.is_file():
        return "nanogpt" if path.suffix in (".pt", ".pth", ".ckpt") else None
    if (path / "checkpoints").is_dir() or (path / "state.json").is_file():
        return "talweg"
    if (path / huggingface.CONFIG).is_file():
        return "huggingface"
    return "nanogpt" if (path / nanogpt.FILE).is_file() else None


def _own(folder: Path) -> Found:
    saved = checkpoints.load(folder)
    shape = from_values(begun_with(saved.state["config"]))
    if missing := sorted(sizes(shape).keys() - saved.model.keys()):
        raise InputError(f"{folder} lacks the weight {missing[0]}; it was written by another version of talweg")
    facts = {"step": saved.state["step"], "tokens": saved.state.get("tokens")}
    facts["data"] = saved.state["config"].get("data.path")
    return Found(shape, saved.model, "talweg", folder, {k: v for k, v in facts.items() if v is not None})


def describe(found: Found) -> str:
    """For a person: "nanoGPT ckpt.pt, step 5,000"."""
    step = found.facts.get("step")
    return f"{found.kind} {found.where}" + (f", step {step:,}" if step is not None else "")


def digest(found: Found) -> str:
    """sha256 over names and values of the weights as they are used: the same wherever the file lies."""
    total = hashlib.sha256()
    for name in sorted(found.weights):
        total.update(name.encode())
        total.update(found.weights[name].contiguous().numpy().tobytes())
    return total.hexdigest()


def tokenizer_beside(found: Found) -> Tokenizer | None:
    """The tokenizer that lies with the weights; None where there is none."""
    folder = found.where if found.where.is_dir() else found.where.parent
    if found.kind == "talweg":
        return _of_run(folder, found.facts.get("data"))
    if found.kind == "nanoGPT":  # meta.pkl beside the data is a pickle, and what lies beside ckpt.pt may be anything's
        return None
    if (folder / TOKENIZER_FILE).is_file():
        return tokenizers.from_file(folder / TOKENIZER_FILE)
    return None


def _of_run(checkpoint: Path, data: str | None) -> Tokenizer | None:
    """A run folder keeps the tokenizer it was trained with; else the data folder that the checkpoint names has it."""
    run = checkpoint.resolve().parent.parent
    for folder in (run, Path(data) if data else run):
        if (folder / TOKENIZER_FILE).is_file():
            return tokenizers.load(folder)
    return None
