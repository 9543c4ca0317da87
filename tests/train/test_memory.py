"""The memory model against what autograd really keeps, and against sums by hand."""

from typing import Any

import pytest
import torch

from talweg.model.gpt import GPT
from talweg.model.shape import Shape
from talweg.train import memory
from talweg.train.config import Config, build
from talweg.train.memory import activations, matrices_size, predict
from talweg.train.model_size import model_size, positions_size
from talweg.train.start import shape as shape_of

CLASSIC = {"norm": "layernorm", "positions": "learned", "activation": "gelu", "qk_norm": False, "bias": True}
FORMS: list[dict[str, Any]] = [
    {},
    CLASSIC,
    {**CLASSIC, "dropout": 0.1},
    {"qk_norm": False},
    {"positions": "learned", "tied_head": False},
    {"norm_gain": True, "activation": "swiglu", "kv_heads": 2},
    {"value_residual": True, "x0_shortcut": True},
    {"value_residual": True, "kv_heads": 1, "feed_forward_width": 96},
    {"document_mask": True},
]


def configuration(form: dict[str, Any], **changes: Any) -> Config:
    values = {"layers": 3, "heads": 4, "width": 64, "context": 64, "vocabulary_size": 256, **form}
    fixed = {"run.steps": 1, "batch.tokens_per_step": 512, "batch.micro_batch": 2, "hardware.device": "cpu"}
    given = {f"model.{key}": value for key, value in values.items()}
    return build({**fixed, "hardware.precision": "fp32", **given, **changes})


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_size_is_that_of_the_model_when_it_is_built(form: dict[str, Any]) -> None:
    config = configuration(form)
    model = GPT(shape_of(config))
    assert model_size(config) == model.num_parameters()
    positions = positions_size(shape_of(config))
    assert model_size(config) + positions == sum(parameter.numel() for parameter in model.parameters())


def kept_by_autograd(shape: Shape, sequences: int, bf16: bool) -> int:
    """Bytes of the distinct storages that a forward pass saves, but for the weights and their casts."""
    model = GPT(shape)
    tokens = torch.zeros(sequences, shape.context, dtype=torch.int64)
    documents = torch.zeros_like(tokens) if shape.document_mask else None
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    seen: dict[int, tuple[int, torch.Tensor]] = {}  # kept alive, so that no address comes twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16),
    ):
        features = model.features(tokens, documents)
        pack(features)  # the head keeps it
    casts = 2 * shape.layers * matrices_size(shape) if bf16 else 0
    return sum(size for size, _ in seen.values()) - casts


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("context", [64, 576])  # with attention as plain products in bf16, and without
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_activations_are_what_autograd_keeps(form: dict[str, Any], context: int, precision: str) -> None:
    shape = shape_of(configuration({**form, "context": context}, **{"batch.tokens_per_step": 2 * context}))
    predicted = activations(shape, 2, 4 if precision == "fp32" else 2, "cpu")
    assert predicted == pytest.approx(kept_by_autograd(shape, 2, precision == "bf16"), rel=0.03)  # our choice


def test_what_does_not_depend_on_the_batch_by_hand() -> None:
    config = configuration({}, **{"optimizer.name": "adamw"})
    weights, matrices = model_size(config), 3 * 12 * 64**2
    assert predict(config).weights == 4 * weights
    assert predict(config).optimizer == 8 * weights
    muon = configuration({}, **{"optimizer.name": "muon"})
    assert predict(muon).optimizer == 8 * weights - 4 * matrices
    averaged = configuration({}, **{"optimizer.name": "adamw", "optimizer.average_decay": 0.99})
    assert predict(averaged).optimizer == 12 * weights


def test_one_micro_batch_needs_one_set_of_gradients_fewer() -> None:
    whole, parts = predict(configuration({}), 8), predict(configuration({}), 4)
    assert whole.activations == 2 * parts.activations
    assert parts.gradients - whole.gradients == 4 * model_size(configuration({}))


def test_logits_are_those_of_a_part_of_the_tokens() -> None:
    shape = shape_of(configuration({"vocabulary_size": 50304}))
    few, many = (memory.logits_bytes(shape, tokens, 4, "cpu") for tokens in (8192, 65536))
    assert many - few == (65536 - 8192) * 64 * 4  # only the gradient of the features grows
    assert few < 8192 * 50304 * 4 / 5


def test_a_gpu_keeps_less_where_dropout_is_a_mask_of_bytes() -> None:
    shape = shape_of(configuration({**CLASSIC, "dropout": 0.1, "context": 512}))
    cpu, cuda = activations(shape, 2, 2, "cpu"), activations(shape, 2, 2, "cuda")
    assert cuda < cpu - 3 * 2 * 4 * 512**2 * 2 * 2  # no weights of attention
