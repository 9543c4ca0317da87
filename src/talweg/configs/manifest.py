"""The manifest of a folder that `talweg prepare` wrote: what the text is, counted, not guessed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talweg.errors import InputError
from talweg.run import Facts
from talweg.textfile import read_text

NAME = "manifest"
FORMAT = '"talweg-tokens-'


def sniff(path: Path, head: str) -> float:
    return 1.0 if FORMAT in head and head.lstrip().startswith("{") else 0.0


def read(path: Path) -> Facts:
    """Counts of the training and validation text. Raises InputError when the file is damaged."""
    try:
        manifest = json.loads(read_text(path).text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged (line {error.lineno}); run talweg prepare again") from None
    train, val, tokenizer = (_part(manifest, name) for name in ("train", "val", "tokenizer"))
    unique = train.get("unique_tokens")
    return Facts.stated(
        f"{Path(path).parent.name or '.'}/{Path(path).name}",
        unique_tokens=_number(train.get("tokens") if unique is None else unique),
        train_tokens=_number(train.get("tokens")),
        near_unique_tokens=_number(train.get("near_unique_tokens")),
        largest_token_id=train.get("largest_token_id"),
        tokens_by_length=_shares(train.get("tokens_by_length")),
        val_overlap_share=_ratio(_part(manifest, "overlap"), "ngrams_in_train", "ngrams"),
        val_overlap_ngram=_part(manifest, "overlap").get("ngram"),
        noisy_share=_ratio(_part(manifest, "quality"), "noisy_bytes", "bytes"),
        val_tokens=_number(val.get("tokens")),
        val_documents=val.get("documents"),
        unigram_nats=_number(manifest.get("unigram_nats")),
        bigram_nats=_number(manifest.get("bigram_nats")),
        bytes_per_token=_number(manifest.get("bytes_per_token")),
        vocabulary_size=tokenizer.get("vocabulary_size"),
        tokenizer=tokenizer.get("name"),
    )


def _part(manifest: Any, name: str) -> Mapping[str, Any]:
    part = manifest.get(name) if isinstance(manifest, dict) else None
    return part if isinstance(part, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _ratio(part: Mapping[str, Any], above: str, below: str) -> float | None:
    """The quotient of two counts; None where either is missing or there is nothing to divide by."""
    numerator, denominator = _number(part.get(above)), _number(part.get(below))
    return None if numerator is None or not denominator else numerator / denominator


def _shares(counts: object) -> tuple[float, ...] | None:
    if not isinstance(counts, list) or not all(_number(count) is not None for count in counts) or not sum(counts):
        return None
    return tuple(count / sum(counts) for count in counts)
