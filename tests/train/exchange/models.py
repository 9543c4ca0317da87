"""Small models of both sides: ours with weights that are nowhere zero or one, HF's as transformers makes them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from talweg.model.gpt import GPT
from talweg.model.shape import Shape
from talweg.train import checkpoint as checkpoints
from talweg.train.config import Config, items, with_values
from talweg.train.retention import Retention

SIZES = {"layers": 2, "heads": 4, "width": 32, "context": 24, "vocabulary_size": 70}
CLASSIC: dict[str, Any] = {
    "norm": "layernorm",
    "positions": "learned",
    "activation": "gelu",
    "qk_norm": False,
    "initialisation": "gpt2",
}
LLAMA: dict[str, Any] = {"activation": "swiglu", "qk_norm": False, "norm_gain": True, "tied_head": False}


def ours(**options: Any) -> GPT:
    """A model in which every weight matters."""
    torch.manual_seed(3)
    model = GPT(Shape(**{**SIZES, **options})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def tokens(model: GPT) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(model.shape.vocabulary_size, (3, model.shape.context), generator=generator)


def logits(model: GPT) -> Tensor:
    with torch.no_grad():
        return model(tokens(model))


def saved(model: GPT, folder: Path) -> Path:
    """A checkpoint of ours that holds this model."""
    values = {f"model.{name}": value for name, value in vars(model.shape).items()}
    config = with_values(Config(), values)
    state = {
        "step": 7,
        "tokens": 7 * 8192,
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in items(config).items()},
    }
    weights = {name: p.detach().contiguous() for name, p in model.named_parameters()}
    return checkpoints.save(folder, checkpoints.Checkpoint(weights, {"none": torch.zeros(1)}, state), Retention(2))


def theirs(folder: Path) -> Any:
    """What transformers makes of a folder; every weight must be used, none may be missing."""
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model, told = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    return model.eval()


def randomised(model: Any) -> Any:
    """A model of transformers whose norms and biases are no longer ones and zeros."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()
