"""A folder as HF transformers writes and reads it: config.json, the weights, the tokenizer.

Which architecture a model becomes follows from its options: layernorm with learned positions is gpt2, rmsnorm with RoPE
one of llama, qwen3 and arcee. What none of them computes is refused by name; nothing is approximated.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from talweg.corpus.byte_level import SEPARATOR
from talweg.corpus.manifest import TOKENIZER_FILE
from talweg.corpus.tokenizer import SEPARATORS, Tokenizer
from talweg.errors import InputError
from talweg.files import write_text
from talweg.model.shape import Shape
from talweg.train.exchange import gpt2, llama
from talweg.train.exchange.pairs import Found, bring_in, take_out
from talweg.train.exchange.settings import Settings
from talweg.train.exchange.weights import SINGLE, Weights, read_folder, read_json

CONFIG = "config.json"
HEAD = "lm_head.weight"
LONGEST = 2**20  # our choice: a table of 256 MB a block where a head is 64 wide
KNOWN = ("gpt2", *llama.ARCHITECTURES)


def read(folder: Path) -> Found:
    """The model of an HF folder. Raises InputError for an architecture or an option that is not known here."""
    settings = Settings(read_json(folder / CONFIG), folder / CONFIG)
    kind = settings.values.get("model_type")
    if kind not in KNOWN:
        raise InputError(f"{folder / CONFIG} has model_type = {kind!r}; known are {', '.join(KNOWN)}")
    settings.must_be({"quantization_config": None})
    part: Any = gpt2 if kind == "gpt2" else llama
    weights = read_folder(folder)
    weights.drop(part.MASKS)
    shape: Shape = part.shape_of(settings, weights)
    _check(shape, settings, weights)
    with torch.device("meta"):
        neutral = part.neutral(shape)
    for name in (*neutral, HEAD if shape.tied_head else ""):
        weights.leave_out(name)
    taken = bring_in(part.pairs(shape), weights, shape)
    facts = {"dtype": settings.values.get("dtype") or settings.values.get("torch_dtype")}
    return Found(shape, taken, f"HF {kind}", folder, {name: value for name, value in facts.items() if value})


def _check(shape: Shape, settings: Settings, weights: Weights) -> None:
    """What config.json promises must be possible, before a model of that size is begun."""
    if shape.layers > len(weights):
        raise InputError(f"{weights.where} lacks weights: {CONFIG} promises {shape.layers} layers")
    if shape.width % shape.heads or shape.heads % shape.groups or (shape.positions == "rope" and shape.head_width % 2):
        raise InputError(
            f"{settings.where} is damaged: width {shape.width}, {shape.heads} heads and {shape.groups} heads of keys "
            "do not go together"
        )
    if shape.positions == "rope" and shape.context > LONGEST:
        raise InputError(
            f"{settings.where} has max_position_embeddings = {shape.context}; RoPE is kept as a table here, of at most "
            f"{LONGEST} positions: lower it in a copy"
        )


def write(
    shape: Shape, parameters: Mapping[str, Tensor], tokenizer: Tokenizer | None, folder: Path
) -> tuple[str, tuple[str, ...]]:
    """Write config.json, generation_config.json, model.safetensors, and the tokenizer's files into an empty `folder`.

    Returns the architecture's name, and what a person should know. Raises InputError that names every option of the
    model without a place.
    """
    kind, settings, tensors = _converted(shape, parameters)
    separator = None if tokenizer is None else _separator(tokenizer)
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.separator_id) if tokenizer and separator else {}
    architecture = gpt2.ARCHITECTURE if kind == "gpt2" else llama.ARCHITECTURES[kind]
    common = {"architectures": [architecture], "model_type": kind, "torch_dtype": "float32"}
    _write_json(folder / CONFIG, {**common, **settings, **ends})
    _write_json(folder / "generation_config.json", {"_from_model_config": True, **ends})
    safetensors.torch.save_file(tensors, folder / SINGLE, metadata={"format": "pt"})
    notes = []
    if tokenizer is None:
        notes.append("no tokenizer was written, as none is known for this model; give --tokenizer")
    else:
        _write_tokenizer(tokenizer, separator, shape.context, folder)
        if separator is None:
            notes.append(f"the separator, token {tokenizer.separator_id}, is not in {TOKENIZER_FILE}: it has no text")
    return kind, tuple(notes)


def _converted(shape: Shape, parameters: Mapping[str, Tensor]) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """model_type, the keys of config.json, and the tensors."""
    if shape.positions == "learned":
        settings = gpt2.settings_for(shape)
        return gpt2.MODEL_TYPE, settings, take_out(gpt2.pairs(shape), parameters) | gpt2.neutral(shape)
    settings = llama.settings_for(shape)
    return llama.model_type_for(shape), settings, take_out(llama.pairs(shape), parameters) | llama.neutral(shape)


def _write_tokenizer(tokenizer: Tokenizer, separator: str | None, context: int, folder: Path) -> None:
    """tokenizer.json as it was trained with, and what HF calls its ends of text."""
    tokenizer.save(folder)
    ends = {"bos_token": separator, "eos_token": separator} if separator else {}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": context,
            "clean_up_tokenization_spaces": False,
            **ends,
        },
    )


def _separator(tokenizer: Tokenizer) -> str | None:
    """The text of the token that ends a document, where tokenizer.json has one."""
    content = json.loads(tokenizer.source)
    added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    vocabulary = content["model"]["vocab"]
    if not isinstance(vocabulary, Mapping):
        vocabulary = {token: i for i, (token, _) in enumerate(vocabulary)}
    for name in (SEPARATOR, *SEPARATORS):
        if added.get(name, vocabulary.get(name)) == tokenizer.separator_id:
            return name
    return None


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
