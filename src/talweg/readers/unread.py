"""Formats that are recognised so that a person is told what was given, and that are not read yet."""

import re

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.run import Run

NAME = "unread"

EXPORT = "export its metrics as CSV or JSONL (step, train_loss, val_loss, lr) and give that"
# what it is, by what its lines look like; the first that fits is named
SIGNATURES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "the output of Megatron-LM (or of a trainer built on it)",
        re.compile(r"^.*\biteration\s+\d+\s*/\s*\d+\s*\|.*\b(?:elapsed time|consumed samples|lm.loss)", re.MULTILINE),
    ),
    ("the output of nanotron", re.compile(r"\biteration: \d+ / \d+ \|.*\blm_loss: ")),
    ("the output of torchtitan", re.compile(r"\bstep:\s*\d+\s+loss:\s*\S+\s+grad_norm:")),
    (
        "the output of litgpt",
        re.compile(r"^(?:Epoch \d+ \| )?iter \d+(?: step \d+)? ?[|:].*\bloss train: ", re.MULTILINE),
    ),
    ("the output of llm.c", re.compile(r"^s:\d+ (?:trl|tel|eval):|^step +\d+/\d+ \| loss ", re.MULTILINE)),
    ("the output of nanochat", re.compile(r"^.*\bstep \d+/\d+ \([\d.]+%\) \| loss: ", re.MULTILINE | re.IGNORECASE)),
    ("the output of modded-nanogpt", re.compile(r"^step:\d+/\d+ (?:train_loss|val_loss):", re.MULTILINE)),
    ("the output of Keras", re.compile(r"^Epoch \d+/\d+\n.*\bloss: ", re.MULTILINE)),
)


def sniff(head: Head) -> float:
    """Surer than a table, less sure than a reader that knows the lines."""
    return 0.8 if _signature(head.text) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """Always raises InputError, which names the format."""
    raise InputError(f"{log.source}: this looks like {_signature(log.text)}, which is not read yet; {EXPORT}")


def _signature(text: str) -> str | None:
    return next((name for name, pattern in SIGNATURES if pattern.search(text)), None)
