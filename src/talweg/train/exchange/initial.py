"""`model.init_from`: a training run that starts from somebody's weights instead of random ones.

The weights alone come in; optimizer, schedule and step begin anew. What the model is comes from the file where the
configuration leaves it open, and a value that says otherwise is refused. Free are only dropout, document_mask, and the
context: any with RoPE, a shorter one with learned positions, of which the first are kept. A run that goes on from its
own checkpoint does not look at the file again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.manifest import Manifest
from talweg.errors import InputError
from talweg.model.shape import PRESETS, Shape
from talweg.train.config import Config, items, with_values
from talweg.train.exchange.opening import describe, digest, find, tokenizer_beside
from talweg.train.exchange.pairs import Found
from talweg.train.validate import check_model

KEY = "model.init_from"
FREE = ("dropout", "document_mask", "initialisation")
PROBE = "The café's 3 rivers — naïve, 東京 and\n\tdef f(x): return x**2  # ok?"  # tokenizers that differ differ here


@dataclass(frozen=True, eq=False)
class Initial:
    """Where a run's first weights came from, and until the first step the weights themselves."""

    weights: Mapping[str, Tensor] | None = None  # by the names of `GPT`; None: random, or the run's own checkpoint's
    record: Mapping[str, str] | None = None  # source and sha256, for the checkpoint, the facts and the configuration
    reasons: Mapping[str, str] = field(default_factory=dict)  # by dotted key


def adopt(config: Config, manifest: Manifest, state: Mapping[str, Any] | None) -> tuple[Config, Initial]:
    """The configuration with what `model.init_from` says of the model, and its weights.

    state: of the checkpoint that the run goes on from; None at its start. Raises InputError where the configuration or
    the data contradict the file.
    """
    if state is not None:
        return _again(config, state)
    if config.model.init_from is None:
        return config, Initial()
    found = find(config.model.init_from)
    if config.data.path is not None:
        _same_words(found, manifest, config.data.path)
    shape = _agreed(config, found)
    source = describe(found)
    values = {f"model.{f.name}": getattr(shape, f.name) for f in fields(Shape) if f.name not in FREE}
    config = with_values(config, values)
    check_model(config)
    record = {"source": source, "sha256": digest(found)}
    return config, Initial(_cut(found, shape), record, {**dict.fromkeys(values, f"that of {source}"), **_told(record)})


def _again(config: Config, state: Mapping[str, Any]) -> tuple[Config, Initial]:
    """A run that goes on: the model as it was begun, wherever the configuration left it to the file."""
    record, begun = state.get("initial"), state["config"]
    if config.model.init_from is None or record is None:
        return config, Initial(record=record)
    given = _given(config)
    names = [f"model.{f.name}" for f in fields(Shape) if f.name not in FREE]
    open_ones = {key: begun[key] for key in names if key in begun and key not in given}
    config = with_values(config, open_ones)
    check_model(config)
    return config, Initial(None, record, {**dict.fromkeys(open_ones, "as the run began"), **_told(record)})


def _told(record: Mapping[str, str]) -> dict[str, str]:
    return {KEY: f"{record['source']}; sha256 of its weights {record['sha256'][:16]}"}


def _given(config: Config) -> set[str]:
    """The keys of [model] that a person gave, in a file, on the command line or by building a `Config`."""
    if config.given is not None:
        return {key for key in config.given if items(config)[key] is not None}
    standard = items(Config())
    return {key for key, value in items(config).items() if key.startswith("model.") and value != standard[key]}


def _agreed(config: Config, found: Found) -> Shape:
    """The shape of the file, with the context that was asked for. Raises InputError at the first contradiction."""
    shape, given = found.shape, _given(config)
    asked = items(config)
    shape = replace(shape, kv_heads=shape.groups, feed_forward_width=shape.hidden, norm_epsilon=shape.epsilon)
    by_preset = {f"model.{key}" for key in PRESETS[config.model.preset]} if "model.preset" in given else set()
    for name in (f.name for f in fields(Shape)):
        key, value = f"model.{name}", getattr(shape, name)
        if name in FREE or key not in given | by_preset or asked[key] is None or asked[key] == value:
            continue
        if name == "context":
            if shape.positions == "learned" and asked[key] > value:
                raise InputError(
                    f"{key} = {asked[key]}, and {describe(found)} has {value} learned positions; give at most {value}"
                )
            shape = replace(shape, context=asked[key])
            continue
        whose = "" if key in given else f", by model.preset = {config.model.preset},"
        raise InputError(f"{key} = {asked[key]}{whose} contradicts {KEY}: {describe(found)} has {value}; leave it out")
    return shape


def _cut(found: Found, shape: Shape) -> dict[str, Tensor]:
    """The weights, with as many learned positions as the context has."""
    weights = dict(found.weights)
    if shape.positions == "learned":
        weights["positions.weight"] = weights["positions.weight"][: shape.context]
    return weights


def _same_words(found: Found, manifest: Manifest, data: Path) -> None:
    """A token must mean the same to the weights and in the data."""
    own = manifest.tokenizer.vocabulary_size
    if found.shape.vocabulary_size < own:
        raise InputError(
            f"{describe(found)} has a vocabulary of {found.shape.vocabulary_size:,}, and the tokenizer of {data} has "
            f"{own:,} tokens; prepare the data with the tokenizer it was trained with"
        )
    words = tokenizer_beside(found)
    if words is None or words.sha256 == manifest.tokenizer.sha256:
        return
    theirs, ours = words.encode(PROBE).tolist(), tokenizers.load(data).encode(PROBE).tolist()
    if theirs != ours:
        raise InputError(
            f"{describe(found)} was trained with another tokenizer ({words.name}) than {data} has "
            f"({manifest.tokenizer.name}); prepare the data with its tokenizer.json"
        )
