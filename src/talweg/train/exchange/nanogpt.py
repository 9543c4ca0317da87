"""nanoGPT's ckpt.pt: model_args, the weights by GPT-2's names, the optimizer, and how far the run was.

Its form is fixed: layernorm with an epsilon of 1e-5, learned positions, exact GELU, a tied head, biases everywhere or
nowhere. An option of a fork is refused, as the same weights may be meant for another computation. What goes out loads
in nanoGPT's train.py and sample.py; its optimizer is a fresh AdamW, as moments of another recipe mean nothing there.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from talweg.errors import InputError
from talweg.model.shape import Shape
from talweg.train.exchange import classic
from talweg.train.exchange.pairs import Found, Pair, bring_in, take_out
from talweg.train.exchange.settings import whole as size
from talweg.train.exchange.weights import Weights, read_pickled, tensors_of

FILE = "ckpt.pt"
DATASET = "talweg"  # sample.py looks for data/talweg/meta.pkl, else it takes the tokens for GPT-2's
EPSILON = 1e-5
OTHERS = ("bias", "vocab_size", "dropout")  # of model_args
ARGUMENTS = {"n_layer": "layers", "n_head": "heads", "n_embd": "width", "block_size": "context"}
# nanoGPT's defaults of what its own train.py looks up in a checkpoint's optimizer
ADAMW = {"lr": 6e-4, "betas": (0.9, 0.95), "weight_decay": 0.1}


def read(path: Path) -> Found:
    """The model of a ckpt.pt. Raises InputError where it holds anything else, or is damaged."""
    content = read_pickled(path)
    if not isinstance(content, dict) or "model" not in content or "model_args" not in content:
        held = f"it holds {', '.join(map(str, list(content)[:6]))}" if isinstance(content, dict) else "no dictionary"
        raise InputError(f"{path} is no checkpoint of nanoGPT: needed model and model_args, and {held}")
    weights = Weights(tensors_of(content["model"], path), path)
    weights.drop(classic.MASKS)
    shape = _shape(content["model_args"], weights, path)
    if shape.tied_head:
        weights.leave_out("lm_head.weight")
    taken = bring_in(pairs(shape), weights, shape)
    return Found(shape, taken, "nanoGPT", path, _facts(content))


def pairs(shape: Shape) -> Iterator[Pair]:
    return classic.pairs(shape, transpose=False)


def _shape(arguments: Any, weights: Weights, path: Path) -> Shape:
    if not isinstance(arguments, Mapping):
        raise InputError(f"{path}: model_args is no dictionary")
    if unknown := [name for name in arguments if name not in (*ARGUMENTS, *OTHERS)]:
        raise InputError(
            f"{path}: model_args has {unknown[0]} = {arguments[unknown[0]]!r}, which nanoGPT does not have: the same "
            "weights may be meant for another computation; save them without it if it changes nothing"
        )
    whole = {ours: size(arguments.get(theirs), theirs, path) for theirs, ours in ARGUMENTS.items()}
    if whole["layers"] > len(weights):
        raise InputError(f"{path} lacks weights: model_args promises {whole['layers']} layers")
    if whole["width"] % whole["heads"]:
        raise InputError(f"{path}: n_embd = {whole['width']} is not a multiple of n_head = {whole['heads']}")
    return Shape(
        layers=whole["layers"],
        heads=whole["heads"],
        width=whole["width"],
        context=whole["context"],
        vocabulary_size=size(arguments.get("vocab_size"), "vocab_size", path),
        norm="layernorm",
        positions="learned",
        activation="gelu",
        qk_norm=False,
        initialisation="gpt2",
        tied_head=_is_tied(weights),
        bias="transformer.ln_f.bias" in weights,
        norm_epsilon=EPSILON,
    )


def _is_tied(weights: Weights) -> bool:
    """The head is the embedding's matrix, whether it is written once or twice."""
    if "lm_head.weight" not in weights or "transformer.wte.weight" not in weights:
        return True
    return torch.equal(weights.peek("lm_head.weight"), weights.peek("transformer.wte.weight"))


def _facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """How far its run was: optimizer steps, and the lowest loss of validation, in nats per token."""
    step, loss = content.get("iter_num"), content.get("best_val_loss")
    if isinstance(loss, Tensor) and loss.numel() == 1:
        loss = float(loss)
    facts = {"step": step if isinstance(step, int) else None, "val_loss": loss if isinstance(loss, float) else None}
    return {name: value for name, value in facts.items() if value is not None}


def write(shape: Shape, parameters: Mapping[str, Tensor], facts: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Write ckpt.pt into an empty `folder`; returns what a person should know of it.

    Raises InputError that names every option of the model that nanoGPT does not have.
    """
    odd = classic.without_place(shape, ("gelu", "gelu_tanh"))
    if not shape.tied_head:
        odd.append("model.tied_head = false")
    if shape.epsilon != EPSILON:
        odd.append(f"model.norm_epsilon = {shape.epsilon:g}")
    if shape.hidden != 4 * shape.width:
        odd.append(f"model.feed_forward_width = {shape.hidden}")
    if shape.activation == "gelu_tanh":
        odd.append("model.activation = gelu_tanh (nanoGPT computes the exact gelu)")
    classic.refuse(odd, "nanoGPT's ckpt.pt")
    model = take_out(pairs(shape), parameters)
    optimizer = _optimizer(model)
    model["lm_head.weight"] = model["transformer.wte.weight"]
    arguments = {theirs: getattr(shape, ours) for theirs, ours in ARGUMENTS.items()}
    arguments |= {"bias": shape.bias, "vocab_size": shape.vocabulary_size, "dropout": shape.dropout}
    content = {
        "model": model,
        "optimizer": optimizer,
        "model_args": arguments,
        "iter_num": int(facts.get("step", 0)),
        "best_val_loss": torch.tensor(float(facts.get("val_loss", 1e9))),
        "config": {**arguments, "dataset": DATASET},
    }
    torch.save(content, folder / FILE)
    return ("its optimizer is fresh: nanoGPT goes on without the moments of this run",)


def _optimizer(model: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state of an AdamW that has done no step: matrices with weight decay, then what has one axis without."""
    matrices = [tensor for tensor in model.values() if tensor.ndim >= 2]
    rest = [tensor for tensor in model.values() if tensor.ndim < 2]
    groups = [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, **ADAMW).state_dict()  # type: ignore[arg-type]
