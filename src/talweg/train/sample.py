"""Text from a trained model, one piece at a time."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from talweg.corpus.tokenizer import load as load_tokenizer
from talweg.errors import InputError
from talweg.model.gpt import GPT
from talweg.model.shape import begun_with, from_values
from talweg.train import checkpoint as checkpoints

LONGEST_CHARACTER = 4  # bytes in UTF-8, so at most as many tokens


def sample(
    checkpoint: Path, prompt: str, *, tokens: int, temperature: float, top_k: int | None, seed: int
) -> Iterator[str]:
    """Yield what follows `prompt`, in pieces that are whole characters.

    checkpoint: a checkpoint folder, or a run folder (its newest). temperature 0 takes the most probable token.
    Raises InputError when there is no checkpoint, or an argument is out of range.
    """
    if temperature < 0 or (top_k is not None and top_k < 1) or tokens < 0:
        raise InputError("sampling needs temperature 0 or more, top_k 1 or more, tokens 0 or more")
    folder = checkpoints.find(Path(checkpoint))
    model = load_model(folder)
    tokenizer = load_tokenizer(_tokenizer_folder(folder))
    ids = [int(token) for token in tokenizer.encode(prompt)] or [tokenizer.separator_id]
    generator = torch.Generator().manual_seed(seed)
    pending: list[int] = []  # tokens whose bytes are no whole character yet
    for _ in range(tokens):
        window = torch.tensor([ids[-model.shape.context :]])
        with torch.inference_mode():
            logits = model.head(model.features(window)[:, -1])[0].float()
        token = choose(logits[: tokenizer.vocabulary_size], temperature, top_k, generator)
        if token == tokenizer.separator_id:
            return
        ids.append(token)
        pending.append(token)
        text = tokenizer.decode(pending)
        if not text.endswith("\ufffd") or len(pending) >= LONGEST_CHARACTER:
            yield text
            pending = []


def load_model(folder: Path) -> GPT:
    """The model of a checkpoint folder, in evaluation mode on the CPU."""
    saved = checkpoints.load(folder)
    model = GPT(from_values(begun_with(saved.state["config"])))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(saved.model[name])
    return model.eval()


def choose(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """One token from (V,) logits."""
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < logits.numel():
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], float("-inf"))
    probabilities = torch.softmax(logits / temperature, dim=0)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _tokenizer_folder(checkpoint: Path) -> Path:
    """The run folder keeps the tokenizer it was trained with; else the data folder that the checkpoint names."""
    run = checkpoint.resolve().parent.parent
    if (run / "tokenizer.json").is_file():
        return run
    data = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["config"]["data.path"]
    if not (Path(data) / "tokenizer.json").is_file():
        raise InputError(f"no tokenizer.json in {run} or {data}; put the one of the training data into the run folder")
    return Path(data)
