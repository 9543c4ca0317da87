"""Text from a trained model, one piece at a time."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError
from talweg.model.gpt import GPT
from talweg.model.inference import Reader
from talweg.train import hardware
from talweg.train.choose import Choice, choose
from talweg.train.exchange import open_model

LONGEST_CHARACTER = 4  # bytes in UTF-8, so at most as many tokens


def sample(
    checkpoint: Path | str,
    prompt: str,
    *,
    tokens: int,
    choice: Choice,
    seed: int,
    stop: Sequence[str] = (),
    num: int = 1,
    device: str = "auto",
    tokenizer: str | None = None,
) -> Iterator[Iterator[str]]:
    """Yield `num` texts that go on from `prompt`, each in pieces that are whole characters.

    checkpoint: whatever `open_model` opens; tokenizer: where it has none beside it. Text i is drawn with the seed
    `seed` + i, so that each can be had alone. It ends after `tokens`, where a document ends, or before the first of the
    texts in `stop`.
    Raises InputError when there is no checkpoint, or an argument is out of range.
    """
    if tokens < 0 or num < 1 or not all(stop):
        raise InputError("sampling needs tokens 0 or more, num 1 or more, and no stop text that is empty")
    opened = open_model(checkpoint, tokenizer)
    words, model = opened.words(), opened.model.to(hardware.found(device))
    for i in range(num):
        yield before_stop(pieces(model, words, prompt, tokens, choice, seed + i), stop)


def pieces(model: GPT, tokenizer: Tokenizer, prompt: str, tokens: int, choice: Choice, seed: int) -> Iterator[str]:
    """Yield one text as it is chosen, in whole characters; it ends where the document does."""
    new = [int(token) for token in tokenizer.encode(prompt)] or [tokenizer.separator_id]
    reader, generator = Reader(model), torch.Generator().manual_seed(seed)
    pending: list[int] = []  # tokens whose bytes are no whole character yet
    for _ in range(tokens):
        logits = reader.read(torch.tensor([new]))[0, : tokenizer.vocabulary_size].cpu()
        token = choose(logits, choice, generator)
        if token == tokenizer.separator_id:
            return
        new = [token]
        pending.append(token)
        text = tokenizer.decode(pending)
        if not text.endswith("\ufffd") or len(pending) >= LONGEST_CHARACTER:
            yield text
            pending = []


def before_stop(parts: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """The text in `parts` up to where the first of the texts in `stop` begins; what may be one's beginning waits."""
    waiting = ""
    for part in parts:
        waiting += part
        found = [at for text in stop if (at := waiting.find(text)) >= 0]
        if found:
            waiting = waiting[: min(found)]
            break
        kept = max((_beginning(waiting, text) for text in stop), default=0)
        if ready := waiting[: len(waiting) - kept]:
            yield ready
            waiting = waiting[len(ready) :]
    if waiting:
        yield waiting


def _beginning(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
